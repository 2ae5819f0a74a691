"""Rank correlation: scipy's number, on the whole and in every draw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import norm, spearmanr, t

from reward_model.records import IGNORE
from reward_model.stats.bootstrap import Bootstrap
from reward_model.stats.ranks import rank_correlation, rank_difference, spearman


@settings(max_examples=60, deadline=None)
@given(
    x=arrays.arrays(np.float64, 12, elements=st.integers(-3, 3).map(float)),
    y=arrays.arrays(np.float64, 12, elements=st.integers(0, 4).map(float)),
    weights=arrays.arrays(np.int64, 12, elements=st.integers(0, 3)),
)
def test_weighted_rho_is_that_of_the_rows_written_out(
    x: np.ndarray, y: np.ndarray, weights: np.ndarray
) -> None:
    a, b = np.repeat(x, weights), np.repeat(y, weights)
    found = float(spearman(x, y, weights.astype(float)))
    if len(set(a)) < 2 or len(set(b)) < 2:
        assert not np.isfinite(found)
    else:
        assert found == pytest.approx(spearmanr(a, b).statistic, abs=1e-9)


def test_intervals_are_by_group_and_differences_are_paired() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 200)
    values = labels + rng.normal(size=200)
    noise = rng.normal(size=200)
    groups = [f"g{i // 4}" for i in range(200)]
    bootstrap = Bootstrap(groups, resamples=300, seed=1)
    own = rank_correlation(values, labels, bootstrap)
    assert own.value == pytest.approx(spearmanr(values, labels).statistic, abs=1e-9)
    drawn = []
    generator = np.random.default_rng(1)
    for _ in range(300):
        rows = [4 * g + k for g in generator.integers(50, size=50) for k in range(4)]
        drawn.append(spearmanr(values[rows], labels[rows]).statistic)
    # As far out as Student's t of 49 degrees of freedom asks.
    tail = 100 * norm.cdf(-t.ppf(0.975, 49) * np.sqrt(50 / 49))
    assert (own.low, own.high) == pytest.approx(
        tuple(np.percentile(drawn, [tail, 100 - tail])), abs=1e-9
    )
    difference = rank_difference(values, noise, labels, bootstrap)
    assert difference.value is not None
    assert difference.value == pytest.approx(
        own.value - spearmanr(noise, labels).statistic, abs=1e-9
    )
    assert difference.low is not None
    assert difference.low > 0
    same = rank_difference(values, values, labels, bootstrap)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_what_has_no_rank_has_a_reason() -> None:
    bootstrap = Bootstrap(["a", "a", "b"], resamples=100)
    values = np.array([1.0, 2.0, np.nan])
    assert rank_correlation(values, np.full(3, IGNORE), bootstrap).reason == "no labels"
    assert rank_correlation(values, np.array([2, 2, 4]), bootstrap).reason == (
        "only level 2 among the labels"
    )
    assert rank_correlation(np.ones(3), np.array([1, 2, 4]), bootstrap).reason == (
        "the values do not vary"
    )
    one = rank_correlation(values, np.array([1, 2, 4]), bootstrap)
    assert (one.value, one.n, one.reason) == (
        pytest.approx(1.0),
        2,
        "one group only, so no interval",
    )
