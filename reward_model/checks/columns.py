"""What a header, a heading or a row label says about the numbers beside it."""

from __future__ import annotations

import re
from functools import cache
from typing import Literal, NamedTuple

from reward_model.checks.items import Item, clean_label, find_item
from reward_model.checks.periods import Period, find_periods
from reward_model.checks.units import scale_in

Measure = Literal["value", "yoy", "mom", "change", "yoy_abs", "mom_abs", "change_abs", "share"]
Scope = Literal["", "period", "ytd", "closing", "opening", "budget", "benchmark"]

_SCOPES: tuple[tuple[Scope, re.Pattern[str]], ...] = (
    (
        "benchmark",
        re.compile(
            r"行业|均值|基准|同业|优秀值|良好值|平均值|较差值|阈值|警戒|标杆|安全|industry|"
            r"benchmark|peer|threshold",
            re.I,
        ),
    ),
    ("budget", re.compile(r"预算|目标|计划|budget|target|\bplan", re.I)),
    ("ytd", re.compile(r"累计|year[- ]to[- ]date|\bytd\b", re.I)),
    ("opening", re.compile(r"年初|期初|opening|beginning", re.I)),
    ("closing", re.compile(r"期末|年末|closing|\bend of", re.I)),
    ("period", re.compile(r"本期|本月|当月|单月|本位币|this month|current month", re.I)),
)
_MEASURES: tuple[tuple[Measure, re.Pattern[str]], ...] = (
    ("yoy_abs", re.compile(r"同比(?:变动|增减|增长)额|同比增减\(?[万亿元]")),
    ("mom_abs", re.compile(r"环比(?:变动|增减|增长)额")),
    ("yoy", re.compile(r"同比|\byoy\b|year[- ](?:on|over)[- ]year|y/y", re.I)),
    ("mom", re.compile(r"环比|\b[mq]o[mq]\b|(?:month|quarter)[- ](?:on|over)[- ]", re.I)),
    ("share", re.compile(r"占比|比重|占.{0,6}比例|结构|% of|share of|as a percent", re.I)),
    (
        "change_abs",
        re.compile(
            r"变动额|增减额|变化额|change \(?[$€£¥]|[$€£¥] change|increase \(decrease\) \$", re.I
        ),
    ),
    (
        "change",
        re.compile(
            r"变动|增减|变化|增长率|增幅|增速|growth|change|variance|increase|decrease|"
            r"\bvar\b",
            re.I,
        ),
    ),
)
_PERIOD_COLUMN = re.compile(
    r"^(?:期间编码|期间|会计期间|报告期|报告年份|年份|年度|月份|时间|period|year|"
    r"fiscal year|date|month|quarter)$",
    re.I,
)
_CODE_COLUMN = re.compile(
    r"^(?:编码|代码|股票代码|编制组织|组织|序号|附注|note|notes|no\.?|code|ticker|"
    r"id)$",
    re.I,
)
_LABEL_COLUMN = re.compile(
    r"项目|指标|科目|名称|产品|客户|部门|区域|地区|行业|item|metric|indicator|line|"
    r"account|name|segment|比率|ratio",
    re.I,
)
_ENDED = re.compile(
    r"\b(three|six|nine|twelve|3|6|9|12) months? ended|years? ended|fiscal|\bannual", re.I
)
_DAY = re.compile(r"[A-Za-z]{3,9}\.?\s*\d{1,2},?\s*\d{4}|\d{1,2}\s+[A-Za-z]{3,9}\.?,?\s*\d{4}")


class Header(NamedTuple):
    """The reading of one header or heading."""

    text: str
    """As it stands."""
    label: str
    """Without numbering and brackets."""
    item: Item | None
    """The statement line it names."""
    period: Period | None
    """The first period in it."""
    dated: bool
    """Whether that period was written as a day, as balance sheets do."""
    measure: Measure
    """Value, or which change of the value."""
    measured: bool
    """Whether the header itself names a measure."""
    scope: Scope
    """Which figure of the period: month, year to date, closing, opening, budget, benchmark."""
    scale: float | None
    """The money scale it states."""
    percent: bool
    """Whether it says the numbers are percentages."""
    role: Literal["period", "code", "label", "data"]
    """What the column holds, as far as the header tells."""


def scope_of(text: str) -> Scope:
    """The scope a text names, or an empty string.

    >>> scope_of("营业收入（本年累计数）"), scope_of("行业均值"), scope_of("营业收入")
    ('ytd', 'benchmark', '')
    """
    return next((scope for scope, pattern in _SCOPES if pattern.search(text)), "")


_PERCENT = re.compile(r"(?<![\d.])\s?[%％]|\bper ?cent", re.I)
"""`%` as a unit; in "tax at a rate of 19.0%" it belongs to the name."""
_TAIL = re.compile(r"^(?P<label>.+?)\s*[（(](?P<inside>[^（）()]*)[）)]\s*$")


@cache
def read_header(text: str) -> Header:
    """Read one header; the same text is read once.

    >>> h = read_header("营业收入（本年累计数）")
    >>> h.item.key, h.scope, h.measure
    ('revenue', 'ytd', 'value')
    >>> read_header("Three Months Ended March 31, 2019").period.label("en")
    'Q1 2019'
    """
    label = clean_label(text)
    tail = _TAIL.match(label)
    item = find_item(label)
    # 期初现金 is a line of its own; its name is no statement about the column.
    about = tail["inside"] if tail and item else ("" if item else text)
    if tail and (scope_of(tail["inside"]) or scale_in(f"({tail['inside']})") is not None):
        label = tail["label"]
    found = find_periods(text)
    period = found[0][2] if found else None
    dated = bool(period and period.kind == "month" and _DAY.search(text))
    ended = _ENDED.search(text) if period else None
    if period and ended and period.kind == "month":
        count = {"three": 3, "six": 6, "nine": 9, "3": 3, "6": 6, "9": 9}.get(
            (ended[1] or "").lower(), 12
        )
        if count == 12:
            period, dated = Period.of_year(period.year), False
        elif count == 3 and period.end_month % 3 == 0:
            period, dated = Period.of_quarter(period.year, period.end_month // 3), False
        elif count == period.end_month:
            period, dated = Period.of_ytd(period.year, count), False
    measure = next((m for m, p in _MEASURES if p.search(about)), None)
    role: Literal["period", "code", "label", "data"] = "data"
    if _PERIOD_COLUMN.match(label):
        role = "period"
    elif _CODE_COLUMN.match(label):
        role = "code"
    elif not item and not period and measure is None and _LABEL_COLUMN.search(label):
        role = "label"
    return Header(
        text=text,
        label=label,
        item=item,
        period=period,
        dated=dated,
        measure=measure or "value",
        measured=measure is not None,
        scope=scope_of(about),
        scale=scale_in(text),
        percent=_PERCENT.search(text) is not None,
        role=role,
    )
