"""Headers and body fields of one's own, thinking and effort, the system role, streams."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from commands import Outcome, run
from hypothesis import assume, given
from hypothesis import strategies as st
from llm_server import Fault, LLMServer

from reward_model.llm import (
    ChatMessage,
    LLMError,
    Reply,
    Request,
    RetryableError,
    capabilities,
    open_llm,
)
from reward_model.llm.base import whole
from reward_model.llm.offline import OfflineLLM
from reward_model.llm.options import ModelOptions
from reward_model.llm.replies import read_reply
from reward_model.llm.streams import body_of_stream
from reward_model.records import digest

SECRET = "tok3n-of-the-team"
PROVIDERS = ("openai", "dashscope")
ALIBABA = "https://dashscope.aliyuncs.com/compatible-mode/v1"


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "DASHSCOPE_HTTP_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("OPENAI_API_KEY", "DASHSCOPE_API_KEY"):
        monkeypatch.setenv(name, "key")


def ask(**more: Any) -> Request:
    system = ChatMessage(role="system", content="You judge.")
    return Request(messages=(system, ChatMessage(role="user", content="Well?")), **more)


def complete(
    server: LLMServer, provider: str = "openai", request: Request | None = None, calls: int = 1
) -> tuple[Reply, dict[str, Any]]:
    url = server.url if provider == "openai" else server.native_url

    async def main() -> tuple[Reply, dict[str, Any]]:
        llm = open_llm(f"{provider}:m", base_url=url)
        try:
            for _ in range(calls):
                reply = await llm.complete(request or ask())
            return reply, capabilities(llm)
        finally:
            await llm.close()

    return asyncio.run(main())


def messages(body: dict[str, Any]) -> list[dict[str, str]]:
    return list(body.get("input", body)["messages"])


# -- headers and body -----------------------------------------------------------------------------


def judge(server: LLMServer, folder: Path, *options: object) -> Outcome:
    rows = folder / "rows.jsonl"
    rows.write_text(json.dumps({"prompt": "p", "response": "Revenue rose by 20%."}) + "\n")
    return run(
        "judge", "score", rows, "--out", folder / "out", "--llm", "openai:m",
        "--base-url", server.url, *options,
    )  # fmt: skip


def test_headers_and_body_go_along_and_a_secret_is_written_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (
        "--header", "X-Org: a", "--header", "X-Team-Key: $TEAM_KEY",
        "--body", '{"top_k": 20, "user": "$TEAM_KEY", "stop": ["$"]}',
    )  # fmt: skip
    with LLMServer(model=OfflineLLM()) as server:
        missing = judge(server, tmp_path, *options)
        assert (missing.code, "variable TEAM_KEY" in missing.stderr) == (2, True)
        monkeypatch.setenv("TEAM_KEY", SECRET)
        assert judge(server, tmp_path, *options).code == 0
        assert server.headers[0]["x-org"] == "a"
        assert server.headers[0]["x-team-key"] == SECRET
        body = server.bodies[0]
        assert (body["top_k"], body["user"], body["stop"]) == (20, SECRET, ["$"])
        server.rule = lambda _: Fault(
            status=400, code="bad", message=f"{SECRET} is old in header X-Org"
        )
        refused = judge(server, tmp_path, *options, "--samples", 2, "--ledger", tmp_path / "l")
        assert refused.code == 2
        (tmp_path / "out").unlink()
        said = judge(server, tmp_path, *options, "--samples", 2, "--ledger", tmp_path / "l").stderr
        assert "[...] is old in header X-Org" in said
    written = [path.read_text() for path in tmp_path.iterdir()]
    assert len(written) >= 5
    assert all(SECRET not in text for text in [*written, said])
    kept = json.loads((tmp_path / "out.config.json").read_text())["settings"]
    assert kept["header"] == ["X-Org: a", "X-Team-Key: $TEAM_KEY"]


def test_a_body_is_part_of_what_is_asked_and_headers_are_not(tmp_path: Path) -> None:
    with LLMServer(model=OfflineLLM()) as server:
        assert judge(server, tmp_path).code == 0
        assert judge(server, tmp_path, "--header", "X-Run: 2").code == 0
        assert server.requests == 3
        other = judge(server, tmp_path, "--body", '{"top_k": 1}')
        assert (other.code, "body {} before, {'top_k': 1} now" in other.stderr) == (2, True)
        (tmp_path / "out").unlink()
        assert judge(server, tmp_path, "--body", '{"top_k": 1}').code == 0
        assert server.requests == 6


def test_both_protocols_and_datagen_send_them(tmp_path: Path) -> None:
    drafts = tmp_path / "drafts.jsonl"
    drafts.write_text(json.dumps({"prompt": "Is it safe?", "response": "Yes, always."}) + "\n")
    config = tmp_path / "c.toml"
    config.write_text('body = {top_k = 3}\nthinking = true\n[header]\nX-Org = "a"\n')
    for provider in PROVIDERS:
        with LLMServer(answer=lambda _: "No faults.") as server:
            url = server.url if provider == "openai" else server.native_url
            options = ("--llm", f"{provider}:m", "--base-url", url, "--config", config)
            run("datagen", "revise", drafts, "--out", tmp_path / provider, *options)
            (body,) = server.bodies
            assert server.headers[0]["x-org"] == "a"
        fields = body.get("parameters", body)
        assert (fields["top_k"], fields["enable_thinking"]) == (3, True)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"header": "X-Org"}, "'Name: value'"),
        ({"header": "X Org: a"}, "'Name: value'"),
        ({"header": "X-A: b\r\nHost: evil"}, "'Name: value'"),
        ({"header": "Host: other"}, "does not set itself"),
        ({"header": "Authorization: Bearer abc"}, "'Authorization: $VARIABLE'"),
        ({"header": {"X-Api-Key": "abc"}}, "'X-Api-Key: $VARIABLE'"),
        ({"header": "X-Any: sk-abcdefgh1234"}, "a secret written out"),
        ({"body": "{'top_k': 20}"}, "no JSON object"),
        ({"body": "[1]"}, "dictionary"),
        ({"body": {"messages": []}}, "field messages"),
        ({"body": {"temperature": 1}}, "the option of the temperature"),
        ({"body": {"a": {"api_key": "abc"}}}, '"api_key": "$VARIABLE"'),
        ({"thinking": "off", "reasoning_effort": "low"}, "leave one of them out"),
        ({"thinking": "maybe"}, "'on' or 'off'"),
    ],
)
def test_what_cannot_be_sent_is_told(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        ModelOptions.model_validate(wrong)


def test_a_secret_goes_to_one_host_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TEAM_KEY", SECRET)
    with LLMServer() as one, LLMServer() as two:
        panel = ("--llm", f"openai:n@{two.url}")
        done = judge(one, tmp_path, *panel, "--header", "X-Team-Key: $TEAM_KEY")
        assert (done.code, one.requests + two.requests) == (2, 0)
        assert "models of one host" in done.stderr


def test_ledgers_of_before_keep_their_keys() -> None:
    asked = ask(temperature=0.5, seed=3)
    before = {
        "messages": [m.model_dump() for m in asked.messages], "temperature": 0.5,
        "max_tokens": None, "seed": 3, "json_schema": None, "top_logprobs": None,
        "thinking": False, "sample": 0,
    }  # fmt: skip
    assert asked.key("openai:m", "u") == digest(["openai:m", "u", before], 24)
    keys = {ask(**more).key("m") for more in ({}, {"effort": "low"}, {"extra": {"top_k": 1}})}
    assert len(keys) == 3


# -- thinking -------------------------------------------------------------------------------------

OFF, LOW, ON = {"effort": "none"}, {"effort": "low", "thinking": True}, {"thinking": True}
OFFICIAL, OWN = "https://api.openai.com/v1", "http://gpu:8000/v1"
_FIELDS = ("enable_thinking", "thinking_budget", "reasoning_effort", "chat_template_kwargs")


@pytest.mark.parametrize(
    ("name", "url", "asked", "sent"),
    [
        ("openai:gpt-5", OFFICIAL, {}, {}),
        ("openai:gpt-5", OFFICIAL, OFF, {"reasoning_effort": "none"}),
        ("openai:gpt-5", OFFICIAL, LOW, {"reasoning_effort": "low"}),
        ("openai:gpt-5", OFFICIAL, ON, {}),
        ("openai:qwen3-max", ALIBABA, {}, {"enable_thinking": False}),
        ("openai:qwen3-max", ALIBABA, OFF, {"enable_thinking": False}),
        ("openai:qwen3-max", ALIBABA, LOW, {"enable_thinking": True, "thinking_budget": 1024}),
        ("dashscope:qwen-plus", None, LOW, {"enable_thinking": True, "thinking_budget": 1024}),
        ("dashscope:qwen-plus", None, ON, {"enable_thinking": True}),
        ("openai:llama", OWN, {}, {}),
        ("openai:glm", OWN, LOW, {
            "enable_thinking": True, "chat_template_kwargs": {"enable_thinking": True},
            "reasoning_effort": "low",
        }),
        ("openai:glm", OWN, OFF, {
            "enable_thinking": False, "chat_template_kwargs": {"enable_thinking": False},
        }),
    ],
)  # fmt: skip
def test_thinking_in_the_fields_of_each_provider(
    name: str, url: str | None, asked: dict[str, Any], sent: dict[str, Any]
) -> None:
    llm: Any = open_llm(name, base_url=url)
    body = llm.body(ask(**asked))
    assert {key: body[key] for key in _FIELDS if key in body} == sent


def test_an_effort_that_a_model_refuses_is_left_out_and_told() -> None:
    def rule(body: dict[str, Any]) -> Fault | None:
        effort = body.get("reasoning_effort")
        words = "Unsupported value: 'reasoning_effort' does not support this. Supported: 'low'."
        return Fault(status=400, message=words, param="reasoning_effort") if effort else None

    with LLMServer(rule=rule) as server:
        reply, knows = complete(server, request=ask(**LOW), calls=2)
    assert (reply.without, server.requests, knows["effort"]) == (("reasoning_effort",), 3, "none")


def test_reasoning_content_is_never_the_answer() -> None:
    for provider in PROVIDERS:
        with LLMServer(thought='{"levels": {"depth": 4}}', answer=lambda _: "words") as server:
            assert complete(server, provider)[0].text == "words"
        with LLMServer(thought="It is 4.", answer=lambda _: "") as server:
            with pytest.raises(RetryableError, match="beside a thought"):
                complete(server, provider)
            server.rule = _only_streams
            with pytest.raises(RetryableError, match="beside a thought"):
                complete(server, provider)


# -- the system role ------------------------------------------------------------------------------

NO_SYSTEM = (
    "System role not supported",
    "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
    "Developer instruction is not enabled for models/gemma-3-27b-it",
    "Conversation roles must alternate user/assistant/user/assistant/...",
    "messages.0.role: Input should be 'user' or 'assistant'",
    'messages: Unexpected role "system". It is a top-level parameter.',
    "This model does not support system messages.",
    "Only user and assistant roles are supported!",
)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("words", NO_SYSTEM)
def test_the_system_role_is_folded_where_it_is_refused(words: str, provider: str) -> None:
    def rule(body: dict[str, Any]) -> Fault | None:
        refused = any(m["role"] == "system" for m in messages(body))
        return Fault(status=400, code="InvalidParameter", message=words) if refused else None

    with LLMServer(rule=rule) as server:
        _, knows = complete(server, provider, calls=2)
        assert messages(server.bodies[-1]) == [{"role": "user", "content": "You judge.\n\nWell?"}]
        assert (server.requests, knows["system"]) == (3, False)


@pytest.mark.parametrize(
    "words",
    ["The system is overloaded", "max_tokens is not supported", "'system_fingerprint' is unknown"],
)
def test_other_words_teach_nothing_about_roles_and_streams(words: str) -> None:
    with LLMServer(rule=lambda _: Fault(status=400, message=words)) as server:
        with pytest.raises(LLMError):
            complete(server)
        assert not any("stream" in body for body in server.bodies)
        assert all(messages(body)[0]["role"] == "system" for body in server.bodies)


# -- streams --------------------------------------------------------------------------------------

STREAM_ONLY = (
    "This model only support stream mode, please enable the stream parameter to access the model.",
    "parameter.enable_thinking must be set to false for non-streaming calls",
    "Non-streaming requests are not supported",
    "Stream must be set to true",
    "current user api does not support http call",
)


def _only_streams(body: dict[str, Any]) -> Fault | None:
    words = STREAM_ONLY[0]
    return None if body.get("stream") else Fault(status=400, code="InvalidParameter", message=words)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("words", STREAM_ONLY)
def test_models_that_only_stream_are_read_as_one_reply(words: str, provider: str) -> None:
    def rule(body: dict[str, Any]) -> Fault | None:
        fault = Fault(status=400, code="invalid_request", message=words)
        return None if body.get("stream") else fault

    text = 'Es gibt 14,2 % 毛利率 {"levels": {"depth": 4}}'
    with LLMServer(rule=rule, answer=lambda _: text, thought="Let me see.") as server:
        reply, knows = complete(server, provider, calls=2)
        assert (server.requests, server.paid, knows["stream"]) == (3, 2, True)
    assert (reply.text, reply.finish_reason) == (text, "stop")
    asked = len("You judge.") + len("Well?")
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (asked, len(text))


def test_a_server_that_will_not_count_in_a_stream_is_asked_without() -> None:
    def rule(body: dict[str, Any]) -> Fault | None:
        if "stream_options" in body:
            return Fault(status=400, message="Unknown parameter: 'stream_options'.")
        return _only_streams(body)

    with LLMServer(rule=rule) as server:
        reply, knows = complete(server, request=ask(top_logprobs=1))
    assert (reply.text, knows["stream_usage"]) == ("reply to 5", False)
    assert reply.tokens


def test_streams_that_break_off_are_no_replies() -> None:
    for provider in PROVIDERS:
        script = [Fault(status=400, code="InvalidParameter", message=STREAM_ONLY[0])]
        with LLMServer(script=[*script, Fault("truncated")]) as server:
            with pytest.raises(RetryableError, match="ended before") as caught:
                complete(server, provider)
            assert caught.value.billed
    where: Any = open_llm("openai:m", base_url="http://localhost:1/v1")
    for data, words in (
        (b'data: {"error": {"message": "overloaded", "code": 503}}\n\n', "overloaded"),
        (b"data: <html>\n\n", "no JSON"),
        (b": ping\n\n", "ended before"),
    ):
        with pytest.raises(RetryableError, match=words):
            read_reply(data, where.where, ask())


@given(
    pieces=st.lists(st.text(max_size=8), min_size=1, max_size=5),
    end=st.sampled_from(["\n\n", "\r\n\r\n", "\n"]),
    indent=st.sampled_from([None, 1]),
    quiet=st.booleans(),
)
def test_a_text_is_the_same_in_whatever_pieces_it_comes(
    pieces: list[str], end: str, indent: int | None, quiet: bool
) -> None:
    """Lines ended in every way, with or without pauses, objects over several lines."""
    assume(indent is None or end != "\n")
    events = [{"model": "m", "choices": [{"delta": {"content": piece}}]} for piece in pieces]
    events.append({"choices": [{"delta": {}, "finish_reason": "length"}], "usage": None})
    events.append({"choices": [], "usage": {"prompt_tokens": 3}})
    line = end[: len(end) // 2] or "\n"
    said = [json.dumps(e, ensure_ascii=quiet, indent=indent).split("\n") for e in events]
    data = end.join(line.join(f"data: {part}" for part in lines) for lines in said) + end
    body = body_of_stream(whole(data).encode())
    (choice,) = body["choices"]
    assert choice == {"message": {"content": whole("".join(pieces))}, "finish_reason": "length"}
    assert (body["model"], body["usage"]) == ("m", {"prompt_tokens": 3})


def test_a_judge_behind_such_a_server_gives_the_same_levels(tmp_path: Path) -> None:
    """No system role, streams alone, a thought beside every answer: the levels are the same."""

    def rule(body: dict[str, Any]) -> Fault | None:
        if any(m["role"] == "system" for m in body["messages"]):
            return Fault(status=400, message=NO_SYSTEM[0])
        return _only_streams(body)

    plain, odd = tmp_path / "plain", tmp_path / "odd"
    plain.mkdir()
    odd.mkdir()
    with LLMServer(model=OfflineLLM()) as server:
        assert judge(server, plain).code == 0
    with LLMServer(model=OfflineLLM(), rule=rule, thought='hm {"levels": 1}') as server:
        done = judge(server, odd, "--thinking", "on", "--max-concurrency", 1)
        assert (done.code, server.paid) == (0, 3)
    first, second = (json.loads((f / "out").read_text()) for f in (plain, odd))
    assert first["scores"] == second["scores"]
    report = json.loads((odd / "out.report.json").read_text())
    (model,) = report["models"]
    assert {"system: False", "stream: True"} <= set(model["capabilities"]["learned"])


def test_batches_take_no_streams_and_learn_the_rest(tmp_path: Path) -> None:
    def rule(body: dict[str, Any]) -> Fault | None:
        refused = any(m["role"] == "system" for m in body["messages"])
        return Fault(status=400, message=NO_SYSTEM[0]) if refused else None

    with LLMServer(model=OfflineLLM(), rule=rule) as server:
        done = judge(server, tmp_path, "--batch", "--wait", "--header", "X-Org: a")
        assert done.code == 0, done.stderr
        assert (server.paid, server.requests, len(server.batches)) == (3, 0, 2)
        assert all(h.get("x-org") == "a" for h in server.headers)


def test_a_secret_of_the_body_is_masked_in_what_a_batch_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that failed, and a batch that failed as a whole, quote what they were sent."""
    monkeypatch.setenv("TEAM_KEY", SECRET)
    options = ("--batch", "--wait", "--body", '{"top_k": 20, "api_key": "$TEAM_KEY"}')
    with LLMServer(model=OfflineLLM()) as server:
        server.rule = lambda _: Fault(status=400, code="bad", message=f"{SECRET} is old, api_key")
        line = judge(server, tmp_path, *options)
        assert line.code == 3
        assert "[...] is old, api_key" in line.stderr
        server.batch_ready, server.rule = False, None
        assert judge(server, tmp_path, options[0], *options[2:]).code == 3
        batch = list(server.batches.values())[-1]
        errors = {"data": [{"message": f"the key {SECRET} is old"}], "object": "list"}
        batch.update(status="failed", errors=errors, output_file_id=None, error_file_id=None)
        server.batch_ready = True
        whole = judge(server, tmp_path, *options)
        assert whole.code == 3
        assert "the key [...] is old" in whole.stderr
    written = [path.read_text() for path in tmp_path.iterdir()]
    assert len(written) >= 3
    assert all(SECRET not in text for text in [*written, line.stderr, whole.stderr])
