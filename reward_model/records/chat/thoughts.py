"""What a model thought before it answered, which is not part of its answer.

`after_thought("<think>hm</think>Up.")` gives what is judged; a text that ends within its thought
has no answer, and says so. For texts of data sets and policies, which may speak of such marks: only
what a text begins with is a thought. (`marks` beside it reads the replies of models that we call.)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from reward_model.records.errors import UserError

Marks = tuple[str, str]
"""What stands before and after a thought: ``("<think>", "</think>")``."""
KNOWN: tuple[Marks, ...] = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("◁think▷", "◁/think▷"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel|>analysis<|message|>", "<|end|>"),
    ("<|channel>thought", "<channel|>"),
)
"""Marks that models write around their thoughts, taken for such where a text begins with them."""
MID_THOUGHT = "the response ends within its thought"
NO_ANSWER = "the response is a thought without an answer"

_CLOSING = re.compile(
    r"(?:(?<=\n)|\A)[ \t]*(?:{0})|(?:{0})[ \t]*(?=\n)".format(
        "|".join(re.escape(end) for _, end in KNOWN if end != "<|end|>")
    )
)
"""A closing mark of which a chat template wrote the opening one: at the edge of a line, as models
write it; one within a sentence is spoken of."""
_FRAME = re.compile(
    r"\A\s*(?:(?:<\|start\|>assistant)?<\|channel\|>final<\|message\|>|<\|begin_of_solution\|>"
    r"|<\|START_RESPONSE\|>)"
)
_FRAME_END = re.compile(
    r"\s*(?:<\|return\|>|<\|end\|>|<\|end_of_solution\|>|<\|END_RESPONSE\|>)\s*\Z"
)
"""What some models write around the answer that follows their thought."""


def checked_marks(marks: Any) -> Marks | None:
    """Declared marks of a thought; None stays None.

    >>> checked_marks(["<a>", "</a>"])
    ('<a>', '</a>')

    Raises:
        UserError: not a mark before and one after.
    """
    if marks is None:
        return None
    pair = () if isinstance(marks, str) or not isinstance(marks, Sequence) else tuple(marks)
    if len(pair) != 2 or not all(isinstance(mark, str) and mark.strip() for mark in pair):
        raise UserError(
            f"thinking {marks!r}",
            expected='what stands before and after a thought: ("<a>", "</a>")',
        )
    return pair[0], pair[1]


class Answer(NamedTuple):
    """What of a text is judged."""

    text: str
    """Empty where there is no answer."""
    reason: str | None = None
    """Why there is none."""


def after_thought(text: str, marks: Marks | None = None) -> Answer:
    """A response without the thoughts it begins with.

    A chat template may open the thought itself: then the response has the closing mark alone.

    Args:
        text: as it was written.
        marks: declared ones, beside those that are known.

    >>> [after_thought(t).text for t in ("<think>hm</think>Up.", "let me see\\n</think>\\nUp.")]
    ['Up.', 'Up.']
    >>> after_thought("<think>hm, let me").reason
    'the response ends within its thought'
    >>> after_thought("(hm) Up.", ("(", ")")).text
    'Up.'
    """
    known = KNOWN if marks is None else (marks, *KNOWN)
    rest = text
    opened = True
    while opened:
        bare = rest.lstrip()
        if bare.startswith("<|start|>assistant<|channel|>analysis"):
            bare = bare.removeprefix("<|start|>assistant")
        found = next((one for one in known if bare.startswith(one[0])), None)
        opened = found is not None
        if found is not None:
            _, closed, said = bare[len(found[0]) :].partition(found[1])
            if not closed:
                return Answer("", MID_THOUGHT)
            rest = said.lstrip()
    if rest is text:
        rest = _after_closing(text, marks)
    if frame := _FRAME.match(rest):
        rest = _FRAME_END.sub("", rest[frame.end() :])
    if rest is not text and not rest.strip():
        return Answer("", NO_ANSWER)
    return Answer(rest)


def without_thought(text: str, marks: Marks | None) -> str:
    """A response without the thought that was declared.

    One that is nothing but a thought is written with marks that are known everywhere, so that
    whoever scores it finds no answer in it.

    >>> marks = ("(", ")")
    >>> [without_thought(t, marks) for t in ("(hm) Up.", "hm) Up.", "Up.", "(hm, let me", "(hm)")]
    ['Up.', 'Up.', 'Up.', '<think>(hm, let me', '<think></think>']
    """
    return text if marks is None else kept(text, after_thought(text, marks))


def kept(text: str, answer: Answer) -> str:
    """The answer, or a text that has none for everybody, for the same reason."""
    if answer.reason == MID_THOUGHT:
        begin = KNOWN[0][0]
        return text if text.lstrip().startswith(begin) else begin + text
    return "".join(KNOWN[0]) if answer.reason == NO_ANSWER else answer.text


def _after_closing(text: str, marks: Marks | None) -> str:
    if marks is not None:
        before, closed, said = text.partition(marks[1])
        if closed and marks[0] not in before:
            return said.lstrip()
    found = _CLOSING.search(text) if any(end in text for _, end in KNOWN) else None
    if found is None:
        return text
    end = found[0].strip()
    begin = next(one for one, other in KNOWN if other == end)
    return text if begin in text[: found.start()] else text[found.end() :].lstrip()
