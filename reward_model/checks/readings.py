"""All the values the tables could give for a claim, under every reasonable reading of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from reward_model.checks.claims import Claim
from reward_model.checks.columns import Scope
from reward_model.checks.facts import Facts
from reward_model.checks.figures import Figure
from reward_model.checks.items import CAN_BE_NEGATIVE, Item, items
from reward_model.checks.periods import Period
from reward_model.checks.reading import (
    Reading,
    bases_of,
    periods_of,
    rescaled,
    scales_of,
)
from reward_model.checks.rows import combined_readings, row_readings, share_readings


class Point(NamedTuple):
    """A value at a period with its rounding."""

    value: float
    step: float
    scope: Scope
    known: bool = True
    """Whether the scale of every amount in it is stated."""
    row: tuple[int, int] = (0, 0)
    """The row it is read from, as in `Figure`."""


def _points(facts: Facts, item: str, period: Period) -> list[Point]:
    """The item in a period from every column that gives it, derived where none does."""
    known = items()[item]
    found = [_point(f) for f in facts.lookup(item, period)]
    if known.formula:
        stated = facts.scales_known if known.unit == "money" else facts.one_scale
        scopes: tuple[Scope, ...] = ("", "ytd") if known.kind != "stock" else ("",)
        for scope in scopes:
            for value in facts.conventions(item, period, scope):
                found.append(Point(value, 0.0, scope, stated))
    if item == "revenue":
        found += [_point(f) for f in facts.lookup("total_revenue", period)]
    return found


def _point(figure: Figure) -> Point:
    return Point(figure.value, figure.step, figure.scope, figure.known, figure.row)


def _annualised(facts: Facts, item: Item, period: Period, points: list[Point]) -> list[Point]:
    """A part-year flow over a balance is also quoted for the whole year."""
    factor = 12 / period.months
    whole = 12 / period.end_month
    if item.unit == "days":
        return [
            Point(p.value * f, 0.0, p.scope)
            for p in points
            for f in (factor, whole, 1 / factor, 365 / 360, 30.4 / 30, 31 / 30)
        ]
    return [Point(p.value * f, 0.0, p.scope) for p in points for f in (factor, whole)]


_OVER_BALANCE = frozenset(
    [
        "roe",
        "roa",
        "asset_turnover",
        "inventory_turnover",
        "receivables_turnover",
        "payables_turnover",
        "dio",
        "dso",
        "dpo",
        "asset_days",
        "operating_cycle",
        "ccc",
        "ocf_to_current_liabilities",
    ]
)


def readings(facts: Facts, claim: Claim) -> Iterator[Reading]:
    """Readings in the order of likelihood."""
    if claim.combine:
        yield from combined_readings(facts, claim)
        return
    if claim.per is not None and (claim.per.startswith("@") or claim.entity is not None):
        yield from share_readings(facts, claim)
        return
    if claim.entity is not None:
        yield from row_readings(facts, claim)
        return
    if claim.item is None:
        return
    item = items()[claim.item]
    if claim.scope in {"benchmark", "budget"}:
        yield from _stated(facts, claim)
        return
    if claim.basis == "budget":
        yield from _attainment(facts, claim)
        return
    if claim.per is not None:
        yield from _share(facts, claim)
        return
    for period in periods_of(facts, claim):
        if claim.kind in {"value", "ratio"}:
            yield from _levels(facts, claim, item, period)
        else:
            yield from _changes(facts, claim, item, period)
    yield from _excuses(facts, claim, item)


def _contradicts(claim: Claim, scope: Scope) -> bool:
    return (claim.scope == "period" and scope == "ytd") or (
        claim.scope == "ytd" and scope == "period"
    )


def _levels(facts: Facts, claim: Claim, item: Item, period: Period) -> Iterator[Reading]:
    points = _points(facts, item.key, period)
    part_year = item.key in _OVER_BALANCE and period.months != 12
    usual = [p for p in points if p.scope != "opening"]
    for p in usual:
        clash = _contradicts(claim, p.scope)
        sure = p.known and not (clash or part_year)
        for scale in scales_of(claim.label, known=p.known or item.unit != "money"):
            yield Reading(
                p.value * scale, "the tables", right=not clash, sure=sure, slack=p.step * scale / 2
            )
    if part_year:
        for p in _annualised(facts, item, period, usual):
            yield Reading(p.value, "annualised", slack=p.step)
    for p in points:
        if p.scope == "opening":
            yield Reading(
                p.value, "the opening balance", right=claim.scope == "opening", slack=p.step / 2
            )
        if item.unit == "money":
            yield from rescaled(claim, p.value, p.step / 2)
        if item.unit == "money" and p.value < 0 and item.key not in CAN_BE_NEGATIVE:
            # A negative expense is often written as a gain, without its sign.
            yield Reading(-p.value, "the amount without its sign", right=False, slack=p.step / 2)


_FEW = 12
"""Points of one item that are compared each with each; of more, those of one row alone."""


def _pairs(facts: Facts, item: Item, period: Period, base: Period) -> Iterator[tuple[Point, Point]]:
    now_all, then_all = _points(facts, item.key, period), _points(facts, item.key, base)
    by_row: dict[tuple[int, int], list[Point]] = defaultdict(list)
    many = len(now_all) > _FEW and len(then_all) > _FEW
    for then in then_all:
        by_row[then.row if many else (0, 0)].append(then)
    for now in now_all:
        for then in by_row[now.row if many else (0, 0)]:
            if now.scope == then.scope and now.scope != "opening":
                yield now, then


def _changes(facts: Facts, claim: Claim, item: Item, period: Period) -> Iterator[Reading]:
    stated = {"yoy": {"yoy"}, "mom": {"mom"}, "": {"yoy", "mom", "change"}}.get(claim.basis, set())
    fraction = item.unit == "percent"
    if claim.kind == "change_pct" or (claim.kind == "change_pp" and fraction):
        for figure in facts.stated.get(item.key, ()):
            if figure.measure in stated and figure.period in {period, None}:
                clash = _contradicts(claim, figure.scope)
                kind_fits = claim.kind == "change_pct" or fraction
                yield Reading(
                    figure.value,
                    "the change the tables state",
                    right=kind_fits and not clash,
                    sure=kind_fits and not clash and not fraction,
                    slack=figure.step,
                )
    pairs = [
        pair
        for base, _ in bases_of(facts, claim, period)
        for pair in _pairs(facts, item, period, base)
    ]
    if claim.basis in {"opening", ""} and period.kind != "year":
        openings = [
            Point(f.value, f.step, "closing")
            for f in facts.lookup(item.key, period)
            if f.scope == "opening"
        ]
        pairs += [
            (now, o)
            for now in _points(facts, item.key, period)
            if now.scope in {"", "closing"}
            for o in openings
        ]
    part_year = item.key in _OVER_BALANCE and period.months != 12
    for now, then in pairs:
        clash = _contradicts(claim, now.scope)
        yield from _difference(claim, item, now, then, clash or part_year)


def _difference(
    claim: Claim, item: Item, now: Point, then: Point, clash: bool
) -> Iterator[Reading]:
    gap = now.value - then.value
    rounding = now.step / 2 + then.step / 2
    if claim.kind == "change_abs":
        known = now.known and then.known
        for scale in scales_of(claim.label, known=known or item.unit != "money"):
            yield Reading(
                gap * scale,
                "the difference",
                right=not clash,
                sure=known and not clash,
                slack=rounding * scale,
            )
        if item.unit == "money":
            yield from rescaled(claim, gap, rounding, "the difference")
        return
    if claim.kind == "change_pp":
        if item.unit in {"percent", "times"}:
            yield Reading(
                gap,
                "the difference in points",
                right=not clash,
                sure=not clash and item.unit == "percent",
                slack=rounding,
            )
        elif then.value:
            # 利润提升 14 个百分点: an amount has no percentage points.
            yield Reading(float("nan"), "no points of an amount", sure=True)
        return
    if then.value:
        slack = rounding / abs(then.value) * (1 + abs(now.value / then.value))
        positive = then.value > 0 or item.kind == "ratio"
        yield Reading(
            gap / abs(then.value),
            "the change",
            right=not clash,
            sure=not clash and then.value > 0 and now.known == then.known,
            slack=slack,
        )
        if not positive or then.value < 0:
            yield Reading(
                gap / then.value, "the change off a negative base", right=not clash, slack=slack
            )
            if now.value < 0:
                yield Reading(
                    -gap / then.value, "the change of the loss", right=not clash, slack=slack
                )
    if item.unit == "percent":
        # 毛利率下降 4.6% for 4.6 points is the error "percent for points"; only tables of changes
        # are known to write points as %.
        yield Reading(gap, "the change in points", right=False, cells_only=True)


def _stated(facts: Facts, claim: Claim) -> Iterator[Reading]:
    """Benchmarks and budgets: any of the item's; none of them settles a mismatch."""
    for figure in facts.stated.get(claim.item or "", ()):
        if figure.scope == claim.scope:
            yield Reading(figure.value, "a " + claim.scope, slack=figure.step / 2)
    if claim.scope == "benchmark" and claim.item is not None:
        # "Better than the industry, at 69.1%": the number may still be the company's own.
        for period in periods_of(facts, claim):
            for p in _points(facts, claim.item, period):
                yield Reading(p.value, "the company's own", slack=p.step / 2)
    if claim.scope == "budget" and claim.item is not None:
        budgets = [f for f in facts.stated.get(claim.item, ()) if f.scope == "budget" and f.period]
        total = 0.0
        for figure in sorted(
            (f for f in budgets if f.period and f.period.kind == "month"),
            key=lambda f: f.period or Period(0),
        ):
            total += figure.value
            yield Reading(total, "the budget to date", slack=figure.step)


