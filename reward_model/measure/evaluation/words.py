"""What an evaluation says in words: no claim that its interval does not carry.

`comparisons` sets the model beside its best baseline; `notes` are the sentences that stand in
terminal, JSON and page alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reward_model.data.labels import label_warnings
from reward_model.measure.evaluation.baselines import TITLES
from reward_model.measure.evaluation.familiarity import familiarity_words
from reward_model.rubrics import Rubric
from reward_model.stats.evaluated import ByChance, Comparison, EvaluationReport, ScalarTraining
from reward_model.stats.metrics import Measured
from reward_model.stats.words import groups_words, verdict

COMPARED = {"kappa": "quadratic weighted kappa", "pair_accuracy": "pair accuracy"}
"""What a model has to beat its baselines on: the right level, and the right order."""


def comparisons(measured: Mapping[str, Measured], names: Sequence[str]) -> list[Comparison]:
    """The model minus its best baseline, a dimension and metric at a time.

    `verdict`: `better` or `worse` where the interval of the difference excludes zero, `unclear`
    where it does not, `unknown` where one of the two has no number.
    """
    out = []
    keys = [(name, metric, f"{name}.{metric}") for name in names for metric in COMPARED]
    for name, metric, key in [*keys, ("", "pair_accuracy", "pair_accuracy")]:
        own = measured["model"].estimate(key)
        others = {
            other: estimate.value
            for other in TITLES
            if other in measured and (estimate := measured[other].estimate(key)).value is not None
        }
        entry: dict[str, Any] = {"dimension": name or None, "metric": metric, "model": own.value}
        if own.value is None or not others:
            reason = own.reason or "no baseline has a number to compare with"
            out.append(Comparison(**entry, verdict="unknown", reason=reason))
            continue
        best = max(others, key=lambda other: others[other] or 0.0)
        difference = measured["model"].difference(measured[best], key)
        out.append(
            Comparison(
                **entry,
                baseline=best,
                baseline_value=others[best],
                difference=difference,
                verdict=verdict(difference, measured["model"].bootstrap.groups),
            )
        )
    return out


def notes(report: EvaluationReport, rubric: Rubric) -> list[str]:
    """What a reader of the numbers has to know, each a sentence."""
    words = [sentence for entry in report.comparisons if (sentence := verdict_words(entry))]
    words += [f"held-out labels: {w}" for w in label_warnings(report.labels, rubric)]
    own = report.metrics["model"]
    if own.neutral_gap.value is not None:
        words.append(
            f"neutral rewrites move the reward by {own.neutral_gap.value:.3f} on average: smaller "
            "differences between two responses are noise"
        )
    errors = {name: found["ece"].value for name, found in own.dimensions.items()}
    words += calibration_words(errors, report.ece_if_perfect)
    words += length_words(report)
    if few := groups_words(report.split.groups):
        words.append(few)
    given = report.input
    if given.responses_truncated:
        words.append(
            f"{given.responses_truncated:.0%} of the responses did not fit {given.max_length}"
            " tokens and lost their middle"
        )
    if given.prompts_truncated:
        words.append(f"{given.prompts_truncated:.0%} of the prompts gave way and lost their middle")
    for reason, count in given.no_opinion.items():
        words.append(f"{count} texts got no score ({reason}) and are in no number")
    words += familiarity_words(report.familiarity)
    words.append(f"baselines: {report.baseline_text}")
    words += [f"baselines: {sentence}" for sentence in report.baseline_notes]
    if report.bradley_terry is not None:
        from reward_model.measure.comparison.numbers import scalar_words

        known = report.bradley_terry
        words += [scalar_words(entry) for entry in known.comparisons if entry.verdict != "unclear"]
        words += footing_words(known.training)
    return words


def calibration_words(
    errors: Mapping[str, float | None], perfect: Mapping[str, ByChance | None]
) -> list[str]:
    """Which calibration errors are beyond what so few texts show by chance."""
    beyond: list[str] = []
    within: list[str] = []
    for name, found in perfect.items():
        error = errors[name]
        if found is None or error is None:
            continue
        words = f"{name} ({error:.3f} against {found.mean:.3f})"
        (beyond if error > found.high else within).append(words)
    out = []
    if beyond:
        out.append(
            "calibration error is beyond what a perfectly calibrated model shows by chance on so "
            f"many texts: {', '.join(beyond)}"
        )
    if within:
        out.append(
            "calibration error cannot be told from that of a perfectly calibrated model on so few "
            f"texts: {', '.join(within)}"
        )
    return out


def footing_words(training: ScalarTraining) -> list[str]:
    """How equal the footing of model and scalar was."""
    pairs, seen = training.pairs, training.texts_seen
    return [
        f"Bradley-Terry: {training.by} on the same backbone, pooling, token ids, learning rate "
        f"and {training.steps} steps; {pairs.train} pairs, {seen['bradley_terry']} texts "
        f"seen against {seen['model']}; {pairs.left_out['tied']} tied and "
        f"{pairs.left_out['neutral']} neutral pairs left out; picked by "
        f"{training.picked_by}; dropout: {training.dropout}"
    ]


def length_words(report: EvaluationReport) -> list[str]:
    """A warning where the order of a pair is wrong more often than not once length misleads."""
    found = report.slices.get("longer side", {}).get("rejected")
    if found is None or found.pair_accuracy.value is None:
        return []
    right = found.pair_accuracy
    if found.pair_accuracy.value >= 0.5:
        return []
    return [
        f"the reward follows length: of the {right.n} pairs whose rejected side is longer, "
        f"it orders {right.value:.0%} right"
    ]


def verdict_words(entry: Comparison) -> str | None:
    """One comparison as a sentence; None where the model is clearly better."""
    where = entry.dimension or "reward"
    metric = COMPARED[entry.metric]
    if entry.verdict == "better":
        return None
    if entry.model is None or entry.baseline is None or entry.baseline_value is None:
        return f"{where}: {metric} cannot be compared: {entry.reason}"
    numbers = f"{entry.model:.3f} against {entry.baseline_value:.3f}"
    difference = entry.difference
    if difference.low is not None:
        numbers += (
            f"; difference {difference.value:+.3f}, "
            f"95% interval {difference.low:+.3f} to {difference.high:+.3f}"
        )
    else:
        numbers += f"; {difference.reason}"
    title = TITLES[entry.baseline]
    if entry.model <= entry.baseline_value:
        return f"{where}: does NOT beat the baseline {title} on {metric} ({numbers})"
    return f"{where}: ahead of the baseline {title} on {metric}, but not beyond doubt ({numbers})"
