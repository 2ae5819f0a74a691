"""What changed between two texts, as segments to mark: sentences first, then words and characters.

`segments(a, b)` gives for each side a list of (kind, text) that joins up to the text again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from typing import Literal

Kind = Literal["same", "changed", "planted"]
Segments = list[tuple[Kind, str]]

FINE = 1200
"""Tokens of a changed passage up to which it is compared word by word; the work is quadratic."""

_PASSAGE = re.compile(r"[^。！？!?\n]*[。！？!?\n]+|[^。！？!?\n]+")
_TOKEN = re.compile(r" ?(?:\d[\d.,]*%?|[^\W\d_\u2e80-\uffef]+)|\s+|.", re.S)
"""Numbers and words of alphabetic scripts are whole, with the blank before them: a blank by itself
would agree with every other. A Chinese character stands alone."""


def segments(a: str, b: str) -> tuple[Segments, Segments]:
    """Both texts cut where they begin and cease to agree.

    >>> segments("毛利率为14.7%。稳", "毛利率为41.7%。稳")[1]
    [('same', '毛利率为'), ('changed', '41.7%'), ('same', '。稳')]
    """
    left: Segments = []
    right: Segments = []
    mine, yours = _PASSAGE.findall(a), _PASSAGE.findall(b)
    for same, x, y in _blocks(mine, yours):
        if same:
            _add(left, "same", x)
            _add(right, "same", y)
            continue
        fine_x, fine_y = _TOKEN.findall("".join(x)), _TOKEN.findall("".join(y))
        if not x or not y or max(len(fine_x), len(fine_y)) > FINE:
            _add(left, "changed", x)
            _add(right, "changed", y)
            continue
        for agree, p, q in _blocks(fine_x, fine_y):
            _add(left, "same" if agree else "changed", p)
            _add(right, "same" if agree else "changed", q)
    return left, right


def _blocks(
    a: Sequence[str], b: Sequence[str]
) -> Iterable[tuple[bool, Sequence[str], Sequence[str]]]:
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    for tag, a0, a1, b0, b1 in matcher.get_opcodes():
        yield tag == "equal", a[a0:a1], b[b0:b1]


def _add(segments: Segments, kind: Kind, parts: Sequence[str]) -> None:
    text = "".join(parts)
    if not text:
        return
    if segments and segments[-1][0] == kind:
        segments[-1] = (kind, segments[-1][1] + text)
    else:
        segments.append((kind, text))


def mark(segments: Segments, places: Iterable[tuple[int, int]]) -> Segments:
    """The same text with the characters at `places` marked as planted.

    >>> mark([("same", "abc"), ("changed", "de")], [(2, 4)])
    [('same', 'ab'), ('planted', 'cd'), ('changed', 'e')]
    """
    size = sum(len(text) for _, text in segments)
    inside = {i for start, end in places for i in range(max(0, start), min(end, size))}
    if not inside:
        return segments
    marked: Segments = []
    at = 0
    for kind, text in segments:
        for i, character in enumerate(text, at):
            _add(marked, "planted" if i in inside else kind, [character])
        at += len(text)
    return marked
