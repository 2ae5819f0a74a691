"""The plots of the evaluation page: reliability of each head, gaps between the sides of pairs."""

from __future__ import annotations

import numpy as np

from reward_model.measure.evaluation.run import Evaluation
from reward_model.records import IGNORE
from reward_model.records.page import Phrases, Plot, plot
from reward_model.records.page.plots import INK, SERIES
from reward_model.stats.bootstrap import Floats, Ints
from reward_model.stats.levels import expected_levels
from reward_model.stats.metrics import BINS, confidence_bin


def reliability(evaluation: Evaluation, say: Phrases) -> list[Plot]:
    """One diagram a head: how often a level said with some confidence is right."""
    plots = []
    for j, name in enumerate(evaluation.rubric.names):
        confidence, right = _known(evaluation, evaluation.probabilities, j)
        if not len(confidence):
            continue
        count = np.bincount(confidence_bin(confidence), minlength=BINS)
        title = say(
            "{dimension}: share right against confidence, {n} labels",
            dimension=name,
            n=len(confidence),
        )
        with plot(f"reliability-{j}", title, width=3.6, height=3.1) as drawing:
            axes = drawing.axes
            axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (3, 3)))
            middle = (np.arange(BINS) + 0.5) / BINS
            axes.bar(middle, count / count.sum(), 0.9 / BINS, color=SERIES[0], alpha=0.25)
            if evaluation.raw is not None:
                before = _curve(*_known(evaluation, evaluation.raw, j))
                axes.plot(
                    *before, "o--", color=INK, ms=3, linewidth=0.8, label=say("before scaling")
                )
            label = None if evaluation.raw is None else say("after")
            axes.plot(*_curve(confidence, right), "o-", color=SERIES[1], ms=4, label=label)
            if evaluation.raw is not None:
                axes.legend(loc="upper left")
            axes.set_title(say.name(name))
            axes.set_xlabel(say("confidence in the most likely level"))
            axes.set_ylabel(say("share right"))
            axes.set_xlim(0, 1)
            axes.set_ylim(0, 1.02)
            axes.set_xticks([0, 0.5, 1], ["0", "50%", "100%"])
            axes.set_yticks([0, 0.5, 1], ["0", "50%", "100%"])
        plots.append(drawing)
    return plots


def reward_gaps(evaluation: Evaluation, say: Phrases) -> Plot | None:
    """Reward of the chosen minus the rejected side; neutral controls should stand at zero."""
    rewards = np.array([np.nan if s.reward is None else s.reward for s in evaluation.scores])
    shown, names = [], []
    for pairs, name in (
        (evaluation.truth.pairs, say("preferences")),
        (evaluation.truth.neutral, say("neutral rewrites")),
    ):
        gaps = _gaps(rewards, pairs)
        if len(gaps):
            shown.append(gaps)
            names.append(name)
    if not shown:
        return None
    widest = max(0.05, max(float(np.abs(gaps).max()) for gaps in shown))
    title = say("Histogram of the reward of the chosen minus that of the rejected side")
    with plot("gaps", title, width=6, height=2.9) as drawing:
        axes = drawing.axes
        axes.hist(shown, bins=np.linspace(-widest, widest, 42), stacked=True, label=names)
        axes.axvline(0, color=INK, linewidth=0.8, linestyle=(0, (3, 3)))
        axes.set_xlabel(say("reward of chosen minus reward of rejected"))
        axes.set_ylabel(say("pairs"))
        if len(names) > 1:
            axes.legend(loc="upper left")
    return drawing


