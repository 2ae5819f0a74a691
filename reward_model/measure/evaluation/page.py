"""The page of an evaluation: one HTML file, nothing loaded from anywhere, every text escaped.

`page(evaluate(model, scored))` is the whole file.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from reward_model.measure.comparison.numbers import METRICS
from reward_model.measure.evaluation.figures import (
    confusion,
    coverage,
    level_gaps,
    reliability,
    reward_gaps,
)
from reward_model.measure.evaluation.mistakes import worst_pairs, worst_texts
from reward_model.measure.evaluation.run import Evaluation
from reward_model.records import IGNORE
from reward_model.records.page import PageLanguage, Phrases, phrases, render
from reward_model.rubrics import Rubric
from reward_model.score.sentences import Explanation
from reward_model.stats.bootstrap import Estimate
from reward_model.stats.evaluated import EvaluationReport, PreferenceReport
from reward_model.stats.words import LABELS

ROOM = "reward_model.measure.evaluation"


def page(evaluation: Evaluation, language: PageLanguage = "en") -> str:
    """The evaluation as a self-contained page."""
    say = phrases(ROOM, "evaluate", language, evaluation.rubric.titles(language))
    return render(
        ROOM,
        "evaluate",
        say=say,
        parts=("passages",),
        data={
            "explanations": {i: _said(one, say) for i, one in evaluation.explained.items()},
            "titles": say.names | {"reward": say("reward")},
        },
        explained=bool(evaluation.explained),
        result=evaluation.report,
        rubric=evaluation.rubric,
        metrics=LABELS,
        compared=LABELS | {"reward_correlation": "correlation with the reward of the labels"},
        kinds=evaluation.report.by_training,
        scalar_metrics=METRICS,
        tiles=_tiles(evaluation),
        verdicts=_verdicts(evaluation.report),
        notes=_notes(evaluation.report),
        reliability=reliability(evaluation, say),
        reward_gaps=reward_gaps(evaluation, say),
        level_gaps=level_gaps(evaluation, say),
        coverage=coverage(evaluation, say),
        matrices=_matrices(evaluation),
        worst_pairs=worst_pairs(evaluation),
        worst_texts=worst_texts(evaluation),
    )


def preferences_page(
    report: PreferenceReport, rubric: Rubric | None = None, language: PageLanguage = "en"
) -> str:
    """What pairs without levels say, as a self-contained page; `rubric` names the dimensions."""
    names = None if rubric is None else rubric.titles(language)
    told = report.answer.findings + report.answer.because if report.answer else []
    return render(
        ROOM,
        "preferences",
        say=phrases(ROOM, "preferences", language, names),
        result=report,
        notes=[note for note in report.notes if note not in told],
    )


def _said(explained: Explanation, say: Phrases) -> dict[str, Any]:
    found = explained.to_json()
    return found | {"notes": [say(note) for note in found["notes"]]}


def _tiles(evaluation: Evaluation) -> list[tuple[str, str]]:
    """(number, what it is) for the head of the page."""
    own = evaluation.report.metrics["model"]
    kappas = [numbers["kappa"].value for numbers in own.dimensions.values()]
    known = [kappa for kappa in kappas if kappa is not None]
    split = evaluation.report.split
    mean = f"{np.mean(known):.3f}" if known else "–"
    short = "" if len(known) == len(kappas) else f" ({len(known)} of {len(kappas)} dimensions)"
    return [
        (_value(own.pair_accuracy), "pair accuracy by reward"),
        (mean, f"mean quadratic weighted kappa{short}"),
        (_value(own.element_accuracy), "levels right"),
        (_value(own.all_dimensions_accuracy), "texts with every level right"),
        (f"{split.texts:,}", "held-out texts"),
        (f"{split.pairs:,}", "preference pairs"),
        (f"{split.groups:,}", "prompts or companies"),
    ]


def _value(estimate: Estimate) -> str:
    return "–" if estimate.value is None else f"{estimate.value:.3f}"


def _verdicts(report: EvaluationReport) -> list[dict[str, Any]]:
    """The comparisons with a badge each."""
    badges = {
        "better": ("good", "better"),
        "worse": ("bad", "worse"),
        "unclear": ("fair", "not beyond doubt"),
        "unknown": ("", "cannot be told"),
    }
    out = []
    for entry in report.comparisons:
        tone, words = badges[entry.verdict]
        own, best = entry.model, entry.baseline_value
        if entry.verdict == "unclear" and own is not None and best is not None and own <= best:
            tone, words = ("fair", "level") if own == best else ("bad", "does not beat it")
        out.append({**entry.to_json(), "tone": tone, "words": words})
    return out


def _notes(report: EvaluationReport) -> list[tuple[str, str, list[str]]]:
    """(tone, title, sentences) beyond the findings: what fails, what limits a claim, what else."""
    groups: dict[str, list[str]] = {"bad": [], "fair": [], "": []}
    for sentence in report.notes:
        if report.answer is not None and sentence in report.answer.findings:
            continue
        failed = "ahead" in sentence or sentence.startswith("the reward follows length")
        limits = "held-out labels" in sentence or "not beyond doubt" in sentence
        groups["bad" if failed else "fair" if limits else ""].append(sentence)
    titles = {"bad": "Not shown to work", "fair": "Limits of these numbers", "": "Also"}
    return [(tone, titles[tone], found) for tone, found in groups.items() if found]


def _matrices(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Confusion matrices as rows of cells, shaded by their share of the true level."""
    out = []
    for j, name in enumerate(evaluation.rubric.names):
        counts = confusion(evaluation, j)
        totals = counts.sum(axis=1)
        rows = [
            {
                "level": level,
                "total": int(totals[level]),
                "cells": [
                    {
                        "count": int(count),
                        "shade": 0 if not count else 1 + round(7 * int(count) / int(totals[level])),
                        "hit": level == guess,
                    }
                    for guess, count in enumerate(counts[level])
                ],
            }
            for level in range(evaluation.rubric.classes)
        ]
        labels = evaluation.truth.labels[:, j]
        out.append({"name": name, "rows": rows, "labelled": int((labels != IGNORE).sum())})
    return out
