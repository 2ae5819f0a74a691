"""`--html`: the whole report in one file, with plots and a viewer for sampled pairs."""

from __future__ import annotations

from judge.validate.report import Report
from judge.validate.table import Table
from judge.validate.view.figures import gap_histogram, label_bars, severity_ladder, shortcut_bars
from judge.validate.view.viewer import LONGEST, viewer_pairs
from reward_model.records.page import render

HEAT = 8
"""Shades of a cell of the matrix."""
PROBLEMS = 25
MISSED = 25


def page(table: Table, report: Report, seed: int) -> str:
    """The page as text."""
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
        report=report,
        histogram=gap_histogram(table, report),
        labels=label_bars(report),
        ladder=severity_ladder(report),
        shortcuts=shortcut_bars(report),
        heat=heat,
        shown=len(pairs),
        longest=LONGEST,
        problems=report.problems.listed[:PROBLEMS],
        missed=report.planted.missed[:MISSED],
        in_viewer={pair["line"] for pair in pairs},
        settings=[f"{key} {value}" for key, value in report.config.items() if value is not None],
        data={"pairs": pairs},
    )
