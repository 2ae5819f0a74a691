"""Rank correlation with intervals by group: whether a higher number goes with a higher level.

`rank_correlation(values, labels, bootstrap)` is Spearman's rho; `rank_difference` sets two
predictors beside each other on the same draws.
"""

from __future__ import annotations

import numpy as np

from reward_model.records import IGNORE
from reward_model.stats.bootstrap import Bootstrap, Estimate, Floats, Ints, interval
from reward_model.stats.metrics import Bools


def rank_correlation(values: Floats, labels: Ints | Floats, bootstrap: Bootstrap) -> Estimate:
    """Spearman's rho of values [n] with labels [n]; `IGNORE` or NaN rows are left out."""
    return _estimate([values], labels, bootstrap)


def rank_difference(
    one: Floats, other: Floats, labels: Ints | Floats, bootstrap: Bootstrap
) -> Estimate:
    """Rho of `one` minus rho of `other`, on the rows that both have a value for."""
    return _estimate([one, other], labels, bootstrap)


def spearman(x: Floats, y: Floats, weights: Floats) -> Floats:
    """Rho of x [n] and y [n] whose rows occur `weights` [..., n] times; NaN where one is constant.

    The same number as ``scipy.stats.spearmanr`` on the rows written out.

    >>> x, y = np.array([1.0, 2.0, 4.0]), np.array([1.0, 3.0, 2.0])
    >>> float(spearman(x, y, np.ones(3)))
    0.5
    """
    total = weights.sum(axis=-1)
    a, b = (_ranks(value, weights) - (total[..., None] + 1) / 2 for value in (x, y))

    def mean(of: Floats) -> Floats:
        return np.asarray((weights * of).sum(axis=-1))

    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(mean(a * b) / np.sqrt(mean(a * a) * mean(b * b)))


def _ranks(values: Floats, weights: Floats) -> Floats:
    """Middle ranks [..., n] from 1; those of rows that do not occur count 0 times."""
    places, index = np.unique(values, return_inverse=True)
    order = np.argsort(index, kind="stable")
    starts = np.searchsorted(index[order], np.arange(len(places)))
    counts = np.add.reduceat(weights[..., order], starts, axis=-1)
    middle = np.cumsum(counts, axis=-1) - (counts - 1) / 2
    return np.asarray(middle[..., index])


def _estimate(columns: list[Floats], labels: Ints | Floats, bootstrap: Bootstrap) -> Estimate:
    keep: Bools = labels != IGNORE
    for column in columns:
        keep &= np.isfinite(column)
    n, level = int(keep.sum()), labels[keep].astype(np.float64)
    if n == 0:
        return Estimate(None, 0, reason="no labels")
    if len(np.unique(level)) == 1:
        return Estimate(None, n, reason=f"only level {level[0]:.0f} among the labels")

    def rho(weights: Floats) -> Floats:
        found = [spearman(column[keep], level, weights) for column in columns]
        return found[0] if len(found) == 1 else found[0] - found[1]

    value = float(rho(np.ones(n)))
    if not np.isfinite(value):
        return Estimate(None, n, reason="the values do not vary")
    groups = len(set(bootstrap.index[keep].tolist()))
    if groups < 2:
        return Estimate(value, n, reason="one group only, so no interval")
    drawn = np.concatenate([rho(weights[:, keep]) for weights in bootstrap.draws()])
    found = interval(drawn, value, groups)
    if found is None:
        return Estimate(value, n, reason="not defined in most resamples, so no interval")
    low, high = np.clip(found, -len(columns), len(columns))  # of a difference: from -2 to 2
    return Estimate(value, n, float(low), float(high))
