"""Numbers of traffic: against other libraries where users have one row, and by user otherwise."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from reward_model.records import UserError
from reward_model.traffic import arm
from reward_model.traffic.ab import holm
from reward_model.traffic.arm import place
from reward_model.traffic.units import difference, mean, per_second, quantile, share

RNG = np.random.default_rng(3)


def test_of_one_row_a_user_the_difference_is_welchs() -> None:
    one, other = RNG.normal(1, 2, 31), RNG.normal(0.4, 1, 57)
    found = difference(mean(one, np.arange(31)), mean(other, np.arange(57)))
    known = stats.ttest_ind(one, other, equal_var=False)
    limits = known.confidence_interval(0.95)
    assert found.p == pytest.approx(known.pvalue, abs=1e-9)
    assert found.df == pytest.approx(known.df, abs=1e-9)
    assert (found.low, found.high) == pytest.approx((limits.low, limits.high), abs=1e-9)


def test_of_one_row_a_user_the_mean_is_students() -> None:
    values = RNG.normal(3, 1, 12)
    found = mean(values, np.arange(12))
    known = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=1e-9)


def test_of_many_users_with_one_row_the_share_is_wilsons() -> None:
    values = (np.arange(100_000) % 50 == 0).astype(float)
    found = share(values, np.arange(100_000))
    known = proportion_confint(2000, 100_000, method="wilson")
    assert (found.low, found.high) == pytest.approx(known, rel=1e-3)


def test_a_share_of_nothing_is_not_certain() -> None:
    found = share(np.zeros(20), np.arange(20))
    assert found.value == 0
    assert found.low == 0
    assert 0.1 < found.high < 0.25


def test_holm_is_statsmodels() -> None:
    p = list(RNG.random(9) ** 3)
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-9)


def test_rows_of_one_user_are_worth_less_than_rows_of_many() -> None:
    values = np.repeat(RNG.random(40), 25)
    together = mean(values, np.repeat(np.arange(40), 25))
    apart = mean(values, np.arange(1000))
    assert together.value == pytest.approx(apart.value)
    assert together.se > 4 * apart.se


def test_intervals_by_user_hold_the_truth_as_often_as_they_say() -> None:
    rng, held = np.random.default_rng(0), {"mean": 0, "p95": 0, "rate": 0}
    for _ in range(600):
        rows = 1 + rng.poisson(4, rng.poisson(60))
        user = np.repeat(np.arange(len(rows)), rows)
        level = np.repeat(rng.normal(0, 1, len(rows)), rows)
        values = level + rng.normal(0, 1, len(user))
        found = mean(values, user)
        held["mean"] += found.low <= 0 <= found.high
        found = quantile(values, user, 0.95)
        held["p95"] += found.low <= stats.norm.ppf(0.95, scale=math.sqrt(2)) <= found.high
        found = per_second(user, 1.0)
        held["rate"] += found.low <= 300 <= found.high
    assert all(0.92 <= count / 600 <= 0.985 for count in held.values()), held


def test_one_user_has_no_interval() -> None:
    found = mean(np.array([1.0, 2.0]), np.array([0, 0]))
    assert (found.value, found.low, found.high) == (1.5, -math.inf, math.inf)
    assert difference(found, found) is None


def test_arms_have_their_shares_and_experiments_are_independent() -> None:
    shares = {"old": 0.9, "new": 0.1}
    users = [f"u{i}" for i in range(40_000)]
    first = [arm(u, "one", shares) == "new" for u in users]
    second = [arm(u, "two", shares) == "new" for u in users]
    assert np.mean(first) == pytest.approx(0.1, abs=0.005)
    assert np.mean(np.array(first) & np.array(second)) == pytest.approx(0.01, abs=0.002)


@given(
    st.text(max_size=12),
    st.lists(st.integers(0, 100), min_size=2, max_size=2),
    st.lists(st.integers(0, 100), min_size=2, max_size=2),
)
def test_who_is_in_a_treatment_stays_when_shares_grow(
    user: str, before: list[int], more: list[int]
) -> None:
    small = [one / 200 for one in before]
    large = [min(0.5, one + by / 200) for one, by in zip(small, more, strict=True)]
    name = arm(user, "t", {"old": 1 - sum(small), "a": small[0], "b": small[1]})
    later = arm(user, "t", {"old": 1 - sum(large), "a": large[0], "b": large[1]})
    assert name in ("old", later)


def test_an_arm_is_the_same_in_another_process() -> None:
    assert place("用户-7", "round-2") == pytest.approx(0.24401000355659097, abs=0)


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ({"old": 1.0}, "at least one treatment"),
        ({"old": 0.5, "new": 0.6}, "sum to 1.1"),
        ({"old": 1.5, "new": -0.5}, "from 0 to 1"),
        ({"old": 0.2, "a": 0.7, "b": 0.1}, "name the widest arm first"),
    ],
)
def test_shares_that_are_no_division_are_refused(shares: dict[str, float], words: str) -> None:
    with pytest.raises(UserError, match=words):
        arm("u", "t", shares)
