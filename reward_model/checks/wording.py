"""What the words around one number say: kind of claim, direction, basis, sign, hedge."""

from __future__ import annotations

import re
from typing import Literal

from reward_model.checks import lexicon as lx
from reward_model.checks.columns import Scope
from reward_model.checks.items import CAN_BE_NEGATIVE, Item
from reward_model.checks.kinds import Basis, ClaimKind, Direction, Hedge
from reward_model.checks.numbers import Number
from reward_model.checks.periods import Period

_AFTER_BASIS = re.compile(
    r"^\s*[(（]?\s*(?P<basis>同比|环比|yoy|mom|qoq|year[- ]on[- ]year|year[- ]over[- ]year"
    r"|quarter[- ]on[- ]quarter|month[- ]on[- ]month)"
    r"(?=\s*(?:[)）,，。;；、.|]|$|and\b|to\b|in\b|,))",
    re.I,
)
_AFTER_YOY = re.compile(r"^[\s\w]{0,12}(?:from|compared|year|yoy)", re.I)
_AGAINST = re.compile(r"(?:较|比|与|相较|于|with|to|than|over|from)\s*(?:the\s+)?$", re.I)
FROM_NUMBER = re.compile(r"(?:由|从|自|\bfrom)\s*(?:人民币|RMB\s*)?$", re.I)
"""Ends the words before a number that says where something stood before."""
_OR_LOSS = re.compile(r"[/\s]*\(\s*(?:net )?loss(?:es)?\s*\)[/\s]*|扭亏", re.I)
"""`Net income (loss)` names both cases; it does not say that this is a loss."""
_SIZE_WORD = re.compile(r"[降增涨跌]幅")


def kind_of(
    number: Number, known: Item | None, tail: str, word: str, per: str | None
) -> tuple[ClaimKind | None, Direction, str]:
    """Kind, direction and doubt of a number from the words `tail` before it (and a direction
    `word` after it); a kind of None means that it is no claim."""
    last = max(
        [(m.start(), "up") for m in lx.UP.finditer(tail)]
        + [(m.start(), "down") for m in lx.DOWN.finditer(tail)]
        + ([(0, "up")] if word and lx.UP.search(word) else [])
        + ([(0, "down")] if word and lx.DOWN.search(word) else []),
        default=None,
    )
    direction: Direction = None
    if last is not None:
        direction = "up" if last[1] == "up" else "down"
    # "grew to 120": a level after all; 降幅达 801 万元 stays a change.
    to = bool(last and lx.TO.search(tail, last[0] + 1)) and not _SIZE_WORD.search(tail)
    moved = last is not None and not to
    compared = any(p.search(tail) for p in (lx.YOY, lx.MOM, lx.OPENING, lx.RATE))
    level: ClaimKind = "ratio" if known and known.kind == "ratio" else "value"
    if per is not None:
        return "ratio", None, ""
    if number.unit == "pp":
        doubt = "" if direction or number.sign else "points without a direction"
        return "change_pp", direction, doubt
    if number.unit == "percent":
        # Of a ratio a percentage may be its level or its change; of an amount it can only be a
        # change.
        if known and known.unit in {"percent", "times"}:
            if FROM_NUMBER.search(tail):  # "fell from 40% to 35%": a level, not the change
                return level, None, ""
            if moved or (compared and not to):
                return "change_pct", direction, ""
            return level, None, ""
        if last and to and not compared:
            return "change_pct", direction, "a level in percent of an amount"
        bare = not (last or compared or number.sign)
        return "change_pct", direction, "a bare percentage of an amount" if bare else ""
    if number.unit == "money":
        if FROM_NUMBER.search(tail):
            return "value", None, ""
        ratio = known is not None and known.unit in {"percent", "times", "days"}
        doubt = "an amount for a ratio" if ratio else ""
        return ("change_abs", direction, doubt) if moved else ("value", None, doubt)
    if number.unit in {"times", "days"}:
        if known is None or known.unit != number.unit:
            return level, None, "unit does not fit the label"
        return ("change_abs", direction, "") if moved else (level, None, "")
    if not _claims_without_unit(number, known):
        return None, None, ""
    return ("change_abs", direction, "a change without a unit") if moved else (level, None, "")


