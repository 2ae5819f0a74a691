"""Agreement statistics against independent implementations and published examples."""

from __future__ import annotations

import json
from pathlib import Path

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import cohen_kappa_score

from reward_model.stats.agreement import (
    MISSING,
    Statistic,
    alpha,
    bias,
    coincidences,
    confusions,
    estimates,
    kappa,
    within,
)

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), part C: four observers,
# twelve units, missing ratings; ordinal alpha is 0.815.
PUBLISHED = [
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
]


def _published() -> np.ndarray:
    rows = [[MISSING if c == "." else int(c) - 1 for c in row.split()] for row in PUBLISHED]
    return np.array(rows)


def test_alpha_of_the_published_example() -> None:
    assert float(alpha(coincidences(_published(), 5).sum(0))) == pytest.approx(0.815, abs=0.0005)


@settings(max_examples=60, deadline=None)
@given(arrays(np.int64, (3, 12), elements=st.integers(-1, 4)))
def test_alpha_equals_the_krippendorff_package(ratings: np.ndarray) -> None:
    found = float(alpha(coincidences(ratings, 5).sum(0)))
    data = np.where(ratings == MISSING, np.nan, ratings.astype(float))
    pairable = ratings[:, (ratings != MISSING).sum(0) > 1]
    if len(set(pairable[pairable != MISSING])) < 2:
        assert np.isnan(found)
        return
    expected = krippendorff.alpha(data, value_domain=list(range(5)), level_of_measurement="ordinal")
    assert found == pytest.approx(expected, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(arrays(np.int64, (2, 15), elements=st.integers(0, 4)))
def test_kappa_exact_and_bias_equal_an_independent_computation(ratings: np.ndarray) -> None:
    first, second = ratings
    table = confusions(first, second, 5).sum(0)
    if len(set(first) | set(second)) > 1:
        expected = cohen_kappa_score(first, second, weights="quadratic", labels=list(range(5)))
        assert float(kappa(table)) == pytest.approx(expected, abs=1e-9, nan_ok=True)
    else:
        assert np.isnan(float(kappa(table)))
    assert float(within(table, 0)) == pytest.approx((first == second).mean())
    assert float(within(table, 1)) == pytest.approx((abs(first - second) <= 1).mean())
    assert float(bias(table)) == pytest.approx((first - second).mean())


def test_a_unit_with_one_rating_changes_nothing() -> None:
    ratings = np.array([[0, 1, 2, 4], [0, 2, 2, MISSING]])
    whole = alpha(coincidences(ratings, 5).sum(0))
    assert float(whole) == float(alpha(coincidences(ratings[:, :3], 5).sum(0)))


def test_intervals_resample_groups_and_not_units() -> None:
    rng = np.random.default_rng(3)
    first = rng.integers(0, 5, 40)
    second = np.clip(first + rng.integers(-1, 2, 40), 0, 4)
    many = confusions(np.repeat(first, 10), np.repeat(second, 10), 5)
    own = estimates(
        many, np.repeat(np.arange(40), 10), {"kappa": Statistic(kappa)}, resamples=800, seed=1
    )["kappa"]
    loose = estimates(many, np.arange(400), {"kappa": Statistic(kappa)}, resamples=800, seed=1)[
        "kappa"
    ]
    assert own.value == loose.value
    assert own.low is not None
    assert own.high is not None
    assert loose.low is not None
    assert loose.high is not None
    # Ten copies of a unit in one group are one piece of evidence: the interval is some three
    # times as wide as if they were ten.
    assert 2.2 < (own.high - own.low) / (loose.high - loose.low) < 4.5


def test_nothing_to_compare_is_undefined_and_not_a_number() -> None:
    nothing = confusions(np.array([MISSING, 1]), np.array([2, MISSING]), 5)
    found = estimates(nothing, np.array([0, 1]), {"kappa": Statistic(kappa)}, resamples=10, seed=0)
    undefined = found["kappa"]
    assert (undefined.value, undefined.low, undefined.high) == (None, None, None)


def test_test_retest_of_a_real_judge(real_data: Path) -> None:
    rows = [json.loads(line) for line in (real_data / "judge_repeats.jsonl").open()]
    ratings = np.array([row["scores_1to5"] for row in rows]).T - 1
    found = float(alpha(coincidences(ratings, 5).sum(0)))
    expected = krippendorff.alpha(
        ratings, value_domain=list(range(5)), level_of_measurement="ordinal"
    )
    assert found == pytest.approx(expected, abs=1e-9)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        table = confusions(ratings[i], ratings[j], 5).sum(0)
        assert float(kappa(table)) == pytest.approx(
            cohen_kappa_score(ratings[i], ratings[j], weights="quadratic"), abs=1e-9
        )
