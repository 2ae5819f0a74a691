"""`reward-model evaluate`: measure, show, write JSON, page and card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reward_model.cli.options import (
    BatchTokensOption,
    ColumnsOption,
    DeviceOption,
    JsonOption,
    ResamplesOption,
    Scored,
)
from reward_model.records import UserError, check_outputs, write_result, write_text
from reward_model.records.terminal import console, table

if TYPE_CHECKING:
    from rich.table import Table

_NOT_KEPT = {"model", "worst_pairs"}
"""What a model card leaves out: a place on a disk, keys of single pairs."""


def evaluate(
    model: Annotated[Path, typer.Argument(help="Folder of a trained model.")],
    scored: Scored,
    split: Annotated[
        str,
        typer.Option(
            help="Held-out groups to measure on: auto (test, else validation), test, validation, "
            "or all of the file."
        ),
    ] = "auto",
    train_data: Annotated[
        Path | None,
        typer.Option(help="File the baselines learn from, where SCORED has no training texts."),
    ] = None,
    columns: ColumnsOption = None,
    json: JsonOption = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots.")] = None,
    card: Annotated[bool, typer.Option(help="Keep the result in MODEL's card.")] = True,
    compare: Annotated[
        bool,
        typer.Option(help="Train TRL's Bradley-Terry scalar on the same base, data and steps too."),
    ] = False,
    compare_out: Annotated[
        Path | None, typer.Option(help="Folder to keep that scalar model in; implies --compare.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the intervals.")] = 0,
    resamples: ResamplesOption = 1000,
    device: DeviceOption = None,
    batch_tokens: BatchTokensOption = None,
) -> None:
    """Measure MODEL on the held-out groups of SCORED, beside simple baselines."""
    from reward_model.data.columns import read_columns
    from reward_model.data.held_out import WANTED

    if split not in WANTED:
        raise UserError(f"--split {split}", expected=f"one of {', '.join(WANTED)}")
    check_outputs(
        {"--json": json, "--html": html}, (model, scored, columns, train_data, compare_out)
    )
    from reward_model.measure.evaluation.mistakes import worst_pairs
    from reward_model.measure.evaluation.run import evaluate as measure
    from reward_model.model.card import record

    found = measure(
        model,
        scored,
        part=split,
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
    for told in tables(found.result):
        screen.print(told)
    for sentence in found.result["notes"]:
        screen.print(f"• {sentence}", markup=False)
    found.result["worst_pairs"] = [
        {"pair": mistake["pair"], "gap": mistake["gap"]} for mistake in worst_pairs(found)
    ]
    if html is not None:
        from reward_model.measure.evaluation.page import page

        write_text(html, page(found))
        screen.print(f"page: {html}", markup=False)
    write_result(found.result, json)
    if card:
        record(model, "evaluation", {k: v for k, v in found.result.items() if k not in _NOT_KEPT})


def tables(result: Mapping[str, Any]) -> list[Table]:
    """Every metric of the model beside the baselines: on all texts, on the kinds that were trained
    on and on those that training held out, and beside a Bradley-Terry scalar.
    """
    from reward_model.measure.evaluation.words import KINDS

    split = result["split"]
    found = [_metrics(split, result["metrics"], split["part"], result["calibration"])]
    for kinds, part in result.get(KINDS, {}).items():
        found.append(_metrics(part, part["metrics"], kinds, {}))
    return [*found, _scalar(result)] if "bradley_terry" in result else found


def _metrics(
    counts: Mapping[str, Any],
    all_metrics: Mapping[str, Any],
    of: str,
    calibration: Mapping[str, Any],
) -> Table:
    from reward_model.measure.evaluation.baselines import TITLES
    from reward_model.stats.words import LABELS, SHORT, figure

    others = [name for name in all_metrics if name in TITLES]  # a scalar has its own table
    title = f"{counts['texts']} texts, {counts['pairs']} pairs, {counts['groups']} groups ({of})"
    told = table(title, "", "model [95%]", *(SHORT[name] for name in others))

    def row(label: str, *path: str) -> None:
        cells = []
        for name in ("model", *others):
            value: Any = all_metrics[name]
            for key in path:
                value = value[key]
            cells.append(figure(value, interval=name == "model"))
        told.add_row(f"  {label}", *cells)

    for dimension in all_metrics["model"]["dimensions"]:
        told.add_row(f"[bold]{dimension}")
        for metric, label in LABELS.items():
            row(label, "dimensions", dimension, metric)
        if dimension in calibration:
            found = calibration[dimension]
            label = f"ECE before T={found['temperature']:.2f}"
            told.add_row(f"  {label}", figure(found["ece_before"]), *["–"] * len(others))
    told.add_row("[bold]all dimensions together")
    row("pair accuracy", "pair_accuracy")
    row("pair ties", "pair_ties")
    row("levels right", "element_accuracy")
    row("all of a text right", "all_dimensions_accuracy")
    return told


def _scalar(result: Mapping[str, Any]) -> Table:
    from reward_model.measure.comparison.numbers import METRICS
    from reward_model.stats.words import figure

    told = table("beside a Bradley-Terry scalar (B-T)", "", "model", "B-T", "difference [95%]")
    for entry in result["bradley_terry"]["comparisons"]:
        label = f"{entry['dimension'] or 'reward'}: {METRICS[entry['metric']]}"
        cells = [figure(entry[name], interval=False) for name in ("model", "scalar")]
        told.add_row(label, *cells, figure(entry["difference"]))
    return told
