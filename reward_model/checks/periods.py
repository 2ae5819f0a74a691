"""Reporting periods in the many ways reports write them, as one ordered, hashable value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, total_ordering
from typing import Literal

PeriodKind = Literal["year", "half", "quarter", "month", "ytd"]

_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_SPAN = {"year": 12, "half": 6, "quarter": 3, "month": 1}


@total_ordering
@dataclass(frozen=True, slots=True)
class Period:
    """A reporting period. `ytd` runs from January to the end of `month`.

    >>> Period.of_month(2025, 3).year_ago().label("en")
    'March 2024'
    >>> Period.of_year(2020) < Period.of_month(2021, 1) < Period.of_year(2021)
    True
    """

    year: int
    """Calendar or fiscal year."""
    kind: PeriodKind = "year"
    """What `month`, `quarter` or `half` counts."""
    month: int | None = None
    """1-12 for `month` and `ytd`."""
    quarter: int | None = None
    """1-4 for `quarter`."""
    half: int | None = None
    """1-2 for `half`."""

    @classmethod
    def of_year(cls, year: int) -> Period:
        """A full year."""
        return cls(year)

    @classmethod
    def of_month(cls, year: int, month: int) -> Period:
        """One month."""
        return cls(year, "month", month=month)

    @classmethod
    def of_quarter(cls, year: int, quarter: int) -> Period:
        """One quarter."""
        return cls(year, "quarter", quarter=quarter)

    @classmethod
    def of_half(cls, year: int, half: int) -> Period:
        """Half a year."""
        return cls(year, "half", half=half)

    @classmethod
    def of_ytd(cls, year: int, month: int) -> Period:
        """January to the end of `month`."""
        return cls(year, "ytd", month=month)

    @property
    def end_month(self) -> int:
        """The month in which the period ends."""
        if self.month is not None:
            return self.month
        if self.quarter is not None:
            return 3 * self.quarter
        return 6 * self.half if self.half is not None else 12

    @property
    def months(self) -> int:
        """How many months it covers."""
        return self.end_month if self.kind == "ytd" else _SPAN[self.kind]

    @property
    def from_january(self) -> bool:
        """Whether it starts with the year, so that a year-to-date column gives it."""
        return self.months == self.end_month

    def previous(self) -> Period:
        """The period of the same kind just before.

        >>> Period.of_quarter(2025, 1).previous()
        Period(year=2024, kind='quarter', month=None, quarter=4, half=None)
        """
        if self.kind == "year":
            return Period(self.year - 1)
        if self.quarter is not None:
            wrap = self.quarter == 1
            return Period.of_quarter(self.year - wrap, 4 if wrap else self.quarter - 1)
        if self.half is not None:
            wrap = self.half == 1
            return Period.of_half(self.year - wrap, 2 if wrap else 1)
        wrap = self.end_month == 1
        month = 12 if wrap else self.end_month - 1
        return Period(self.year - wrap, self.kind, month=month)

    def year_ago(self) -> Period:
        """The same period of the year before."""
        return Period(self.year - 1, self.kind, self.month, self.quarter, self.half)

    def label(self, language: str = "zh") -> str:
        """The period in words.

        >>> Period.of_month(2025, 3).label("zh"), Period.of_year(2021).label("en")
        ('2025年3月', 'FY2021')
        """
        if language == "zh":
            tail = {
                "year": "",
                "half": "上半年" if self.half == 1 else "下半年",
                "quarter": f"第{'一二三四'[(self.quarter or 1) - 1]}季度",
                "month": f"{self.month}月",
                "ytd": f"1-{self.month}月",
            }[self.kind]
            return f"{self.year}年{tail}"
        if self.kind == "year":
            return f"FY{self.year}"
        if self.quarter is not None:
            return f"Q{self.quarter} {self.year}"
        if self.half is not None:
            return f"H{self.half} {self.year}"
        name = _MONTHS[self.end_month - 1].capitalize()
        return f"{name} {self.year}" if self.kind == "month" else f"Jan-{name[:3]} {self.year}"

    def _order(self) -> tuple[int, int, int, str]:
        return (self.year, self.end_month, self.months, self.kind)

    def __lt__(self, other: Period) -> bool:
        return self._order() < other._order()


_Y = r"(?P<y>(?:19|20)\d{2})"
_CN = {"一": 1, "二": 2, "三": 3, "四": 4, "1": 1, "2": 2, "3": 3, "4": 4}
_EN_MONTH = (
    r"(?P<en>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|"
    r"sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_EN_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_D = r"(?<![\d.,])"
_E = r"(?![\d,.]*\d)"

# Tried in this order at every place; the first that matches wins. With each, what none of its
# matches is without one of: most texts are spared most patterns.
_PATTERNS: tuple[tuple[str, tuple[str, ...], re.Pattern[str]], ...] = tuple(
    (name, tuple(parts), re.compile(pattern, re.I))
    for name, parts, pattern in (
        ("ytd", "年", rf"{_D}{_Y}\s*年\s*(?:0?1|一)\s*月?\s*[-－—–~至到]\s*(?P<m>\d{{1,2}})\s*月"),
        ("ytd", "年", rf"{_D}{_Y}\s*年\s*前\s*(?P<m>\d{{1,2}})\s*个?月"),
        ("quarter", "季", rf"{_D}{_Y}\s*年?\s*第?\s*(?P<q>[一二三四1-4])\s*季度?"),
        ("quarter", "q", rf"{_D}{_Y}\s*年?\s*[-_ ]?Q(?P<q>[1-4])(?![\da-z])"),
        (
            "quarter",
            "q",
            rf"(?<![a-z\d])(?:Q(?P<q>[1-4])|(?P<qe>first|second|third|fourth) quarter(?: "
            rf"of)?)"
            rf"[ -]?(?:FY|fiscal )?\s*{_Y}{_E}",
        ),
        ("ytd9", "季", rf"{_D}{_Y}\s*年\s*前三季度"),
        ("half", "半", rf"{_D}{_Y}\s*年\s*(?P<h>上|下)半年"),
        ("half", "h", rf"{_D}{_Y}\s*年?\s*[-_ ]?H(?P<h>[12])(?![\da-z])"),
        (
            "half",
            "h",
            rf"(?<![a-z\d])(?:H(?P<h>[12])|(?P<he>first|second) half(?: of)?)[ -]?(?:FY|"
            rf"fiscal )?\s*{_Y}{_E}",
        ),
        ("day", "日", rf"{_D}{_Y}\s*年\s*(?P<m>\d{{1,2}})\s*月\s*(?P<d>\d{{1,2}})\s*日"),
        ("day", "", rf"{_D}{_Y}[-/.](?P<m>0?[1-9]|1[0-2])[-/.](?P<d>[0-3]?\d){_E}"),
        ("day", _EN_MONTHS, rf"(?<![a-z]){_EN_MONTH}\s*(?P<d>[0-3]?\d),?\s*{_Y}{_E}"),
        ("day", _EN_MONTHS, rf"(?<![\d.,])(?P<d>[0-3]?\d)\s*{_EN_MONTH},?\s*{_Y}{_E}"),
        ("month", "月", rf"{_D}{_Y}\s*年\s*(?P<m>1[0-2]|0?[1-9])\s*月份?"),
        ("month", _EN_MONTHS, rf"(?<![a-z]){_EN_MONTH},?\s*(?:of )?{_Y}{_E}"),
        ("month", "", rf"{_D}{_Y}[-/.](?P<m>0[1-9]|1[0-2]){_E}(?!\s*[%％])"),
        ("month", "", rf"{_D}{_Y}(?P<m>0[1-9]|1[0-2]){_E}(?!\s*[%％万亿元])"),
        ("year", "年", rf"{_D}{_Y}\s*(?:财年|年度|会计年度|年(?!\s*期(?![末初间内])))末?"),
        ("year", "", rf"(?<![a-z])(?:FY|fiscal year|fiscal|year)\s*'?{_Y}{_E}"),
        ("year2", "f", r"(?<![a-z])FY\s*'?(?P<y2>\d{2})(?!\d)"),
        (
            "year",
            "",
            rf"(?<![\d.,$¥€£+-]){_Y}[AE]?(?![\d年]|[,./-]?\d|\s*(?:万|亿|元|[%％]|"
            rf"million|billion|thousand|次|天|倍|个|家))",
        ),
    )
)
_HAS_YEAR = re.compile(r"(?:19|20)\d{2}|FY", re.I)


def _build(name: str, match: re.Match[str]) -> Period | None:
    groups = match.groupdict()
    year = int(groups["y"]) if groups.get("y") else 2000 + int(groups.get("y2") or 0)
    month = int(groups["m"]) if groups.get("m") else None
    if groups.get("en"):
        month = next(i for i, m in enumerate(_MONTHS, 1) if m.startswith(groups["en"][:3].lower()))
    if month is not None and not 1 <= month <= 12:
        return None
    if name == "ytd9":
        return Period.of_ytd(year, 9)
    if name == "ytd" and month:
        return Period.of_year(year) if month == 12 else Period.of_ytd(year, month)
    if name == "quarter":
        ordinal = groups.get("q") or groups.get("qe") or ""
        quarters = {**_CN, "first": 1, "second": 2, "third": 3, "fourth": 4}
        return Period.of_quarter(year, quarters[ordinal.lower()])
    if name == "half":
        which = (groups.get("h") or groups.get("he") or "").lower()
        return Period.of_half(year, 1 if which in {"上", "1", "first"} else 2)
    if name == "day" and month:
        if month == 12 and int(groups["d"]) == 31:
            return Period.of_year(year)
        return Period.of_month(year, month)
    if name == "month" and month:
        return Period.of_month(year, month)
    return Period.of_year(year)


def find_periods(text: str) -> list[tuple[int, int, Period]]:
    """Every period written out in full in `text`, with its offsets, in order.

    >>> [(s, e, p.label()) for s, e, p in find_periods("2021年较2020年增长")]
    [(0, 5, '2021年'), (6, 11, '2020年')]
    """
    if not _HAS_YEAR.search(text):
        return []
    found: list[tuple[int, int, Period]] = []
    taken: list[tuple[int, int]] = []
    low = text.lower()
    for name, parts, pattern in _PATTERNS:
        if parts and not any(part in low for part in parts):
            continue
        for match in pattern.finditer(text):
            start, end = match.span()
            if any(start < e and s < end for s, e in taken):
                continue
            period = _build(name, match)
            if period is not None:
                taken.append((start, end))
                found.append((start, end, period))
    return sorted(found, key=lambda row: row[0])


_BARE_MONTH = re.compile(r"^\s*(?P<m>1[0-2]|0?[1-9])\s*月份?\s*$")


@cache
def parse_period(text: str, year: int | None = None) -> Period | None:
    """The first period in `text`; `year` completes a bare month such as `3月`.

    >>> parse_period("202503") == parse_period("2025年3月") == parse_period("Mar 2025")
    True
    >>> parse_period("FY2024").kind, parse_period("2025Q1").quarter, parse_period("毛利率")
    ('year', 1, None)
    >>> parse_period("3月", 2025).label()
    '2025年3月'
    """
    found = find_periods(text)
    if found:
        return found[0][2]
    bare = _BARE_MONTH.match(text)
    return Period.of_month(year, int(bare["m"])) if bare and year else None
