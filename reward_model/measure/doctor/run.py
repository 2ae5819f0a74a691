"""What usually goes wrong, looked for and said with its mend.

A folder is looked at as a model, trained or to be trained, a file as scored records. Each finding
says why it matters and what to do; the command exits 1 when one of them is a problem.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from reward_model.measure.doctor.findings import Finding
from reward_model.records import UserError, is_folder, is_there


def look_at(
    target: Path,
    *,
    rubric: str | None = None,
    model: Path | None = None,
    columns: str | None = None,
) -> list[Finding]:
    """What is good, odd and wrong about a model folder or a file of records.

    Raises:
        UserError: `target` is neither a model folder nor a file of records, or a flag is wrong.
    """
    if not is_there(target):
        raise UserError("no such file or folder", expected="a model folder or a file", path=target)
    if is_folder(target):
        if any(flag is not None for flag in (rubric, model, columns)):
            raise UserError(
                "--rubric, --model or --columns with a model folder", expected="them with a file"
            )
        from reward_model.measure.doctor.model import look_at_folder

        return look_at_folder(target)
    from reward_model.data.columns import read_columns
    from reward_model.measure.doctor.file import look_at_file

    known = read_columns(columns) if columns else None
    return look_at_file(target, rubric=rubric, model=model, columns=known)


def result_of(target: Path, findings: list[Finding]) -> dict[str, Any]:
    """The findings as JSON."""
    return {
        "target": str(target),
        "problems": sum(finding.level == "problem" for finding in findings),
        "findings": [asdict(finding) for finding in findings],
    }
