"""Means, ratios and shares of rows with their 95% intervals by group.

`Numbers(groups).mean(values)` and its like; the same draws serve all, so changes are paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reward_model.policy.evaluation.measure import at_equal_length
from reward_model.stats.bootstrap import Bootstrap, Estimand, Estimate, interval

Floats = NDArray[np.float64]
_REFITS = 200
"""Draws of a number that is fitted anew in each."""


class Numbers:
    """Estimates over N rows.

    Args:
        groups: of each row.
        seed: of the draws.
        resamples: how many.
    """

    def __init__(self, groups: Sequence[str], *, seed: int = 0, resamples: int = 1000) -> None:
        self._boot = Bootstrap(groups, seed=seed, resamples=resamples)
        self._groups = np.asarray(groups)
        self.groups = self._boot.groups
        self._seed = seed

    def mean(self, values: Floats, *, share: bool = False) -> Estimate:
        """Mean of values (N,); NaN is left out."""
        return self.ratio(values, np.ones(len(values)), share=share)

    def ratio(self, top: Floats, bottom: Floats, *, share: bool = False) -> Estimate:
        """Sum of `top` over sum of `bottom`, both (N,); rows with a NaN are left out."""
        known = np.flatnonzero(~(np.isnan(top) | np.isnan(bottom)))
        if not len(known):
            return Estimate(None, 0, reason="no rows")
        cells = np.zeros(len(known), np.int64)
        sums = self._boot.sums(known, cells, 1, top[known], bottom[known])
        return self._boot.estimate(Estimand(sums, _over, len(known), share=share))

    def exponential(self, top: Floats, bottom: Floats) -> Estimate:
        """exp of a ratio: a perplexity of losses and tokens."""
        found = self.ratio(top, bottom)
        if found.value is None:
            return found
        low, high = (None if x is None else float(np.exp(x)) for x in (found.low, found.high))
        return Estimate(float(np.exp(found.value)), found.n, low, high, found.reason)

    def equal_length(self, outcomes: Floats, differences: Floats) -> Estimate:
        """Win rate at equal length, (N,) outcomes and differences in tokens."""
        known = ~(np.isnan(outcomes) | np.isnan(differences))
        won, more = outcomes[known], differences[known]
        value = at_equal_length(won, more)
        if value is None:
            return Estimate(None, int(known.sum()), reason="too few, or all alike")
        rng = np.random.default_rng(self._seed)
        names, index = np.unique(self._groups[known], return_inverse=True)
        members = [np.flatnonzero(index == i) for i in range(len(names))]
        draws = []
        for _ in range(_REFITS):
            rows = np.concatenate([members[i] for i in rng.integers(len(names), size=len(names))])
            again = at_equal_length(won[rows], more[rows])
            draws.append(np.nan if again is None else again)
        limits = interval(np.array(draws), value, len(names))
        if limits is None:
            return Estimate(value, int(known.sum()), reason="not defined in most resamples")
        return Estimate(value, int(known.sum()), *limits)


def _over(totals: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = totals[..., 0] / totals[..., 1]
    return found


class Told:
    """Numbers of a run by name, and their intervals beside them."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.intervals: dict[str, dict[str, Any]] = {}
        self.estimates: dict[str, Estimate] = {}

    def add(self, name: str, estimate: Estimate) -> None:
        """Keep an estimate."""
        self.values[name] = estimate.value
        self.estimates[name] = estimate
        self.intervals[name] = {k: v for k, v in estimate.to_json().items() if k != "value"}

    def to_json(self) -> dict[str, Any]:
        """As a file has it."""
        return {**self.values, "intervals": self.intervals}
