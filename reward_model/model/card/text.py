"""The words of a model card: Markdown from the parts that `reward_model.model.card` keeps.

Every figure comes from a part; what was not measured is named as not measured.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from reward_model.rubrics import Rubric, say
from reward_model.stats.bootstrap import Estimate
from reward_model.stats.evaluated import CalibrationReport, EvaluationReport
from reward_model.stats.reports import AuditReport
from reward_model.stats.words import LABELS, SHORT, change, figure

Parts = Mapping[Any, Mapping[str, Any]]


def card_text(parts: Parts, rubric: Rubric | None) -> str:
    """README.md: a section for every part, or the command that would bring it."""
    lines = [*_metadata(parts), "# Multi-dimensional reward model", ""]
    if rubric is not None:
        names = ", ".join(say(d.title, "en").lower() for d in rubric.dimensions)
        shares = ", ".join(f"{name} {share:.2f}" for name, share in rubric.weights.items())
        lines += [
            f"Scores a response on {names}, levels 0 to {rubric.scale} each "
            f"(rubric `{rubric.id}`): a distribution over the levels, the expected level and its "
            f"uncertainty a dimension, and one reward in 0 to 1 (weights: {shares}).",
            "",
        ]
    lines += use()
    lines += _quality(parts.get("evaluation"), parts.get("calibration"))
    lines += _calibration(parts.get("calibration"))
    lines += _probes(parts.get("audit"), parts.get("calibration"))
    if "training" in parts:
        lines += _training(parts["training"])
    lines += _limits(parts)
    return "\n".join(lines).rstrip() + "\n"


def code(value: object) -> str:
    """A value of a file as inline code, whatever is in it.

    >>> code("gpt`|<b>")
    '`gptb`'
    """
    return "`" + re.sub(r"[`|<>\r\n]", "", str(value)) + "`"


def _metadata(parts: Parts) -> list[str]:
    """The header that model hubs read. No licence: it is that of base model and data."""
    training = parts.get("training", {})
    base = str(training.get("settings", {}).get("base_model", ""))
    lines = ["---", "pipeline_tag: text-classification", "library_name: multidim-reward"]
    if re.fullmatch(r"[\w.-]+/[\w.-]+", base):
        lines.append(f"base_model: {json.dumps(base)}")
    languages = (training.get("labels_from") or {}).get("languages", {})
    known = sorted(name for name in languages if re.fullmatch(r"[a-z]{2,3}", name))
    if known:
        lines += ["language:", *(f"- {json.dumps(name)}" for name in known)]
    lines += ["tags:", "- reward-model", "- rlhf", "- multi-dimensional-reward", "---", ""]
    return lines


def _quality(part: Mapping[str, Any] | None, calibration: Mapping[str, Any] | None) -> list[str]:
    if part is None:
        return [
            "## Quality",
            "",
            "Not measured on held-out texts yet: `reward-model evaluate` does.",
            "",
        ]
    found = EvaluationReport.model_validate(part)
    split, metrics = found.split, found.metrics
    others = [name for name in metrics if name != "model"]
    titles = [SHORT[name] for name in others]
    lines = [
        "## Quality",
        "",
        *_answer(found),
        f"{split.texts} texts, {split.pairs} pairs, {split.groups} groups "
        f"({split.part}), with 95% bootstrap intervals by group; beside it simple baselines "
        "on the same texts. –: not defined.",
        "",
        f"| dimension | measure | this model | {' | '.join(titles)} |",
        "|" + "---|" * (3 + len(others)),
    ]
    every = [metrics[name] for name in ("model", *others)]

    def row(name: str, label: str, numbers: list[Estimate]) -> str:
        own, *theirs = numbers
        cells = [figure(own), *(figure(one, interval=False) for one in theirs)]
        return f"| {name} | {label} | {' | '.join(cells)} |"

    for name in metrics["model"].dimensions:
        lines += [
            row(name, label, [one.dimensions[name][key] for one in every])
            for key, label in LABELS.items()
            if key in metrics["model"].dimensions[name]  # an older version measured fewer
        ]
    lines += [
        row("all", "pair accuracy by reward", [one.pair_accuracy for one in every]),
        row("all", "pair ties by reward", [one.pair_ties for one in every]),
        row("all", "levels right", [one.element_accuracy for one in every]),
        row("all", "texts with every level right", [one.all_dimensions_accuracy for one in every]),
    ]
    if "reward_correlation" in metrics["model"].model_fields_set:  # as above
        numbers = [one.reward_correlation for one in every]
        lines.append(row("all", "correlation of the reward with that of the labels", numbers))
    for title, slices in found.slices.items():
        if title in ("training", "planted error"):
            lines += ["", f"By {title}:", "", "| | pairs | pair accuracy |", "|---|---|---|"]
            lines += [
                f"| {value} | {one.pair_accuracy.n} | {figure(one.pair_accuracy)} |"
                for value, one in slices.items()
            ]
    told = found.answer.findings if found.answer is not None else []
    notes = [sentence for sentence in found.notes if sentence not in told]
    temperatures = {name: scaled.temperature for name, scaled in found.calibration.items()}
    if calibration is not None and temperatures != calibration.get("temperatures"):
        notes.insert(0, "measured before the temperatures below were fitted: evaluate again")
    return [*lines, "", *(f"- {sentence}" for sentence in notes), ""]


def _answer(found: EvaluationReport) -> list[str]:
    """What the numbers come to, first."""
    if found.answer is None:
        return []
    why = f", because {'; '.join(found.answer.because)}" if found.answer.because else ""
    return [
        f"Ready to use as a reward: **{found.answer.ready}**{why}.",
        "",
        *(f"- {sentence}" for sentence in found.answer.findings),
        "",
        f"Next: `{found.answer.next}`",
        "",
    ]


def _calibration(part: Mapping[str, Any] | None) -> list[str]:
    lines = ["## Calibration", ""]
    if part is None:
        return [*lines, "No temperatures fitted yet: `reward-model calibrate` does.", ""]
    found = CalibrationReport.model_validate(part)
    where = {"fitted": f"{found.fitted_on.part} (fitted)"}
    if found.test.texts:
        where["test"] = "test"
    head = " | ".join(f"ECE before, {words} | after" for words in where.values())
    lines += [f"| dimension | temperature | {head} |", "|" + "---|" * (2 + 2 * len(where))]
    for name, one in found.dimensions.items():
        numbers = [one.fitted, *([one.test] if one.test and found.test.texts else [])]
        cells = [figure(error) for n in numbers for error in (n.ece.before, n.ece.after)]
        lines.append(f"| {name} | {one.temperature:.3f} | {' | '.join(cells)} |")
    return [*lines, "", *(f"- {sentence}" for sentence in found.notes), ""]


def _probes(part: Mapping[str, Any] | None, calibration: Mapping[str, Any] | None) -> list[str]:
    lines = ["## Probes", ""]
    if part is None:
        return [*lines, "What a policy could gain by writing no better: `reward-model audit`.", ""]
    found = AuditReport.model_validate(part)
    names = list(next(iter(found.probes.values())).dimensions) if found.probes else []
    lines += [
        "Mean change of the expected level (of the reward: 0 to 1) when a held-out response is "
        f"edited, {found.split.texts} texts; ↓: the edit should lower it; ?: the interval leaves "
        "open whether it does what it should not. Let pass: "
        f"{found.settings.threshold:g} levels, {found.settings.reward_threshold:g} of the reward.",
        "",
        f"| probe | {' | '.join(names)} | reward |",
        "|" + "---|" * (2 + len(names)),
    ]
    for name, probe in found.probes.items():
        cells = [
            change(column.change, 3) + (" ?" if column.verdict == "unclear" else "")
            for column in probe.columns().values()
        ]
        lines.append(f"| {name}{' ↓' if probe.lowers else ''} | {' | '.join(cells)} |")
    raised = sorted({finding.probe for finding in found.findings if finding.verdict == "raised"})
    notes = list(found.notes)
    if found.not_asked:
        notes.insert(0, f"not asked: {', '.join(found.not_asked)}")
    if calibration is not None and found.settings.temperatures != calibration["temperatures"]:
        notes.insert(0, "measured before the temperatures above were fitted: audit again")
    which = "none of these probes" if found.not_asked else "no probe"
    passed = say_passed(found, f"{which} raises a score beyond what was let pass")
    lines += [
        "",
        f"Probes that raise a score: {', '.join(raised)}."
        if raised
        else f"{passed[0].upper()}{passed[1:]}.",
        "",
        *(f"- {finding.words}" for finding in found.findings),
        *(f"- {sentence}" for sentence in notes),
    ]
    return [*lines, ""]


def _training(part: Mapping[str, Any]) -> list[str]:
    settings, texts = part["settings"], part["texts"]
    lines = [
        "## Training",
        "",
        f"- base model: {code(settings['base_model'])}, at most {settings['max_length']} tokens, "
        f"evidence: {settings['evidence']}, seed {settings['seed']}, {part['steps']} steps",
        f"- texts: {texts['train']} to learn from, {texts['validation']} to "
        f"pick the checkpoint, {texts['test']} set aside, in groups: what shares "
        "a prompt or a company stays together",
        f"- data digest: `{part['data']}`, rubric: `{part['rubric']}`",
        *(f"- {words}" for words in _labels(part.get("labels_from"))),
        "",
        "Validation, on the texts that picked the checkpoint, so slightly optimistic:",
        "",
    ]
    best = part["validation"]
    if best:
        lines += ["| measure | value |", "|---|---|"]
        lines += [f"| {name} | {value:.4f} |" for name, value in sorted(best.items())]
    else:
        lines.append("No text was held out for it.")
    return [*lines, ""]


def _labels(found: Mapping[str, Any] | None) -> list[str]:
    """Who gave the labels, and to whose texts."""
    if found is None:
        return ["labels: where they come from is not known"]

    def listed(counts: Mapping[str, int]) -> str:
        return ", ".join(f"{code(name)} ({n})" for name, n in counts.items() if name != "not named")

    judges, writers = listed(found["judges"]), listed(found["writers"])
    draws = ", ".join(name for name in found["samples"] if name != "not named") or "not named"
    read = f"first {found['records_read']} records"
    words = [
        f"labels by {judges} ({read}), draws a label: {draws}"
        if judges
        else f"labels: no judge is named in the {read}; people, or a model nobody wrote down",
        f"texts by {writers}" if writers else f"texts: no writer is named in the {read}",
    ]
    if found["related"]:
        words.append(
            f"judge and writer are of one family ({', '.join(map(code, found['related']))}): "
            "a judge favours its relatives' text, so levels may be too high"
        )
    elif judges and writers:
        words.append("judge and writer are not of one family")
    return words


def _limits(parts: Parts) -> list[str]:
    training = parts.get("training", {})
    settings = training.get("settings", {})
    lines = ["## Limits", ""]
    lines += [f"- {words}" for words in training.get("remarks", [])]
    if settings:
        lines.append(
            f"- a response of more than {settings['max_length']} tokens loses its middle; the "
            "prompt gives way first"
        )
        if settings["evidence"] == "none":
            lines.append("- figures are not recomputed: a wrong number in good prose passes")
    return [
        *lines,
        "- a level means what the rubric and the judge of the training labels mean by it",
        "- a policy that is optimised against a reward finds what the reward gets wrong: look at "
        "samples, keep a limit on the distance from the starting policy, audit again",
        "",
    ]


def say_passed(report: AuditReport, words: str) -> str:
    """`words`, for an audit that found nothing; but what was not measured did not pass."""
    if report.nothing_decided:
        return "not known: no probe reached a verdict"
    for verdict, how in (("unclear", "not clear"), ("unknown", "not known")):
        if names := report.having(verdict):
            words += f"; {how} for {', '.join(names)}"
    return words


_TEXT = """## Use

```python
from reward_model import RewardScorer

scorer = RewardScorer.from_pretrained("path/to/this/folder")
score = scorer.score(prompt, response)
score.reward  # 0 to 1, None where there is no opinion
score.levels, score.probabilities, score.uncertainty
```

As a reward function of TRL's GRPO or RLOO, for plain text and chat messages alike:

```python
def reward(prompts, completions, **kwargs):
    return [score.reward for score in scorer.score_batch(prompts, completions)]


# GRPOTrainer(model="your/policy", reward_funcs=reward, train_dataset=dataset)
```

On the command line:

```
reward-model score path/to/this/folder responses.jsonl --out scored.jsonl
```
"""


def use() -> list[str]:
    """Lines of the section."""
    return [*_TEXT.splitlines(), ""]