def _attainment(facts: Facts, claim: Claim) -> Iterator[Reading]:
    budgets = [
        f for f in facts.stated.get(claim.item or "", ()) if f.scope == "budget" and f.period
    ]
    if not budgets or claim.item is None:
        return
    for period in periods_of(facts, claim):
        actual = _points(facts, claim.item, period)
        month = [f for f in budgets if f.period == period]
        year = [
            f
            for f in budgets
            if f.period and f.period.kind == "year" and f.period.year == period.year
        ]
        to_date = sum(
            f.value
            for f in budgets
            if f.period
            and f.period.kind == "month"
            and f.period.year == period.year
            and f.period <= period
        )
        for p in actual:
            right = (
                (to_date, *(f.value for f in year))
                if p.scope == "ytd"
                else tuple(f.value for f in month)
            )
            other = (
                tuple(f.value for f in month)
                if p.scope == "ytd"
                else (to_date, *(f.value for f in year))
            )
            for target in (*right, *other):
                if target:
                    sure = p.value > 0 and target > 0 and all(f.value > 0 for f in month)
                    yield Reading(
                        p.value / target, "actual over budget", sure=sure and target in right
                    )
                    yield Reading(p.value / target - 1, "the deviation from budget")


def _share(facts: Facts, claim: Claim) -> Iterator[Reading]:
    if claim.item is None or claim.per is None or claim.per.startswith("@"):
        return
    for period in periods_of(facts, claim):
        for top in _points(facts, claim.item, period):
            for bottom in _points(facts, claim.per, period):
                if not bottom.value or top.scope == "opening" or bottom.scope == "opening":
                    continue
                mixed = (
                    "ytd" in {top.scope, bottom.scope}
                    and top.scope != bottom.scope
                    and "closing" not in {top.scope, bottom.scope}
                )
                yield Reading(
                    top.value / bottom.value,
                    "the ratio",
                    right=not mixed,
                    sure=not mixed and top.known == bottom.known,
                )


