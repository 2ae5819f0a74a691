"""Head and tail of a text in tokens, without tokenising the middle of a very long one.

A prompt of 118,000 characters of which 200 tokens are kept costs the tokenising of a few thousand
characters; the tokens kept are those that the whole text would have given.
"""

from __future__ import annotations

from collections.abc import Callable

MARGIN = 32
"""Tokens next to a cut of characters that are not trusted: the cut may have split a word."""
FIRST_LOOK = 8
"""Characters read for each token wanted, before looking again at twice as many."""


def head_and_tail(
    encode: Callable[[str], list[int]], text: str, budget: int
) -> tuple[list[int], bool]:
    """At most `budget` token ids of `text`, and whether its middle was left out.

    A text that fits is kept whole; of one that does not, the first and the last half are kept.

    >>> head_and_tail(lambda text: [ord(c) for c in text], "abcdef", 4)
    ([97, 98, 101, 102], True)
    """
    if budget <= 0:
        return [], bool(text)
    if read_whole(text, budget):
        ids = encode(text)
        return _cut(ids, ids, budget) if len(ids) > budget else (ids, False)
    head_room = budget - budget // 2
    head, whole = _enough(encode, text, budget + MARGIN, from_end=False)
    if whole:
        return _cut(head, head, budget) if len(head) > budget else (head, False)
    tail, _ = _enough(encode, text, budget - head_room + MARGIN, from_end=True)
    return _cut(head, tail, budget)


def read_whole(text: str, budget: int) -> bool:
    """Whether a text is tokenised whole at once: it is shorter than one look.

    Every tokenizer here gives at least one token for 64 characters of ordinary text.
    """
    return len(text) <= FIRST_LOOK * (budget + 2 * MARGIN)


def _cut(head: list[int], tail: list[int], budget: int) -> tuple[list[int], bool]:
    end = budget // 2
    return head[: budget - end] + (tail[-end:] if end else []), True


def _enough(
    encode: Callable[[str], list[int]], text: str, wanted: int, *, from_end: bool
) -> tuple[list[int], bool]:
    """At least `wanted` ids from one end; True if that took the whole text."""
    length = FIRST_LOOK * (wanted + MARGIN)
    while length < len(text):
        piece = _slice(text, length, from_end)
        ids = encode(piece)
        if len(ids) >= wanted:
            return ids, False
        length *= 2
    return encode(text), True


def _slice(text: str, length: int, from_end: bool) -> str:
    """A piece that ends at white space where there is some near, so that no word is split."""
    if from_end:
        start = len(text) - length
        near = text.find("\n", start, start + length // 8)
        return text[near if near >= 0 else start :]
    near = text.rfind("\n", length - length // 8, length)
    return text[: near if near >= 0 else length]
