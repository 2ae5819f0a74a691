"""`--html`: the whole report in one file, with plots and a viewer for sampled pairs."""

from __future__ import annotations

from typing import Any

from judge.validate.report import Report
from judge.validate.table import Table
from judge.validate.view.figures import gap_histogram, label_bars, severity_ladder, shortcut_bars
from judge.validate.view.viewer import LONGEST, MISSED, PROBLEMS, viewer_pairs
from reward_model.checks.plant import ERROR_KINDS
from reward_model.records.page import PageLanguage, Phrases, phrases, render

HEAT = 8
"""Shades of a cell of the matrix."""
KINDS = ("neutral", "no degradation named")
"""Of pairs without a degradation that has a name."""


def page(table: Table, report: Report, seed: int, language: PageLanguage = "en") -> str:
    """The page as text."""
    say = phrases("judge.validate.view", "validate", language, table.rubric.titles(language))
    pairs = viewer_pairs(table, report, seed)
    scale = report.source.scale

    def heat(mean: float | None) -> str:
        if mean is None:
            return ""
        shade = min(HEAT, round(abs(mean) / (0.75 * scale) * HEAT))
        return f"heat-{'up' if mean >= 0 else 'down'}-{shade}"

    return render(
        "judge.validate.view",
        "validate",
        say=say,
        report=report,
        histogram=gap_histogram(table, report, say),
        labels=label_bars(report, say),
        ladder=severity_ladder(report, say),
        shortcuts=shortcut_bars(report, say),
        heat=heat,
        shown=len(pairs),
        longest=LONGEST,
        problems=report.problems.listed[:PROBLEMS],
        missed=report.planted.missed[:MISSED],
        in_viewer={pair["line"] for pair in pairs},
        settings=[f"{key} {value}" for key, value in report.config.items() if value is not None],
        data={
            "pairs": [_said(pair, say) for pair in pairs],
            "names": {name: say(name) for name in (*say.names, *KINDS)}
            | {kind: say(kind.replace("_", " ")) for kind in ERROR_KINDS},
        },
    )


def _said(pair: dict[str, Any], say: Phrases) -> dict[str, Any]:
    return {**pair, "problems": [say(problem) for problem in pair["problems"]]}
