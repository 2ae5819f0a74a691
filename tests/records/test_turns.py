"""Any chat becomes what was asked and what is judged; what cannot is refused or has its reason."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_model.records import Message, Pair, UserError
from reward_model.records.chat.messages import ChatError, as_messages
from reward_model.records.chat.thoughts import KNOWN, MID_THOUGHT, NO_ANSWER, after_thought
from reward_model.records.chat.turns import CALL_ALONE, NO_WORDS, judged
from reward_model.records.texts import as_words


def user(text: str = "Margins?") -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: str | None = "Up.", **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


DOWN = {"role": "assistant", "content": "Down."}
SYSTEM = {"role": "system", "content": "Be brief."}
CALL = said(None, tool_calls=[{"id": "1", "type": "function", "function": {"name": "look"}}])
TOOL = {"role": "tool", "content": "14.2%", "tool_call_id": "1", "name": "look"}


@pytest.mark.parametrize(
    ("prompt", "response", "asked", "answer"),
    [
        ("Margins?", "Up.", "Margins?", "Up."),
        ("Margins?", [said()], "Margins?", "Up."),
        ("Margins?", [user(), said()], "Margins?", "Up."),
        ("Margins?", [SYSTEM, user(), said()], [SYSTEM, user()], "Up."),
        ([SYSTEM, user()], [user(), said()], [SYSTEM, user()], "Up."),
        ("", [user(), said()], [user()], "Up."),
        ("", [user(), said("Yes."), user("And?"), said()], [user(), said("Yes."), user("And?")], 0),
        ("And?", [user(), said("Yes."), user("And?"), said()], 3, "Up."),
        ("Margins?", [CALL, TOOL, said()], "Margins?", "Up."),
        ("Margins?", [said("Let me look."), TOOL, said()], "Margins?", "Let me look.\n\nUp."),
        ([user(), CALL, TOOL], [said()], [user(), TOOL], "Up."),
        ("Costs?", [user(), said()], [user("Costs?"), user()], "Up."),
        ("Margins?", "<think>hm</think>\n\nUp.", "Margins?", "Up."),
        ("Margins?", [said("<think>a</think>"), TOOL, said("<think>b</think>Up.")], "Margins?", 0),
    ],
)
def test_what_was_asked_and_what_is_judged(
    prompt: Any, response: Any, asked: Any, answer: Any
) -> None:
    found = judged(as_messages(prompt), as_messages(response))
    if isinstance(asked, int):
        asked = response[:asked]
    if isinstance(asked, list):
        assert isinstance(found.prompt, tuple)
        assert [(m.role, m.content) for m in found.prompt] == [
            (m["role"], m["content"]) for m in asked
        ]
    else:
        assert found.prompt == asked
    assert (found.answer, found.reason) == (answer or "Up.", None)
    # Taken apart once more, nothing else comes off.
    assert judged(found.prompt, found.text) == found


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ("<think>let me see", MID_THOUGHT),
        ("  <thinking>let me see", MID_THOUGHT),
        ("<think>a</think>\n<think>let me see", MID_THOUGHT),
        ([said("<think>a</think>So"), TOOL, said("<think>let me")], MID_THOUGHT),
        ("<think>let me see</think>\n", NO_ANSWER),
        ([said(None, reasoning_content="hm")], NO_ANSWER),
        ([said([{"type": "thinking", "thinking": "hm"}], thinking="hm")], NO_ANSWER),
        ([user()], NO_WORDS),
        ([TOOL], NO_WORDS),
        ([CALL], CALL_ALONE),
        ([{"from": "human", "value": "Margins?"}, {"from": "function_call", "value": "{}"}], 0),
    ],
)
def test_what_is_no_answer_has_its_reason(response: Any, reason: Any) -> None:
    found = judged("", as_messages(response))
    assert (found.answer, found.reason) == ("", reason or CALL_ALONE)
    if reason in (MID_THOUGHT, NO_ANSWER):  # and keeps it where only a text goes on
        assert judged("", found.text).reason == reason


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        *((f"{begin}hm{end}\n\nUp.", "Up.") for begin, end in KNOWN),
        ("let me see\n</think>\n\nUp.", "Up."),
        ("</think>\nUp.", "Up."),
        ("<think>\n\n</think>\n\n<think>b</think>Up.", "Up."),
        (
            "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Up.",
            0,
        ),
        ("<|channel|>final<|message|>Up.<|return|>", "Up."),
        ("<|begin_of_thought|>x<|end_of_thought|>\n<|begin_of_solution|>Up.<|end_of_solution|>", 0),
        ("A tag <think>a</think> is no answer.", "A tag <think>a</think> is no answer."),
        ("The mark </think> ends a thought.", "The mark </think> ends a thought."),
        ("  Up.", "  Up."),
    ],
)
def test_thoughts_come_off_by_known_marks(text: str, answer: Any) -> None:
    assert after_thought(text) == (answer or "Up.", None)


@given(st.text(), st.text(st.characters(exclude_characters="<[◁")))  # with which each mark begins
def test_what_is_no_thought_stays_as_it_is(asked: str, text: str) -> None:
    assert judged(asked, text) == (asked, text, None)


def test_roles_and_contents_of_other_programs() -> None:
    talk = as_words(
        [
            {"from": "system", "value": "Be brief."},
            {"role": "developer", "content": [{"type": "input_text", "text": "In English."}]},
            {"from": "human", "value": "Margins?"},
            {"from": "gpt", "value": "Up.", "weight": 1},
            {"role": "User", "content": ["And", {"type": "text", "text": "costs?"}], "name": "Li"},
            {"role": "model", "content": [{"type": "tool_use", "id": "1"}, {"text": "Down."}]},
            {"role": "assistant", "content": None, "refusal": "No.", "tool_calls": None},
        ],
        "prompt",
    )
    assert [(m.role, m.content) for m in talk] == [
        ("system", "Be brief."),
        ("system", "In English."),
        ("user", "Margins?"),
        ("assistant", "Up."),
        ("user", "And\ncosts?"),
        ("assistant", "Down."),
        ("assistant", "No."),
    ]
    assert talk[4].name == "Li"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}, "an image (part 1"),
        ({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "input_audio"}]}, ""),
        ({"role": "user"}, "no content in message 2"),
        ({"content": "x"}, "no role in message 2"),
        ({"role": "user", "content": 3}, "content of type int in message 2"),
        ({"role": "user", "content": [{"type": "text", "text": None}]}, "no text in part 1"),
        ("x", "'x' as message 2"),
    ],
)
def test_what_is_no_text_is_named(message: Any, words: str) -> None:
    with pytest.raises(ChatError) as told:
        as_messages([SYSTEM, message])
    assert (words or "a sound (part 2 of message 2)") in str(told.value)
    with pytest.raises(UserError, match="in a response"):
        as_words([SYSTEM, message], "response")


TALK = [user(), said()]


@pytest.mark.parametrize(
    ("row", "prompt", "chosen", "rejected"),
    [
        ({"chosen": TALK, "rejected": [user(), DOWN]}, [user()], "Up.", "Down."),
        ({"prompt": "Margins?", "chosen": TALK, "rejected": [user(), DOWN]}, 0, "Up.", "Down."),
        (
            {"chosen": [user(), CALL, TOOL, said()], "rejected": [user(), CALL, TOOL, DOWN]},
            [user(), TOOL],
            "Up.",
            "Down.",
        ),
        (
            {"chosen": [*TALK, user("b"), said("c")], "rejected": [user(), DOWN]},
            [user()],
            "Up.\n\nc",
            "Down.",
        ),
        ({"chosen": TALK, "rejected": TALK}, [user()], "Up.", "Up."),
        (
            {"chosen": TALK, "rejected": [*TALK, user("b"), said("c")]},
            [user()],
            "Up.",
            "Up.\n\nc",
        ),
        (
            {
                "chosen": [user(), said("<think>x</think>Up.")],
                "rejected": [user(), said("<think>y")],
            },
            [user()],
            "Up.",
            "<think>",
        ),
        ({"chosen": TALK, "rejected": [user()]}, [user()], "Up.", ""),
    ],
)
def test_common_turns_of_a_pair_are_its_prompt(
    row: dict[str, Any], prompt: Any, chosen: str, rejected: str
) -> None:
    before = copy.deepcopy(row)
    pair = Pair.model_validate(row)
    assert row == before
    if isinstance(prompt, list):
        assert [(m.role, m.content) for m in pair.prompt if isinstance(m, Message)] == [
            (m["role"], m["content"]) for m in prompt
        ]
    else:
        assert pair.prompt == (prompt or "Margins?")
    assert (pair.chosen, pair.rejected) == (chosen, rejected)
    assert Pair.model_validate(pair.to_json()) == pair


def test_sides_that_answer_different_prompts_are_refused() -> None:
    with pytest.raises(ValueError, match="responses to different turns"):
        Pair.model_validate({"chosen": [user("a"), said()], "rejected": [user("b"), said("Down.")]})
