"""`dashscope:` against a loopback server of the native protocol, with the SDK that is installed."""

from __future__ import annotations

import asyncio
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


def ask(text: str = "hello", **more: Any) -> Request:
    return Request(messages=(ChatMessage(role="user", content=text),), **more)


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DASHSCOPE_API_KEY", "DASHSCOPE_HTTP_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def complete(server: LLMServer, request: Request | None = None) -> Reply:
    async def main() -> Reply:
        llm = open_llm("dashscope:qwen-plus", base_url=server.native_url)
        try:
            return await llm.complete(request or ask())
        finally:
            await llm.close()

    return asyncio.run(main())


def error_of(fault: Fault) -> LLMError:
    with LLMServer(script=[fault]) as server, pytest.raises(LLMError) as caught:
        complete(server)
    return caught.value


def test_a_reply_and_what_was_sent_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", "word")
    request = ask("多少", temperature=0.3, max_tokens=50, seed=7, json_schema={"a": 1})
    with LLMServer(answer=lambda messages: "营收增长", key="word") as server:
        reply = complete(server, request)
    assert reply.text == "营收增长"
    assert reply.finish_reason == "stop"
    assert reply.usage.completion_tokens == 4
    sent = server.bodies[0]["parameters"]
    assert sent["result_format"] == "message"
    assert sent["enable_thinking"] is False
    assert sent["temperature"] == 0.3
    assert sent["max_tokens"] == 50
    assert sent["seed"] == 7
    assert sent["response_format"] == {"type": "json_object"}
    assert "JSON" in server.bodies[0]["input"]["messages"][0]["content"]


@pytest.mark.parametrize("code", ["Throttling", "Throttling.RateQuota", "Throttling.BurstRate"])
def test_throttling_is_a_rate_limit(code: str) -> None:
    error = error_of(Fault(status=429, code=code, message="Requests rate limit exceeded"))
    assert isinstance(error, RetryableError)
    assert error.rate


def test_a_quota_of_tokens_a_minute_is_no_end() -> None:
    words = "You exceeded your current quota, please check your plan and billing details."
    error = error_of(Fault(status=429, code="insufficient_quota", message=words))
    assert isinstance(error, RetryableError)
    assert error.rate


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (401, "InvalidApiKey", "environment variable DASHSCOPE_API_KEY"),
        (400, "Arrearage", "credit on the account of the key in DASHSCOPE_API_KEY"),
        (404, "ModelNotFound", "no model 'qwen-plus'"),
        (400, "Model.NotExist", "no model 'qwen-plus'"),
        (403, "AccessDenied.Unpurchased", "without money"),
        (403, "Model.AccessDenied", "no model 'qwen-plus'"),
    ],
)
def test_what_stops_everything(status: int, code: str, words: str) -> None:
    error = error_of(Fault(status=status, code=code, message="no"))
    assert isinstance(error, FatalError)
    assert words in str(error)


def test_inspected_content_is_refused_for_good() -> None:
    error = error_of(Fault(status=400, code="DataInspectionFailed", message="inappropriate"))
    assert isinstance(error, RefusedError)
    assert error.content


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500, code="InternalError.Algo"),
        Fault("drop"),
        Fault("garbage"),
        Fault("truncated"),
        Fault("body", status=200, body={"code": "InternalError", "message": "x"}),
        Fault("body", status=200, body={"output": None, "code": "X", "message": "y"}),
        Fault("body", status=200, body={"output": {"choices": []}, "usage": {}}),
        Fault("body", status=200, body={"output": {"text": "no message"}, "usage": {}}),
        Fault("body", status=200, body=b"[]"),
        Fault("body", status=502, body=b"<html></html>"),
        Fault("body", status=500, body={"message": "no code"}),
    ],
)
def test_what_may_pass(fault: Fault) -> None:
    if fault.kind == "drop":  # newer SDKs send once more on a new connection
        with LLMServer(faults={"drop": 1.0}) as server, pytest.raises(RetryableError):
            complete(server)
        return
    error = error_of(fault)
    assert isinstance(error, RetryableError)
    assert not error.rate


def test_a_refused_parameter_is_left_out() -> None:
    def rule(body: dict[str, Any]) -> Fault | None:
        if "enable_thinking" in body["parameters"]:
            words = "parameter enable_thinking is not supported by this model"
            return Fault(status=400, code="InvalidParameter", message=words)
        return None

    with LLMServer(rule=rule) as server:

        async def main() -> dict[str, Any]:
            llm = open_llm("dashscope:qwen-plus", base_url=server.native_url)
            async with Caller() as caller:
                for i in range(3):
                    await caller.complete(llm, ask(sample=i))
            await llm.close()
            return capabilities(llm)

        assert asyncio.run(main())["thinking"] == "none"
    assert server.requests == 4


def test_many_at_once() -> None:
    with LLMServer(latency_s=0.2) as server:

        async def main() -> None:
            llm = open_llm("dashscope:qwen-plus", base_url=server.native_url)
            await asyncio.gather(*(llm.complete(ask(str(i))) for i in range(150)))
            await llm.close()

        asyncio.run(main())
    assert server.paid == 150
    assert server.most_in_flight > 100


def test_the_address_and_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="DASHSCOPE_API_KEY"):
        open_llm("dashscope:qwen-plus")
    monkeypatch.setenv("DASHSCOPE_HTTP_BASE_URL", "http://localhost:1234/api/v1")
    assert open_llm("dashscope:qwen-plus").base_url == "http://localhost:1234/api/v1"


def test_log_probabilities_are_not_asked_for_since_the_sdk_cannot_hold_them() -> None:
    with LLMServer() as server:
        assert complete(server, ask(top_logprobs=5)).text == "reply to 5"
        assert "logprobs" not in server.bodies[0]["parameters"]
