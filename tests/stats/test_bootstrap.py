"""Intervals by group hold what they promise, also where groups are few."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from reward_model.stats.bootstrap import Bootstrap, Estimand, interval
from reward_model.stats.metrics import mean_of
from reward_model.stats.words import groups_words

Rng = np.random.Generator


def means(rng: Rng, groups: int) -> np.ndarray:
    """Sums of 4 rows a group around 0; rows of a group are alike."""
    rows = rng.normal(0, 1, groups)[:, None] + rng.normal(0, 1, (groups, 4))
    return np.stack([rows.sum(axis=1), np.full(groups, 4.0)], axis=1)


def hits(rng: Rng, groups: int) -> np.ndarray:
    """9 of 10 right on average, some groups harder than others."""
    right = rng.binomial(6, rng.beta(3.6, 0.4, groups))
    return np.stack([right.astype(np.float64), np.full(groups, 6.0)], axis=1)


def coverage(
    draw: Callable[[Rng, int], np.ndarray], groups: int, truth: float, share: bool
) -> float:
    rng, held, repeats = np.random.default_rng(groups), 0, 300
    for i in range(repeats):
        sums = draw(rng, groups)
        bootstrap = Bootstrap([str(g) for g in range(groups)], resamples=300, seed=i)
        span = (0.0, 1.0) if share else (-np.inf, np.inf)
        found = bootstrap.estimate(
            Estimand(sums, mean_of, int(sums[:, 1].sum()), None, share, span)
        )
        assert found.low is not None
        assert found.high is not None
        assert span[0] <= found.low <= found.high <= span[1]
        held += found.low <= truth <= found.high
    return held / repeats


@pytest.mark.parametrize("groups", [3, 5, 8, 12, 20])
def test_a_95_percent_interval_of_few_groups_holds_the_truth(groups: int) -> None:
    """The middle of the draws holds it in 77% of cases for 3 groups and in 84% for 5."""
    assert coverage(means, groups, 0.0, share=False) >= 0.91
    assert coverage(hits, groups, 0.9, share=True) >= 0.91


def test_few_groups_go_by_students_t() -> None:
    """Equal groups: the interval is scipy's of the groups' means, up to the draws' own error."""
    rng = np.random.default_rng(0)
    sums = means(rng, 6)
    bootstrap = Bootstrap(list("abcdef"), resamples=20_000)
    found = bootstrap.estimate(Estimand(sums, mean_of, 24))
    by_group = sums[:, 0] / sums[:, 1]
    known = stats.t.interval(0.95, 5, by_group.mean(), stats.sem(by_group))
    assert (found.low, found.high) == pytest.approx(known, rel=0.03)


def test_many_groups_go_by_the_percentiles() -> None:
    draws = np.random.default_rng(0).normal(size=200_000)
    found = interval(draws, 0.0, 1_000_000)
    assert found == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), abs=0.01)
    fewer = interval(draws, 0.0, 12)
    assert fewer is not None
    assert fewer[0] < found[0]  # type: ignore[index]


def test_a_difference_of_shares_goes_beyond_neither_end() -> None:
    one = np.array([[3.0, 3.0], [3.0, 3.0], [2.0, 3.0]])
    other = np.array([[0.0, 3.0], [0.0, 3.0], [1.0, 3.0]])
    bootstrap = Bootstrap(["a", "b", "c"])
    parts = [Estimand(sums, mean_of, 9, None, True, (0.0, 1.0)) for sums in (one, other)]
    found = bootstrap.difference(*parts)
    assert found.high == 1.0
    assert found.low is not None
    assert found.low < 0.78  # two of three groups alike are no proof


def test_where_even_that_says_little_it_is_said() -> None:
    assert groups_words(50) is None
    few = groups_words(5)
    assert few is not None
    assert "only 5 groups" in few
    assert "1 group" in str(groups_words(1))
