"""`reward-model doctor`: what usually goes wrong with a model folder or a file, and its mend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reward_model.cli.options import (
    ColumnsOption,
    JsonOption,
    RubricOption,
    find_model,
)
from reward_model.records import check_outputs, write_result
from reward_model.records.terminal import console

if TYPE_CHECKING:
    from reward_model.measure.doctor.findings import Finding

_ROWS = {".json", ".jsonl", ".gz", ".csv", ".tsv", ".parquet"}
"""How the names of files of records end."""


def _find(named: Path) -> Path | None:
    """A file that is misspelt is no model of a hub."""
    return named if named.suffix.lower() in _ROWS else find_model(named)


def doctor(
    target: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL|FILE",
            help="A model folder, or owner/name[@revision] on a hub; or scored records.",
            callback=_find,
        ),
    ],
    rubric: RubricOption = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="Of a file: how much of it this model would cut off.", callback=find_model
        ),
    ] = None,
    columns: ColumnsOption = None,
    json: JsonOption = None,
) -> None:
    """Look for what usually goes wrong with a model folder or a file of pairs; exits 1 if found."""
    from reward_model.measure.doctor.run import look_at, result_of

    check_outputs({"--json": json}, (target, rubric, model, columns))
    findings = look_at(target, rubric=rubric, model=model, columns=columns)
    result = result_of(target, findings)
    _tell(findings, result["problems"])
    write_result(result, json)
    raise typer.Exit(1 if result["problems"] else 0)


def _tell(findings: list[Finding], problems: int) -> None:
    """Every finding on a line, with why it matters and its mend below."""
    from rich.markup import escape

    screen = console()
    marks = {
        "problem": "[bold red]problem[/]",
        "note": "[yellow]note[/]   ",
        "ok": "[green]ok[/]     ",
    }
    for finding in findings:
        screen.print(f"{marks[finding.level]} {finding.check}: {escape(finding.found)}")
        if finding.why:
            screen.print(f"        {escape(finding.why)}")
        if finding.mend:
            screen.print(f"        → {escape(finding.mend)}")
    words = {0: "no problems", 1: "1 problem"}.get(problems, f"{problems} problems")
    screen.print(f"[bold]{words}[/]")
