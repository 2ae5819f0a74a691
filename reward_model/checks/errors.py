"""How each kind of numeric error is made: the edits that would put it on a claim."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from reward_model.checks.claims import Claim
from reward_model.checks.facts import Facts
from reward_model.checks.formulas import evaluate
from reward_model.checks.items import items
from reward_model.checks.numbers import Number, find_numbers, format_digits
from reward_model.checks.periods import Period
from reward_model.checks.reading import periods_of
from reward_model.checks.verify import Verdict


@dataclass(frozen=True, slots=True)
class Edit:
    """One replacement, and which claims it is meant to change."""

    start: int
    end: int
    now: str
    targets: tuple[int, ...]


def _number(claim: Claim) -> tuple[Number, int]:
    """The number of a claim, and where its digits start in the claim's text."""
    number = find_numbers(claim.text)[0]
    return number, claim.text.index(number.digits)


def _with_digits(claim: Claim, digits: str) -> Edit:
    number, at = _number(claim)
    now = claim.text[:at] + digits + claim.text[at + len(number.digits) :]
    return Edit(claim.start, claim.end, now, (claim.start,))


def _with_value(claim: Claim, value: float) -> Iterator[Edit]:
    """The claim with another value, in its own unit, decimals and separators."""
    number, _ = _number(claim)
    scale = claim.step * 10.0**claim.decimals
    grouped = "," in number.digits or (
        abs(value) / scale >= 1e3 and len(number.digits.split(".")[0]) < 4 and claim.cell
    )
    digits = format_digits(abs(value), claim.decimals, scale, grouped)
    if float(digits.replace(",", "")) == 0 or len(digits) > len(number.digits) + 4:
        return
    if (value < 0) != (claim.value < 0):
        return
    yield _with_digits(claim, digits)


Maker = Callable[[Facts, str, Claim, list[Verdict], random.Random], Iterator[Edit]]


def _transposition(
    facts: Facts, report: str, claim: Claim, others: list[Verdict], rng: random.Random
) -> Iterator[Edit]:
    digits = _number(claim)[0].digits
    places = [i for i, c in enumerate(digits) if c.isdigit()]
    pairs = [(a, b) for a, b in pairwise(places) if digits[a] != digits[b]]
    rng.shuffle(pairs)
    for a, b in pairs:
        new = list(digits)
        new[a], new[b] = new[b], new[a]
        text = "".join(new)
        if not (text[0] == "0" and len(text.split(".")[0]) > 1):
            yield _with_digits(claim, text)


def _swap(
    facts: Facts, report: str, claim: Claim, others: list[Verdict], rng: random.Random
) -> Iterator[Edit]:
    mine, _ = _number(claim)
    for verdict in others:
        other = verdict.claim
        if not claim.end <= other.start <= claim.end + 240:
            continue
        theirs, _ = _number(other)
        same = (mine.word, mine.sign, bool(claim.kind.startswith("change"))) == (
            theirs.word,
            theirs.sign,
            bool(other.kind.startswith("change")),
        )
        if not same or mine.digits == theirs.digits:
            continue
        middle = report[claim.end : other.start]
        if "\n\n" in middle:
            continue
        first, second = _with_digits(claim, theirs.digits).now, _with_digits(other, mine.digits).now
        yield Edit(claim.start, other.end, first + middle + second, (claim.start, other.start))


_TURN = [
    ("下降", "上升"),
    ("下滑", "增长"),
    ("增长", "下降"),
    ("增加", "减少"),
    ("减少", "增加"),
    ("上升", "下降"),
    ("提升", "下降"),
    ("提高", "降低"),
    ("降低", "提高"),
    ("激增", "骤降"),
    ("暴增", "骤降"),
    ("锐减", "激增"),
    ("骤降", "激增"),
    ("飙升", "骤降"),
    ("上涨", "下跌"),
    ("下跌", "上涨"),
    ("大增", "大降"),
    ("回升", "回落"),
    ("回落", "回升"),
    ("↑", "↓"),
    ("↓", "↑"),
    ("▲", "▼"),
    ("▼", "▲"),
    ("增幅", "降幅"),
    ("降幅", "增幅"),
    ("increased", "decreased"),
    ("decreased", "increased"),
    ("rose", "fell"),
    ("fell", "rose"),
    ("grew", "declined"),
    ("declined", "grew"),
    ("increase", "decrease"),
    ("decrease", "increase"),
    ("growth", "decline"),
    ("decline", "growth"),
    ("dropped", "climbed"),
    ("climbed", "dropped"),
    ("up", "down"),
    ("down", "up"),
    ("improved", "deteriorated"),
    ("gained", "lost"),
    ("higher", "lower"),
    ("lower", "higher"),
]


