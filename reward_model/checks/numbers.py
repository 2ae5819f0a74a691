"""Numbers as reports write them: 万, 亿, million, %, 百分点, bps, brackets for negatives."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

NumberUnit = Literal["money", "percent", "pp", "times", "days", "plain"]

# Same-length replacements, so that offsets in the folded text are offsets in the original.
_FOLDED = dict(
    zip("０１２３４５６７８９．％（）＋－−–﹣＝／：", "0123456789.%()+----=/:", strict=True)
)
_FOLD = re.compile("[" + re.escape("".join(_FOLDED)) + "]")

SCALES: dict[str, float] = {
    "元": 1.0,
    "千": 1e3,
    "千元": 1e3,
    "万": 1e4,
    "万元": 1e4,
    "百万": 1e6,
    "百万元": 1e6,
    "千万": 1e7,
    "千万元": 1e7,
    "亿": 1e8,
    "亿元": 1e8,
    "十亿": 1e9,
    "十亿元": 1e9,
    "万亿": 1e12,
    "万亿元": 1e12,
    "thousand": 1e3,
    "thousands": 1e3,
    "k": 1e3,
    "million": 1e6,
    "millions": 1e6,
    "mn": 1e6,
    "mm": 1e6,
    "m": 1e6,
    "billion": 1e9,
    "billions": 1e9,
    "bn": 1e9,
    "b": 1e9,
    "trillion": 1e12,
    "tn": 1e12,
    "yuan": 1.0,
    "dollars": 1.0,
}
"""How many base units of money one shown unit is."""

_PERCENT = {"%": 0.01, "percent": 0.01, "per cent": 0.01, "‰": 0.001}
_POINTS = {
    "个百分点": 0.01,
    "百分点": 0.01,
    "percentage points": 0.01,
    "percentage point": 0.01,
    "pct": 0.01,
    "ppt": 0.01,
    "ppts": 0.01,
    "pcts": 0.01,
    "pp": 0.01,
    "pps": 0.01,
    "p.p.": 0.01,
    "个基点": 0.0001,
    "基点": 0.0001,
    "bps": 0.0001,
    "bp": 0.0001,
    "basis points": 0.0001,
    "basis point": 0.0001,
}
_TIMES = {"倍", "次", "x", "times", "次/年", "次/月"}
_DAYS = {"天", "days", "day"}

_WORDS = sorted(
    (
        w
        for w in {*SCALES, *_PERCENT, *_POINTS, *_TIMES, *_DAYS}
        if w.isascii() and w[0].isalpha() and len(w) > 1
    ),
    key=len,
    reverse=True,
)
_SIGNS = sorted(
    (
        w
        for w in {*SCALES, *_PERCENT, *_POINTS, *_TIMES, *_DAYS}
        # One letter is a unit only right behind the digits (12m): see `NUMBER`.
        if w not in _WORDS and w not in {*"kmbx"}
    ),
    key=len,
    reverse=True,
)
_UNIT = (
    "(?:"
    + "|".join(map(re.escape, _SIGNS))
    + r"|(?:"
    + "|".join(map(re.escape, _WORDS))
    + r")(?![A-Za-z]))"
)
_CURRENCY = r"(?:US\$|HK\$|C\$|A\$|RMB|CNY|USD|EUR|GBP|[$¥￥€£])"
# Groups of three or none: "1,23" is two numbers, or one of a country that is not read here.
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"

NUMBER = re.compile(
    # Only what a number may begin with is looked at: most letters are passed over at once.
    rf"(?=[-+(\s\d$¥￥€£RCUEGHA])(?P<open>\()?(?P<sign>[+-])?\s?(?P<cur>{_CURRENCY})?\s{{0,2}}(?P<sign2>[+-])?(?P<open2>\()?\s?"
    rf"(?P<num>{_DIGITS})(?P<close2>\s?\))?(?:(?P<unit>(?<=[\d)])[kmbx](?![A-Za-z])|"
    rf"\s{{0,3}}{_UNIT}))?(?P<close>\s?\))?",
    re.IGNORECASE,
)
_FULL = re.compile(rf"\s*{NUMBER.pattern}\s*\**\s*", re.IGNORECASE)


class Number(NamedTuple):
    """A number found in a text."""

    start: int
    """Offset of its first character: bracket, sign or currency included."""
    end: int
    """Offset after its last character, unit included."""
    value: float
    """In base units: yuan or dollars for money; 0.147 for 14.7% and for 14.7 percentage points."""
    decimals: int
    """Digits shown after the point."""
    unit: NumberUnit
    """`plain` when no unit is written."""
    scale: float
    """Base units per shown unit: 10000 for 万, 0.01 for %."""
    word: str
    """The unit as written, without blanks; empty when none is."""
    sign: str
    """`+`, `-`, `(` for brackets, or empty when none is shown."""
    digits: str
    """The digits as written, with separators."""

    @property
    def step(self) -> float:
        """The size of one unit in the last decimal place shown, in base units."""
        return self.scale * 10.0**-self.decimals


def fold(text: str) -> str:
    """Full-width digits, signs and brackets to ASCII, character by character.

    >>> fold("（－１２．５％）")
    '(-12.5%)'
    """
    return _FOLD.sub(lambda m: _FOLDED[m[0]], text)


def unit_of(word: str) -> tuple[NumberUnit, float] | None:
    """Unit and scale of a unit word, or None.

    >>> unit_of("万元"), unit_of("bps")
    (('money', 10000.0), ('pp', 0.0001))
    """
    word = word.strip().lower()
    if word in SCALES:
        return "money", SCALES[word]
    if word in _PERCENT:
        return "percent", _PERCENT[word]
    if word in _POINTS:
        return "pp", _POINTS[word]
    if word in _TIMES:
        return "times", 1.0
    return ("days", 1.0) if word in _DAYS else None


def _number(match: re.Match[str], begin: int = 0) -> Number:
    digits = match["num"]
    word = (match["unit"] or "").strip().lower()
    unit, scale = unit_of(word) or ("plain", 1.0)
    if unit == "plain" and match["cur"]:
        unit = "money"
    opened, closed = bool(match["open"]), bool(match["close"])
    opened2, closed2 = bool(match["open2"]), bool(match["close2"])
    # Brackets pair up around the number; one without its partner belongs to the prose.
    bracket = (opened or opened2) and (closed or closed2)
    parts = [g for g in ("sign", "cur", "sign2", "num", "unit") if match[g]]
    if bracket:
        parts.append("open2" if opened2 else "open")
        parts.append("close2" if closed2 else "close")
    start, end = min(match.start(g) for g in parts), max(match.end(g) for g in parts)
    sign = match["sign"] or match["sign2"] or ("(" if bracket else "")
    point = digits.find(".")
    decimals = 0 if point < 0 else len(digits) - point - 1
    # 0.147 and not 0.14700000000000002: claims are compared with figures read from other
    # spellings.
    value = round(float(digits.replace(",", "")) * scale, 12)
    return Number(
        start=begin + start,
        end=begin + end,
        value=-value if sign in {"-", "("} else value,
        decimals=decimals,
        unit=unit,
        scale=scale,
        word=(match["unit"] or "").strip(),
        sign=sign,
        digits=digits,
    )


def parse_number(text: str) -> Number | None:
    """A cell that is one number, whatever its dress; None for anything else.

    >>> parse_number("(1,234.5)万元").value
    -12345000.0
    >>> parse_number("$ 1,452.4").value, parse_number("-14.7%").value
    (1452.4, -0.147)
    >>> parse_number(">28%") is None and parse_number("22-28%") is None
    True
    """
    match = _FULL.fullmatch(fold(text))
    return _number(match) if match else None


def find_numbers(text: str, begin: int = 0) -> list[Number]:
    """All numbers of a running text, with offsets from `begin` on; brackets around a number with a
    sign, or around one that merely stands in prose, are left to the prose.

    >>> [(n.value, n.word) for n in find_numbers("下滑14.74%至2,380.79万元")]
    [(0.1474, '%'), (23807900.0, '万元')]
    """
    folded = fold(text)
    found = []
    for match in NUMBER.finditer(folded):
        number = _number(match, begin)
        bare = match["open2"] and (match["close"] or match["close2"])
        if (match["open"] and match["close"]) or (bare and not match["cur"]):
            # In prose a bracket is an aside, (14.7%) or (5,253万元); only $(5.2) is a negative.
            inner = NUMBER.match(folded, match.start("open" if match["open"] else "open2") + 1)
            if inner is not None:
                number = _number(inner, begin)
        elif match["sign"] or (match["sign2"] and not match["cur"]):
            sign = "sign" if match["sign"] else "sign2"
            before = folded[match.start(sign) - 1 : match.start(sign)]
            range_ = (
                before.isdigit() or before in {")", "%"} or (before.isascii() and before.isalpha())
            )
            listed = folded[match.end(sign)].isspace()
            if range_ or listed:
                # A range (20-30%), a date, a name (Q1-2) or a list mark, not a sign.
                inner = NUMBER.match(folded, match.end(sign))
                number = _number(inner, begin) if inner else number
        found.append(number)
    return found


def format_digits(value: float, decimals: int, scale: float, grouped: bool) -> str:
    """The digits of `value` (base units) shown in units of `scale`, with a minus where due.

    >>> format_digits(-1234.5e4, 2, 1e4, grouped=True)
    '-1,234.50'
    """
    shown = f"{abs(value) / scale:{',' if grouped else ''}.{decimals}f}"
    return ("-" if value < 0 and float(shown.replace(",", "")) else "") + shown
