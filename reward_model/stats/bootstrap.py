"""Numbers with intervals: whole groups drawn with replacement, all draws at once.

A number is a function of sums over rows. Sums are kept by group, so a draw is a reweighting of
groups and a thousand draws are one matrix product. The middle 95% of the draws is too narrow where
groups are few, so `interval` goes by Student's t and a share by Wilson's formula;
`benchmarks/coverage.py` measures how often they hold the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, stdtrit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Function = Callable[[Floats], Floats]
"""Totals [..., S] -> number [...]; NaN where it is not defined."""

RESAMPLES = 1000
FEW = 10
"""Groups below which draws are too alike for their own percentiles."""
_KEPT = 4_000_000
_BLOCK = 64


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% bootstrap interval by group, or why there is none."""

    value: float | None
    n: int = 0
    """What it was counted over: rows, pairs, or row x dimension elements."""
    low: float | None = None
    high: float | None = None
    reason: str | None = None
    """In words, when the number or its interval is missing."""

    def to_json(self) -> dict[str, Any]:
        """The estimate as a JSON object; `reason` only where there is one.

        >>> Estimate(None, 3, reason="no labels").to_json()
        {'value': None, 'low': None, 'high': None, 'n': 3, 'reason': 'no labels'}
        """
        out: dict[str, Any] = {"value": self.value, "low": self.low, "high": self.high, "n": self.n}
        return out if self.reason is None else {**out, "reason": self.reason}


@dataclass(frozen=True)
class Estimand:
    """What is estimated: one number as a function of sums, so that whole groups can be redrawn."""

    sums: Floats
    """[G, S] sums of the rows of each group."""
    function: Function
    n: int
    reason: str | None = None
    """Why there is no number, known before any arithmetic."""
    share: bool = False
    """A share of rows: Wilson's interval, and of 0 or 1 everywhere that of a trial a group."""
    span: tuple[float, float] = (-np.inf, np.inf)
    """What the number cannot fall below or rise above, nor its interval."""


