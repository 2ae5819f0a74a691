"""Values of known items at a period, and differences between two of them."""

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
from reward_model.checks.reading import Reading, rescaled, scales_of


class Point(NamedTuple):
    """A value at a period with its rounding."""

    value: float
    step: float
    scope: Scope
    known: bool = True
    """Whether the scale of every amount in it is stated."""
    row: tuple[int, int] = (0, 0)
    """The row it is read from, as in `Figure`."""


def points_of(facts: Facts, item: str, period: Period) -> list[Point]:
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
        # 营业总收入 and 营业收入 differ only at companies with interest or premiums; reports say
        # either.
        found += [_point(f) for f in facts.lookup("total_revenue", period)]
    return found


def _point(figure: Figure) -> Point:
    return Point(figure.value, figure.step, figure.scope, figure.known, figure.row)


def annualised(facts: Facts, item: Item, period: Period, points: list[Point]) -> list[Point]:
    """A part-year flow over a balance is also quoted for the whole year."""
    factor = 12 / period.months
    # A flow to date covers the year up to its month, whatever the period itself covers.
    whole = 12 / period.end_month
    if item.unit == "days":
        return [
            Point(p.value * f, 0.0, p.scope)
            for p in points
            # Banks' years have 360 days, and months are taken as 30, 30.4 or as long as they are.
            for f in (factor, whole, 1 / factor, 365 / 360, 30.4 / 30, 31 / 30)
        ]
    return [Point(p.value * f, 0.0, p.scope) for p in points for f in (factor, whole)]


_FEW = 12
"""Points of one item that are compared each with each; of more, those of one row alone."""


def pairs_of(
    facts: Facts, item: Item, period: Period, base: Period
) -> Iterator[tuple[Point, Point]]:
    """The values of two periods that may be compared with one another."""
    now_all, then_all = points_of(facts, item.key, period), points_of(facts, item.key, base)
    by_row: dict[tuple[int, int], list[Point]] = defaultdict(list)
    many = len(now_all) > _FEW and len(then_all) > _FEW
    for then in then_all:
        by_row[then.row if many else (0, 0)].append(then)
    for now in now_all:
        for then in by_row[now.row if many else (0, 0)]:
            if now.scope == then.scope and now.scope != "opening":
                yield now, then


def difference(claim: Claim, item: Item, now: Point, then: Point, clash: bool) -> Iterator[Reading]:
    gap = now.value - then.value
    rounding = now.step / 2 + then.step / 2
    # A cost with a minus may be a gain, or written so because it is taken away.
    odd = min(now.value, then.value) < 0 and item.key not in CAN_BE_NEGATIVE
    if claim.kind == "change_abs":
        known = now.known and then.known
        for scale in scales_of(claim.label, known=known or item.unit != "money"):
            yield Reading(
                gap * scale,
                "the difference",
                right=not clash,
                sure=known and not clash and not odd,
                slack=rounding * scale,
            )
        if odd:
            yield Reading(-gap, "the difference without signs", right=False, slack=rounding)
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
        # First-order propagation of both roundings through now / then - 1: d(a/b) = (da + a/b db)
        # / b.
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
