"""From the chance of every level to expected levels, their doubt, and the reward: the one formula.

`rewards(probabilities, weights)` is the weighted expected level over the scale. What is trained
through is the same in torch: `reward_model.model.losses`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reward_model.records import IGNORE
from reward_model.stats.bootstrap import Floats, Ints

POWERS = {"none": 0.0, "sqrt": 0.5, "balanced": 1.0}
"""`class_weights` of a training run -> `power` of `level_weights`."""


def expected_levels(probabilities: Floats) -> Floats:
    """Mean level of distributions over levels: [..., K] -> [...].

    >>> float(expected_levels(np.array([0.0, 0.5, 0.5])))
    1.5
    """
    return np.asarray(probabilities @ np.arange(probabilities.shape[-1], dtype=np.float64))


def level_sd(probabilities: Floats) -> Floats:
    """Standard deviation of the level, in levels: [..., K] -> [...].

    >>> float(level_sd(np.array([0.5, 0.0, 0.5])))
    1.0
    """
    squares = np.arange(probabilities.shape[-1], dtype=np.float64) ** 2
    # Of a sure level the difference may be some 1e-16 below zero.
    spread = probabilities @ squares - expected_levels(probabilities) ** 2
    return np.asarray(np.sqrt(np.maximum(spread, 0.0)))


def reward_of(levels: Floats, weights: Sequence[float] | Floats, scale: int) -> Floats:
    """Weighted mean level over the scale, in [0, 1]: [..., D] -> [...].

    Args:
        levels: [..., D] levels, 0 to `scale`; what lies outside counts as the nearer end.
        weights: [D] from 0 up, of which only the ratios matter.
        scale: highest level.

    >>> float(reward_of(np.array([4.0, 2.0]), [3, 1], 4))
    0.875
    """
    shares = np.asarray(weights, dtype=np.float64)
    inside = np.clip(levels / scale, 0.0, 1.0)
    return np.asarray(np.clip(inside @ (shares / shares.sum()), 0.0, 1.0))


def level_weights(labels: Ints, classes: int, power: float) -> Floats:
    """[D, K]: a level weighs `1 / count ** power`, so that the mean over the labels is 1.

    Levels nobody gave weigh 1; they never meet a label.

    Args:
        labels: [n, D] levels, `IGNORE` where nobody scored.
        classes: levels of the scale.
        power: 0 weighs all alike, 1 gives every level the same say.

    >>> level_weights(np.array([[0], [0], [0], [1]]), 3, 1.0).round(3).tolist()
    [[0.667, 2.0, 1.0]]
    """
    weights = np.ones((labels.shape[1], classes))
    for d, column in enumerate(labels.T):
        counts = np.bincount(column[column != IGNORE], minlength=classes)
        there = counts > 0
        if there.any():
            share = counts[there] ** -power
            weights[d, there] = share * counts.sum() / (share * counts[there]).sum()
    return weights


def rewards(probabilities: Floats, weights: Sequence[float] | Floats) -> Floats:
    """`reward_of` the expected levels: [..., D, K] -> [...]."""
    return reward_of(expected_levels(probabilities), weights, probabilities.shape[-1] - 1)
