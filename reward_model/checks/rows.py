"""Readings of claims about customers, regions and other rows that are no statement lines."""

from __future__ import annotations

from collections.abc import Iterator

from reward_model.checks.claims import Claim
from reward_model.checks.facts import Facts
from reward_model.checks.figures import Figure
from reward_model.checks.reading import Reading, bases_of, periods_of


def _comparable(claim: Claim, figure: Figure) -> bool:
    """Whether a claim and a figure are in the same kind of unit."""
    if figure.unit == "money":
        return claim.kind in {"value", "change_abs"} and claim.unit in {"money", "plain"}
    if figure.unit == "percent":
        return claim.unit in {"percent", "pp"}
    return claim.unit in {figure.unit, "plain"}


def row_readings(facts: Facts, claim: Claim) -> Iterator[Reading]:
    """Figures of a row that is no known item; they settle a mismatch where the measure is sure."""
    figures: list[Figure] = facts.labelled(claim.entity or "")
    periods = periods_of(facts, claim)
    for f in figures:
        if (
            f.period is not None
            and claim.source == "clause"
            and f.period not in periods
            and claim.period not in {f.period}
        ):
            continue
        if not _comparable(claim, f):
            continue
        change = f.measure != "value"
        same_kind = change == claim.kind.startswith("change")
        if claim.kind == "change_pp" and change:
            yield Reading(float("nan"), "no points of an amount", sure=True)
            continue
        named = claim.basis in {"", f.measure}
        sure = (
            same_kind
            and f.scope in {"", "period", "ytd"}
            and (named if change else f.period in periods)
        )
        # A year-to-date figure does not bear out what is said of the month, nor the reverse.
        clash = {claim.scope, f.scope} == {"ytd", "period"}
        yield Reading(f.value, "the row of that name", right=not clash, sure=sure, slack=f.step / 2)
        if f.unit == "money" and f.value < 0:
            yield Reading(
                -f.value,
                "the row without its sign",
                right=claim.direction is not None,
                slack=f.step / 2,
            )
    values = {f.period: f for f in figures if f.measure == "value" and f.scope != "opening"}
    if claim.kind in {"change_pct", "change_abs"}:
        for period in periods:
            now = values.get(period)
            for base, _ in bases_of(facts, claim, period):
                then = values.get(base)
                if now is None or then is None or not then.value:
                    continue
                gap = now.value - then.value
                if claim.kind == "change_abs":
                    yield Reading(gap, "the difference", sure=True, slack=now.step)
                else:
                    yield Reading(
                        gap / abs(then.value),
                        "the change",
                        sure=then.value > 0,
                        slack=now.step / abs(then.value),
                    )
