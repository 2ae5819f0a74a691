"""The plain numbers of a scored set: gaps, labels, verdict, noise floor.

Controls (neutral pairs) are left out of everything but the noise floor.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from judge.validate.report import Gap, Grade, Labels, NoiseFloor, Verdict
from judge.validate.table import MISSING, Table, mean_gap

GRADES: tuple[tuple[Grade, float, float], ...] = (
    ("excellent", 1.5, 0.95),
    ("good", 1.0, 0.90),
    ("fair", 0.5, 0.85),
)
"""Grade, least mean gap in levels of a 0-4 scale, least share of positive gaps."""


def unit(scale: int) -> float:
    """Levels of this scale that make one level of a 0-4 scale."""
    return scale / 4


def gap(values: NDArray[np.float64]) -> Gap:
    """Statistics of gaps, NaN left out.

    >>> gap(np.array([1.0, 2.0, 0.0, -1.0, np.nan])).mean
    0.5
    """
    known = values[~np.isnan(values)]
    n = len(known)
    positive = int((known > 0).sum())
    return Gap(
        pairs=n,
        mean=float(known.mean()) if n else None,
        median=float(np.median(known)) if n else None,
        min=float(known.min()) if n else None,
        max=float(known.max()) if n else None,
        sd=float(known.std(ddof=1)) if n > 1 else None,
        positive=positive,
        negative=int((known < 0).sum()),
        zero=int((known == 0).sum()),
        positive_share=positive / n if n else None,
    )


def verdict(overall: Gap, scale: int) -> Verdict:
    """The grade of a set: the best one both of whose conditions hold.

    >>> verdict(gap(np.array([2.0, 2.0, 1.0])), 4).grade
    'excellent'
    """
    needs: dict[Grade, tuple[float, float]] = {
        name: (least * unit(scale), share) for name, least, share in GRADES
    }
    grade: Grade | None = None
    if overall.mean is not None and overall.positive_share is not None:
        grade = "poor"
        for name, (least, share) in needs.items():
            if overall.mean >= least and overall.positive_share >= share:
                grade = name
                break
    return Verdict(
        grade=grade,
        mean_gap=overall.mean,
        positive_share=overall.positive_share,
        needs=needs,
    )


def labels(table: Table) -> dict[str, Labels]:
    """Level counts by dimension and side."""
    levels = table.levels[table.preference]
    size = table.rubric.classes
    found = {}
    for d, name in enumerate(table.names):
        counts = [
            np.bincount(column[column != MISSING], minlength=size).tolist()
            for column in (levels[:, 0, d], levels[:, 1, d])
        ]
        missing = (levels[:, :, d] == MISSING).sum(axis=0)
        found[name] = Labels(
            chosen=counts[0],
            rejected=counts[1],
            chosen_missing=int(missing[0]),
            rejected_missing=int(missing[1]),
        )
    return found


def noise_floor(table: Table) -> NoiseFloor:
    """Gaps of the controls."""
    gaps = table.gaps[table.neutral]
    known = gaps[~np.isnan(gaps)]
    means = mean_gap(gaps)
    means = means[~np.isnan(means)]
    return NoiseFloor(
        pairs=int(table.neutral.sum()),
        mean_gap=float(means.mean()) if len(means) else None,
        mean_absolute_gap=float(np.abs(known).mean()) if len(known) else None,
        changed_share=float((known != 0).mean()) if len(known) else None,
        dimensions={name: gap(gaps[:, d]) for d, name in enumerate(table.names)},
    )
