"""Readings of claims about customers, regions and other rows that are no statement lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from reward_model.checks.claims import Claim
from reward_model.checks.facts import Facts, Figure
from reward_model.checks.reading import Reading, bases_of, periods_of

_UNITS: dict[str, Callable[[Claim], bool]] = {
    "money": lambda c: c.kind in {"value", "change_abs"} and c.unit in {"money", "plain"},
    "percent": lambda c: c.unit in {"percent", "pp"},
}


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
        fits = _UNITS.get(f.unit, lambda c: c.unit == f.unit or c.unit == "plain")
        if not fits(claim):
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
        yield Reading(f.value, "the row of that name", sure=sure, slack=f.step / 2)
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
