"""The report for people, in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from judge.validate.report import Answer, Cell, Gap, Report, Verdict
from reward_model.records.terminal import TONES

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_COLOURS = {"excellent": "green", "good": "green", "fair": "yellow", "poor": "red"}
_MARKS = {"error": "[bold red]error[/]", "warning": "[yellow]warning[/]", "note": "[dim]note[/]"}


def show(report: Report, console: Console) -> None:
    """Print the answer first, then the tables, then what to do."""
    from rich.markup import escape

    source = report.source
    if report.answer is not None:
        _answer(report.answer, console)
    console.print(
        f"[bold]{escape(source.path)}[/]: {source.pairs} pairs, {source.groups} prompts or "
        f"companies, {source.neutral} neutral, rubric {escape(source.rubric)}"
    )
    console.print(
        f"verdict {_grade(report.verdict)}: mean gap {_n(report.gap.mean)}, "
        f"{_p(report.gap.positive_share)} positive "
        f"({report.gap.negative} negative, {report.gap.zero} zero)"
    )
    if report.filtered.path or report.filtered.dropped:
        console.print(_kept(report))
    console.print(_gaps(report))
    if report.noise_floor.pairs:
        console.print(_noise(report))
    console.print(_labels(report))
    if report.specificity:
        console.print(_matrix(report))
    if report.shortcuts:
        console.print(_shortcuts(report))
    console.print(
        f"{report.problems.pairs} problem pairs"
        + (": " if report.problems.by_reason else "")
        + ", ".join(f"{k} {v}" for k, v in report.problems.by_reason.items())
    )
    for finding in report.findings:
        console.print(f"{_MARKS[finding.level]} {escape(finding.message)}")
        console.print(f"    [dim]→ {escape(finding.advice)}[/]")


def _answer(answer: Answer, console: Console) -> None:
    why = f", because {'; '.join(answer.because)}" if answer.because else ""
    words = f"ready to train on: {answer.ready}{why}"
    console.print(words, style=f"bold {TONES[answer.ready]}", markup=False)
    for sentence in answer.findings:
        console.print(f"• {sentence}", markup=False)
    console.print(f"next: {answer.next}", style="cyan", markup=False, soft_wrap=True)


def _grade(verdict: Verdict) -> str:
    colour = _COLOURS.get(verdict.grade or "", "red")
    return f"[bold {colour}]{verdict.grade or 'none'}[/]"


def _kept(report: Report) -> str:
    from rich.markup import escape

    filtered = report.filtered
    gone = ", ".join(f"{k} {v}" for k, v in filtered.dropped.items()) or "none"
    to = f" to {escape(filtered.path)}" if filtered.path else ""
    words = f"kept {filtered.kept} of {report.source.pairs} pairs{to}; dropped: {gone}"
    if (stays := filtered.verdict) is None:
        return words
    return words + (
        f"\nof these: {_grade(stays)}, mean gap {_n(stays.mean_gap)}, "
        f"{_p(stays.positive_share)} positive; all below is about the whole file"
    )


def _table(title: str, *columns: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for i, column in enumerate(columns):
        # On a narrow terminal names are folded; a number is never cut.
        justify: Literal["left", "right"] = "left" if i == 0 or column == "what" else "right"
        table.add_column(
            column, justify=justify, no_wrap=i > 0 and column != "what", overflow="fold"
        )
    return table


def _gaps(report: Report) -> Table:
    table = _table(
        "Gap, chosen minus rejected", "", "pairs", "mean", "median", "min", "max", "sd", "+", "0",
        "-", "+ %",
    )  # fmt: skip
    rows: list[tuple[str, Gap]] = [("all", report.gap), *report.dimensions.items()]
    for name, g in rows:
        table.add_row(
            name, str(g.pairs), _n(g.mean), _n(g.median), _n(g.min), _n(g.max), _n(g.sd),
            str(g.positive), str(g.zero), str(g.negative), _p(g.positive_share),
        )  # fmt: skip
    return table


def _noise(report: Report) -> Table:
    table = _table(
        "Noise floor: gaps of neutral rewrites", "", "pairs", "mean", "sd", "+", "0", "-"
    )
    for name, g in report.noise_floor.dimensions.items():
        table.add_row(
            name, str(g.pairs), _n(g.mean), _n(g.sd), str(g.positive), str(g.zero), str(g.negative)
        )
    return table


def _labels(report: Report) -> Table:
    levels = range(report.source.scale + 1)
    table = _table("Levels given", "", "side", *map(str, levels), "missing")
    for name, part in report.labels.items():
        for side, counts, gone in (
            ("chosen", part.chosen, part.chosen_missing),
            ("rejected", part.rejected, part.rejected_missing),
        ):
            table.add_row(name, side, *map(str, counts), str(gone))
    return table


def _matrix(report: Report) -> Table:
    table = _table(
        "Mean gap by degradation (targets in brackets; 95% interval)",
        "degradation",
        "pairs",
        *report.source.dimensions,
    )
    for row in report.specificity:
        table.add_row(
            row.name, str(row.pairs), *(_cell(row.cells[d]) for d in report.source.dimensions)
        )
        for severity, cells in row.severities.items():
            table.add_row(
                f"  severity {severity}",
                str(max(c.pairs for c in cells.values())),
                *(_mean(cells[d]) for d in report.source.dimensions),
                style="dim",
            )
    return table


def _cell(cell: Cell) -> str:
    span = "" if cell.low is None else f"\n[dim]{cell.low:.2f}..{cell.high:.2f}[/]"
    return _mean(cell) + span


def _mean(cell: Cell) -> str:
    from rich.markup import escape

    known = cell.mean is not None and cell.targeted
    return escape(f"[{cell.mean:.2f}]") if known else f"{_n(cell.mean)} "


def _shortcuts(report: Report) -> Table:
    from rich.markup import escape

    table = _table("Shortcuts: sides told apart without reading", "by", "AUC", "result", "what")
    colours = {"clean": "green", "leak": "yellow", "cannot tell": "dim"}
    for part in report.shortcuts:
        names = ", ".join(f.name for f in part.features[:4])
        table.add_row(
            part.name,
            _n(part.auc),
            f"[{colours[part.result]}]{part.result}[/]",
            escape(names if part.result == "leak" else part.reason),
        )
    return table


def _n(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _p(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"
