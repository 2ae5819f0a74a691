"""How good predictions are, from one pass: numbers with intervals, or the reason there is none.

`collect(probabilities, truth, weights=...)` takes arrays and knows no model and no file;
`to_json()` of it is the result as JSON. scikit-learn's definitions, tested against it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from reward_model.records import IGNORE
from reward_model.stats.agreement import kappa
from reward_model.stats.bootstrap import (
    RESAMPLES,
    Bootstrap,
    Estimand,
    Estimate,
    Floats,
    Function,
    Ints,
)
from reward_model.stats.evaluated import Metrics
from reward_model.stats.levels import expected_levels, reward_of, rewards

Bools = npt.NDArray[np.bool_]

BINS = 15
"""Equal-width bins of the expected calibration error."""
_CONSTANT = 1e-12
"""Variance of rewards below which they are one and the same."""


def mean_of(sums: Floats) -> Floats:
    """Total over count: [..., 2] -> [...]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(sums[..., 0] / sums[..., 1])


def macro_f1_of(confusion: Floats) -> Floats:
    """Mean F1 over the levels that occur, true or predicted, of flat confusion [..., K*K].

    The same number as ``sklearn.metrics.f1_score(average="macro", zero_division=0)``.

    >>> round(float(macro_f1_of(np.array([2.0, 0.0, 1.0, 1.0]))), 4)
    0.7333
    """
    matrix = _square(confusion)
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    both = matrix.sum(axis=-1) + matrix.sum(axis=-2)
    occurs = both > 0
    scores = np.where(occurs, 2 * hits / np.where(occurs, both, 1.0), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(scores.sum(axis=-1) / occurs.sum(axis=-1))


def kappa_of(confusion: Floats) -> Floats:
    """Quadratic weighted kappa of flat confusion [..., K*K] over all K levels of the scale.

    ``sklearn.metrics.cohen_kappa_score(weights="quadratic", labels=range(K))``; without `labels`
    sklearn renumbers the levels that occur, which changes the distances between them.

    >>> float(kappa_of(np.array([3.0, 0.0, 0.0, 3.0])))
    1.0
    """
    return kappa(_square(confusion))


def correlation_of(sums: Floats) -> Floats:
    """Pearson's r of sums [..., 6]: count, x, y, x squared, y squared, x times y.

    0 where x, what is predicted, is a constant, which says nothing of y.

    >>> x, y = np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0, 5.0])
    >>> round(float(correlation_of(np.array([3, *(v.sum() for v in (x, y, x*x, y*y, x*y))]))), 9)
    1.0
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        _, x, y, xx, yy, xy = np.moveaxis(sums / sums[..., :1], -1, 0)
        of_x, of_y = xx - x * x, yy - y * y
        found = np.clip((xy - x * y) / np.sqrt(of_x * of_y), -1.0, 1.0)
    return np.where(of_y < _CONSTANT, np.nan, np.where(of_x < _CONSTANT, 0.0, found))


def calibration_error_of(bins: Floats) -> Floats:
    """Expected calibration error of flat bins [..., BINS*3]: rows, confidence, hits."""
    parts = bins.reshape(*bins.shape[:-1], BINS, 3)
    with np.errstate(invalid="ignore", divide="ignore"):
        gaps = np.abs(parts[..., 1] - parts[..., 2]).sum(axis=-1)
        return np.asarray(gaps / parts[..., 0].sum(axis=-1))


def perfect_error(
    confidence: Floats, *, draws: int = 500, seed: int = 0
) -> tuple[float, float] | None:
    """Calibration error [n] confidences would show if each were kept to: mean, 95th percentile.

    It is not 0: a bin of a few texts misses its confidence by chance. An error below it says that
    so few texts cannot tell the model from a perfectly calibrated one.

    >>> perfect_error(np.zeros(0)) is None
    True
    >>> few, many = perfect_error(np.full(20, 0.7)), perfect_error(np.full(2000, 0.7))
    >>> few[0] > 5 * many[0]
    True
    """
    if not len(confidence):
        return None
    rng = np.random.default_rng(seed)
    bins = np.eye(BINS)[confidence_bin(confidence)]
    errors = np.empty(draws)
    for i in range(draws):
        right = rng.random(len(confidence)) < confidence
        errors[i] = np.abs((confidence - right) @ bins).sum() / len(confidence)
    return float(errors.mean()), float(np.percentile(errors, 95))


def confidence_bin(confidence: Floats) -> Ints:
    """Bin of a top-label confidence; bins are (low, high], so 1.0 is in the last one.

    >>> confidence_bin(np.array([0.2, 1 / 15, 1.0])).tolist()
    [2, 0, 14]
    """
    # 3/15 * 15 is 3.0000000000000004 in binary for some edges: rounding keeps edges in their bin.
    place = np.ceil(np.round(confidence * BINS, 9)).astype(np.int64) - 1
    return np.asarray(np.clip(place, 0, BINS - 1), dtype=np.int64)


def _square(flat: Floats) -> Floats:
    k = round(flat.shape[-1] ** 0.5)
    return flat.reshape(*flat.shape[:-1], k, k)


def _no_pairs() -> Ints:
    return np.zeros((0, 2), dtype=np.int64)


@dataclass(frozen=True)
class Truth:
    """What a judge or a person said, as arrays."""

    names: tuple[str, ...]
    """Dimension names, D of them."""
    labels: Ints
    """[n, D] levels, `IGNORE` where nobody scored."""
    groups: tuple[str, ...]
    """[n] what is drawn together; every interval is by group."""
    pairs: Ints = field(default_factory=_no_pairs)
    """[p, 2] row of the chosen and of the rejected side of each preference."""
    neutral: Ints = field(default_factory=_no_pairs)
    """[q, 2] rows of the two sides of each control, whose sides should score the same."""

    def only(self, keep: Bools) -> Truth:
        """The rows where `keep` [n] holds; a pair stays when both of its sides do."""
        place = np.cumsum(keep) - 1

        def move(pairs: Ints) -> Ints:
            inside = pairs[keep[pairs].all(axis=1)]
            return np.asarray(place[inside], dtype=np.int64).reshape(-1, 2)

        groups = tuple(group for group, kept in zip(self.groups, keep, strict=True) if kept)
        return Truth(self.names, self.labels[keep], groups, move(self.pairs), move(self.neutral))


@dataclass(frozen=True)
class Measured:
    """Every number of one predictor on one set of rows, in additive form."""

    bootstrap: Bootstrap
    parts: dict[str, Estimand]
    """`pair_accuracy`, `depth.accuracy`, ... -> its sums."""

    def estimate(self, name: str) -> Estimate:
        """One number with its interval."""
        return self.bootstrap.estimate(self.parts[name])

    def difference(self, other: Measured, name: str) -> Estimate:
        """This predictor minus `other` on the same rows, drawn together."""
        return self.bootstrap.difference(self.parts[name], other.parts[name])

    def report(self, names: Sequence[str]) -> Metrics:
        """All of them with their intervals."""
        return report_of({key: self.estimate(key) for key in self.parts}, names)


def report_of(found: Mapping[str, Estimate], names: Sequence[str]) -> Metrics:
    """Numbers by their names in `Measured.parts` as a record."""
    whole: dict[str, Any] = {key: number for key, number in found.items() if "." not in key}
    dimensions: dict[str, dict[str, Estimate]] = {name: {} for name in names}
    for key, number in found.items():
        name, _, metric = key.rpartition(".")
        if name:
            dimensions[name][metric] = number
    return Metrics(**whole, dimensions=dimensions)


def collect(
    probabilities: Floats,
    truth: Truth,
    *,
    weights: Mapping[str, float],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Measured:
    """Every number that is reported of one predictor.

    Args:
        probabilities: [n, D, K]; a row of NaN is one the predictor gave no opinion on: it is left
            out of every number.
        truth: labels, groups and pairs of the same n rows.
        weights: dimension -> share in the scalar reward.
        resamples: bootstrap draws.
        seed: of the draws.
    """
    given: Bools = np.asarray(np.isfinite(probabilities).all(axis=(1, 2)))
    known = np.where(given[:, None, None], probabilities, 0.0)
    labels = np.where(given[:, None], truth.labels, IGNORE)
    measured = Measured(Bootstrap(truth.groups, resamples=resamples, seed=seed), {})
    for j, name in enumerate(truth.names):
        _head(measured, name, known[:, j], labels[:, j])
    _together(measured, known.argmax(axis=-1), labels)
    shares = [weights[name] for name in truth.names]
    reward = rewards(known, shares)
    _agreement(measured, labels, shares, known.shape[2] - 1, reward)
    _pairs(measured, truth, labels, given, expected_levels(known), reward)
    return measured


def collect_scalar(
    values: Floats, truth: Truth, *, resamples: int = RESAMPLES, seed: int = 0
) -> Measured:
    """The order of pairs by one number a text, which orders every dimension alike.

    Args:
        values: [n] on any scale; NaN where there is no opinion.
        truth: labels, groups and pairs of the same n rows.
        resamples: bootstrap draws.
        seed: of the draws; those of `collect` are the same.
    """
    given: Bools = np.asarray(np.isfinite(values))
    known = np.where(given, values, 0.0)
    labels = np.where(given[:, None], truth.labels, IGNORE)
    measured = Measured(Bootstrap(truth.groups, resamples=resamples, seed=seed), {})
    _pairs(measured, truth, labels, given, np.repeat(known[:, None], labels.shape[1], 1), known)
    del measured.parts["neutral_gap"]  # a distance on a scale of its own says nothing
    return measured


def mean_part(
    bootstrap: Bootstrap,
    values: Floats,
    rows: Ints,
    reason: str | None = None,
    *,
    share: bool = False,
    span: tuple[float, float] = (-np.inf, np.inf),
) -> Estimand:
    """The mean of `values` [m], which stand in `rows` [m] of all and lie within `span`."""
    cells, ones = np.zeros(len(rows), dtype=np.int64), np.ones(len(rows))
    sums = bootstrap.sums(rows, cells, 1, values, ones)
    return Estimand(sums, mean_of, len(rows), reason, share, (0.0, 1.0) if share else span)


def _head(measured: Measured, name: str, probabilities: Floats, labels: Ints) -> None:
    """The numbers of one dimension; probabilities [n, K], labels [n]."""
    rows = np.flatnonzero(labels != IGNORE)
    level, known, k = labels[rows], probabilities[rows], probabilities.shape[1]
    predicted = known.argmax(axis=-1)
    sure = known.max(axis=-1) if len(rows) else np.zeros(0)
    right = (predicted == level).astype(np.float64)
    ones, zero = np.ones(len(rows)), np.zeros(len(rows), dtype=np.int64)
    none = None if len(rows) else "no labels"
    sums = measured.bootstrap.sums

    def add(
        metric: str,
        values: Floats,
        function: Function,
        reason: str | None = none,
        share: bool = False,
        span: tuple[float, float] = (0.0, 1.0),
    ) -> None:
        measured.parts[f"{name}.{metric}"] = Estimand(
            values, function, len(rows), reason, share, span
        )

    add("accuracy", sums(rows, zero, 1, right, ones), mean_of, share=True)
    confusion = sums(rows, level * k + predicted, k * k, ones)
    add("macro_f1", confusion, macro_f1_of)
    seen = np.unique(level)
    constant = f"only level {seen[0]} among the labels" if len(seen) == 1 else none
    add("kappa", confusion, kappa_of, constant, span=(-1.0, 1.0))
    expected = expected_levels(known)
    # Of all levels the one nearest to the mean costs least where a miss counts by its square.
    near = sums(rows, level * k + np.rint(expected).astype(np.int64), k * k, ones)
    add("kappa_expected", near, kappa_of, constant, span=(-1.0, 1.0))
    for which, guess in (("expected", expected), ("argmax", predicted)):
        off = sums(rows, zero, 1, np.abs(guess - level), ones)
        add(f"mae_{which}", off, mean_of, span=(0.0, k - 1.0))
    cells = sums(rows, confidence_bin(sure), BINS, ones, sure, right)
    add("ece", cells, calibration_error_of)


def _together(measured: Measured, predicted: Ints, labels: Ints) -> None:
    """Element accuracy (row x dimension) and all-dimensions-right accuracy: two numbers."""
    labelled = labels != IGNORE
    right = (predicted == labels) & labelled

    def add(name: str, keep: Bools, hits: Floats, of: Floats, n: int, empty: str) -> None:
        rows = np.flatnonzero(keep)
        cells = np.zeros(len(rows), dtype=np.int64)
        sums = measured.bootstrap.sums(rows, cells, 1, hits[rows], of[rows])
        measured.parts[name] = Estimand(sums, mean_of, n, None if n else empty, True, (0.0, 1.0))

    some, whole = labelled.any(axis=1), labelled.all(axis=1)
    hits, of = right.sum(axis=1) * 1.0, labelled.sum(axis=1) * 1.0
    add("element_accuracy", some, hits, of, int(labelled.sum()), "no labels")
    all_right, ones = right.all(axis=1) * 1.0, np.ones(len(labels))
    empty = "no row has a label in every dimension"
    add("all_dimensions_accuracy", whole, all_right, ones, int(whole.sum()), empty)


def _agreement(
    measured: Measured, labels: Ints, shares: Sequence[float], scale: int, reward: Floats
) -> None:
    """Correlation of the reward with that of the labels, on texts that have all that weigh."""
    weigh = np.array(shares) > 0
    rows = np.flatnonzero((labels[:, weigh] != IGNORE).all(axis=1))
    true = reward_of(np.where(labels == IGNORE, 0, labels)[rows] * 1.0, shares, scale)
    said, ones = reward[rows], np.ones(len(rows))
    reason = None
    if not len(rows):
        reason = "no text has a label in every dimension that weighs"
    elif np.ptp(true) == 0:
        reason = "the labels give every text the same reward"
    cells = np.zeros(len(rows), dtype=np.int64)
    products = (ones, said, true, said * said, true * true, said * true)
    sums = measured.bootstrap.sums(rows, cells, 1, *products)
    measured.parts["reward_correlation"] = Estimand(
        sums, correlation_of, len(rows), reason, span=(-1.0, 1.0)
    )


def _pairs(
    measured: Measured,
    truth: Truth,
    labels: Ints,
    given: Bools,
    expected: Floats,
    reward: Floats,
) -> None:
    """Pair accuracy: strictly greater is right; a tie is not, and is counted apart.

    By reward the chosen side should win. By dimension the side with the higher label should; pairs
    with equal labels there do not count.
    """
    high, low = truth.pairs[given[truth.pairs].all(axis=1)].T
    one, two = truth.neutral[given[truth.neutral].all(axis=1)].T

    def add(name: str, rows: Ints, values: Floats, empty: str) -> None:
        share = name != "neutral_gap"
        reason = None if len(rows) else empty
        measured.parts[name] = mean_part(
            measured.bootstrap, values * 1.0, rows, reason, share=share, span=(0.0, 1.0)
        )

    add("pair_accuracy", high, reward[high] > reward[low], "no pairs")
    add("pair_ties", high, reward[high] == reward[low], "no pairs")
    add("neutral_gap", one, np.abs(reward[one] - reward[two]), "no neutral pairs")
    empty = "no pair with different labels on its two sides" if len(high) else "no pairs"
    for j, name in enumerate(truth.names):
        a, b = labels[high, j], labels[low, j]
        differ = (a != IGNORE) & (b != IGNORE) & (a != b)
        gap = ((expected[high, j] - expected[low, j]) * np.sign(a - b))[differ]
        add(f"{name}.pair_accuracy", high[differ], gap > 0, empty)
        add(f"{name}.pair_ties", high[differ], gap == 0, empty)
