"""`reward-model export`: the model in a form that others load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from reward_model.cli.options import (
    JsonOption,
    find_model,
)
from reward_model.records import check_outputs, write_result
from reward_model.records.terminal import console


def export(
    model: Annotated[
        Path,
        typer.Argument(
            help="Folder of a trained model or its adapter, or owner/name[@revision] on a hub.",
            callback=find_model,
        ),
    ],
    to: Annotated[str, typer.Option(help="sequence-classification, scalar or onnx.")],
    out: Annotated[Path | None, typer.Option(help="Folder to write to.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Texts to score again, and to fit a scalar on (JSON Lines)."),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(min=1, help="Texts of --data to use. [default: 64, for a scalar 2000]"),
    ] = None,
    layout: Annotated[
        str,
        typer.Option(
            help="Fit a scalar on texts as in training (trained), on prompt and response on end "
            "with (text) or without (bare) special tokens, or on all of these."
        ),
    ] = "trained",
    seed: Annotated[int, typer.Option(min=0, help="Seed of sample and held-out prompts.")] = 0,
    device: Annotated[str | None, typer.Option(help="Of a scalar's fit: cuda, mps or cpu.")] = None,
    json: JsonOption = None,
) -> None:
    """Write MODEL in a form that others load, and score it again; exits 1 if the two differ.

    sequence-classification: transformers' own class, exact or refused. scalar: one reward fitted
    to the model's, with its fidelity. onnx: a graph for onnxruntime.
    """
    from reward_model.score.export.run import ExportOptions, run_export

    asked: dict[str, Any] = {"to": to, "layout": layout}
    check_outputs({"--json": json}, (model, data))
    options = ExportOptions(**asked, data=data, sample=sample, seed=seed, device=device)
    result = run_export(model, out, options)
    equal = result["parity"]["equal"]
    _tell(result, out if equal else None)
    write_result(result, json)
    raise typer.Exit(0 if equal else 1)


def _tell(result: dict[str, Any], out: Path | None) -> None:
    """What was made and how well it agrees; `out` None: nothing was kept."""
    from reward_model.score.export.card import VIEWS, number, other_pooling, poor_words

    screen = console()
    parity = result["parity"]
    apart = parity["max_difference"]
    if out is None:
        screen.print(
            "[bold red]not equal[/]: the export differs from the model"
            + (" by numbers that are none" if apart is None else f" by up to {apart:.3g}")
            + f", more than {parity['tolerance']:g}; nothing was kept"
        )
        return
    screen.print(f"{result['class']} in {out}", markup=False)
    sample = result["sample"]
    screen.print(
        f"scored again on {sample['texts']} texts ({sample['from']}): largest difference "
        f"{parity['max_difference']:.1e}, allowed {parity['tolerance']:g}",
        markup=False,
    )
    for name, one in result.get("fidelity", {}).items():
        screen.print(
            f"fidelity, {VIEWS[name]}: R2 {number(one['r2'])}, Spearman {number(one['spearman'])}",
            markup=False,
        )
    if result.get("poor"):
        screen.print(f"[yellow]careful:[/] {poor_words(result)}")
        if other_pooling(result):
            screen.print(f"[yellow]note:[/] {other_pooling(result)}")
    given = result["input"]
    if given["evidence"] != "none":
        screen.print(
            "[yellow]note:[/] the model reads evidence of the checks, which no other program adds"
        )
