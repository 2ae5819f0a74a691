"""Periods in running text: written out, or short (3月, Q1) with the year known from before."""

from __future__ import annotations

import re

from reward_model.checks.kinds import ClaimKind
from reward_model.checks.periods import Period, find_periods
from reward_model.checks.wording import FROM_NUMBER

Dated = list[tuple[int, int, Period]]
"""Start, end and period of each mention."""

_BARE_MONTH = re.compile(r"(?<![\d年.\-/—~至])(?P<m>1[0-2]|0?[1-9])\s*月(?!\s*[-—~至]|个|均)份?")
_BARE_SPAN = re.compile(r"(?<![\d年.\-/])0?1\s*[-—~至]\s*(?P<m>1[0-2]|0?[1-9])\s*月")
_BARE_QUARTER = re.compile(r"(?:第?(?P<q>[一二三四])季度|(?<![A-Za-z\d])Q(?P<n>[1-4])(?!\s*\d))")
_BASE_BEFORE = re.compile(
    r"(?:较|比|相比|相较|相较于|对比|与|同|高于|低于|than|from|with|to|vs\.?|versus|"
    r"against|over|since)"
    r"\s*(?:the\s+)?(?:于)?$",
    re.I,
)
_FROM_BEFORE = re.compile(r"(?:由|从|自|from)\s*(?:the\s+)?$", re.I)
_AFTER_PERIOD = re.compile(
    r"^\s*(?:in|for|during|at|as of|by|at the end of)\s+(?:the\s+)?"
    r"(?:year\s+|full\s+year\s+|fiscal\s+)?",
    re.I,
)
_THEN_BASE = re.compile(
    r"(?:[\s,(]|in|for|(?:19|20)\d\d)*(?:compared (?:with|to)|from|versus|vs\.?|over|against)"
    r"\s+(?:the\s+)?(?:fiscal\s+|year\s+)?",
    re.I,
)


def periods_in(text: str, start: int, end: int, year: int | None) -> Dated:
    """Every period in `text[start:end]`; short forms take the year of the first long one.

    >>> [p.label() for _, _, p in periods_in("2025年3月比2月", 0, 10, None)]
    ['2025年3月', '2025年2月']
    """
    piece = text[start:end]
    found = [(start + a, start + b, p) for a, b, p in find_periods(piece)]
    year = found[0][2].year if found else year
    if year is None:
        return found
    short: Dated = []
    for m in _BARE_SPAN.finditer(piece):
        short.append((m.start(), m.end(), Period.of_ytd(year, int(m["m"]))))
    for m in _BARE_MONTH.finditer(piece):
        short.append((m.start(), m.end(), Period.of_month(year, int(m["m"]))))
    for m in _BARE_QUARTER.finditer(piece):
        quarter = int(m["n"]) if m["n"] else "一二三四".index(m["q"]) + 1
        short.append((m.start(), m.end(), Period.of_quarter(year, quarter)))
    for a, b, period in short:
        if not any(start + a < y and x < start + b for x, y, _ in found):
            found.append((start + a, start + b, period))
    return sorted(found, key=lambda row: row[0])


def without_periods(text: str) -> str:
    """The text without any mention of a period, long or short."""
    for a, b, _ in reversed(find_periods(text)):
        text = text[:a] + text[b:]
    return _BARE_QUARTER.sub(" ", _BARE_MONTH.sub(" ", _BARE_SPAN.sub(" ", text)))


def blank_periods(text: str, start: int, periods: Dated) -> str:
    """A piece of text that begins at `start`, with the mentions in it blanked out."""
    for a, b, _ in periods:
        if start <= a and b <= start + len(text):
            text = text[: a - start] + " " * (b - a) + text[b - start :]
    return text


def period_before(
    text: str, begin: int, end: int, periods: Dated, kind: ClaimKind
) -> tuple[Period | None, Period | None, bool]:
    """The period the words before a number give it, the one they compare with, and whether the
    first is only where something stood before (从 2020 年的 8.5 次)."""
    subject: Period | None = None
    base: Period | None = None
    earlier = False
    for a, b, period in periods:
        if begin <= a and b <= end:
            lead = text[max(0, a - 12) : a]
            came_from = bool(_FROM_BEFORE.search(lead))
            if _BASE_BEFORE.search(lead) and not (came_from and kind in {"value", "ratio"}):
                base = period
            else:
                subject, earlier = period, came_from
    return subject, base, earlier


def period_after(
    text: str, place: int, follow: int, periods: Dated
) -> tuple[Period | None, int, Period | None]:
    """The period the words after a number give it (`in FY2021`), where its mention ends, and
    the one they compare with."""
    after = text[place:follow]
    match = _AFTER_PERIOD.match(after)
    subject: Period | None = None
    base: Period | None = None
    used = 0
    for a, b, period in periods:
        # "... in the third quarter of fiscal year 2021" still belongs to the number; what is
        # further off dates the next one.
        if not (place <= a <= place + 40 and b <= follow + 20):
            continue
        if match and subject is None and a - place <= match.end() + 1:
            subject, used = period, b
        elif _THEN_BASE.fullmatch(text[place:a]):
            base = period
    return subject, used, base


def stood_before(text: str, begin: int, end: int) -> bool:
    """Whether `text[begin:end]` ends in `from`: the number says where something stood before."""
    return bool(FROM_NUMBER.search(text[begin:end]))