def _sign(
    facts: Facts, report: str, claim: Claim, others: list[Verdict], rng: random.Random
) -> Iterator[Edit]:
    number, at = _number(claim)
    if number.sign in {"-", "+"}:
        place = next(i for i, c in enumerate(claim.text) if c in "-+－＋−–")
        other = "+" if number.sign == "-" and claim.kind.startswith("change") else ""
        now = claim.text[:place] + ("-" if number.sign == "+" else other) + claim.text[place + 1 :]
        yield Edit(claim.start, claim.end, now, (claim.start,))
        return
    if number.sign == "(":
        yield Edit(claim.start, claim.end, re.sub(r"[()（）]", "", claim.text), (claim.start,))
        return
    if claim.kind.startswith("change") and claim.direction:
        window = max(0, claim.start - 14)
        before = report[window : claim.start]
        best = max(
            ((before.rfind(a), len(a), a, b) for a, b in _TURN if _word_at(before, a)), default=None
        )
        if best is not None:
            start = window + best[0]
            yield Edit(start, start + best[1], best[3], (claim.start,))
        return
    if claim.kind in {"value", "ratio"} and claim.unit != "days" and claim.direction is None:
        yield Edit(claim.start, claim.end, claim.text[:at] + "-" + claim.text[at:], (claim.start,))


def _word_at(text: str, word: str) -> bool:
    place = text.rfind(word)
    if place < 0:
        return False
    return not word.isascii() or bool(re.search(rf"\b{word}\b", text))


_UNITS = {
    "万元": "亿元",
    "亿元": "万元",
    "万": "亿",
    "亿": "万",
    "千元": "万元",
    "百万元": "亿元",
    "元": "万元",
    "million": "billion",
    "billion": "million",
    "thousand": "million",
    "mn": "bn",
    "bn": "mn",
    "m": "bn",
    "k": "m",
    "b": "m",
}


def _unit(
    facts: Facts, report: str, claim: Claim, others: list[Verdict], rng: random.Random
) -> Iterator[Edit]:
    word = _number(claim)[0].word
    new = _UNITS.get(word.lower())
    if new and word and claim.unit == "money":
        at = claim.text.rindex(word)
        now = claim.text[:at] + new + claim.text[at + len(word) :]
        yield Edit(claim.start, claim.end, now, (claim.start,))


def _period(
    facts: Facts, report: str, claim: Claim, others: list[Verdict], rng: random.Random
) -> Iterator[Edit]:
    if claim.entity is not None:
        for figure in facts.labelled(claim.entity):
            if (
                figure.measure == "value"
                and claim.kind == "value"
                and figure.period != claim.period
            ):
                yield from _with_value(claim, figure.value)
        return
    if claim.item is None or claim.per is not None or claim.basis == "budget":
        return
    own = periods_of(facts, claim)
    if claim.kind in {"value", "ratio"}:
        periods = [p for p in facts.periods() if p not in own]
        near = [q for p in own for q in (p.year_ago(), p.previous()) if q in periods]
        rng.shuffle(periods)
        for period in dict.fromkeys([*near, *periods]):
            value = facts.value(claim.item, period, claim.scope)
            if value is not None:
                yield from _with_value(claim, value)
        return
    for figure in facts.stated.get(claim.item, ()):
        if claim.kind == "change_pct" and figure.measure in {"yoy", "mom"} and figure.period in own:
            yield from _with_value(claim, figure.value)
    for period in own:
        for earlier in (period.previous(), period.year_ago()):
            value = facts.change(
                claim.item,
                earlier,
                earlier.year_ago() if claim.basis != "mom" else earlier.previous(),
            )
            if value is not None:
                yield from _with_value(claim, value)


def _percent_point(
    facts: Facts, report: str, claim: Claim, others: list[Verdict], rng: random.Random
) -> Iterator[Edit]:
    number, _ = _number(claim)
    word = number.word
    chinese = bool(re.search(r"[\u4e00-\u9fff]", report[max(0, claim.start - 40) : claim.end + 40]))
    if claim.kind == "change_pct" and claim.unit == "percent" and word:
        at = claim.text.rindex(word)
        points = (
            "个百分点"
            if chinese and not claim.cell
            else ("pp" if claim.cell else " percentage points")
        )
        yield Edit(
            claim.start,
            claim.end,
            claim.text[:at].rstrip() + points + claim.text[at + len(word) :],
            (claim.start,),
        )
    elif (
        claim.kind == "change_pp"
        and "基点" not in word
        and not word.lower().startswith(("b", "basis"))
    ):
        at = claim.text.rindex(word)
        yield Edit(
            claim.start,
            claim.end,
            claim.text[:at].rstrip() + "%" + claim.text[at + len(word) :],
            (claim.start,),
        )


