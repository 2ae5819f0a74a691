"""A caller asks once, retries what may pass, stops where it must and keeps to its budget."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from llm_server import Fault, LLMServer

from reward_model.llm import (
    LLM,
    Answer,
    Caller,
    ChatMessage,
    FatalError,
    Request,
    UnansweredError,
    Usage,
    bounded,
    open_llm,
)
from reward_model.llm.prices import Prices
from reward_model.llm.scripted import ScriptedLLM, Step
from reward_model.records import Stopped, UserError


def ask(text: str = "hello", **more: Any) -> Request:
    return Request(messages=(ChatMessage(role="user", content=text),), **more)


def run(work: Callable[[Caller], Awaitable[Any]], **options: Any) -> Any:
    async def main() -> Any:
        async with Caller(**{"backoff_s": 0.001, **options}) as caller:
            return await work(caller)

    return asyncio.run(main())


def test_an_answered_call_is_never_made_again(tmp_path: Path) -> None:
    llm = ScriptedLLM(["one", "two"])
    path = tmp_path / "calls.jsonl"

    async def twice(caller: Caller) -> list[Answer]:
        return [await caller.complete(llm, ask(sample=i)) for i in (0, 1, 0)]

    first = run(twice, ledger=path)
    again = run(twice, ledger=path)
    assert [a.reply.text for a in first] == ["one", "two", "one"]
    assert [a.cached for a in first] == [False, False, True]
    assert [a.reply.text for a in again] == ["one", "two", "one"]
    assert all(a.cached for a in again)
    assert len(llm.requests) == 2
    assert first[0].call == again[0].call != first[1].call


def test_the_key_knows_the_address_and_every_parameter() -> None:
    base = ask()
    others = [
        ask("other"),
        ask(temperature=0.3),
        ask(max_tokens=9),
        ask(sample=1),
        ask(thinking=True),
        ask(json_schema={}),
    ]
    keys = {r.key("openai:m", "http://a") for r in [base, *others]}
    keys |= {base.key("openai:m", "http://b"), base.key("openai:n", "http://a")}
    assert len(keys) == len(others) + 3


def test_the_same_request_at_once_is_asked_once() -> None:
    llm = ScriptedLLM(lambda request: Step(reply="x", latency_s=0.02))

    async def many(caller: Caller) -> list[Answer]:
        return await asyncio.gather(*(caller.complete(llm, ask()) for _ in range(20)))

    answers = run(many)
    assert len(llm.requests) == 1
    assert sum(a.cached for a in answers) == 19


def test_a_joined_request_survives_the_cancelling_of_the_first() -> None:
    llm = ScriptedLLM(lambda request: Step(reply="x", latency_s=0.02))

    async def main(caller: Caller) -> str:
        first = asyncio.create_task(caller.complete(llm, ask()))
        second = asyncio.create_task(caller.complete(llm, ask()))
        await asyncio.sleep(0.005)
        first.cancel()
        return (await second).reply.text

    assert run(main) == "x"
    assert len(llm.requests) == 2


def test_what_may_pass_is_tried_again_and_what_does_not_is_owed(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    flaky = ScriptedLLM([Step(error="retry"), Step(error="rate"), "at last"])

    async def once(caller: Caller) -> Answer:
        return await caller.complete(flaky, ask())

    assert run(once, ledger=path).reply.text == "at last"
    broken = ScriptedLLM([Step(error="retry", match=".")], base_url="http://other")

    async def owed(caller: Caller) -> None:
        with pytest.raises(UnansweredError) as caught:
            await caller.complete(broken, ask())
        assert caught.value.reason == "failed"
        assert caller.counts["failed"] == 1

    run(owed, ledger=path, attempts=3)
    assert len(broken.requests) == 3
    run(owed, ledger=path, attempts=3)
    assert len(broken.requests) == 6


def test_rate_limits_do_not_use_up_the_attempts() -> None:
    llm = ScriptedLLM([*[Step(error="rate")] * 5, "now"])
    answer = run(lambda caller: caller.complete(llm, ask()), attempts=2)
    assert answer.reply.text == "now"


def test_retry_after_is_honoured() -> None:
    llm = ScriptedLLM([Step(error="rate", retry_after_s=0.7), "now"])
    started = time.monotonic()
    run(lambda caller: caller.complete(llm, ask()))
    assert 0.7 <= time.monotonic() - started < 3


def test_a_refusal_is_final_and_remembered(tmp_path: Path) -> None:
    llm = ScriptedLLM([Step(error="refused")])

    async def once(caller: Caller) -> None:
        with pytest.raises(UnansweredError) as caught:
            await caller.complete(llm, ask())
        assert caught.value.reason == "refused"

    run(once, ledger=tmp_path / "calls.jsonl")
    run(once, ledger=tmp_path / "calls.jsonl")
    assert len(llm.requests) == 1


def test_a_fatal_error_stops_everything_with_one_line() -> None:
    llm = ScriptedLLM([Step(error="fatal")])

    async def many(caller: Caller) -> None:
        for _ in range(3):
            with pytest.raises(FatalError, match="fatal by the script"):
                await caller.complete(llm, ask())

    run(many)
    assert len(llm.requests) == 1
    assert issubclass(FatalError, UserError)  # so that a command ends with code 2


def test_a_fatal_error_does_not_wait_for_calls_that_wait() -> None:
    def answer(request: Request) -> Step:
        if "slow" in request.messages[0].content:
            return Step(error="retry", retry_after_s=60.0)
        return Step(error="fatal", latency_s=0.05)

    async def both(caller: Caller) -> list[object]:
        llm = ScriptedLLM(answer)
        calls = (caller.complete(llm, ask("slow")), caller.complete(llm, ask("fatal")))
        return list(await asyncio.gather(*calls, return_exceptions=True))

    started = time.monotonic()
    assert [type(error) for error in run(both)] == [FatalError, FatalError]
    assert time.monotonic() - started < 5


def test_a_hang_is_cut_off_and_tried_again() -> None:
    llm = ScriptedLLM([Step(error="hang"), "awake"])
    answer = run(lambda caller: caller.complete(llm, ask()), timeout_s=0.05)
    assert answer.reply.text == "awake"


def test_a_provider_that_is_down_stops_the_run() -> None:
    llm = ScriptedLLM([Step(error="retry", match=".")])

    async def many(caller: Caller) -> tuple[int, str]:
        failed = 0
        for i in range(100):
            try:
                await caller.complete(llm, ask(str(i)))
            except UnansweredError:
                failed += 1
            except Stopped as stop:
                return failed, str(stop)
        raise AssertionError("never stopped")

    failed, words = run(many, attempts=2)
    assert failed == 19
    assert "answered none of the last 20 requests" in words


def test_a_wait_of_hours_stops_the_run() -> None:
    llm = ScriptedLLM([Step(error="rate", retry_after_s=7200)])
    with pytest.raises(Stopped, match="asks to wait 7200 s"):
        run(lambda caller: caller.complete(llm, ask()))


def prices(tmp_path: Path) -> Prices:
    file = tmp_path / "prices.toml"
    file.write_text('["m"]\ninput = 1000.0\noutput = 10000.0\n', "utf-8")
    return Prices.load(file)


def test_the_budget_is_used_but_never_passed(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    words: list[str] = []

    async def work(caller: Caller, llm: LLM) -> int:
        done = 0

        async def call(i: int) -> Answer:
            return await caller.complete(llm, ask(f"number {i}", max_tokens=20))

        try:
            async for _ in bounded(call, range(200), 32):
                done += 1
        except Stopped as stop:
            words.append(str(stop))
        return done

    with LLMServer(latency_s=0.01, answer=lambda messages: "ten tokens") as server:

        async def main(budget: float) -> tuple[int, float]:
            llm = open_llm("openai:m", base_url=server.url)
            options: dict[str, Any] = {"prices": prices(tmp_path), "budget_usd": budget}
            async with Caller(ledger=path, **options) as caller:
                done = await work(caller, llm)
                await llm.close()
                return done, caller.spent_usd

        done, spent = asyncio.run(main(5.0))
        # A call costs 0.11 and at worst 0.23, so the last one that fits leaves little over.
        assert 5.0 - 0.35 <= spent <= 5.0
        assert done == server.paid
        more, spent = asyncio.run(main(10.0))
        assert 10.0 - 0.35 <= spent <= 10.0
        assert server.paid == more  # what the first run paid for was not asked again
        assert len(words) == 2
        assert all("raise it to go on" in one for one in words)
    costs = [json.loads(line)["cost_usd"] for line in path.read_text().splitlines()]
    assert sum(costs) == pytest.approx(spent)


def test_a_budget_needs_a_price_and_an_unknown_price_is_said() -> None:
    with LLMServer() as server:

        async def main() -> None:
            llm = open_llm("openai:gpt-4o-mini", base_url=server.url)
            async with Caller(budget_usd=1.0) as caller:
                with pytest.raises(UserError, match="no price of openai:gpt-4o-mini"):
                    await caller.complete(llm, ask())
            async with Caller() as caller:
                await caller.complete(llm, ask())
                assert caller.unpriced == ["openai:gpt-4o-mini"]
                assert "unknown price" in caller.note()
                assert caller.report()["cost_usd"] is None
            await llm.close()

        asyncio.run(main())
        assert server.paid == 1


def test_lost_answers_count_against_the_budget(tmp_path: Path) -> None:
    with LLMServer(script=[None, Fault("garbage"), None]) as server:

        async def main() -> None:
            llm = open_llm("openai:m", base_url=server.url)
            options: dict[str, Any] = {"prices": prices(tmp_path), "backoff_s": 0.001}
            async with Caller(ledger=tmp_path / "l.jsonl", **options) as caller:
                await caller.complete(llm, ask("a"))
                once = caller.spent_usd
                await caller.complete(llm, ask("b"))
                assert caller.spent_usd == pytest.approx(3 * once)
                assert caller.counts["lost"] == 1
            await llm.close()

        asyncio.run(main())


def test_the_report_names_models_tokens_and_capabilities(tmp_path: Path) -> None:
    llm = ScriptedLLM([Step(reply="a", usage=Usage(prompt_tokens=3, completion_tokens=4))])

    async def once(caller: Caller) -> dict[str, Any]:
        await caller.complete(llm, ask())
        return caller.report()

    report = run(once)
    assert json.loads(json.dumps(report)) == report
    assert report["counts"] == {"calls": 1}
    assert report["models"][0]["usage"]["completion_tokens"] == 4
    assert report["cost_usd"] == 0.0


def test_prompts_are_kept_only_when_asked(tmp_path: Path) -> None:
    for keep in (False, True):
        path = tmp_path / f"{keep}.jsonl"
        llm = ScriptedLLM(["a"])
        run(lambda c, llm=llm: c.complete(llm, ask("a secret")), ledger=path, keep_prompts=keep)
        assert ("a secret" in path.read_text()) is keep


def test_bounded_keeps_its_bound_and_order_of_arrival() -> None:
    async def main() -> tuple[int, list[int]]:
        busy = most = 0

        async def work(i: int) -> int:
            nonlocal busy, most
            busy += 1
            most = max(most, busy)
            await asyncio.sleep(0.001 * (5 - i % 5))
            busy -= 1
            return i * i

        results = [(i, r) async for i, r in bounded(work, iter(range(23)), 5)]
        assert sorted(results) == [(i, i * i) for i in range(23)]
        return most, [i for i, _ in results]

    most, _ = asyncio.run(main())
    assert most == 5


def test_bounded_finishes_what_is_under_way_before_it_stops() -> None:
    finished, yielded = [], []

    async def work(i: int) -> int:
        if i == 3:
            raise Stopped("enough")
        await asyncio.sleep(0.02)
        finished.append(i)
        return i

    async def main() -> None:
        async for item, _ in bounded(work, range(100), 5):
            yielded.append(item)

    with pytest.raises(Stopped, match="enough"):
        asyncio.run(main())
    assert sorted(finished) == sorted(yielded) == [0, 1, 2, 4]


def test_bounded_cancels_at_once_on_other_errors() -> None:
    finished = []

    async def work(i: int) -> None:
        if i == 1:
            raise ZeroDivisionError
        await asyncio.sleep(0.2)
        finished.append(i)

    async def main() -> None:
        async for _ in bounded(work, range(100), 5):
            pass

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())
    assert not finished
