"""Intervals for means by resampling whole groups: pairs of one prompt or company stay together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1000
MANY_GROUPS = 20_000
"""Above this many groups a fifth of the resamples gives the interval to two digits as well."""


def resampled_means(
    values: NDArray[np.float64], group: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """(B, C) column means over B resamples of the groups; NaN in `values` (N, C) is left out.

    A resample that holds no value of a column gives NaN there.
    """
    _, place = np.unique(group, return_inverse=True)
    n = int(place.max()) + 1 if len(place) else 0
    known = ~np.isnan(values)
    sums, counts = (np.zeros((n, values.shape[1])) for _ in range(2))
    np.add.at(sums, place, np.where(known, values, 0.0))
    np.add.at(counts, place, known)
    both = np.hstack([sums, counts])
    rng = np.random.default_rng([seed, 1])
    size = RESAMPLES if n <= MANY_GROUPS else RESAMPLES // 5
    means = np.full((size, values.shape[1]), np.nan)
    for b in range(size):
        weight = np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64)
        total = weight @ both
        top, bottom = np.split(total, 2)
        np.divide(top, bottom, out=means[b], where=bottom > 0)
    return means


def interval(means: NDArray[np.float64], share: float = 0.95) -> tuple[float | None, float | None]:
    """The middle `share` of resampled means, (None, None) where most resamples had none.

    >>> interval(np.array([0.0, 1.0, 2.0, 3.0, 4.0]), 0.5)
    (1.0, 3.0)
    """
    known = means[~np.isnan(means)]
    if len(known) < 0.5 * len(means) or len(known) < 2:
        return None, None
    low, high = np.quantile(known, [(1 - share) / 2, (1 + share) / 2])
    return float(low), float(high)
