"""Metrics against scikit-learn, and in words where a number would mean nothing."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import pearsonr
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, mean_absolute_error

from reward_model.records import IGNORE
from reward_model.stats.bootstrap import Estimate
from reward_model.stats.levels import rewards
from reward_model.stats.metrics import (
    BINS,
    Measured,
    Truth,
    calibration_error_of,
    collect,
    confidence_bin,
    perfect_error,
)

NAMES = ("depth", "accuracy")
WEIGHTS = {"depth": 2.0, "accuracy": 1.0}
K = 5


def data(n: int, seed: int, *, masked: float = 0.2) -> tuple[np.ndarray, Truth]:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(K, 0.5), size=(n, 2))
    labels = rng.integers(K, size=(n, 2))
    labels[rng.random((n, 2)) < masked] = IGNORE
    groups = tuple(f"g{i}" for i in rng.integers(max(2, n // 4), size=n))
    pairs = np.arange(n // 2 * 2).reshape(-1, 2)
    return probabilities, Truth(NAMES, labels, groups, pairs)


def value(measured: Measured, name: str) -> float:
    found = measured.estimate(name).value
    assert found is not None
    return found


def width(estimate: Estimate) -> float:
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.high - estimate.low


def plain_ece(confidence: np.ndarray, right: np.ndarray) -> float:
    """The textbook loop: bins (low, high], gap of mean confidence and accuracy, by share."""
    edges = np.linspace(0, 1, BINS + 1)
    total = 0.0
    for low, high in pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            total += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    return total


@settings(max_examples=60, deadline=None)
@given(st.integers(4, 60), st.integers(0, 10_000))
def test_every_number_is_scikit_learns(n: int, seed: int) -> None:
    probabilities, truth = data(n, seed)
    measured = collect(probabilities, truth, weights=WEIGHTS, resamples=10)
    guess, expected = probabilities.argmax(-1), probabilities @ np.arange(K)
    nearest = np.rint(expected).astype(int)
    for j, name in enumerate(NAMES):
        keep = truth.labels[:, j] != IGNORE
        if not keep.any():
            assert measured.estimate(f"{name}.accuracy").reason == "no labels"
            continue
        true, said = truth.labels[keep, j], guess[keep, j]
        reference = {
            "accuracy": accuracy_score(true, said),
            "macro_f1": f1_score(true, said, average="macro", zero_division=0),
            "mae_argmax": mean_absolute_error(true, said),
            "mae_expected": mean_absolute_error(true, expected[keep, j]),
            "ece": plain_ece(probabilities[keep, j].max(-1), said == true),
        }
        if len(set(true)) > 1:
            for metric, told in (("kappa", said), ("kappa_expected", nearest[keep, j])):
                reference[metric] = cohen_kappa_score(
                    true, told, weights="quadratic", labels=list(range(K))
                )
        for metric, number in reference.items():
            assert value(measured, f"{name}.{metric}") == pytest.approx(number, abs=1e-9)
    known = truth.labels != IGNORE
    if known.any():
        right = (guess == truth.labels)[known].mean()
        assert value(measured, "element_accuracy") == pytest.approx(right, abs=1e-9)
    whole = known.all(axis=1)
    if whole.any():
        right = (guess == truth.labels)[whole].all(axis=1).mean()
        assert value(measured, "all_dimensions_accuracy") == pytest.approx(right, abs=1e-9)
    reward = expected @ np.array([2, 1]) / 3 / 4
    assert rewards(probabilities, [2.0, 1.0]) == pytest.approx(reward, abs=1e-12)
    if len(set(map(tuple, truth.labels[whole]))) > 1:
        told = measured.estimate("reward_correlation")
        of_labels = truth.labels[whole] @ np.array([2, 1]) / 3 / 4
        if np.ptp(of_labels) == 0:
            assert told.reason == "the labels give every text the same reward"
        elif np.ptp(reward[whole]) > 1e-6:
            known_answer = pearsonr(reward[whole], of_labels).statistic
            assert told.value == pytest.approx(known_answer, abs=1e-6)
    won = reward[truth.pairs[:, 0]] > reward[truth.pairs[:, 1]]
    assert value(measured, "pair_accuracy") == pytest.approx(won.mean(), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.float64, (12, 1, 4), elements=st.floats(0, 1)).filter(
        lambda a: bool((a.sum(-1) > 0.01).all())
    ),
    arrays(np.int64, (12, 1), elements=st.sampled_from([IGNORE, 0, 1, 2, 3])),
)
def test_numbers_stay_in_their_range_and_never_nan(raw: np.ndarray, labels: np.ndarray) -> None:
    truth = Truth(("depth",), labels, tuple("aabbccddeeff"), np.array([[0, 1], [2, 3]]))
    chances = raw / raw.sum(-1, keepdims=True)
    measured = collect(chances, truth, weights={"depth": 1.0}, resamples=20)
    for key in measured.parts:
        found = measured.estimate(key)
        if found.value is None:
            assert found.reason
            continue
        signed = "kappa" in key or "correlation" in key
        low, high = -1.0 if signed else 0.0, 3.0 if "mae" in key else 1.0
        assert low - 1e-9 <= found.value <= high + 1e-9
        if found.low is not None and found.high is not None:
            assert found.low <= found.high


def test_by_dimension_the_higher_label_should_win_and_equal_labels_do_not_count() -> None:
    labels = np.array([[4], [1], [1], [3], [2], [2], [4], [0]])
    levels = [3.0, 1.0, 0.0, 2.0, 4.0, 1.0, 2.0, 2.0]
    chances = np.zeros((8, 1, K))
    chances[np.arange(8), 0, np.array(levels, dtype=int)] = 1.0
    truth = Truth(("depth",), labels, tuple("abcdefgh"), np.arange(8).reshape(4, 2))
    measured = collect(chances, truth, weights={"depth": 1.0})
    # Pair 2 is labelled the other way round and ordered so; pair 3 has equal labels; 4 is a tie.
    found = measured.estimate("depth.pair_accuracy")
    assert (found.value, found.n) == (pytest.approx(2 / 3), 3)
    assert measured.estimate("depth.pair_ties").value == pytest.approx(1 / 3)
    # By reward the chosen side is the first one: pairs 1 and 3 right, 2 wrong, 4 a tie.
    assert measured.estimate("pair_accuracy").value == pytest.approx(0.5)
    assert measured.estimate("pair_ties").value == pytest.approx(0.25)


def test_one_level_only_no_labels_and_no_pairs_are_words() -> None:
    chances = np.full((3, 2, K), 0.2)
    truth = Truth(NAMES, np.array([[2, IGNORE]] * 3), ("a", "b", "c"))
    measured = collect(chances, truth, weights=WEIGHTS)
    assert measured.estimate("depth.kappa").to_json() == {
        "value": None,
        "low": None,
        "high": None,
        "n": 3,
        "reason": "only level 2 among the labels",
    }
    assert measured.estimate("accuracy.macro_f1").reason == "no labels"
    assert measured.estimate("pair_accuracy").reason == "no pairs"
    assert measured.estimate("neutral_gap").reason == "no neutral pairs"
    whole = measured.estimate("all_dimensions_accuracy")
    assert whole.reason == "no row has a label in every dimension"


def test_rows_without_an_opinion_are_left_out() -> None:
    chances = np.zeros((4, 1, K))
    chances[:, 0, 4] = 1.0
    chances[1] = np.nan
    truth = Truth(("depth",), np.array([[4], [1], [4], [4]]), tuple("abcd"), np.array([[0, 1]]))
    measured = collect(chances, truth, weights={"depth": 1.0})
    assert measured.estimate("depth.accuracy").value == 1.0
    assert measured.estimate("depth.accuracy").n == 3
    assert measured.estimate("pair_accuracy").reason == "no pairs"


def test_an_interval_is_by_group_repeats_with_its_seed_and_covers() -> None:
    rng = np.random.default_rng(1)
    # Ten groups of twenty identical rows carry ten facts, not two hundred.
    fact = rng.integers(2, size=10)
    labels = np.repeat(fact, 20)[:, None]
    chances = np.zeros((200, 1, 2))
    chances[:, 0, 1] = 1.0
    by_group = Truth(("depth",), labels, tuple(f"g{i // 20}" for i in range(200)))
    by_row = Truth(("depth",), labels, tuple(f"r{i}" for i in range(200)))
    one, again, rows = (
        collect(chances, truth, weights={"depth": 1.0}, seed=3).estimate("depth.accuracy")
        for truth in (by_group, by_group, by_row)
    )
    assert one == again
    assert width(one) > 2 * width(rows)
    single = Truth(("depth",), labels, ("same",) * 200)
    alone = collect(chances, single, weights={"depth": 1.0}).estimate("depth.accuracy")
    assert alone.low is None
    assert alone.reason == "one group only, so no interval"


def test_a_difference_is_drawn_together() -> None:
    probabilities, truth = data(80, 5, masked=0.0)
    mine = collect(probabilities, truth, weights=WEIGHTS)
    same = collect(probabilities.copy(), truth, weights=WEIGHTS)
    none = mine.difference(same, "depth.accuracy")
    assert (none.value, none.low, none.high) == (0.0, 0.0, 0.0)
    sure = np.eye(K)[truth.labels]
    better = collect(sure, truth, weights=WEIGHTS).difference(mine, "depth.accuracy")
    assert better.low is not None
    assert better.low > 0


def test_a_slice_keeps_the_pairs_whose_two_sides_are_in_it() -> None:
    _, truth = data(10, 0)
    keep = np.array([True, True, True, False, False, True, True, True, False, False])
    part = truth.only(keep)
    assert part.pairs.tolist() == [[0, 1], [4, 5]]
    assert part.groups == tuple(np.array(truth.groups)[keep])


def test_always_right_is_not_certainty() -> None:
    """Clopper and Pearson's interval for as many successes as there are groups."""
    from scipy.stats import binomtest

    labels = np.arange(12)[:, None] % K
    truth = Truth(("depth",), labels, tuple(f"g{i // 2}" for i in range(12)))
    found = collect(np.eye(K)[labels], truth, weights={"depth": 1.0}).estimate("depth.accuracy")
    exact = binomtest(6, 6).proportion_ci(method="exact")
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(exact.low, abs=1e-9)


