"""Agreement of raters on an ordered scale: Krippendorff's alpha, weighted kappa, exact agreement.

All statistics are functions of small tables of counts that add up over units, so one
matrix product gives them for a thousand bootstrap resamples of groups at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reward_model.stats.bootstrap import Bootstrap, Estimand, Estimate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MISSING = -1
"""A rating that was not given."""


def coincidences(ratings: Ints, classes: int) -> Floats:
    """Krippendorff's coincidence table of each unit, [units, K, K].

    Args:
        ratings: [raters, units] levels 0..K-1, `MISSING` where there is none. Units with fewer
            than two ratings get zeros.
    """
    counts = (ratings[:, :, None] == np.arange(classes)).sum(0).astype(float)  # [units, K]
    given = counts.sum(1)
    pairs = counts[:, :, None] * counts[:, None, :]
    pairs -= counts[:, :, None] * np.eye(classes)
    table: Floats = pairs / np.maximum(given - 1, 1)[:, None, None] * (given > 1)[:, None, None]
    return table


def confusions(first: Ints, second: Ints, classes: int) -> Floats:
    """Confusion table of each unit, [units, K, K]: one cell is 1 where both raters gave a level."""
    levels = np.arange(classes)
    one = (first[:, None] == levels)[:, :, None] & (second[:, None] == levels)[:, None, :]
    table: Floats = one.astype(float)
    return table


def alpha(coincidence: Floats) -> Floats:
    """Krippendorff's alpha with the ordinal distance, of [..., K, K] coincidence tables.

    nan where every rating is the same: agreement by chance would be perfect too.

    >>> ratings = np.array([[0, 1, 2, 3], [0, 1, 2, 3]])
    >>> float(alpha(coincidences(ratings, 4).sum(0)))
    1.0
    """
    totals = coincidence.sum(-1)  # [..., K]
    total = totals.sum(-1)
    upto = totals.cumsum(-1)
    # Ratings from level c to level k, the two ends counted half.
    middle = upto - totals / 2
    distance = (middle[..., :, None] - middle[..., None, :]) ** 2
    observed = (coincidence * distance).sum((-1, -2))
    expected = (totals[..., :, None] * totals[..., None, :] * distance).sum((-1, -2))
    return _ratio(expected - (total - 1) * observed, expected)


def kappa(confusion: Floats) -> Floats:
    """Cohen's kappa with quadratic weights, of [..., K, K] confusion tables; nan if undefined."""
    levels = np.arange(confusion.shape[-1])
    weights = (levels[:, None] - levels[None, :]) ** 2.0
    total = confusion.sum((-1, -2))
    rows, columns = confusion.sum(-1), confusion.sum(-2)
    observed = (confusion * weights).sum((-1, -2)) * total
    expected = (rows[..., :, None] * columns[..., None, :] * weights).sum((-1, -2))
    return _ratio(expected - observed, expected)


def within(confusion: Floats, distance: int) -> Floats:
    """Share of units on which two raters differ by at most `distance` levels."""
    levels = np.arange(confusion.shape[-1])
    near = np.abs(levels[:, None] - levels[None, :]) <= distance
    return _ratio((confusion * near).sum((-1, -2)), confusion.sum((-1, -2)))


def bias(confusion: Floats) -> Floats:
    """Mean level of the first rater minus that of the second."""
    levels = np.arange(confusion.shape[-1])
    difference = levels[:, None] - levels[None, :]
    return _ratio((confusion * difference).sum((-1, -2)), confusion.sum((-1, -2)))


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.full_like(below, np.nan), where=below > 0)


class Statistic(NamedTuple):
    """A function of tables that add up, and what is known of its values."""

    function: Callable[[Floats], Floats]
    """[..., K, K] -> [...]"""
    span: tuple[float, float] = (-1.0, 1.0)
    """Least and largest value there can be."""
    share: bool = False
    """It is a share of units."""


def estimates(
    tables: Floats,
    groups: Ints,
    statistics: Mapping[str, Statistic],
    *,
    resamples: int,
    seed: int,
) -> dict[str, Estimate]:
    """Statistics of all units together, with intervals from resampling whole groups.

    Args:
        tables: [units, K, K] tables that add up.
        groups: [units] number of the group a unit belongs to, from 0.
    """
    classes = tables.shape[-1]
    comparable = tables.any((1, 2))  # groups without a comparable unit say nothing
    flat = tables[comparable].reshape(-1, classes * classes)
    bootstrap = Bootstrap(
        [str(group) for group in groups[comparable]], resamples=resamples, seed=seed
    )
    by_group = np.zeros((bootstrap.groups, classes * classes))
    np.add.at(by_group, bootstrap.index, flat)

    def of_flat(statistic: Callable[[Floats], Floats]) -> Callable[[Floats], Floats]:
        return lambda totals: statistic(totals.reshape(*totals.shape[:-1], classes, classes))

    return {
        name: bootstrap.estimate(
            Estimand(by_group, of_flat(one.function), len(flat), share=one.share, span=one.span)
        )
        for name, one in statistics.items()
    }
