"""Stops that wake everybody, Ctrl-C that pays nothing twice, what no limit has room for, costs
without a count, lessons that stay, and batches that failed or were lost."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from llm_server import Fault, LLMServer

from reward_model.llm import (
    Caller,
    ChatMessage,
    FatalError,
    Prices,
    Request,
    UnansweredError,
    bounded,
    open_llm,
)
from reward_model.llm.batch import Batches, Progress
from reward_model.llm.capabilities import Capabilities, capabilities, refused
from reward_model.llm.openai import OpenAILLM
from reward_model.llm.pending import Pending, rounds
from reward_model.records import Stopped


def ask(text: Any = "hello", **more: Any) -> Request:
    return Request(messages=(ChatMessage(role="user", content=str(text)),), **more)


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "DASHSCOPE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def prices(folder: Path) -> Prices:
    (folder / "prices.toml").write_text("[m]\ninput = 1000.0\noutput = 10000.0\n")
    return Prices.load(folder / "prices.toml")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            Fault(status=429, code="rate_limit", headers={"retry-after": "7200"}),
            "asks to wait 7200 s",
        ),
        (Fault(status=401, code="invalid_api_key"), "refuses"),
    ],
)
@pytest.mark.parametrize("provider", ["openai", "dashscope"])
def test_a_stop_wakes_everybody_who_waits(provider: str, fault: Fault, words: str) -> None:
    """Fifty callers share a limit of one call a minute: all but one wait at the gate."""

    async def main(url: str) -> list[Any]:
        llm = open_llm(f"{provider}:m", base_url=url)
        async with Caller(requests_per_minute=1, backoff_s=0.01) as caller:
            calls = (caller.complete(llm, ask(i)) for i in range(50))
            found = await asyncio.gather(*calls, return_exceptions=True)
        await llm.close()
        return found

    with LLMServer(rule=lambda body: fault) as server:
        began = time.monotonic()
        found = asyncio.run(main(server.url if provider == "openai" else server.native_url))
    assert time.monotonic() - began < 10
    assert len(found) == 50
    assert all(isinstance(error, (Stopped, FatalError)) for error in found)
    assert all(words in str(error) for error in found)
    assert server.requests == 1


def test_a_stop_wakes_those_who_wait_for_money(tmp_path: Path) -> None:
    async def main(url: str) -> list[Any]:
        llm = open_llm("openai:m", base_url=url)
        options: dict[str, Any] = {"budget_usd": 0.2, "prices": prices(tmp_path)}
        async with Caller(**options) as caller:
            calls = (caller.complete(llm, ask(i, max_tokens=8)) for i in range(20))
            asyncio.get_running_loop().call_later(0.3, caller.interrupt)
            found = await asyncio.gather(*calls, return_exceptions=True)
        await llm.close()
        return found

    with LLMServer(latency_s=1.0) as server:
        found = asyncio.run(main(server.url))
        assert sum(isinstance(one, Stopped) for one in found) == 20 - server.paid
        assert 1 <= server.paid <= 2


CHILD = """
import asyncio, sys
from pathlib import Path
from reward_model.llm import Caller, ChatMessage, Prices, Request, bounded, open_llm
from reward_model.records import Stopped

async def main(url, folder, count):
    llm = open_llm("openai:m", base_url=url)
    prices = Prices.load(Path(folder, "prices.toml"))
    ledger = Path(folder, "calls.jsonl")
    async with Caller(ledger=ledger, max_concurrency=8, prices=prices) as caller:
        def work(i):
            message = ChatMessage(role="user", content=f"request {i}")
            return caller.complete(llm, Request(messages=(message,)))
        print("ready", flush=True)
        answers = [a async for _, a in bounded(work, range(count), 16)]
    await llm.close()
    print(len(answers), flush=True)

try:
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
except Stopped as stop:
    print("stopped:", stop)
