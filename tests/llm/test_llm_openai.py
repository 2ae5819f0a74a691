"""`openai:` against servers that fail in every way they do, and that refuse parameters."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from llm_server import Fault, LLMServer

from reward_model.llm import (
    Caller,
    ChatMessage,
    FatalError,
    LLMError,
    RefusedError,
    Reply,
    Request,
    RetryableError,
    open_llm,
)
from reward_model.llm.capabilities import capabilities
from reward_model.records import UserError

SCHEMA = {
    "type": "object",
    "properties": {"level": {"type": "integer"}},
    "required": ["level"],
    "additionalProperties": False,
}


def ask(text: str = "hello", **more: Any) -> Request:
    return Request(messages=(ChatMessage(role="user", content=text),), **more)


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "DASHSCOPE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def complete(server: LLMServer, request: Request | None = None, model: str = "m") -> Reply:
    async def main() -> Reply:
        llm = open_llm(f"openai:{model}", base_url=server.url)
        try:
            return await llm.complete(request or ask())
        finally:
            await llm.close()

    return asyncio.run(main())


def error_of(fault: Fault) -> LLMError:
    with LLMServer(script=[fault]) as server, pytest.raises(LLMError) as caught:
        complete(server)
    return caught.value


def test_a_reply_with_its_usage_and_the_model_the_server_names() -> None:
    with LLMServer(answer=lambda messages: "营收增长") as server:
        reply = complete(
            server, ask("多少", temperature=0.3, max_tokens=50, top_logprobs=2, seed=7)
        )
    assert reply.text == "营收增长"
    assert reply.model == "m-2026-01-31"
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens) == (2, 4)
    assert reply.tokens is not None
    assert reply.tokens[0].top == (("营", -0.1), ("?", -2.5))
    body = server.bodies[0]
    assert body["temperature"] == 0.3
    assert body["max_tokens"] == 50
    assert body["seed"] == 7
    assert "enable_thinking" not in body


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(status=408, code="timeout"),
        Fault("drop"),
        Fault("garbage"),
        Fault("truncated"),
        Fault("body", status=200, body={"choices": None, "model": "m"}),
        Fault("body", status=200, body={"choices": [], "error": None}),
        Fault("body", status=200, body={"choices": [{"message": None}]}),
        Fault("body", status=200, body={"choices": [{"message": {"content": ""}}]}),
        Fault("body", status=200, body={"error": {"message": "oops", "code": 502}}),
        Fault("body", status=200, body={"object": "error", "message": "oops", "code": 50001}),
        Fault("body", status=200, body=b"[]"),
        Fault("body", status=200, body=b""),
        Fault("body", status=200, body=b"null"),
        Fault("body", status=502, body=b"<html>bad gateway</html>"),
    ],
)
def test_what_may_pass(fault: Fault) -> None:
    error = error_of(fault)
    assert isinstance(error, RetryableError)
    assert not error.rate


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=429, code="rate_limit_exceeded", headers={"retry-after": "3"}),
        Fault(
            status=429,
            code="insufficient_quota",
            message="You exceeded your current quota: tokens per minute",
            headers={"retry-after-ms": "3000"},
        ),
        Fault(status=503, code="overloaded", headers={"retry-after": "3"}),
        Fault("body", status=429, body=b"slow down", headers={"retry-after": "3"}),
    ],
)
def test_a_rate_limit_says_how_long_to_wait(fault: Fault) -> None:
    error = error_of(fault)
    assert isinstance(error, RetryableError)
    assert error.rate
    assert error.retry_after_s == 3.0


def test_a_quota_per_minute_of_alibaba_is_a_rate_limit_in_its_usual_words() -> None:
    words = "You exceeded your current quota, please check your plan and billing details."
    fault = Fault(status=429, code="insufficient_quota", message=words)
    with LLMServer(script=[fault, fault]) as server:
        with pytest.raises(RetryableError) as caught:
            complete(server, model="qwen-plus")
        assert caught.value.rate
        with pytest.raises(FatalError, match="credit on the account of the key in OPENAI_API_KEY"):
            complete(server, model="gpt-4o")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (Fault(status=401, code="invalid_api_key", message="Incorrect key"), "OPENAI_API_KEY"),
        (Fault(status=403, code="unsupported_country"), "no right to use m"),
        (Fault(status=404, code="model_not_found", message="no such"), "no model 'm' at http"),
        (Fault(status=402, code="", message="Insufficient Balance"), "without money"),
        (Fault(status=400, code="Arrearage", message="overdue"), "without money"),
        (Fault(status=429, code="billing_hard_limit_reached"), "without money"),
        (Fault("body", status=404, body=b"<html>nothing here</html>"), "check its name and"),
    ],
)
def test_what_stops_everything(fault: Fault, words: str) -> None:
    error = error_of(fault)
    assert isinstance(error, FatalError)
    assert words in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=400, code="content_filter", message="flagged"),
        Fault(status=400, code="data_inspection_failed", message="inappropriate"),
        Fault(
            "body",
            status=200,
            body={"choices": [{"finish_reason": "content_filter", "message": {"content": "I"}}]},
        ),
        Fault(
            "body",
            status=200,
            body={"choices": [{"message": {"content": None, "refusal": "I can't help"}}]},
        ),
    ],
)
def test_a_refusal_of_the_content(fault: Fault) -> None:
    error = error_of(fault)
    assert isinstance(error, RefusedError)
    assert error.content


def test_a_request_that_does_not_fit_is_refused_but_not_for_its_content() -> None:
    words = "This model's maximum context length is 8192 tokens"
    error = error_of(Fault(status=400, code="context_length_exceeded", message=words))
    assert isinstance(error, RefusedError)
    assert not error.content
    assert "maximum context length is 8192" in str(error)


def test_a_reply_cut_at_the_limit_says_so_even_when_thinking_ate_it_all() -> None:
    for text in ("half a", ""):
        body = {"choices": [{"finish_reason": "length", "message": {"content": text}}]}
        with LLMServer(script=[Fault("body", status=200, body=body)]) as server:
            reply = complete(server)
        assert reply.finish_reason == "length"
        assert reply.text == text


def test_thoughts_left_in_the_text_are_taken_out() -> None:
    with LLMServer(answer=lambda messages: "<think>\nhm\n</think>\n\nThe report") as server:
        assert complete(server).text == "The report"


def test_half_a_character_at_the_cut_does_no_harm(tmp_path: Path) -> None:
    choice = {"finish_reason": "length", "message": {"content": "up \ud83d"}}
    with LLMServer(script=[Fault("body", status=200, body={"choices": [choice]})]) as server:

        async def main() -> str:
            llm = open_llm("openai:m", base_url=server.url)
            async with Caller(ledger=tmp_path / "calls.jsonl") as caller:
                answer = await caller.complete(llm, ask())
                again = await caller.complete(llm, ask())
            await llm.close()
            assert again.cached
            return answer.reply.text

        assert asyncio.run(main()) == "up \ufffd"


def test_a_server_that_is_not_there() -> None:
    async def main() -> None:
        llm = open_llm("openai:m", base_url="http://127.0.0.1:9/v1")
        with pytest.raises(RetryableError) as caught:
            await llm.complete(ask())
        assert not caught.value.billed
        await llm.close()

    asyncio.run(main())


def refuses(*names: str, words: str = "Unsupported parameter: '{0}' is not supported") -> Any:
    def rule(body: dict[str, Any]) -> Fault | None:
        for name in names:
            if name in body:
                message = words.format(name)
                return Fault(status=400, code="unsupported_parameter", message=message, param=name)
        return None

    return rule


EVERYTHING = ask(temperature=0.3, max_tokens=9, seed=1, top_logprobs=3, json_schema=SCHEMA)


def learned(server: LLMServer, model: str = "m") -> dict[str, Any]:
    async def main() -> dict[str, Any]:
        llm = open_llm(f"openai:{model}", base_url=server.url)
        await llm.complete(EVERYTHING)
        await llm.complete(EVERYTHING)
        await llm.close()
        return capabilities(llm)

    return asyncio.run(main())


def test_refused_parameters_are_left_out_and_remembered() -> None:
    rule = refuses("temperature", "seed", "top_logprobs")
    with LLMServer(rule=rule) as server:
        found = learned(server)
    assert not any(found[name] for name in ("temperature", "seed", "logprobs"))
    assert server.requests == 5  # three lessons, then every request goes through
    assert server.paid == 2


def test_the_name_of_the_token_limit_is_learned_either_way() -> None:
    words = "Unsupported parameter: '{0}'. Use 'max_completion_tokens' instead."
    with LLMServer(rule=refuses("max_tokens", words=words)) as server:
        assert learned(server)["token_limit"] == "max_completion_tokens"
    assert server.bodies[-1]["max_completion_tokens"] == 9


def test_a_token_limit_that_is_too_high_is_no_reason_to_rename_it() -> None:
    fault = Fault(status=400, code="invalid_value", message="max_tokens is too large", param="")
    with LLMServer(rule=lambda body: fault) as server, pytest.raises(RefusedError):
        complete(server, EVERYTHING)
    assert server.requests == 1


def test_json_steps_down_from_schema_to_object_to_words() -> None:
    def rule(body: dict[str, Any]) -> Fault | None:
        kind = body.get("response_format", {}).get("type")
        words = f"response_format type {kind} is unavailable now"
        return Fault(status=400, code="invalid_request_error", message=words) if kind else None

    with LLMServer(rule=rule) as server:
        assert learned(server)["json"] == "prompt"
    kinds = [body.get("response_format", {}).get("type") for body in server.bodies]
    assert kinds == ["json_schema", "json_object", None, None]
    assert server.bodies[0]["response_format"]["json_schema"]["strict"] is True
    assert '"level"' in server.bodies[1]["messages"][0]["content"]
    assert "JSON" in server.bodies[2]["messages"][0]["content"]


def test_thinking_is_switched_off_explicitly_for_qwen() -> None:
    with LLMServer() as server:
        found = learned(server, "qwen3-8b")
    assert found["thinking"] == "switch"
    assert server.bodies[0]["enable_thinking"] is False
    assert server.bodies[0]["chat_template_kwargs"] == {"enable_thinking": False}


def test_a_model_that_always_thinks_is_let_think() -> None:
    def rule(body: dict[str, Any]) -> Fault | None:
        words = "The value of the enable_thinking parameter is restricted to True."
        good = body.get("enable_thinking") is True
        return None if good else Fault(status=400, code="invalid_parameter", message=words)

    with LLMServer(rule=rule) as server:
        assert learned(server, "qwq-plus")["thinking"] == "always"


def test_the_probe_learns_and_reports_what_came_back() -> None:
    answer = '{"ok": true}'
    rule = refuses("temperature")
    with LLMServer(rule=rule, answer=lambda messages: answer) as server:

        async def main() -> dict[str, Any]:
            llm = open_llm("openai:m", base_url=server.url)
            async with Caller() as caller:
                found = await caller.probe(llm)
                assert caller.report()["models"][0]["capabilities"]["temperature"] is False
            await llm.close()
            return found

        found = asyncio.run(main())
    assert found["temperature"] is False
    assert found["observed"] == {
        "model": "m-2026-01-31",
        "json": True,
        "logprobs": True,
        "reasoning_tokens": 0,
    }


def test_the_address_comes_from_the_argument_or_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1234/v1/")
    assert open_llm("openai:m").base_url == "http://localhost:1234/v1"
    assert open_llm("openai:m", base_url="http://me:pw@h/v1").base_url == "http://h/v1"


def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="OPENAI_API_KEY"):
        open_llm("openai:gpt-4o")
    with pytest.raises(UserError, match="DASHSCOPE_API_KEY"):
        open_llm("openai:qwen-plus", base_url="https://dashscope.aliyuncs.com/compatible-mode/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "word")
    assert open_llm("openai:gpt-4o").base_url == "https://api.openai.com/v1"


@pytest.mark.parametrize("key", ["sk-a\nb", "sk-“quoted”", "two words"])
def test_a_key_that_is_none_is_not_quoted(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(UserError, match="environment variable OPENAI_API_KEY") as caught:
        open_llm("openai:m")
    assert key not in str(caught.value)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x/v1", "http://", "http://[::1/v1"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="expected an address such as"):
        open_llm("openai:m", base_url=url)


@pytest.mark.parametrize("name", ["gpt-4o", "openai:", "scripted:", "azure:x"])
def test_a_model_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(UserError):
        open_llm(name)