def level_gaps(evaluation: Evaluation, say: Phrases) -> Plot | None:
    """Predicted gap of a pair against the judged one, a dimension a panel."""
    pairs, labels = evaluation.truth.pairs, evaluation.truth.labels
    if not len(pairs):
        return None
    levels = expected_levels(evaluation.probabilities)
    names = evaluation.rubric.names
    title = say("Mean predicted gap of a pair against its judged gap, in levels, by dimension")
    with plot(
        "levels", title, width=max(3.2, 2.2 * len(names)), height=2.7, columns=len(names)
    ) as drawing:
        panels = drawing.axes if len(names) > 1 else [drawing.axes]
        for j, (axes, name) in enumerate(zip(panels, names, strict=True)):
            a, b = labels[pairs[:, 0], j], labels[pairs[:, 1], j]
            said = levels[pairs[:, 0], j] - levels[pairs[:, 1], j]
            keep = (a != IGNORE) & (b != IGNORE) & np.isfinite(said)
            judged = (a - b)[keep]
            steps = np.unique(judged)
            groups = [said[keep][judged == step] for step in steps]
            axes.axhline(0, color=INK, linewidth=0.6)
            axes.plot(steps, steps, color=INK, linewidth=0.8, linestyle=(0, (3, 3)))
            axes.errorbar(
                steps,
                [group.mean() for group in groups],
                yerr=[group.std() for group in groups],
                fmt="o-",
                ms=4,
                color=SERIES[0],
                capsize=2,
            )
            axes.set_title(say.name(name))
            axes.set_xticks(steps)
            axes.set_xlabel(say("judged gap"))
        panels[0].set_ylabel(say("predicted gap (± sd)"))
    return drawing


def coverage(evaluation: Evaluation, say: Phrases) -> Plot | None:
    """What is left of the error where only the most familiar texts are answered."""
    found = evaluation.report.familiarity
    if found is None:
        return None
    title = say("Mean absolute error of the expected level against the share of the texts answered")
    with plot("coverage", title, width=6, height=2.9) as drawing:
        axes = drawing.axes
        shares = [point.share for point in found.coverage]
        for name, values, style in (
            (say("most familiar first"), [point.error for point in found.coverage], "o-"),
            (say("surest first"), [point.error_by_spread for point in found.coverage], "s--"),
            (say("least error first"), [point.error_at_best for point in found.coverage], ":"),
        ):
            axes.plot(shares, values, style, ms=4, label=name)
        axes.set_xlabel(say("share of the texts answered"))
        axes.set_ylabel(say("error in levels"))
        axes.set_ylim(bottom=0)
        axes.legend(loc="lower right")
    return drawing


def confusion(evaluation: Evaluation, j: int) -> Ints:
    """Counts [K, K] of one dimension: true level by most likely level."""
    k = evaluation.rubric.classes
    labels = evaluation.truth.labels[:, j]
    keep = (labels != IGNORE) & np.isfinite(evaluation.probabilities[:, j]).all(axis=1)
    guess = evaluation.probabilities[keep, j].argmax(axis=1)
    counts = np.bincount(labels[keep] * k + guess, minlength=k * k)
    return np.asarray(counts.reshape(k, k), dtype=np.int64)


def _curve(confidence: Floats, right: Floats) -> tuple[Floats, Floats]:
    """Mean confidence and share right of every bin that holds a text."""
    place = confidence_bin(confidence)
    count = np.bincount(place, minlength=BINS)
    used = count > 0
    sure = np.bincount(place, weights=confidence, minlength=BINS)[used] / count[used]
    return sure, np.bincount(place, weights=right, minlength=BINS)[used] / count[used]


def _known(evaluation: Evaluation, probabilities: Floats, j: int) -> tuple[Floats, Floats]:
    """Confidence and correctness of the labelled texts of one dimension."""
    labels = evaluation.truth.labels[:, j]
    keep = (labels != IGNORE) & np.isfinite(probabilities[:, j]).all(axis=1)
    chances = probabilities[keep, j]
    if not len(chances):
        return np.zeros(0), np.zeros(0)
    return chances.max(axis=1), (chances.argmax(axis=1) == labels[keep]).astype(np.float64)


def _gaps(rewards: Floats, pairs: Ints) -> Floats:
    gaps = rewards[pairs[:, 0]] - rewards[pairs[:, 1]]
    return np.asarray(gaps[np.isfinite(gaps)])
