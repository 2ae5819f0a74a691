"""`reward-model doctor MODEL|FILE`: what usually goes wrong, looked for and said with its mend.

A folder is looked at as a model, a file as scored records. Each finding says what to do; the
command exits 1 when one of them is a problem.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from reward_model.records import UserError
from reward_model.records.terminal import console
from reward_model.score_command import write_result


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    level: Literal["problem", "note", "ok"]
    check: str
    found: str
    mend: str = ""


def run_doctor(target: Path, *, rubric: str | None, model: Path | None, json_to: str | None) -> int:
    """Look, tell, and return the exit code: 1 when there are problems.

    Raises:
        UserError: `target` is neither a model folder nor a file of records.
    """
    if not target.exists():
        raise UserError("no such file or folder", expected="a model folder or a file", path=target)
    if target.is_dir():
        if rubric is not None or model is not None:
            raise UserError("--rubric or --model with a model folder", expected="them with a file")
        from reward_model.doctor_model import look_at_model

        findings = look_at_model(target)
    else:
        from reward_model.doctor_file import look_at_file

        findings = look_at_file(target, rubric=rubric, model=model)
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
    """Every finding on a line, with its mend below."""
    from rich.markup import escape

    screen = console()
    marks = {
        "problem": "[bold red]problem[/]",
        "note": "[yellow]note[/]   ",
        "ok": "[green]ok[/]     ",
    }
    for finding in findings:
        screen.print(f"{marks[finding.level]} {finding.check}: {escape(finding.found)}")
        if finding.mend and finding.level != "ok":
            screen.print(f"        → {escape(finding.mend)}")
    words = {0: "no problems", 1: "1 problem"}.get(problems, f"{problems} problems")
    screen.print(f"[bold]{words}[/]")
