"""May this model be used as a reward? One verdict, why, what to do next, and five findings.

`answer(report)` is what terminal, page and card begin with. It claims nothing that an interval does
not carry: "yes" needs whole intervals on the right side, and so does "no".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from reward_model.measure.evaluation.words import baseline_words
from reward_model.stats.bootstrap import Estimate
from reward_model.stats.evaluated import Answer, EvaluationReport, PreferenceReport, Ready
from reward_model.stats.words import FEWEST, SHORT, joined

CHANCE = 0.5
"""Share of pairs that a coin orders right."""
ENOUGH = 0.6
"""Share of unseen pairs that must be ordered right beyond doubt: below it every third step or more
of a policy is pushed the wrong way."""
TOO_MANY = 0.05
"""Share of texts that were cut, or got no score, from which the numbers are of other texts than a
policy will write."""
MOST = 5
"""Findings that are told first."""


class Reason(NamedTuple):
    """One thing that stands in the way."""

    ready: Ready
    """What it makes of the verdict."""
    words: str
    next: str
    """Command that looks into it or mends it."""


def answer(report: EvaluationReport, file: Path | None = None) -> Answer:
    """The verdict, from the gravest kind of reason that there is.

    `file`: what was measured, for the command to run next; the name in the report if not given.
    """
    if file is not None:
        report = report.model_copy(update={"file": str(file)})
    found = _gravest(list(_reasons(report)), _command("audit", report))
    return found.model_copy(update={"findings": _findings(report, found.because)[:MOST]})


def answer_preferences(report: PreferenceReport, file: Path | None = None) -> Answer:
    """The verdict of pairs without levels, which tell of their order alone."""
    if file is not None:
        report = report.model_copy(update={"file": str(file)})
    found = _gravest(list(_of_preferences(report)), _beside_length(report))
    own = report.metrics.pair_accuracy
    told = [
        f"of {own.n} pairs it orders {_share(own)} right; the longer response is the preferred one "
        f"in {_share(report.longer_wins)}"
    ]
    shown = [f"{n} {_share(one['pair_accuracy'])}" for n, one in report.metrics.dimensions.items()]
    told.append(f"right by dimension: {', '.join(shown)}")
    return found.model_copy(update={"findings": [*told, *report.notes][:MOST]})


def _gravest(reasons: Sequence[Reason], more: str) -> Answer:
    """The verdict of the gravest kind of reason; `more`: what to run where there is none."""
    for ready in ("not known", "no", "with care"):
        found = [reason for reason in reasons if reason.ready == ready]
        if found:
            because = [reason.words for reason in found]
            return Answer(ready=ready, because=because, next=found[0].next, findings=[])
    return Answer(ready="yes", because=[], next=more, findings=[])


def _of_preferences(report: PreferenceReport) -> Iterator[Reason]:
    own, longer = report.metrics.pair_accuracy, report.longer_wins.value
    levels = f"judge score {report.file} --out SCORED.jsonl"
    if report.metrics.groups < FEWEST or own.low is None or own.high is None:
        yield Reason("not known", f"only {report.metrics.groups} groups were measured", levels)
        return
    if own.low <= CHANCE:
        words = f"it is not shown to order pairs better than a coin ({_share(own)})"
        yield Reason("no", words, levels)
    elif own.low < ENOUGH:
        words = f"the order of pairs may be right in less than {ENOUGH:.0%} ({_share(own)})"
        yield Reason("with care", words, levels)
    if longer is not None and own.low <= longer:
        words = f"it is not ahead of length alone beyond doubt in the order of pairs ({longer:.0%})"
        yield Reason("with care", words, _beside_length(report))
    silent = report.pairs.no_opinion / max(1, report.pairs.measured + report.pairs.no_opinion)
    if silent > TOO_MANY:
        words = f"{silent:.0%} of the pairs have a response without a score"
        yield Reason("with care", words, f"reward-model doctor {report.model}")


def _beside_length(report: PreferenceReport) -> str:
    return f"reward-model bench {report.model} length --data {report.file}"


def _reasons(report: EvaluationReport) -> Iterator[Reason]:
    order = report.metrics["model"].pair_accuracy
    yield from _unmeasured(report, order)
    if order.low is not None and order.high is not None:
        if order.low <= CHANCE:
            words = f"it is not shown to order pairs better than a coin ({_share(order)})"
            yield Reason("no", words, f"judge validate {report.file}")
        elif order.low < ENOUGH:
            words = f"the order of pairs may be right in less than {ENOUGH:.0%} ({_share(order)})"
            yield Reason("with care", words, f"judge validate {report.file}")
    yield from _beside_baselines(report)
    yield from _length(report)
    yield from _levels(report)
    given, texts = report.input, max(1, report.split.texts)
    if given.responses_truncated > TOO_MANY:
        words = f"{given.responses_truncated:.0%} of the responses were not read whole"
        yield Reason("with care", words, f"reward-model train {report.file} --max-length …")
    if (silent := sum(given.no_opinion.values()) / texts) > TOO_MANY:
        words = f"{silent:.0%} of the texts got no score"
        yield Reason("with care", words, f"reward-model doctor {_model(report)}")
    if report.split.part == "all" and report.split.training_texts_for_baselines:
        words = "texts that it was trained on are among those measured"
        yield Reason("with care", words, f"{_command('evaluate', report)} --split auto")


def _unmeasured(report: EvaluationReport, order: Estimate) -> Iterator[Reason]:
    """What leaves the question open."""
    groups = report.split.groups
    if order.value is None:
        words = "no pair of a better and a worse answer was measured"
        yield Reason("not known", words, f"reward-model evaluate {_model(report)} PAIRS")
    elif groups < FEWEST or order.low is None:
        count = "1 prompt or company was" if groups == 1 else f"{groups} prompts or companies were"
        words = f"only {count} measured"
        yield Reason("not known", words, f"reward-model train {report.file} --test-share 0.3")


def _beside_baselines(report: EvaluationReport) -> Iterator[Reason]:
    """The reward is what a policy learns from: there simple words and lengths must be beaten.

    Where pairs do not tell the two apart, following the labels more closely over all texts does.
    """
    of_reward = [entry for entry in report.comparisons if entry.dimension is None]
    closer = any(e.metric == "reward_correlation" and e.verdict == "better" for e in of_reward)
    for entry in of_reward:
        if entry.baseline is None or entry.verdict == "better":
            continue
        name, value = SHORT[entry.baseline], entry.baseline_value or 0.0
        if entry.metric == "reward_correlation":
            if entry.verdict == "worse":
                words = f"{name} follows the reward of the labels more closely, beyond doubt"
                yield Reason("with care", words, f"judge validate {report.file}")
        elif entry.verdict == "worse":
            words = f"{name} orders more pairs right, beyond doubt ({value:.0%})"
            yield Reason("no", words, f"judge validate {report.file}")
        elif closer:
            continue
        elif value == 1 and entry.model == 1:  # nothing can be ahead of all
            words = f"{name} orders every pair right as well: these are too easy to tell them apart"
            yield Reason("with care", words, _command("audit", report))
        else:
            words = f"it is not ahead of {name} beyond doubt in the order of pairs ({value:.0%})"
            yield Reason("with care", words, _command("audit", report))


def _length(report: EvaluationReport) -> Iterator[Reason]:
    found = report.slices.get("longer side", {}).get("rejected")
    if found is None or found.pair_accuracy.value is None:
        return
    right = found.pair_accuracy
    words = f"it follows length: where the worse side is longer it is right in {_share(right)}"
    if right.high is not None and right.high < CHANCE:
        yield Reason("no", words, _command("audit", report))
    elif right.value is not None and right.value < CHANCE:
        yield Reason("with care", words, _command("audit", report))


def _levels(report: EvaluationReport) -> Iterator[Reason]:
    """Dimensions whose levels are not shown to be read, and confidence that is not calibrated."""
    numbers = report.metrics["model"].dimensions
    blind = [
        name
        for name, found in numbers.items()
        if found["kappa"].value is not None and (found["kappa"].low or 0.0) <= 0
    ]
    if blind:
        words = f"levels of {joined(blind)} are not shown to be better than guessed"
        yield Reason("with care", words, f"reward-model labels {report.file}")
    for name, found in report.by_training.items():
        right = found.metrics["model"].pair_accuracy
        if "never" in name and right.low is not None and right.low <= CHANCE:
            words = f"on {name} it is not shown to be better than a coin ({_share(right)})"
            yield Reason("with care", words, _command("audit", report))
    unsure = [
        name
        for name, chance in report.ece_if_perfect.items()
        if chance is not None and (numbers[name]["ece"].value or 0.0) > chance.high
    ]
    if unsure and not report.calibration:
        words = f"its confidence in {joined(unsure)} is not calibrated"
        yield Reason("with care", words, _command("calibrate", report))


def _findings(report: EvaluationReport, told: Sequence[str]) -> list[str]:
    """What else to know first, the weightiest first, without what the verdict says already."""
    own, found = report.metrics["model"], []
    if own.pair_accuracy.value is not None:
        words = f"of {own.pair_accuracy.n} unseen pairs it orders {_share(own.pair_accuracy)} right"
        best = next((e for e in report.comparisons if e.dimension is None and e.baseline), None)
        if best is not None and best.baseline is not None and best.baseline_value is not None:
            words += f"; {SHORT[best.baseline]}, the best baseline, {best.baseline_value:.0%}"
        found.append(words)
    for entry in report.comparisons:
        if entry.metric == "reward_correlation" and entry.baseline is not None:
            found.append(
                f"its reward follows that of the labels with a correlation of {entry.model:.2f}; "
                f"{SHORT[entry.baseline]}, the best baseline, with {entry.baseline_value:.2f}"
            )
    kappas = {name: numbers["kappa"].value for name, numbers in own.dimensions.items()}
    known = [f"{name} {value:.2f}" for name, value in kappas.items() if value is not None]
    if known:
        found.append(f"agreement with the labels, 1 at best (QWK): {joined(known)}")
    found += baseline_words(report)
    found += [reason.words for reason in _reasons(report)]
    return [words for words in dict.fromkeys(found) if words not in told]


def _share(estimate: Estimate) -> str:
    """
    >>> _share(Estimate(0.9, 40, 0.8, 0.96))
    '90% [80–96%]'
    """
    text = "–" if estimate.value is None else f"{estimate.value:.0%}"
    if estimate.low is not None and estimate.high is not None:
        text += f" [{100 * estimate.low:.0f}–{estimate.high:.0%}]"
    return text


def _model(report: EvaluationReport) -> str:
    return report.model or "MODEL"


def _command(name: str, report: EvaluationReport) -> str:
    return f"reward-model {name} {_model(report)} {report.file}"
