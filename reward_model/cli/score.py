"""The flags of `reward-model score`; `reward_model.cli.commands` registers it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reward_model.cli.options import (
    BatchTokensOption,
    DeviceOption,
    HowOption,
    JsonOption,
    OthersOption,
    RiskOption,
    WeightOption,
)


def score(
    model: Annotated[Path, typer.Argument(help="Folder of a trained model.")],
    texts: Annotated[
        Path | None,
        typer.Argument(
            metavar="[IN]",
            help="Pairs, or rows with prompt and response (or completion): JSONL, Parquet or CSV.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write the scored rows: Parquet by its name, else JSON Lines."),
    ] = None,
    prompt: Annotated[str, typer.Option(help="Prompt of one response; @FILE reads one.")] = "",
    response: Annotated[
        str | None, typer.Option(help="One response to score; @FILE reads one.")
    ] = None,
    others: OthersOption = None,
    how: HowOption = "mean",
    weight: WeightOption = None,
    risk: RiskOption = 0.0,
    num_workers: Annotated[
        int, typer.Option(min=1, help="Processes for a file; on GPUs, one a device.")
    ] = 1,
    device: DeviceOption = None,
    batch_tokens: BatchTokensOption = None,
    json: JsonOption = None,
) -> None:
    """Score responses: expected level, probabilities and uncertainty a dimension, one reward.

    A file: score MODEL IN.jsonl --out OUT.jsonl; run it again to go on where it was stopped.
    One response: score MODEL --prompt @prompt.md --response @report.md
    """
    from reward_model.cli.score_command import run_score

    run_score(
        (model, *(others or [])),
        texts,
        out,
        prompt=prompt,
        response=response,
        how=how,
        weight=weight or [],
        risk=risk,
        num_workers=num_workers,
        device=device,
        batch_tokens=batch_tokens,
        json_to=json,
    )
