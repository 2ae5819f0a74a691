"""Scales and currencies that a header, a caption or a unit line states."""

from __future__ import annotations

import re

from reward_model.checks.numbers import SCALES, fold

_MONEY = (
    r"(?:人民币|RMB|CNY|US\$|U\.S\. ?dollars?|USD|HK\$|HKD|EUR|GBP|JPY|euros?|dollars?|[$¥￥€£])"
)
_ZH_SCALE = r"百万元|千万元|万亿元|十亿元|亿元|万元|千元|百万|千万|亿|万|元"
_EN_SCALE = r"thousands?|millions?|billions?|mn|bn|mm|m|k|000'?s?"
_UNIT_LINE = re.compile(
    rf"(?:金额单位|货币单位|单位|units?|amounts?|currency)\s*[:：]?\s*(?:is|are|"
    rf"in|均?以|均?为)?\s*[:：]?\s*{_MONEY}?\s*(?:in\s+)?"
    rf"(?P<scale>{_ZH_SCALE}|{_EN_SCALE}|yuan|dollars)?(?![A-Za-z])",
    re.I,
)
_STATED = re.compile(
    rf"(?:以|按|为)\s*{_MONEY}?(?P<scale>{_ZH_SCALE})(?:列示|列报|表示|呈列|呈报|为单位|计)"
    rf"|\b(?:expressed|stated|presented|shown|reported|amounts?|figures?)\s+(?:are\s+)?in\s+"
    rf"(?:{_MONEY}\s+)?(?P<scale2>thousands|millions|billions)\b",
    re.I,
)
_UNIT_BRACKET = re.compile(
    rf"\(\s*(?:[^()]{{0,24}}[,;，；:]\s*)?(?:all\s+)?(?:(?:dollars?|amounts?|figures?|tabular)\s+)*"
    rf"(?:expressed\s+|presented\s+)?(?:(?:stated\s+)?in\s+)?{_MONEY}?\s*(?:in\s+)?"
    rf"(?P<scale>{_ZH_SCALE}|{_EN_SCALE})(?![A-Za-z])"
    rf"(?:\s+of\s+[A-Za-z. ]+|\s*{_MONEY})?\s*(?:[,;，；][^()]*|[^()\d]{{0,40}})?\)",
    re.I,
)
_UNIT_SUFFIX = re.compile(
    r"[$€£¥]\s?(?P<scale>m|mn|millions?|bn|billions?|thousands?|k)\b|"
    r"(?:[$€£¥]\s?'?|(?<![\d,.])'|RMB\s?'?|\()(?P<zeros>000)'?s?\b",
    re.I,
)
_IN_SCALE = re.compile(
    rf"\bin\s+(?:{_MONEY}\s*|[A-Z]{{3}}\s+)?(?P<scale>thousands|millions|billions)\b"
    rf"|^\s*(?:\w+\s+)?{_MONEY}\s*(?P<scale2>thousands?|millions?|billions?)\s*$"
    rf"|^\s*(?P<scale3>thousands|millions|billions) of \w+",
    re.I,
)
_COUNTS = re.compile(
    r"\b(?:shares|units|employees|tons|barrels|ounces|customers|subscribers)\b|股|吨|人", re.I
)
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
    text = fold(text).replace("’", "'")
    for pattern in (_UNIT_LINE, _UNIT_BRACKET, _STATED, _UNIT_SUFFIX, _IN_SCALE):
        for match in pattern.finditer(text):
            groups = match.groupdict()
            word = (next((v for v in groups.values() if v), "") or "").lower()
            if word.startswith("000"):
                return 1e3
            if word:
                return SCALES[word]
            if pattern is _UNIT_LINE and currency_in(match[0]):
                return 1.0
    return None


def scale_around(text: str) -> float | None:
    """The scale that running text near a table states, where it says so in so many words.

    >>> scale_around("The table below shows our revenue by year (in millions, except per share):")
    1000000.0
    >>> scale_around("Revenue rose by 12 million.") is None
    True
    """
    text = fold(text).replace("’", "'")
    found = [
        (match.start(), word)
        for pattern in (_UNIT_LINE, _UNIT_BRACKET, _STATED)
        for match in pattern.finditer(text)
        if not _COUNTS.search(match[0])
        for word in [next((v for v in match.groupdict().values() if v), "")]
        if word
    ]
    if found:
        # The nearest before the table: a page may state several, one a table.
        word = max(found)[1].lower()
        return 1e3 if word.startswith("000") else SCALES[word]
    return scale_in(text) if len(text) < 120 else None