def _claims_without_unit(number: Number, known: Item | None) -> bool:
    # 3 or 12 without a unit is rarely a figure; 0.82 after 速动比率 or 2,380.79 is one.
    if known is not None and known.unit != "money":
        return bool(number.decimals) or len(number.digits) >= 2
    return bool(number.decimals) or "," in number.digits


def basis_of(near: str, after: str, kind: ClaimKind, inherited: Basis) -> Basis:
    """What a change is measured against, from the words before and after the number."""
    if kind not in {"change_pct", "change_pp", "change_abs"}:
        return ""
    tag = _AFTER_BASIS.match(after)
    if tag:
        word = tag["basis"].lower()
        return "yoy" if word in {"同比", "yoy"} or "year" in word else "mom"
    patterns: tuple[tuple[re.Pattern[str], Basis], ...] = (
        (lx.YOY, "yoy"),
        (lx.MOM, "mom"),
        (lx.OPENING, "opening"),
    )
    places = [(m.start(), basis) for pattern, basis in patterns for m in pattern.finditer(near)]
    if places:
        return max(places)[1]
    if lx.YOY.search(after[:60]) and _AFTER_YOY.match(after):
        return "yoy"
    return inherited if inherited in {"yoy", "mom", "opening"} else ""


def past(region: str, period: Period | None) -> Period | None:
    """The earlier period a value belongs to when the words name it.

    >>> past("去年同期为", Period.of_year(2021)).label()
    '2020年'
    >>> past("较去年同期增长", Period.of_year(2021)) is None
    True
    """
    if period is None:
        return None
    for pattern, shift in ((lx.PAST, period.year_ago), (lx.PAST_MONTH, period.previous)):
        found = list(pattern.finditer(region))
        if found and not _AGAINST.search(region[: found[-1].start()]):
            return shift()
    return None


def scope_in(region: str, inherited: Scope, *, attain: bool) -> Scope:
    """Which column the words point to."""
    if lx.BENCHMARK.search(region):
        return "benchmark"
    if lx.BUDGET.search(region) and not attain:
        return "budget"
    if lx.YTD.search(region):
        return "ytd"
    return "period" if lx.SINGLE.search(region) else inherited


def signed(
    number: Number, kind: ClaimKind, direction: str | None, known: Item | None, words: str
) -> float:
    """The value with the sign that sign, brackets, direction and words like 亏损 give it."""
    size = abs(number.value)
    if number.sign in {"-", "("}:
        return -size
    if kind in {"change_pct", "change_pp", "change_abs"}:
        return -size if direction == "down" and number.sign != "+" else size
    if known is not None and known.key in CAN_BE_NEGATIVE and number.sign == "":
        return -size if lx.LOSS.search(_OR_LOSS.sub(" ", words)) else number.value
    return number.value


def hedge_before(text: str, number: Number) -> Hedge:
    """Whether a word before the number makes it approximate."""
    # A word further off hedges something else.
    before = text[max(0, number.start - 16) : number.start]
    hedges: tuple[tuple[re.Pattern[str], Literal["about", "over", "under"]], ...] = (
        (lx.ABOUT, "about"),
        (lx.OVER, "over"),
        (lx.UNDER, "under"),
    )
    return next((name for pattern, name in hedges if pattern.search(before)), "")


_ATTAIN_WORDS = re.compile(
    r"(?:预算|目标|月度|年度|当月|达成|完成|进度|率|budget|of|attainment|completion)+", re.I
)


def attain_doubt(doubt: str) -> str:
    """The doubt that is left where 预算, 目标 and 达成率 are words to expect."""
    rest = re.sub(r"[^\u4e00-\u9fffA-Za-z]", "", doubt.partition("(")[2])
    return "" if not rest or _ATTAIN_WORDS.fullmatch(rest) else doubt
