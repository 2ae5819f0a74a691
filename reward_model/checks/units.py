"""Scales and currencies that a header, a caption or a unit line states."""

from __future__ import annotations

import re

from reward_model.checks.numbers import SCALES, fold

_UNIT_WORD = (
    r"(?:人民币|RMB|CNY|US\$|USD|HK\$|HKD|EUR|GBP|JPY|[$¥￥€£])?\s*(?:in\s+)?"
    r"(?P<scale>百万元|千万元|万亿元|十亿元|亿元|万元|千元|百万|亿|万|元|thousands?|"
    r"millions?|billions?|mn|bn|m|k|yuan|dollars)?"
)
_UNIT_LINE = re.compile(
    rf"(?:金额单位|货币单位|单位|units?|amounts?|currency)\s*[:：]?\s*(?:is|are|"
    rf"in)?\s*[:：]?\s*{_UNIT_WORD}(?![A-Za-z])",
    re.I,
)
_UNIT_BRACKET = re.compile(
    r"\(\s*(?:all\s+)?(?:amounts?\s+|"
    r"figures?\s+)?(?:expressed\s+)?(?:(?:stated\s+)?in\s+)?(?:人民币|RMB|CNY|US\$|"
    r"USD|HKD|EUR|GBP|[$¥￥€£])?\s*(?:in\s+)?"
    r"(?P<scale>百万元|千万元|亿元|万元|千元|元|亿|万|thousands?|millions?|billions?|mn|bn|m|k)"
    r"(?:\s+of\s+[A-Za-z. ]+|\s+(?:RMB|CNY|USD|U\.?S\.? dollars|dollars|"
    r"yuan))?\s*(?:[,;，；][^()]*|[^()\d]{0,40})?\)",
    re.I,
)
_UNIT_SUFFIX = re.compile(
    r"[$€£¥]\s?(?P<scale>m|mn|million|bn|billion|k|000)\b|"
    r"[$€£¥]?\s?'?(?P<zeros>000)s?\b",
    re.I,
)
_IN_SCALE = re.compile(r"\bin\s+(?:[A-Z]{3}\s+)?(?P<scale>thousands|millions|billions)\b", re.I)
_CURRENCIES = (
    ("CNY", ("人民币", "CNY", "RMB", "¥", "￥")),
    ("USD", ("US$", "USD", "美元", "$")),
    ("EUR", ("EUR", "€", "欧元")),
    ("GBP", ("GBP", "£")),
    ("HKD", ("HKD", "HK$", "港元")),
)


def currency_in(text: str) -> str:
    """The ISO code of a currency named in a short text, or an empty string."""
    return next((code for code, marks in _CURRENCIES if any(m in text for m in marks)), "")


def scale_in(text: str) -> float | None:
    """The scale a header, caption or unit line states; None when it states none.

    >>> scale_in("单位：万元"), scale_in("Unit: CNY million"), scale_in("营业收入（亿元）")
    (10000.0, 1000000.0, 100000000.0)
    >>> scale_in("(in thousands, except per share data)"), scale_in("2019 €m"), scale_in("毛利率")
    (1000.0, 1000000.0, None)
    """
    text = fold(text)
    for pattern in (_UNIT_LINE, _UNIT_BRACKET, _UNIT_SUFFIX, _IN_SCALE):
        match = pattern.search(text)
        if match:
            groups = match.groupdict()
            if groups.get("zeros") or groups.get("scale") == "000":
                return 1e3
            if groups.get("scale"):
                return SCALES[groups["scale"].lower()]
            if pattern is _UNIT_LINE and currency_in(match[0]):
                return 1.0
    return None
