"""What `reward-model evaluate` does with its flags: measure, show, write JSON, page and card."""

from __future__ import annotations

from pathlib import Path

from reward_model.data.columns import read_columns
from reward_model.data.held_out import WANTED
from reward_model.records import UserError, check_outputs, write_result, write_text
from reward_model.records.terminal import console

_NOT_KEPT = {"model", "worst_pairs"}
"""What a model card leaves out: a place on a disk, keys of single pairs."""


def run_evaluate(
    model: Path,
    scored: Path,
    *,
    part: str,
    columns: Path | None,
    train_data: Path | None,
    json_to: str | None,
    html_to: Path | None,
    to_card: bool,
    compare: bool,
    compare_out: Path | None,
    seed: int,
    resamples: int,
    device: str | None,
    batch_tokens: int | None,
) -> None:
    """Measure and tell.

    Raises:
        UserError: a flag is wrong, the model does not load, or a file is wrong.
    """
    if part not in WANTED:
        raise UserError(f"--split {part}", expected=f"one of {', '.join(WANTED)}")
    outputs = {"--json": json_to, "--html": html_to}
    check_outputs(outputs, (model, scored, columns, train_data, compare_out))
    from reward_model.measure.evaluation.mistakes import worst_pairs
    from reward_model.measure.evaluation.run import evaluate
    from reward_model.measure.evaluation.words import kinds_tables, metrics_table, scalar_table
    from reward_model.model.card import record

    found = evaluate(
        model,
        scored,
        part=part,
        columns=read_columns(columns) if columns else None,
        train_data=train_data,
        seed=seed,
        resamples=resamples,
        device=device,
        batch_tokens=batch_tokens,
        compare=compare or compare_out is not None,
        compare_out=compare_out,
    )
    screen = console()
    screen.print(metrics_table(found.result))
    for table in kinds_tables(found.result):
        screen.print(table)
    if "bradley_terry" in found.result:
        screen.print(scalar_table(found.result))
    for sentence in found.result["notes"]:
        screen.print(f"• {sentence}", markup=False)
    found.result["worst_pairs"] = [
        {"pair": mistake["pair"], "gap": mistake["gap"]} for mistake in worst_pairs(found)
    ]
    if html_to is not None:
        from reward_model.measure.evaluation.page import page

        write_text(html_to, page(found))
        screen.print(f"page: {html_to}", markup=False)
    write_result(found.result, json_to)
    if to_card:
        record(model, "evaluation", {k: v for k, v in found.result.items() if k not in _NOT_KEPT})
