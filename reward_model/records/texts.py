"""What a scorer is given, in the package's own form, and what of it cannot be scored at all.

`as_pairs(prompts, responses)` and `unfit(prompt, response)`, the same for a scorer, a client and
the rewards of trainers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any, TypeVar

from reward_model.records import Message, Text, UserError, as_text
from reward_model.records.chat.messages import FORM, ChatError, as_messages

Read = TypeVar("Read")
Words = str | Sequence[Message | Mapping[str, Any]]
"""A prompt or response: a string, or chat messages as records or as plain dicts."""


def as_pairs(prompts: Sequence[Words], responses: Sequence[Words]) -> list[tuple[Text, Text]]:
    """Prompts beside their responses, in the package's own form.

    Raises:
        UserError: not as many of one as of the other, or something that is no text.
    """
    return read_each(
        prompts, responses, lambda p, r: (as_words(p, "prompt"), as_words(r, "response"))
    )


def read_each(prompts: Any, responses: Any, read: Callable[[Any, Any], Read]) -> list[Read]:
    """`read` of every prompt with its response; an error says which it was.

    Raises:
        UserError: something else than two lists, not as many of one as of the other, or what
            `read` refuses.
    """
    asked, said = _listed(prompts, "prompts"), _listed(responses, "responses")
    if len(asked) != len(said):
        raise UserError(
            f"{len(asked)} prompts and {len(said)} responses",
            expected="as many prompts as responses",
        )
    found = []
    for at, (prompt, response) in enumerate(zip(asked, said, strict=True), 1):
        try:
            found.append(read(prompt, response))
        except UserError as error:
            if len(said) == 1:
                raise
            where = f"{error.found} (number {at} of {len(said)})"
            raise UserError(where, expected=error.expected, mend=error.mend) from None
    return found


def _listed(texts: Any, what: str) -> list[Any]:
    if isinstance(texts, str):
        raise UserError("one text", expected="two lists", mend="use score() for one response")
    # A mapping has only its keys to give, a set no order.
    if isinstance(texts, bytes | Mapping | Set) or not isinstance(texts, Iterable):
        found = f"{type(texts).__name__} as {what}"
        raise UserError(found, expected="two lists of strings or of chat messages")
    return list(texts)


def as_words(text: Words, what: str) -> Text:
    """A string or chat messages in the package's own form.

    Raises:
        UserError: it is neither, or holds something that is no text, such as an image.
    """
    try:
        words: Any = as_messages(text)
    except ChatError as error:
        raise UserError(f"{error.found} in a {what}", expected=error.expected) from None
    if isinstance(words, str):
        return words
    if not isinstance(words, tuple):
        short = repr(text)
        short = short if len(short) <= 60 else short[:57] + "..."
        raise UserError(f"{short} as a {what}", expected=FORM)
    return words


def unfit(prompt: Text, response: Text) -> str | None:
    """Why a text cannot be scored at all."""
    if not as_text(response).strip():
        return "the response is empty"
    for name, text in (("prompt", prompt), ("response", response)):
        if is_broken(as_text(text)):
            return f"the {name} is not valid Unicode: it holds half of a character"
    if not visible(as_text(response)):
        return "the response has no visible character"
    return None


def is_broken(text: str) -> bool:
    """Whether half of a surrogate pair is in it, which no model can read and no file hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def visible(text: str) -> bool:
    """Whether there is more than spaces, controls and marks of no width, which many tokenizers
    leave out.

    >>> visible("\\u200b \\x00"), visible("\\u200b.")
    (False, True)
    """
    return any(unicodedata.category(c) not in {"Cc", "Cf", "Zs", "Zl", "Zp"} for c in text)


__all__ = [
    "SENTENCE_END",
    "Words",
    "as_pairs",
    "as_words",
    "is_broken",
    "language_of",
    "read_each",
    "sentence_starts",
    "unfit",
    "visible",
]


def language_of(text: str) -> str:
    """The language most of the text is in: a Chinese name in an English report changes nothing.

    >>> language_of("Revenue of 华新水泥 (Huaxin Cement) rose by 10.6%."), language_of("EPS 上升。")
    ('en', 'zh')
    """
    chinese = len(re.findall(r"[\u4e00-\u9fff]", text))
    words = len(re.findall(r"[A-Za-z]+", text))
    return "zh" if chinese > words else "en"


SENTENCE_END = re.compile(r"(?<=[。！？；])|(?<=[.!?])\s+(?=\S)")
"""Between two sentences of a line; a point inside a number ends none."""
_CLOSING = "。！？；”’」』）)]》\"'"
_NO_END = re.compile(
    r"(?:\b(?:Inc|Ltd|Co|Corp|No|Nos|Mr|Ms|Dr|vs|approx|Fig|e\.g|i\.e)|\b[A-Z])\.$"
)
"""A point after one of these abbreviations, or after a single capital, ends no sentence."""


def sentence_starts(line: str) -> list[int]:
    """Where the second and all later sentences of a line begin, in Chinese and English.

    Quotation marks and brackets that close stay with their sentence.

    >>> line = "他说：“增长10.5%。”成本下降。 Acme Inc. grew. So did U.S. sales."
    >>> cuts = [0, *sentence_starts(line), len(line)]
    >>> [line[a:b] for a, b in zip(cuts, cuts[1:])]
    ['他说：“增长10.5%。”', '成本下降。 ', 'Acme Inc. grew. ', 'So did U.S. sales.']
    """
    starts: list[int] = []
    for end in SENTENCE_END.finditer(line):
        place = end.end()
        if end.start() == place:  # after a Chinese mark
            while place < len(line) and line[place] in _CLOSING:
                place += 1
            while place < len(line) and line[place].isspace():
                place += 1
        elif _NO_END.search(line[max(0, end.start() - 10) : end.start()]):
            continue
        if place < len(line) and (not starts or place > starts[-1]):
            starts.append(place)
    return starts
