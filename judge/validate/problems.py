"""Pairs worth a look: scores missing, gap too small, negative where the degradation aims.

A neutral pair is a problem only when it has no scores: its gap is meant to be zero.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from judge.validate.measures.stats import unit
from judge.validate.report import MissedError, Planted, Problem, Problems
from judge.validate.table import MISSING, PlantedError, Table, mean_gap

LISTED = 500
MISSED = 200


def problems(table: Table) -> Problems:
    """Every problem pair is counted; the first `LISTED` are listed."""
    least = 0.5 * unit(table.rubric.scale)
    gaps = table.gaps
    means = mean_gap(gaps)
    counts: Counter[str] = Counter()
    listed: list[Problem] = []
    total = 0
    bad = (
        ~table.scored
        | (table.levels == MISSING).any(axis=(1, 2))
        | table.same_sides
        | (table.preference & (np.nan_to_num(means, nan=-1.0) < least))
        | (table.preference & ((gaps < 0) & table.targets).any(axis=1))
    )
    for row in np.flatnonzero(bad):
        codes, words = _reasons(table, int(row), gaps[row], float(means[row]), least)
        if not codes:
            continue
        total += 1
        counts.update(codes)
        if len(listed) < LISTED:
            mean = means[row]
            listed.append(
                Problem(
                    line=int(table.lines[row]),
                    id=table.ids[row],
                    mean_gap=None if np.isnan(mean) else float(mean),
                    reasons=words,
                )
            )
    return Problems(pairs=total, by_reason=dict(counts.most_common()), listed=listed)


def _reasons(
    table: Table,
    row: int,
    gaps: np.ndarray[tuple[int], np.dtype[np.float64]],
    mean: float,
    least: float,
) -> tuple[list[str], list[str]]:
    codes, words = [], []
    if not table.scored[row]:
        return ["unscored"], ["no scores"]
    if table.same_sides[row] and not table.neutral[row]:
        codes.append("same_sides")
        words.append("both sides are the same text")
    missing = [
        f"{side}.{name}"
        for s, side in enumerate(("chosen", "rejected"))
        for d, name in enumerate(table.names)
        if table.levels[row, s, d] == MISSING
    ]
    if missing:
        codes.append("missing_level")
        words.append("no level for " + ", ".join(missing))
    if table.neutral[row]:
        return codes, words
    if mean < 0:
        codes.append("negative_gap")
        words.append(f"mean gap {mean:.2f}: the rejected side scores higher")
    elif mean < least:
        codes.append("small_gap")
        words.append(f"mean gap {mean:.2f}, below {least:.2f}")
    aimed = [
        f"{name} {int(gaps[d])}"
        for d, name in enumerate(table.names)
        if table.targets[row, d] and gaps[d] < 0
    ]
    if aimed:
        codes.append("negative_target")
        words.append("the rejected side is better where the degradation aims: " + ", ".join(aimed))
    return codes, words


def planted(table: Table) -> Planted:
    """Whether the judge lowered the level for planted errors, by kind, and where it did not.

    Planted errors are wrong facts: the dimension is `accuracy` (or `correctness`), else the
    dimensions that the pair's degradation targets, one of which must drop.
    """
    fact = next((n for n in ("accuracy", "correctness") if n in table.names), None)
    by_row: dict[int, list[PlantedError]] = {}
    for error in table.planted:
        by_row.setdefault(error.row, []).append(error)
    gaps = table.gaps
    found = counted = 0
    kinds: dict[str, tuple[int, int]] = {}
    missed: list[MissedError] = []
    for row, errors in by_row.items():
        where = np.array([n == fact for n in table.names]) if fact else table.targets[row]
        values = gaps[row][where]
        values = values[~np.isnan(values)]
        if not len(values):
            continue
        seen = bool((values > 0).any())
        counted += 1
        found += seen
        for kind in {error.error for error in errors}:
            hits, total = kinds.get(kind, (0, 0))
            kinds[kind] = (hits + seen, total + 1)
        if not seen:
            missed += [
                MissedError(
                    line=int(table.lines[row]),
                    id=table.ids[row],
                    error=error.error,
                    was=error.was,
                    now=error.now,
                    where=error.where,
                )
                for error in errors
            ]
    return Planted(
        dimension=fact,
        pairs=counted,
        found=found,
        by_error=dict(sorted(kinds.items())),
        missed=missed[:MISSED],
    )
