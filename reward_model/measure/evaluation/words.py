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
from reward_model.stats.words import SHORT, groups_words, joined, verdict

COMPARED = {"kappa": "quadratic weighted kappa", "pair_accuracy": "pair accuracy"}
"""What a model has to beat its baselines on: the right level, and the right order."""
REWARD = ("pair_accuracy", "reward_correlation")
"""The same of the reward: the order inside of pairs, which easy pairs bring to 1, and how closely
it follows the reward of the labels over all texts, as a trainer's advantages do."""
WHAT = {"kappa": "levels", "pair_accuracy": "pairs"}
"""The same in a word."""
_SAID = {
    "worse": "is ahead beyond doubt on",
    "level": "is level or ahead, within doubt, on",
    "near": "is behind, but not beyond doubt, on",
}
"""How a baseline stands that the model does not clearly beat; the gravest first."""


def comparisons(measured: Mapping[str, Measured], names: Sequence[str]) -> list[Comparison]:
    """The model minus its best baseline, a dimension and metric at a time.

    `verdict`: `better` or `worse` where the interval of the difference excludes zero, `unclear`
    where it does not, `unknown` where one of the two has no number.
    """
    out = []
    keys = [(name, metric, f"{name}.{metric}") for name in names for metric in COMPARED]
    for name, metric, key in [*keys, *(("", metric, metric) for metric in REWARD)]:
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
    words = [*baseline_words(report), *_unknown_words(report.comparisons)]
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
    if given.max_prompt_length == 0:
        words.append("the model reads no prompts: its max_prompt_length is 0")
    elif given.prompts_truncated:
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


def baseline_words(report: EvaluationReport) -> list[str]:
    """Which baselines do as well, a sentence each: "TF-IDF is level ... on depth pairs"."""
    groups: dict[tuple[str, str], dict[str, list[str]]] = {}
    for entry in report.comparisons:
        if entry.baseline is None or entry.model is None or entry.baseline_value is None:
            continue
        if entry.verdict in ("better", "unknown") or entry.metric not in WHAT:
            continue
        behind = entry.model <= entry.baseline_value
        how = "worse" if entry.verdict == "worse" else "level" if behind else "near"
        metrics = groups.setdefault((entry.baseline, how), {})
        metrics.setdefault(WHAT[entry.metric], []).append(entry.dimension or "reward")
    found = [
        f"{SHORT[name]} {_SAID[how]} "
        + " and on ".join(f"{joined(names)} {what}" for what, names in metrics.items())
        for (name, how), metrics in sorted(
            groups.items(), key=lambda row: list(_SAID).index(row[0][1])
        )
    ]
    return found + [
        f"the reward does not follow that of the labels more closely than {SHORT[entry.baseline]} "
        "beyond doubt"
        for entry in report.comparisons
        if entry.metric == "reward_correlation" and entry.verdict == "unclear" and entry.baseline
    ]


def _unknown_words(entries: Sequence[Comparison]) -> list[str]:
    """What cannot be compared with a baseline, a sentence a reason."""
    reasons: dict[str, list[str]] = {}
    for entry in entries:
        if entry.verdict == "unknown" and entry.reason is not None and entry.metric in WHAT:
            where = f"{entry.dimension or 'reward'} {WHAT[entry.metric]}"
            reasons.setdefault(entry.reason, []).append(where)
    found = [f"{joined(what)} cannot be compared: {reason}" for reason, what in reasons.items()]
    return found + [
        f"the reward cannot be set beside that of the labels: {entry.reason}"
        for entry in entries
        if entry.metric == "reward_correlation" and entry.verdict == "unknown"
    ]
