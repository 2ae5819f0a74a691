"""`reward-model calibrate`: fit, store, show, write JSON and card."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reward_model.cli.options import (
    BatchTokensOption,
    ColumnsOption,
    DeviceOption,
    HowOption,
    JsonOption,
    ModelArgument,
    OthersOption,
    ResamplesOption,
    RiskOption,
    Scored,
    WeightOption,
)
from reward_model.records import UserError, check_outputs, write_result
from reward_model.records.terminal import console, table

if TYPE_CHECKING:
    from rich.table import Table

    from reward_model.data.columns import ColumnMap
    from reward_model.stats.evaluated import CalibrationReport

_SPLITS = ("auto", "validation", "test")


def calibrate(
    model: ModelArgument,
    scored: Scored,
    split: Annotated[
        str,
        typer.Option(
            help="Held-out groups to fit on: auto (validation, or the whole of a file unknown to "
            "training), validation or test."
        ),
    ] = "auto",
    rewards: Annotated[
        bool,
        typer.Option(
            "--rewards",
            help="Store mean and standard deviation of the reward on these texts, which need no "
            "levels, instead of temperatures: for score, serve and rewards that are centred.",
        ),
    ] = False,
    others: OthersOption = None,
    how: HowOption = "mean",
    weight: WeightOption = None,
    risk: RiskOption = 0.0,
    columns: ColumnsOption = None,
    json: JsonOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the intervals.")] = 0,
    resamples: ResamplesOption = 1000,
    device: DeviceOption = None,
    batch_tokens: BatchTokensOption = None,
) -> None:
    """Fit one temperature a head on held-out groups of SCORED and store it in MODEL."""
    from reward_model.data.columns import read_columns

    if split not in _SPLITS:
        raise UserError(f"--split {split}", expected=f"one of {', '.join(_SPLITS)}")
    models = (model, *(others or []))
    check_outputs({"--json": json}, (*models, scored, columns))
    layout = read_columns(columns) if columns else None
    if rewards:
        if split != "auto":
            raise UserError("--split with --rewards", expected="all texts of the file")
        if seed or resamples != 1000:
            raise UserError("--seed or --resamples with --rewards", expected="no intervals there")
        _rewards(models, scored, how, weight, risk, layout, json, device, batch_tokens)
        return
    if weight or risk:
        raise UserError("--weight or --risk without --rewards", expected="them with --rewards")
    if others or how != "mean":
        raise UserError(
            "--with or --how without --rewards",
            expected="them with --rewards: temperatures are of one model",
        )
    from reward_model.measure.calibration import calibrate as fit
    from reward_model.model.card import record
    from reward_model.records.hub import is_fetched

    report = fit(
        model,
        scored,
        part=split,
        columns=layout,
        seed=seed,
        resamples=resamples,
        device=device,
        batch_tokens=batch_tokens,
    )
    screen = console()
    screen.print(_table(report))
    for sentence in report.notes:
        screen.print(f"• {sentence}", markup=False)
    result = report.to_json()
    if is_fetched(model):
        _not_stored([model])
    else:
        record(model, "calibration", {k: v for k, v in result.items() if k != "model"})
        screen.print(f"stored in {model / 'config.json'}", markup=False)
    write_result(result, json)


def _not_stored(models: Sequence[Path]) -> None:
    console().print(
        f"not stored: {' and '.join(map(str, models))} is the copy of a model of a hub, which is "
        "not written into; to keep it, `hf download OWNER/NAME --local-dir DIR` and calibrate DIR",
        markup=False,
    )


def _rewards(
    models: Sequence[Path],
    texts: Path,
    how: str,
    weight: list[str] | None,
    risk: float,
    columns: ColumnMap | None,
    json: str | None,
    device: str | None,
    batch_tokens: int | None,
) -> None:
    from dataclasses import asdict

    from reward_model.score.terms import check_terms, parse_weights

    weights = parse_weights(weight or [])
    check_terms(how, risk, models=len(models))
    from reward_model.model.folder import read_rubric
    from reward_model.model.scale import store_scale
    from reward_model.score.files.reference import measure_scale

    for model in models:
        read_rubric(model)  # a wrong folder is said before the texts are read
    scale = measure_scale(
        models,
        texts,
        how=how,
        columns=columns,
        weights=weights,
        risk=risk,
        device=device,
        batch_tokens=batch_tokens,
    )
    path = store_scale(models, scale)
    screen = console()
    screen.print(
        f"mean reward {scale.mean:.4f}, standard deviation {scale.sd:.4f}, of {scale.texts} "
        f"responses in {texts}",
        markup=False,
    )
    if scale.no_opinion:
        screen.print(f"left out: {scale.no_opinion} responses without a reward", markup=False)
    if path is None:
        _not_stored(models)
    else:
        screen.print(f"stored in {path}", markup=False)
    write_result(asdict(scale), json)


def _table(report: CalibrationReport) -> Table:
    from rich.table import Column

    from reward_model.stats.words import figure

    told = table(
        "expected calibration error",
        *("", Column("texts", no_wrap=True), "before [95%]", "after [95%]"),
    )
    for name, head in report.dimensions.items():
        cells = [
            (part, figure(found.ece.before), figure(found.ece.after))
            for part, found in ((report.fitted_on.part, head.fitted), ("test", head.test))
            if found is not None
        ]
        told.add_row(name, *cells[0])
        told.add_row(f"  T = {head.temperature:.3f}", *(cells[1] if len(cells) > 1 else ()))
    return told
