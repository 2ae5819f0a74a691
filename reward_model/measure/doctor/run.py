"""`reward-model doctor MODEL|FILE`: what usually goes wrong, looked for and said with its mend.

A folder is looked at as a model, trained or to be trained, a file as scored records. Each finding
says why it matters and what to do; the command exits 1 when one of them is a problem.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from reward_model.measure.doctor.findings import Finding
from reward_model.records import UserError, check_outputs, write_result
from reward_model.records.terminal import console


def run_doctor(
    target: Path,
    *,
    rubric: str | None,
    model: Path | None,
    columns: Path | None = None,
    json_to: str | None,
) -> int:
    """Look, tell, and return the exit code: 1 when there are problems.

    Raises:
        UserError: `target` is neither a model folder nor a file of records, or a flag is wrong.
    """
    check_outputs({"--json": json_to}, (target, rubric, model, columns))
    if not target.exists():
        raise UserError("no such file or folder", expected="a model folder or a file", path=target)
    if target.is_dir():
        if any(flag is not None for flag in (rubric, model, columns)):
            raise UserError(
                "--rubric, --model or --columns with a model folder", expected="them with a file"
            )
        from reward_model.measure.doctor.model import look_at_folder

        findings = look_at_folder(target)
    else:
        from reward_model.data.columns import read_columns
        from reward_model.measure.doctor.file import look_at_file

        known = read_columns(columns) if columns else None
        findings = look_at_file(target, rubric=rubric, model=model, columns=known)
    problems = sum(finding.level == "problem" for finding in findings)
    tell(findings, problems)
    write_result(result_of(target, findings), json_to)
    return 1 if problems else 0


def result_of(target: Path, findings: list[Finding]) -> dict[str, Any]:
    """The findings as JSON."""
    return {
        "target": str(target),
        "problems": sum(finding.level == "problem" for finding in findings),
        "findings": [asdict(finding) for finding in findings],
    }


def tell(findings: list[Finding], problems: int) -> None:
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
