"""Readings of claims about rows that are no statement lines: regions, products, notes to the
accounts. They are held to the same rule as known items: same row, same column, same unit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from reward_model.checks.claims import Claim
from reward_model.checks.facts import Facts
from reward_model.checks.figures import Figure
from reward_model.checks.periods import Period
from reward_model.checks.reading import Reading, bases_of, is_bare, periods_of, rescaled, scales_of

_LEVEL_SCOPES = frozenset({"", "period", "ytd", "closing"})
_COUNTABLE = frozenset({"money", "plain", "per_share"})


def row_readings(facts: Facts, claim: Claim) -> Iterator[Reading]:
    """Readings of a claim about the row `claim.entity`, the likely ones first."""
    figures = facts.labelled(claim.entity or "")
    periods = periods_of(facts, claim, [f.period for f in figures if f.period])
    if claim.kind in {"value", "ratio"} and claim.per is None:
        for figure in figures:
            if figure.measure == "value":
                yield from _level(claim, figure, periods)
            elif figure.measure == "share" and claim.unit == "percent":
                yield Reading(figure.value, "a share the tables state", right=False)
        return
    if claim.kind == "change_pp" or claim.kind.startswith("change"):
        yield from _stated(claim, figures, periods)
        for period in periods:
            for base, _ in bases_of(facts, claim, period):
                yield from _changes(claim, figures, period, base)


def _level(claim: Claim, figure: Figure, periods: list[Period]) -> Iterator[Reading]:
    if not _comparable(claim, figure):
        return
    here = figure.period in periods
    if not here and figure.period is not None:
        same = any(p.year == figure.period.year for p in periods)
        if claim.source == "clause" and not same:
            return
        yield Reading(figure.value, "the row in another period", right=False, near_only=not same)
        return
    # A year-to-date figure does not bear out what is said of the month, nor the reverse.
    clash = {claim.scope, figure.scope} == {"ytd", "period"} or figure.scope == "opening"
    slack = figure.step / 2
    sure = here and not clash and figure.known and figure.scope in _LEVEL_SCOPES
    sure = sure and _same_unit(claim, figure)
    for scale in scales_of(figure.label, known=figure.known):
        yield Reading(
            figure.value * scale, "the row of that name", right=not clash, sure=sure, slack=slack
        )
    if figure.unit in _COUNTABLE and figure.known:
        yield from rescaled(claim, figure.value, slack)
    if figure.value < 0 and claim.sign == "":
        yield Reading(-figure.value, "the row without its sign", right=False, slack=slack)


def _comparable(claim: Claim, figure: Figure) -> bool:
    """Whether a level and a figure are in the same kind of unit."""
    if figure.unit == "percent":
        return claim.unit in {"percent", "plain"}
    if figure.unit in {"money", "plain"}:
        return claim.unit in {"money", "plain"}
    if figure.unit == "per_share":
        return claim.unit in {"money", "plain"} and claim.step <= 1.0
    return claim.unit in {figure.unit, "plain"}


def _same_unit(claim: Claim, figure: Figure) -> bool:
    """Whether units are the same for certain: an amount is no count and no amount a share."""
    if figure.unit in {"plain", "per_share"}:
        return is_bare(claim) and figure.unit == ("plain" if claim.unit == "plain" else "per_share")
    return figure.unit != "money" or claim.unit in {"money", "plain"}


def _stated(claim: Claim, figures: list[Figure], periods: list[Period]) -> Iterator[Reading]:
    """Changes that a column of the table itself gives."""
    for figure in figures:
        if figure.measure in {"value", "share"}:
            if claim.kind == "change_pct" and figure.unit == "percent":
                yield Reading(figure.value, "a level in percent", right=False)
            continue
        if claim.kind == "change_pct":
            ours = figure.period in {*periods, None}
            named = claim.basis in {"", figure.measure} and ours
            # Of another period (a quarter in a table of years) it only explains a mismatch.
            sure = named and figure.period is not None and claim.source != "report"
            yield Reading(
                figure.value,
                "the row's stated change",
                right=ours,
                sure=sure,
                slack=figure.step / 2,
            )
        elif claim.kind == "change_abs" and figure.unit == "money":
            yield Reading(figure.value, "the row's stated change", slack=figure.step / 2)
        elif claim.kind == "change_pp":
            yield Reading(float("nan"), "no points of an amount", sure=True)


def _changes(
    claim: Claim, figures: list[Figure], period: Period, base: Period
) -> Iterator[Reading]:
    levels = [f for f in figures if f.measure == "value" and f.scope in _LEVEL_SCOPES]
    # Of many rows with one label only figures of the same row are compared.
    # Each with each of a hundred rows called "Other" would find some pair for every number.
    many = len(levels) > 24
    by_row: dict[tuple[int, int], list[Figure]] = defaultdict(list)
    for then in levels:
        if then.period == base:
            by_row[then.row if many else (0, 0)].append(then)
    for now in levels:
        if now.period == period:
            for then in by_row[now.row if many else (0, 0)]:
                if then.unit == now.unit and then.scope == now.scope:
                    yield from _difference(claim, now, then)


def _difference(claim: Claim, now: Figure, then: Figure) -> Iterator[Reading]:
    together = now.row == then.row
    gap, rounding = now.value - then.value, now.step / 2 + then.step / 2
    negative = now.value < 0 or then.value < 0
    if claim.kind == "change_pp":
        if now.unit == "percent":
            yield Reading(gap, "the difference in points", sure=together, slack=rounding)
        return
    if claim.kind == "change_abs":
        if now.unit == "percent":
            return
        sure = together and now.known and then.known and not negative and _same_unit(claim, now)
        for scale in scales_of(now.label, known=now.known):
            yield Reading(gap * scale, "the difference", sure=sure, slack=rounding * scale)
            if negative:
                yield Reading(-gap * scale, "the difference without signs", right=False)
        yield from rescaled(claim, gap, rounding, "the difference")
        return
    if not then.value:
        return
    slack = rounding / abs(then.value) * (1 + abs(now.value / then.value))
    same = now.known == then.known
    plain = then.value > 0
    yield Reading(
        gap / abs(then.value),
        "the change" if plain else "the change off a negative base",
        right=plain,
        sure=together and same and not negative,
        slack=slack,
    )
    if negative:
        # Off a negative base every book has its own convention: none of them proves anything.
        yield Reading(-gap / abs(then.value), "the change without signs", right=False, slack=slack)
    if now.unit == "percent":
        yield Reading(gap, "the change in points", right=False, slack=rounding)


def _figures(facts: Facts, key: str, period: Period) -> list[Figure]:
    """Levels of an item or (with `@`) a row in a period."""
    if not key.startswith("@"):
        return [f for f in facts.lookup(key, period) if f.scope != "opening"]
    return [
        f
        for f in facts.labelled(key[1:])
        if f.period == period and f.measure == "value" and f.scope in _LEVEL_SCOPES
    ]


def _key(claim: Claim) -> str:
    return claim.item or f"@{claim.entity}"


def share_readings(facts: Facts, claim: Claim) -> Iterator[Reading]:
    """One row as a share of another, in the same column of the same table where there is one."""
    key, per = _key(claim), claim.per or ""
    rows = [f.period for f in facts.labelled(key[1:]) if f.period] if key[0] == "@" else []
    for period in periods_of(facts, claim, rows):
        for top in _figures(facts, key, period):
            for bottom in _figures(facts, per, period):
                if not bottom.value or top.unit != bottom.unit:
                    continue
                beside = (top.row[0], top.column) == (bottom.row[0], bottom.column)
                positive = top.value >= 0 and bottom.value > 0
                slack = (top.step / 2 + bottom.step / 2) / abs(bottom.value)
                yield Reading(
                    top.value / bottom.value,
                    "the ratio",
                    right=beside or (top.known and bottom.known),
                    sure=beside and positive,
                    slack=slack,
                )
                if not positive:
                    yield Reading(-top.value / bottom.value, "the ratio without signs", right=False)


def combined_readings(facts: Facts, claim: Claim) -> Iterator[Reading]:
    """Averages and sums over periods, and sums of two rows."""
    key = _key(claim)
    if claim.with_label is not None:
        for period in periods_of(facts, claim):
            for one in _figures(facts, key, period):
                for two in _figures(facts, claim.with_label, period):
                    if one.unit == two.unit and one.known == two.known:
                        beside = (one.row[0], one.column) == (two.row[0], two.column)
                        yield from _total(claim, [one, two], sure=beside)
        return
    if claim.period is None or claim.base is None or claim.period.kind != claim.base.kind:
        return
    spans = [[claim.base, claim.period]]
    whole = [claim.base]
    # "From 2019 to 2023" on average: of the two ends, or of all years between. A dozen bounds the
    # work where two dates were read wrongly.
    while whole[-1] < claim.period and len(whole) < 12:
        whole.append(Period(whole[-1].year + 1, claim.base.kind, *_rest(claim.base)))
    if len(whole) > 2:
        spans = [whole, *spans]
    for span in spans:
        rows: dict[tuple[int, int], list[Figure]] = {}
        for period in span:
            for figure in _figures(facts, key, period):
                rows.setdefault(figure.row, []).append(figure)
        for row in rows.values():
            if len({f.period for f in row}) == len(row) == len(span):
                sure = span is spans[0] and len({f.unit for f in row}) == 1
                yield from _total(claim, row, sure=sure and all(b.value >= 0 for b in row))


def _rest(period: Period) -> tuple[int | None, int | None, int | None]:
    return period.month, period.quarter, period.half


def _total(claim: Claim, figures: list[Figure], *, sure: bool) -> Iterator[Reading]:
    count = len(figures) if claim.combine == "average" else 1
    value = sum(f.value for f in figures) / count
    slack = sum(f.step / 2 for f in figures) / count
    known = all(f.known for f in figures) and all(a.unit == b.unit for a, b in pairwise(figures))
    for scale in scales_of(figures[0].label, known=figures[0].known):
        yield Reading(
            value * scale, f"the {claim.combine}", sure=sure and known, slack=slack * scale
        )
    yield from rescaled(claim, value, slack)