_WRONG_BASE = {
    "revenue": ("cost_of_sales", "total_operating_cost", "total_assets"),
    "total_assets": ("equity", "current_assets", "liabilities_and_equity"),
    "equity": ("total_assets", "total_liabilities"),
    "current_liabilities": ("total_liabilities", "noncurrent_liabilities"),
    "net_profit": ("profit_before_tax", "revenue", "operating_profit"),
    "profit_before_tax": ("net_profit", "revenue"),
    "interest_expense": ("finance_cost", "income_tax"),
    "cost_of_sales": ("revenue",),
    "inventory": ("current_assets",),
    "receivables": ("current_assets",),
    "payables": ("current_liabilities",),
}


def _denominator(
    facts: Facts, report: str, claim: Claim, others: list[Verdict], rng: random.Random
) -> Iterator[Edit]:
    if claim.item is None or claim.basis == "budget":
        return
    for period in periods_of(facts, claim):
        if claim.kind == "ratio" and claim.per is None:
            for formula in items()[claim.item].formula[:1]:
                top, slash, bottom = formula.rpartition("/")
                names = [n for n in _WRONG_BASE if re.search(rf"\b{n}\b", bottom)]
                wrong = [re.sub(rf"\b{n}\b", w, bottom) for n in names for w in _WRONG_BASE[n]]
                rng.shuffle(wrong)
                for other in wrong if slash else ():
                    value = evaluate(f"{top}/{other}", _lookup(facts, period))
                    if value is not None:
                        yield from _with_value(claim, value)
        elif claim.kind == "change_pct" and claim.basis in {"yoy", "mom", ""}:
            base = period.previous() if claim.basis == "mom" else period.year_ago()
            now, then = facts.value(claim.item, period), facts.value(claim.item, base)
            if now and then:
                yield from _with_value(claim, (now - then) / abs(now))


def _lookup(facts: Facts, period: Period) -> Callable[[str, bool], float | None]:
    def look(key: str, average: bool) -> float | None:
        return 365.0 if key == "days" else facts.value(key, period)

    return look


_TOTALS = frozenset(
    [
        "revenue",
        "total_revenue",
        "total_operating_cost",
        "gross_profit",
        "operating_profit",
        "profit_before_tax",
        "net_profit",
        "period_expenses",
        "operating_cash_in",
        "operating_cash_out",
        "operating_cash_flow",
        "investing_cash_flow",
        "financing_cash_flow",
        "net_change_in_cash",
        "closing_cash",
        "current_assets",
        "noncurrent_assets",
        "total_assets",
        "current_liabilities",
        "noncurrent_liabilities",
        "total_liabilities",
        "equity",
        "liabilities_and_equity",
        "working_capital",
    ]
)


def _total(
    facts: Facts, report: str, claim: Claim, others: list[Verdict], rng: random.Random
) -> Iterator[Edit]:
    if claim.item not in _TOTALS or claim.kind != "value":
        return
    parts = []
    for period in periods_of(facts, claim):
        for key in facts.items():
            value = facts.value(key, period)
            if value and key != claim.item and 0.02 < abs(value / claim.value) < 0.6:
                parts.append(abs(value))
    parts += [abs(claim.value) * share for share in (0.043, 0.067, 0.118)]
    rng.shuffle(parts)
    for part in parts[:6]:
        yield from _with_value(claim, claim.value + rng.choice((1, -1)) * part)


def _magnitude(
    facts: Facts, report: str, claim: Claim, others: list[Verdict], rng: random.Random
) -> Iterator[Edit]:
    factors = [10.0, 0.1]
    rng.shuffle(factors)
    for factor in factors:
        yield from _with_value(claim, claim.value * factor)


MAKERS: dict[str, Maker] = {
    "transposition": _transposition,
    "swap": _swap,
    "sign": _sign,
    "unit": _unit,
    "period": _period,
    "percent_point": _percent_point,
    "denominator": _denominator,
    "total": _total,
    "magnitude": _magnitude,
}
