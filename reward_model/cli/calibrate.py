"""What `reward-model calibrate` does with its flags: fit, store, show, write JSON and card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from reward_model.data.columns import read_columns
from reward_model.records import UserError, check_outputs, write_result
from reward_model.records.terminal import console, table

if TYPE_CHECKING:
    from rich.table import Table


def run_calibrate(
    model: Path,
    scored: Path,
    *,
    part: str,
    columns: Path | None,
    json_to: str | None,
    seed: int,
    resamples: int,
    device: str | None,
    batch_tokens: int | None,
) -> None:
    """Fit and tell.

    Raises:
        UserError: a flag is wrong, the model does not load, or a file is wrong.
    """
    wanted = ("auto", "validation", "test")
    if part not in wanted:
        raise UserError(f"--split {part}", expected=f"one of {', '.join(wanted)}")
    check_outputs({"--json": json_to}, (model, scored, columns))
    from reward_model.measure.calibration import calibrate
    from reward_model.model.card import record

    result = calibrate(
        model,
        scored,
        part=part,
        columns=read_columns(columns) if columns else None,
        seed=seed,
        resamples=resamples,
        device=device,
        batch_tokens=batch_tokens,
    )
    screen = console()
    screen.print(_table(result))
    for sentence in result["notes"]:
        screen.print(f"• {sentence}", markup=False)
    record(model, "calibration", {k: v for k, v in result.items() if k != "model"})
    screen.print(f"stored in {model / 'config.json'}", markup=False)
    write_result(result, json_to)


def _table(result: dict[str, Any]) -> Table:
    from rich.table import Column

    from reward_model.stats.words import figure

    parts = {"fitted": result["fitted_on"]["part"]} | (
        {"test": "test"} if result["test"]["texts"] else {}
    )
    told = table(
        "expected calibration error",
        *("", Column("texts", no_wrap=True), "before [95%]", "after [95%]"),
    )
    for name, found in result["dimensions"].items():
        rows = [
            (part, *(figure(found[key]["ece"][when]) for when in ("before", "after")))
            for key, part in parts.items()
        ]
        told.add_row(name, *rows[0])
        told.add_row(f"  T = {found['temperature']:.3f}", *(rows[1:] or [()])[0])
    return told
