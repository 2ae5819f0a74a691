"""All the values the tables could give for a claim, under every reasonable reading of it."""

from __future__ import annotations

from collections.abc import Iterator

from reward_model.checks.claims import Claim
from reward_model.checks.columns import Scope
from reward_model.checks.excuses import excuses
from reward_model.checks.facts import Facts
from reward_model.checks.frame import COSTS
from reward_model.checks.items import CAN_BE_NEGATIVE, Item, items
from reward_model.checks.periods import Period
from reward_model.checks.points import Point, annualised, difference, pairs_of, points_of
from reward_model.checks.reading import (
    Reading,
    bases_of,
    periods_of,
    rescaled,
    scales_of,
)
from reward_model.checks.rows import combined_readings, row_readings, share_readings

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
    yield from excuses(facts, claim, item)


def _contradicts(claim: Claim, scope: Scope) -> bool:
    return (claim.scope == "period" and scope == "ytd") or (
        claim.scope == "ytd" and scope == "period"
    )


def _levels(facts: Facts, claim: Claim, item: Item, period: Period) -> Iterator[Reading]:
    points = points_of(facts, item.key, period)
    # Half a year's profit over the equity is a half-yearly ROE: some report it so, some doubled.
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
        for p in annualised(facts, item, period, usual):
            yield Reading(p.value, "annualised", slack=p.step)
    for p in points:
        if p.scope == "opening":
            yield Reading(
                p.value, "the opening balance", right=claim.scope == "opening", slack=p.step / 2
            )
        if item.unit == "money":
            yield from rescaled(claim, p.value, p.step / 2)
        if claim.value < 0 < p.value and item.key in COSTS:
            # "Interest expense was -20": written as the table shows it.
            yield Reading(-p.value, "the cost with a minus", right=False, slack=p.step / 2)
        if item.unit in {"money", "times"} and p.value < 0 and item.key not in CAN_BE_NEGATIVE:
            # A negative expense is often written as a gain, without its sign.
            yield Reading(-p.value, "the amount without its sign", right=False, slack=p.step / 2)


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
        for pair in pairs_of(facts, item, period, base)
    ]
    if claim.basis in {"opening", ""} and period.kind != "year":
        openings = [
            Point(f.value, f.step, "closing")
            for f in facts.lookup(item.key, period)
            if f.scope == "opening"
        ]
        pairs += [
            (now, o)
            for now in points_of(facts, item.key, period)
            if now.scope in {"", "closing"}
            for o in openings
        ]
    part_year = item.key in _OVER_BALANCE and period.months != 12
    for now, then in pairs:
        clash = _contradicts(claim, now.scope)
        yield from difference(claim, item, now, then, clash or part_year)


def _stated(facts: Facts, claim: Claim) -> Iterator[Reading]:
    """Benchmarks and budgets: any of the item's; none of them settles a mismatch."""
    for figure in facts.stated.get(claim.item or "", ()):
        if figure.scope == claim.scope:
            yield Reading(figure.value, "a " + claim.scope, slack=figure.step / 2)
    if claim.scope == "benchmark" and claim.item is not None:
        # "Better than the industry, at 69.1%": the number may still be the company's own.
        for period in periods_of(facts, claim):
            for p in points_of(facts, claim.item, period):
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
        actual = points_of(facts, claim.item, period)
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
        for top in points_of(facts, claim.item, period):
            for bottom in points_of(facts, claim.per, period):
                # A share of 1 January's balance is no share of the year.
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