def test_the_error_of_a_perfectly_calibrated_model_is_what_chance_gives() -> None:
    rng = np.random.default_rng(5)
    sure = rng.uniform(0.2, 1.0, 90)
    found = perfect_error(sure, draws=400, seed=1)
    assert found is not None
    # The same by the package's own error of hits drawn at those confidences.
    errors = []
    for _ in range(400):
        right = rng.random(90) < sure
        bins = np.zeros((BINS, 3))
        for place, c, hit in zip(confidence_bin(sure), sure, right, strict=True):
            bins[place] += (1, c, hit)
        errors.append(float(calibration_error_of(bins.reshape(-1))))
    assert found[0] == pytest.approx(np.mean(errors), abs=0.01)
    assert found[1] == pytest.approx(np.percentile(errors, 95), abs=0.02)
    assert perfect_error(sure, draws=400, seed=1) == found


def test_correlation_of_the_reward_says_what_pairs_do_not() -> None:
    names = ("depth", "logic")
    labels = np.array([[0, 0], [1, 1], [2, 2], [3, 3]] * 3)
    groups = tuple(f"g{i // 2}" for i in range(12))
    pairs = np.array([[1, 0], [3, 2], [5, 4], [7, 6], [9, 8], [11, 10]])

    def told(levels: np.ndarray, given: np.ndarray = labels) -> Estimate:
        chances = np.eye(4)[levels][:, None].repeat(2, 1)
        truth = Truth(names, given, groups, pairs)
        measured = collect(chances, truth, weights={"depth": 1.0, "logic": 1.0}, resamples=20)
        assert value(measured, "pair_accuracy") == (0.0 if len(set(levels)) == 1 else 1.0)
        return measured.estimate("reward_correlation")

    assert told(labels[:, 0]).value == pytest.approx(1.0)
    off = told(np.array([2, 3, 0, 1] * 3))  # every pair in order, and worse texts above better ones
    assert off.value == pytest.approx(-0.6)
    assert told(np.full(12, 2)).value == 0.0
    nobody = told(labels[:, 0], np.where(np.arange(2) == 1, IGNORE, labels))
    assert nobody.reason == "no text has a label in every dimension that weighs"
    same = told(labels[:, 0], np.full_like(labels, 3))
    assert same.reason == "the labels give every text the same reward"
