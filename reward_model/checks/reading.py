"""One value the tables give for a claim, and the periods a claim may be about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from reward_model.checks.claims import Claim
from reward_model.checks.facts import Facts
from reward_model.checks.periods import Period


class Reading(NamedTuple):
    """One value the tables give, and how it relates to the claim."""

    value: float
    """In base units."""
    name: str
    """What it is, for people."""
    right: bool = True
    """Whether a claim that equals it is right; otherwise it only explains a mismatch."""
    sure: bool = False
    """Whether it settles the matter: a claim that equals no reading is wrong."""
    slack: float = 0.0
    """What rounding in the tables adds to the tolerance."""
    near_only: bool = False
    """Whether it excuses a claim only where the claim names no period of its own."""
    cells_only: bool = False
    """Whether it excuses a claim in a table alone."""

    def excuse(self, claim: Claim) -> bool:
        """Whether equality with this reading makes the claim doubtful rather than wrong."""
        if self.cells_only and not claim.cell:
            return False
        return not (self.near_only and claim.source)


USUAL_SCALES = (1.0, 1e3, 1e4, 1e6, 1e8, 1e9)
"""Base units of money that tables are kept in: one, 千, 万, million, 亿, billion."""
_CHINESE, _ENGLISH = (1.0, 1e3, 1e4, 1e6, 1e8), (1.0, 1e3, 1e6, 1e9)


def scales_of(label: str, *, known: bool) -> tuple[float, ...]:
    """By what a figure may still be multiplied: the usual scales of the language of its label
    where none is stated."""
    if known:
        return (1.0,)
    return _CHINESE if any("\u4e00" <= c <= "\u9fff" for c in label) else _ENGLISH


def is_bare(claim: Claim) -> bool:
    """Whether an amount is written without a word of scale: it may be in the table's own."""
    scale = claim.step * 10.0**claim.decimals
    return claim.unit in {"money", "plain"} and abs(scale - 1.0) < 1e-9


def rescaled(
    claim: Claim, value: float, slack: float, name: str = "the amount"
) -> Iterator[Reading]:
    """An amount of known scale as a figure without one may show it.

    Of a cell in a table that states no unit it is as good a reading as any; elsewhere it only
    explains a mismatch ("Revenue was 84.7" beside a table in billions).
    """
    if not is_bare(claim):
        return
    for scale in USUAL_SCALES[1:]:
        yield Reading(
            value / scale,
            f"{name} in another unit",
            right=claim.open_scale,
            slack=slack / scale,
        )


def periods_of(facts: Facts, claim: Claim, own: Sequence[Period] = ()) -> list[Period]:
    """The periods a claim may be about: its own, or the main one of the prompt.

    `own`: periods of the row it is about, where that is no known item.
    """
    period = claim.period
    if period is None:
        main = facts.main_period or max(own, default=None)
        return [main] if main else []
    known = [*facts.periods(), *own]
    if period in known:
        return [period]
    same = [p for p in known if p.year == period.year]
    if period.kind == "year" and same and all(p.kind != "year" for p in same):
        # "2025 to date" in a prompt of months: the latest month of that year.
        return [same[-1], period]
    return [period]


def bases_of(facts: Facts, claim: Claim, period: Period) -> list[tuple[Period, bool]]:
    """Periods a change may be measured from; whether each is what the words say."""
    if claim.basis == "yoy":
        return [(period.year_ago(), True)]
    if claim.basis == "mom":
        return [(period.previous(), True)]
    if claim.basis == "base" and claim.base is not None:
        # A period is no change from itself: one of the two was read wrongly.
        return [(claim.base, True)] if claim.base != period else []
    if claim.basis == "opening":
        return [
            (Period.of_year(period.year - 1), True),
            (Period.of_month(period.year - 1, 12), True),
        ]
    if period.kind == "year":
        return [(period.previous(), True)]
    return [
        (period.year_ago(), True),
        (period.previous(), True),
        (Period.of_month(period.year - 1, 12), True),
    ]
