"""How a text looks, without what it says: layout, density of digits and hedges, sentence length."""

from __future__ import annotations

import re
from collections.abc import Callable

_HEADING = re.compile(r"^#{1,6}\s|<h[1-6]\b", re.M)
_BULLET = re.compile(r"^\s*(?:[-*•·]|\d+[.、)])\s|<li\b", re.M)
_BOLD = re.compile(r"\*\*[^*\n]+\*\*|<(?:b|strong)\b")
_TAG = re.compile(r"</?[a-zA-Z][^<>\n]{0,200}>")
_SENTENCE_END = re.compile(r"[。！？!?\n]+|\.\s")
_HEDGE = re.compile(
    r"可能|或许|大约|左右|大致|一定程度|相对|较为|有所|明显|显著|总体|整体|基本|似乎|预计|"
    r"\b(?:may|might|perhaps|possibly|roughly|about|around|somewhat|relatively|fairly|generally|"
    r"overall|appears?|seems?|likely|notabl[ey]|noticeabl[ey]|significantly|approximately)\b",
    re.I,
)


def _digits(text: str) -> int:
    return sum(text.count(digit) for digit in "0123456789")


def _count(pattern: re.Pattern[str]) -> Callable[[str], int]:
    return lambda text: sum(1 for _ in pattern.finditer(text))


_DENSITIES: tuple[tuple[str, Callable[[str], int]], ...] = (
    ("headings", _count(_HEADING)),
    ("bullets", _count(_BULLET)),
    ("bold", _count(_BOLD)),
    ("html tags", _count(_TAG)),
    ("table bars", lambda text: text.count("|")),
    ("digits", _digits),
    ("hedges", _count(_HEDGE)),
)
STYLE = (*(name for name, _ in _DENSITIES), "sentence length")
"""Names of the features, in the order `style` returns them."""


def style(text: str) -> list[float]:
    """Counts a thousand characters, and the mean sentence length in characters.

    >>> round(dict(zip(STYLE, style("## Profit\\n**Up** about 12%."), strict=True))["digits"], 2)
    74.07
    """
    size = max(len(text), 1)
    pieces = [part for piece in _SENTENCE_END.split(text) if (part := piece.strip())]
    mean = sum(map(len, pieces)) / len(pieces) if pieces else 0.0
    return [1000 * count(text) / size for _, count in _DENSITIES] + [mean]