_SIBLINGS = {
    "cash": ("closing_cash",),
    "closing_cash": ("cash",),
    "cost_of_sales": ("total_operating_cost",),
    "net_profit": ("parent_net_profit", "comprehensive_income"),
    "interest_expense": ("finance_cost",),
    "parent_net_profit": ("net_profit",),
    "operating_profit": ("profit_before_tax",),
    "profit_before_tax": ("operating_profit",),
    "equity": ("liabilities_and_equity",),
    "total_assets": ("liabilities_and_equity",),
    "finance_cost": ("interest_expense",),
}
"""Lines that reports often mean by one another's names."""


def _excuses(facts: Facts, claim: Claim, item: Item) -> Iterator[Reading]:
    """Values that would explain a mismatch: another period, another measure of the same line."""
    level = claim.kind in {"value", "ratio"}
    for key in _SIBLINGS.get(item.key, ()):
        for period in periods_of(facts, claim):
            for p in _points(facts, key, period) if level else ():
                yield Reading(p.value, key, right=False, slack=p.step)
    for period in facts.periods():
        if period == claim.period:
            continue
        if level:
            for figure in facts.lookup(item.key, period):
                yield Reading(
                    figure.value,
                    f"the figure of {period.label('en')}",
                    right=False,
                    near_only=True,
                    slack=figure.step / 2,
                )
    if claim.kind == "change_pct":
        for figure in facts.stated.get(item.key, ()):
            if figure.measure != "value" and figure.period != claim.period:
                yield Reading(
                    figure.value,
                    "the change of another period",
                    right=False,
                    near_only=True,
                    slack=figure.step,
                )
            elif figure.measure != "value":
                other = {"yoy": "mom", "mom": "yoy"}.get(claim.basis)
                if figure.measure != other:
                    yield Reading(
                        figure.value, "another change of the line", right=False, slack=figure.step
                    )
