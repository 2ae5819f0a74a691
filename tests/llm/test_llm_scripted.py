"""The scripted model does what its file says, and says which line is wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from reward_model.llm import (
    ChatMessage,
    FatalError,
    RefusedError,
    Request,
    RetryableError,
    open_llm,
)
from reward_model.llm.scripted import ScriptedLLM
from reward_model.records import UserError, write_jsonl


def ask(text: str) -> Request:
    return Request(messages=(ChatMessage(role="user", content=text),))


def test_steps_in_order_and_by_matching(tmp_path: Path) -> None:
    path = tmp_path / "script.jsonl"
    rows = [
        {"reply": "first", "finish_reason": "length", "usage": {"prompt_tokens": 4}},
        {"reply": "about cash", "match": "cash|现金"},
        {"error": "rate", "retry_after_s": 2.5},
        {"error": "refused", "match": "secret", "times": 1},
    ]
    write_jsonl(path, rows)
    llm = open_llm(f"scripted:{path}")
    assert isinstance(llm, ScriptedLLM)

    async def main() -> None:
        assert (await llm.complete(ask("现金流"))).text == "about cash"
        reply = await llm.complete(ask("anything"))
        assert (reply.text, reply.finish_reason, reply.usage.prompt_tokens) == (
            "first",
            "length",
            4,
        )
        with pytest.raises(RefusedError):
            await llm.complete(ask("a secret"))
        with pytest.raises(RetryableError) as caught:
            await llm.complete(ask("a secret"))
        assert caught.value.rate
        assert caught.value.retry_after_s == 2.5
        assert (await llm.complete(ask("cash again"))).text == "about cash"
        with pytest.raises(FatalError, match="without an answer to request 6"):
            await llm.complete(ask("one too many"))

    asyncio.run(main())
    assert len(llm.requests) == 6


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"reply": "a", "error": "rate"}, "both or neither"),
        ({}, "both or neither"),
        ({"reply": "a", "mach": "b"}, "mach: extra inputs"),
        ({"error": "explode"}, "error: input should be"),
        ({"reply": "a", "match": "("}, "unterminated"),
    ],
)
def test_a_wrong_step_is_named(tmp_path: Path, row: dict[str, str], words: str) -> None:
    path = tmp_path / "script.jsonl"
    write_jsonl(path, [{"reply": "fine"}, row])
    with pytest.raises(UserError, match="line 2") as caught:
        open_llm(f"scripted:{path}")
    assert words in str(caught.value)