"""


def child(
    server: LLMServer, folder: Path, before: str = "", count: int = 60
) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", before + CHILD, server.url, str(folder), str(count)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    while server.paid < 6:
        time.sleep(0.01)
    return process


def test_ctrl_c_finishes_what_is_out_and_nothing_is_paid_twice(tmp_path: Path) -> None:
    prices(tmp_path)
    with LLMServer(latency_s=0.4) as server:
        process = child(server, tmp_path)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert "stopped: interrupted; what was finished is saved" in out
        assert "Ctrl-C again cuts them off" in err
        assert "Traceback" not in err
        lines = (tmp_path / "calls.jsonl").read_text().splitlines()
        assert len(lines) == server.paid < 60
        process = child(server, tmp_path)
        assert process.communicate(timeout=60)[0] == "60\n"
        assert server.paid == 60


def test_ctrl_c_that_a_script_ignores_stops_nothing(tmp_path: Path) -> None:
    prices(tmp_path)
    ignored = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    with LLMServer(latency_s=0.4) as server:
        process = child(server, tmp_path, before=ignored, count=12)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == ("12\n", "")


def test_a_second_ctrl_c_cuts_off_and_books_what_was_out(tmp_path: Path) -> None:
    prices(tmp_path)
    with LLMServer(latency_s=60.0) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", CHILD, server.url, str(tmp_path), "60"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        while server.paid < 4:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert "finishing the" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    rows = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert len(rows) == server.paid
    assert all(row["lost"] == "cut off" and row["cost_usd"] > 0 for row in rows)


@pytest.mark.parametrize("provider", ["openai", "dashscope"])
def test_a_request_larger_than_the_limit_is_refused_by_name(provider: str) -> None:
    words = "Request too large for m on tokens per min (TPM): Limit 30000, Requested 60000."
    fault = Fault(status=429, code="rate_limit_exceeded", message=words)

    async def main(url: str, **limits: Any) -> None:
        llm = open_llm(f"{provider}:m", base_url=url)
        async with Caller(**limits) as caller:
            with pytest.raises(UnansweredError, match="request alone") as caught:
                await caller.complete(llm, ask("word " * 700))
        assert caught.value.reason == "refused"
        await llm.close()

    with LLMServer(rule=lambda body: fault) as server:
        url = server.url if provider == "openai" else server.native_url
        asyncio.run(main(url))
        assert server.requests == 1
        asyncio.run(main(url, tokens_per_minute=500))
        assert server.requests == 1


def test_a_limit_that_is_used_up_for_now_is_waited_for() -> None:
    words = "Rate limit reached on tokens per min: Limit 30000, Used 29000, Requested 2000."
    with LLMServer(script=[Fault(status=429, code="rate_limit_exceeded", message=words)]) as server:

        async def main() -> str:
            llm = open_llm("openai:m", base_url=server.url)
            async with Caller(backoff_s=0.01) as caller:
                answer = await caller.complete(llm, ask())
            await llm.close()
            return answer.reply.text

        assert asyncio.run(main()) == "reply to 5"


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": 0, "completion_tokens": 0}])
def test_no_count_is_an_estimate_and_never_nothing(tmp_path: Path, usage: Any, batch: bool) -> None:
    body = {"choices": [{"message": {"content": "four words of reply"}}], "usage": usage}
    with LLMServer(rule=lambda _: Fault("body", status=200, body=body)) as server:

        async def main() -> dict[str, Any]:
            llm = open_llm("openai:m", base_url=server.url)
            async with Caller(prices=prices(tmp_path)) as caller:
                if batch:
                    assert isinstance(llm, OpenAILLM)
                    batches = Batches(llm, caller, tmp_path / f"{usage}.json")
                    await batches.submit([ask("some words to ask")])
                    await batches.wait(0.01)
                else:
                    await caller.complete(llm, ask("some words to ask"))
                report = caller.report()
            await llm.close()
            return report

        report = asyncio.run(main())
    assert report["cost_usd"] > 0
    assert report["models"][0]["usage"]["estimated"] is True


# ---- lessons


@pytest.mark.parametrize(
    ("param", "message", "what"),
    [
        (
            "temperature",
            "Unsupported value: 'temperature' does not support 0.3 here.",
            "temperature",
        ),
        ("", "Unrecognized request argument supplied: seed", "seed"),
        ("", "`logprobs` is not supported with this model", "logprobs"),
        ("response_format.json_schema", "Invalid schema for response_format", "json"),
        ("", "The value of the enable_thinking parameter is restricted to True.", "thinking"),
        ("", "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.", "token_limit"),
        ("", "'max_tokens' or 'max_completion_tokens' is too large: 9000.", None),
        ("", "maximum context length is 8192 tokens; reduce max_tokens. top_logprobs: 5", None),
        ("messages", "JSON schema words in the prompt are not supported", None),
        ("temperature", "temperature must be between 0 and 1", None),
        ("", "the report speaks of a temperature of 30 and a seed fund", None),
    ],
)
def test_only_what_is_refused_teaches(param: str, message: str, what: str | None) -> None:
    assert refused(param, message) == what


def test_no_lesson_is_taken_back() -> None:
    model = Capabilities()
    for sent in ({"max_tokens": 1}, {"max_completion_tokens": 1}, {"max_tokens": 1}):
        model.learn(sent, next(iter(sent)), "unsupported parameter")
    assert model.token_limit == "max_completion_tokens"
    for kind in ("json_schema", "json_object", "json_schema", "json_schema"):
        model.learn({"response_format": {"type": kind}}, "response_format", "unavailable")
    assert model.json == "prompt"  # late answers to calls of an earlier form change nothing


def test_a_server_that_names_two_limits_teaches_neither() -> None:
    words = "max_tokens and max_completion_tokens are too large: 9. The maximum is 8."
    fault = Fault(status=400, code="invalid_request_error", message=words)
    with LLMServer(rule=lambda body: fault) as server:

        async def main() -> dict[str, Any]:
            llm = open_llm("openai:m", base_url=server.url)
            async with Caller() as caller:
                for i in range(3):
                    with pytest.raises(UnansweredError, match="too large"):
                        await caller.complete(llm, ask(i, max_tokens=9))
            await llm.close()
            return capabilities(llm)

        assert asyncio.run(main())["learned"] == []
    assert server.requests == 3


# ---- batches


def batches_of(server: LLMServer, folder: Path, work: Any) -> Any:
    async def main() -> Any:
        llm = open_llm("openai:m", base_url=server.url)
        async with Caller(ledger=folder / "calls.jsonl") as caller:
            result = await work(llm, caller)
        await llm.close()
        return result

    return asyncio.run(main())


def test_rows_of_a_batch_teach_this_run_and_the_next(tmp_path: Path) -> None:
    def rule(body: dict[str, Any]) -> Fault | None:
        if "temperature" not in body:
            return None
        words = "Unsupported parameter: 'temperature' is not supported"
        return Fault(status=400, code="unsupported_parameter", message=words)

    answered: list[str] = []

    async def work(llm: Any, caller: Caller, texts: list[str]) -> None:
        async def fill(by: Pending) -> None:
            answered.clear()
            for text in texts:
                try:
                    await by.complete(llm, ask(text, temperature=0.5))
                    answered.append(text)
                except UnansweredError:
                    pass

        await rounds(caller, [llm], tmp_path / "b.json", fill, wait=True)

    with LLMServer(rule=rule) as server:
        batches_of(server, tmp_path, lambda llm, caller: work(llm, caller, ["a", "b"]))
        assert answered == ["a", "b"]
        assert len(server.batches) == 2  # one that taught, one that was answered
        batches_of(server, tmp_path, lambda llm, caller: work(llm, caller, ["c"]))
        assert answered == ["c"]
        assert len(server.batches) == 3  # another process knows it


def test_a_failed_batch_and_a_lost_one_are_told_apart(tmp_path: Path) -> None:
    async def go(llm: Any, caller: Caller) -> Progress:
        batches = Batches(llm, caller, tmp_path / "b.json", backoff_s=0.01)
        await batches.submit([ask("a"), ask("b")])
        return await batches.collect()

    async def again(llm: Any, caller: Caller) -> None:
        async def fill(by: Pending) -> None:
            with pytest.raises(UnansweredError):
                await by.complete(llm, ask("a"))

        await rounds(caller, [llm], tmp_path / "b.json", fill, wait=True)

    with LLMServer() as server:
        server.batch_ready = False
        batches_of(server, tmp_path, go)
        server.batches["batch-0"] |= {
            "status": "failed",
            "errors": {"data": [{"message": "line 1: the model is not for batches"}]},
        }
        with pytest.raises(Stopped, match=r"rejected .* as a whole \(failed: line 1: the model"):
            batches_of(server, tmp_path, again)
        batches_of(server, tmp_path, go)
        del server.batches["batch-1"]
        with pytest.raises(Stopped, match=r"without a reply .*\(lost: the provider knows no batch"):
            batches_of(server, tmp_path, again)
        assert server.paid == 0


def test_everything_of_a_bounded_run_ends_when_it_is_interrupted() -> None:
    async def main(url: str) -> int:
        llm = open_llm("openai:m", base_url=url)
        done = 0
        async with Caller(max_concurrency=4) as caller:
            asyncio.get_running_loop().call_later(0.25, caller.interrupt)
            try:
                async for _ in bounded(lambda i: caller.complete(llm, ask(i)), range(10**6), 16):
                    done += 1
            except Stopped:
                pass
        await llm.close()
        return done

    with LLMServer(latency_s=0.2) as server:
        assert asyncio.run(main(server.url)) == server.paid <= 12