class Bootstrap:
    """Resampling of whole groups, with the same draws for every number, so differences are paired.

    Args:
        groups: group of each row; rows of one group are drawn together.
        resamples: number of draws.
        seed: same seed, same intervals.
    """

    def __init__(self, groups: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0) -> None:
        place: dict[str, int] = {}
        self.index: Ints = np.array(
            [place.setdefault(group, len(place)) for group in groups], dtype=np.int64
        )
        self.groups = len(place)
        self.resamples = resamples
        self.seed = seed
        self._counts: list[Floats] | None = None

    def sums(self, rows: Ints, cells: Ints, size: int, *values: Floats) -> Floats:
        """Sums by group of values put into cells: [G, size * len(values)].

        Args:
            rows: [m] row numbers, for their groups.
            cells: [m] cell of each, 0..size-1.
            size: number of cells.
            values: each [m]; the sums of several stand side by side in a cell.
        """
        out = np.empty((self.groups, size, len(values)))
        at = self.index[rows] * size + cells
        for i, value in enumerate(values):
            total = np.bincount(at, weights=value, minlength=self.groups * size)
            out[:, :, i] = total.reshape(self.groups, size)
        return out.reshape(self.groups, -1)

    def estimate(self, part: Estimand) -> Estimate:
        """The number with its interval."""
        if part.reason is not None:
            return Estimate(None, part.n, reason=part.reason)
        value = float(part.function(part.sums.sum(axis=0)))
        if not np.isfinite(value):
            return Estimate(None, part.n, reason="it is not defined on these rows")
        if part.share and min(abs(value), abs(1 - value)) < 1e-12:  # a sum of weights may miss 1
            return self._all_alike(float(round(value)), part)
        draws = part.function(self._draw(part.sums))
        return Estimate(value, part.n, *self._interval(draws, value, part, part.span))

    def difference(self, one: Estimand, other: Estimand) -> Estimate:
        """`one` minus `other` on the same rows, drawn together."""
        reason = one.reason or other.reason
        if reason is not None:
            return Estimate(None, one.n, reason=reason)
        value = float(one.function(one.sums.sum(axis=0)) - other.function(other.sums.sum(axis=0)))
        if not np.isfinite(value):
            return Estimate(None, one.n, reason="one of the two is not defined on these rows")
        draws = one.function(self._draw(one.sums)) - other.function(self._draw(other.sums))
        span = one.span[0] - other.span[1], one.span[1] - other.span[0]
        whole = Estimand(one.sums, one.function, one.n)  # of two shares the difference is none
        return Estimate(value, one.n, *self._interval(draws, value, whole, span))

    def means(self, values: Floats) -> Floats:
        """Column means [resamples, C] of rows [n, C], one row a draw; NaN in `values` is left out.

        A draw that holds no value of a column gives NaN there.
        """
        known = ~np.isnan(values)
        sums, counts = (np.zeros((self.groups, values.shape[1])) for _ in range(2))
        np.add.at(sums, self.index, np.where(known, values, 0.0))
        np.add.at(counts, self.index, known)
        top, bottom = np.split(self._draw(np.hstack([sums, counts])), 2, axis=1)
        with np.errstate(invalid="ignore"):
            return np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), np.nan)

    def draws(self) -> Iterator[Floats]:
        """How often each row is in each draw, [r, n] a block: for numbers that no sums give."""
        rng = np.random.default_rng(self.seed)
        for size in self._blocks():
            yield self._block(rng, size)[:, self.index]

    def _blocks(self) -> Iterator[int]:
        """Draws at once: of very many groups fewer, so that a block stays at some 32 MB."""
        most = max(1, min(_BLOCK, _KEPT // max(1, self.groups)))
        for start in range(0, self.resamples, most):
            yield min(most, self.resamples - start)

    def _block(self, rng: np.random.Generator, size: int) -> Floats:
        """How often each group is in each of the next `size` draws, [size, G]."""
        drawn = [
            np.bincount(rng.integers(self.groups, size=self.groups), minlength=self.groups)
            for _ in range(size)
        ]
        return np.stack(drawn).astype(np.float64)

    def _all_alike(self, value: float, part: Estimand) -> Estimate:
        """Every draw of "always" is "always"; Clopper and Pearson know what that leaves open."""
        from scipy.stats import binomtest

        groups = groups_in(part)
        if groups < 2:
            return Estimate(value, part.n, reason=_ONE_GROUP)
        limits = binomtest(round(value * groups), groups).proportion_ci(method="exact")
        return Estimate(value, part.n, float(limits.low), float(limits.high))

    def _draw(self, sums: Floats) -> Floats:
        """Totals [resamples, S] of `sums` [G, S]."""
        if self._counts is not None:
            return np.concatenate([counts @ sums for counts in self._counts])
        keep = self.resamples * self.groups <= _KEPT
        rng = np.random.default_rng(self.seed)
        blocks, out = [], []
        for size in self._blocks():
            counts = self._block(rng, size)
            out.append(counts @ sums)
            if keep:
                blocks.append(counts)
        if keep:
            self._counts = blocks
        return np.concatenate(out)

    def _interval(
        self, draws: Floats, value: float, part: Estimand, span: tuple[float, float]
    ) -> tuple[float | None, float | None, str | None]:
        groups = groups_in(part)
        if groups < 2:
            return None, None, _ONE_GROUP
        found = interval(draws, value, groups)
        if found is None:
            return None, None, "not defined in most resamples, so no interval"
        if part.share:
            found = _wilson(draws, value, groups, part.n)
        low, high = np.clip(found, *span)
        return float(low), float(high), None


def interval(draws: Floats, value: float, groups: int) -> tuple[float, float] | None:
    """95% limits of a number from its draws; None where most draws did not define one.

    Of fewer than `FEW` groups: the number and Student's t times the standard error. Of more: the
    draws' own percentiles, as far out as t asks (Hesterberg 2015, "expanded percentiles"), which
    of many groups are the 2.5th and the 97.5th.

    Args:
        draws: the number in each draw, NaN where a draw does not define it.
        value: the number itself.
        groups: how many were drawn from.

    >>> draws = np.linspace(0.0, 1.0, 1001)
    >>> [round(limit, 2) for limit in interval(draws, 0.5, 10_000)]
    [0.02, 0.98]
    >>> [round(limit, 2) for limit in interval(draws, 0.5, 12)]
    [0.01, 0.99]
    >>> [round(limit, 2) for limit in interval(draws, 0.5, 4)]  # three degrees of freedom
    [-0.56, 1.56]
    """
    known = draws[np.isfinite(draws)]
    if len(known) < 0.5 * len(draws) or len(known) < 2:
        return None
    times, error = student(groups), _error(known, groups)
    if groups < FEW:
        return value - times * error, value + times * error
    # Draws vary as if the groups were all there is: the square root undoes it.
    tail = ndtr(-times * np.sqrt(groups / (groups - 1)))
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def student(groups: int) -> float:
    """Standard errors from a number to its 95% limits.

    >>> [round(student(groups), 2) for groups in (3, 10, 1000)]
    [4.3, 2.26, 1.96]
    """
    return float(stdtrit(groups - 1, 0.975))


def groups_in(part: Estimand) -> int:
    """Groups that have a say in a number."""
    return int((np.abs(part.sums).sum(axis=1) > 0).sum())


def _error(known: Floats, groups: int) -> float:
    return float(known.std() * np.sqrt(groups / (groups - 1)))


def _wilson(draws: Floats, value: float, groups: int, n: int) -> tuple[float, float]:
    """Wilson's interval with t for z, over as many independent trials as the draws' spread tells.

    Korn and Graubard (1998): rows of one group are alike, so they count for fewer. Never for more
    than `n`.
    """
    error, times = _error(draws[np.isfinite(draws)], groups), student(groups)
    trials = min(value * (1 - value) / error**2, n) if error > 0 else n
    inside = 1 + times**2 / trials
    middle = (value + times**2 / (2 * trials)) / inside
    half = times / inside * np.sqrt(value * (1 - value) / trials + (times / (2 * trials)) ** 2)
    return float(middle - half), float(middle + half)


_ONE_GROUP = "one group only, so no interval"
