"""The model beside a Bradley-Terry scalar: order of pairs, and rank correlation with the levels.

`beside(scalar, own, probabilities, truth, weights)` measures both on the same rows and draws. What
only levels can have (accuracy, kappa, calibration) a scalar has not, and a reason says so.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from reward_model.records import IGNORE
from reward_model.stats.bootstrap import Estimate, Floats, Ints
from reward_model.stats.evaluated import BesideScalar, Metrics
from reward_model.stats.levels import expected_levels, reward_of, rewards
from reward_model.stats.metrics import Measured, Truth, collect_scalar, report_of
from reward_model.stats.ranks import rank_correlation, rank_difference
from reward_model.stats.words import verdict

METRICS = {"pair_accuracy": "pair accuracy", "rank": "rank correlation"}
"""What both have; the rank correlation is Spearman's."""
_NO_LEVELS = Estimate(None, reason="a scalar has no levels")
_OWN_SCALE = Estimate(None, reason="a scalar has a scale of its own")


def beside(
    scalar: Floats,
    own: Measured,
    probabilities: Floats,
    truth: Truth,
    weights: Mapping[str, float],
) -> tuple[Metrics, list[BesideScalar]]:
    """The scalar's numbers, as complete as a baseline's, and how the model stands beside it.

    Args:
        scalar: [n] its values; rows without an opinion of the model are left out for both.
        own: the model's numbers.
        probabilities: [n, D, K] of the model.
        truth: labels, groups and pairs of the same rows.
        weights: dimension -> share in the reward.
    """
    values = np.where(np.isfinite(probabilities).all(axis=(1, 2)), scalar, np.nan)
    bootstrap = own.bootstrap
    theirs = collect_scalar(values, truth, resamples=bootstrap.resamples, seed=bootstrap.seed)
    levels = expected_levels(probabilities)
    shares = [weights[name] for name in truth.names]
    columns: list[tuple[str, Floats, Ints | Floats]] = [
        (name, levels[:, j], truth.labels[:, j]) for j, name in enumerate(truth.names)
    ]
    columns.append(
        ("", rewards(probabilities, shares), _weighted(truth, shares, probabilities.shape[-1] - 1))
    )
    entries = []
    for name, said, labels in columns:
        key = f"{name}.pair_accuracy" if name else "pair_accuracy"
        entries.append(
            _entry(
                name,
                "pair_accuracy",
                own.estimate(key),
                theirs.estimate(key),
                own.difference(theirs, key),
                bootstrap.groups,
            )
        )
        entries.append(
            _entry(
                name,
                "rank",
                rank_correlation(said, labels, bootstrap),
                rank_correlation(values, labels, bootstrap),
                rank_difference(said, values, labels, bootstrap),
                bootstrap.groups,
            )
        )
    return _metrics(own, theirs, truth), entries


def scalar_words(entry: BesideScalar) -> str:
    """One comparison as a sentence."""
    where = entry.dimension or "reward"
    metric = METRICS[entry.metric]
    change = entry.difference
    if change.value is None:
        return f"{where}: {metric} cannot be compared with Bradley-Terry: {change.reason}"
    numbers = f"{entry.model.value:.3f} against {entry.scalar.value:.3f}"
    if change.low is not None:
        numbers += f"; difference {change.low:+.3f} to {change.high:+.3f}"
    words = {
        "better": "ahead of",
        "worse": "BEHIND",
        "unclear": "not to be told from",
    }[entry.verdict]
    return f"{where}: {words} Bradley-Terry on {metric} ({numbers})"


def _entry(
    name: str, metric: str, model: Estimate, scalar: Estimate, change: Estimate, groups: int
) -> BesideScalar:
    return BesideScalar(
        dimension=name or None,
        metric=metric,
        model=model,
        scalar=scalar,
        difference=change,
        verdict=verdict(change, groups),
    )


def _weighted(truth: Truth, shares: list[float], scale: int) -> Floats:
    """Reward by label of the texts that have every label: what a reward should rank."""
    whole = (truth.labels != IGNORE).all(axis=1)
    target = reward_of(truth.labels.astype(np.float64), shares, scale)
    # Sums of the same levels may differ in the last bit, which would make ranks of it.
    return np.where(whole, np.round(target, 9), IGNORE)


def _metrics(own: Measured, theirs: Measured, truth: Truth) -> Metrics:
    """The scalar's numbers under the names that the model's stand under."""
    missing = {"neutral_gap": _OWN_SCALE}
    found = {
        key: theirs.estimate(key) if key in theirs.parts else missing.get(key, _NO_LEVELS)
        for key in own.parts
    }
    return report_of(found, truth.names)
