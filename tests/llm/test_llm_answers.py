"""What counts as an answer: thoughts and marks of chat templates, cut and filtered replies, at
every door: the OpenAI protocol, DashScope's own, batches, the judge and the writer."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from commands import run
from hypothesis import given
from hypothesis import strategies as st
from llm_server import Fault, LLMServer

from judge.scoring.parse import parse_reply
from reward_model.llm import (
    Caller,
    ChatMessage,
    LLMError,
    RefusedError,
    Reply,
    Request,
    RetryableError,
    open_llm,
)
from reward_model.llm.batch import Batches
from reward_model.records.chat.marks import answer_of, has_marks

DRAFT, FINAL = '{"levels": {"depth": 1}}', '{"levels": {"depth": 3}}'
ANSWERED = [
    f"<think>\nmaybe {DRAFT}\n</think>\n\n{FINAL}",
    f"maybe {DRAFT}\n</think>\n\n{FINAL}",
    f'<think>they wrote "</think>" so {DRAFT}</think>{FINAL}',
    f"<think>{DRAFT}</think>\n<think>again {DRAFT}</think>{FINAL}",
    f"[THINK]{DRAFT}[/THINK]{FINAL}</s>",
    f"◁think▷{DRAFT}◁/think▷{FINAL}<|im_end|>",
    f"<seed:think>{DRAFT}</seed:think>{FINAL}",
    f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant<|channel|>final<|message|>"
    f"{FINAL}<|return|>",
    f"analysisWe need a level, {DRAFT}assistantfinal{FINAL}",
    f"<|START_THINKING|>{DRAFT}<|END_THINKING|><|START_RESPONSE|>{FINAL}<|END_RESPONSE|>",
    f"<|im_start|>assistant\n{FINAL}<|im_end|>\n<|im_start|>user\nno, {DRAFT}",
    f"{FINAL}<｜end▁of▁sentence｜>",
    f"<start_of_turn>model\n{FINAL}<end_of_turn>",
]
UNFINISHED = [
    f"<think>maybe {DRAFT}",
    f"<think>maybe</think>no, wait <think>{DRAFT}",
    f"[THINK]{DRAFT}",
    f"<|channel|>analysis<|message|>{DRAFT}<|end|>",
    f"<thinking>{DRAFT}\n```json\n{DRAFT}\n```",
]


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "DASHSCOPE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def ask(**more: Any) -> Request:
    return Request(messages=(ChatMessage(role="user", content="grade"),), **more)


def answer(provider: str, text: str, finish: str | None = "stop", **said: Any) -> Reply:
    """What a provider makes of one choice of a 200."""
    choice = {"finish_reason": finish, "message": {"role": "assistant", "content": text, **said}}
    body: dict[str, Any] = {"choices": [choice], "model": "m"}
    if provider == "dashscope":
        body = {"output": body, "usage": {"input_tokens": 1, "output_tokens": 1}}

    async def main(server: LLMServer) -> Reply:
        if provider == "batch":
            return await through_batch(server)
        url = server.url if provider == "openai" else server.native_url
        llm = open_llm(f"{provider}:m", base_url=url)
        try:
            return await llm.complete(ask())
        finally:
            await llm.close()

    fault = Fault("body", status=200, body=body)
    with LLMServer(script=[fault]) as server:
        return asyncio.run(main(server))


async def through_batch(server: LLMServer) -> Reply:
    import tempfile

    llm = open_llm("openai:m", base_url=server.url)
    async with Caller() as caller:
        batches = Batches(llm, caller, Path(tempfile.mkdtemp(), "b.json"))  # type: ignore[arg-type]
        await batches.submit([ask()])
        await batches.wait(0.01)
        entry = caller.ledger.get(ask().key(llm.name, llm.base_url))
    await llm.close()
    if entry is None:
        raise RetryableError("owed")
    if entry.reply is None:
        raise RefusedError(entry.refused)
    return entry.reply


DOORS = pytest.mark.parametrize("provider", ["openai", "dashscope", "batch"])


@DOORS
def test_thoughts_and_marks_never_leave_a_provider(provider: str) -> None:
    assert answer(provider, ANSWERED[0]).text == FINAL
    assert answer(provider, ANSWERED[1]).text == FINAL
    assert answer(provider, ANSWERED[7]).text == FINAL
    unfinished = answer(provider, UNFINISHED[0])
    assert (unfinished.text, unfinished.finish_reason) == ("", "length")


@DOORS
@pytest.mark.parametrize("reason", ["length", "model_length", "max_tokens", "MAX_TOKENS"])
def test_every_word_for_cut_is_one(provider: str, reason: str) -> None:
    assert answer(provider, "half a", reason).finish_reason == "length"


@DOORS
@pytest.mark.parametrize("reason", ["insufficient_system_resource", "abort", "null"])
def test_a_reply_that_was_broken_off_is_asked_for_again(provider: str, reason: str) -> None:
    with pytest.raises(RetryableError):
        answer(provider, FINAL, reason)


@DOORS
@pytest.mark.parametrize("reason", ["content_filter", "sensitive", "SAFETY"])
def test_every_word_for_filtered_is_a_refusal(provider: str, reason: str) -> None:
    with pytest.raises(RefusedError):
        answer(provider, FINAL, reason)


@pytest.mark.parametrize("provider", ["openai", "dashscope"])
def test_a_thought_beside_an_empty_reply_is_never_the_answer(provider: str) -> None:
    with pytest.raises(RetryableError, match="reasoning_content"):
        answer(provider, "", reasoning_content=FINAL)


@pytest.mark.parametrize("provider", ["openai", "dashscope"])
def test_a_tool_call_is_no_answer(provider: str) -> None:
    with pytest.raises(LLMError, match="called a tool"):
        answer(provider, "", "tool_calls")


@pytest.mark.parametrize("text", ANSWERED)
def test_the_judge_reads_the_answer_and_not_the_draft(text: str) -> None:
    assert parse_reply(text, ["depth"], scale=4).levels == {"depth": 3}
    assert answer_of(text) == FINAL


@pytest.mark.parametrize("finish", ["stop", "length"])
@pytest.mark.parametrize("text", UNFINISHED)
def test_a_draft_in_an_unfinished_thought_is_no_level(text: str, finish: str) -> None:
    verdicts = parse_reply(text, ["depth"], scale=4, finish_reason=finish)
    assert verdicts.problems == {"depth": "truncated"}


def test_a_draft_in_a_cut_reply_without_marks_is_no_level() -> None:
    text = f"Let me try {DRAFT} and see whether"
    verdicts = parse_reply(text, ["depth"], scale=4, finish_reason="length")
    assert verdicts.problems == {"depth": "truncated"}


def test_marks_inside_json_strings_are_words() -> None:
    text = json.dumps({"reasoning": {"depth": "it says </think> and <|im_end|>"}, "levels": {}})
    assert answer_of(text + "<|im_end|>") == text


@given(st.text(alphabet="<>|/ \nabc59%") | st.text())
def test_ordinary_words_stay_as_they_are(text: str) -> None:
    if has_marks(text) or "<s>" in text or "</s>" in text or text.lstrip().startswith("]~"):
        return
    assert answer_of(text) == text


def test_tables_hold_no_marks() -> None:
    for table in ("| <5% | >5% |", "|<5%|>10%|", "|a|<b>|c|", "a <| b |> c", "x||<y"):
        assert not has_marks(table), table
        assert answer_of(table) == table


@pytest.mark.parametrize("provider", ["openai", "dashscope"])
def test_reports_have_no_thoughts_and_records_name_the_temperature_that_was_sent(
    tmp_path: Path, provider: str
) -> None:
    from reward_model.llm.offline import OfflineLLM

    class Thinking:
        name, base_url = "offline", ""

        async def complete(self, request: Request) -> Reply:
            reply = await OfflineLLM().complete(request)
            return reply.model_copy(update={"text": f"plan it</think>\n{reply.text}<|im_end|>"})

        async def close(self) -> None:
            pass

    def rule(body: dict[str, Any]) -> Fault | None:
        if "temperature" not in body.get("parameters", body):
            return None
        words = "Unsupported parameter: temperature is not supported with this model"
        return Fault(status=400, code="InvalidParameter", message=words, param="temperature")

    out, scored = tmp_path / "pairs.jsonl", tmp_path / "scored.jsonl"
    with LLMServer(model=Thinking(), rule=rule) as server:
        url = server.url if provider == "openai" else server.native_url
        there = ("--llm", f"{provider}:m", "--base-url", url)
        done = run("datagen", "pairs", "--out", out, "--pairs", 4, *there)
        assert done.code == 0, done.stderr
        done = run("judge", "score", out, "--out", scored, *there)
        assert done.code == 0, done.stderr
    for line in scored.read_text("utf-8").splitlines():
        row = json.loads(line)
        for side in ("chosen", "rejected"):
            assert not has_marks(row[side])
            assert "plan it" not in row[side]
        assert row["metadata"]["gold_metadata"]["temperature"] is None
        assert row["metadata"]["defect_metadata"]["temperature"] is None
        assert row["scores"]["judge"]["temperature"] is None
        assert row["scores"]["chosen"]["depth"] is not None
