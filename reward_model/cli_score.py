"""The flags of `reward-model score`; `reward_model.cli` registers it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def score(
    model: Annotated[Path, typer.Argument(help="Folder of a trained model.")],
    texts: Annotated[
        Path | None,
        typer.Argument(
            metavar="[IN]",
            help="Pairs, or rows with prompt and response (or completion): JSON Lines or Parquet.",
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
    others: Annotated[
        list[Path] | None,
        typer.Option("--with", help="A further model of the same rubric: an ensemble; repeatable."),
    ] = None,
    how: Annotated[
        str, typer.Option(help="Of an ensemble: mean of the members, or minimum.")
    ] = "mean",
    weight: Annotated[
        list[str] | None,
        typer.Option(help="DIMENSION=NUMBER instead of the rubric's weights; repeatable."),
    ] = None,
    risk: Annotated[
        float, typer.Option(help="Lambda of the reward's mean - lambda x sd; 0 is the mean.")
    ] = 0.0,
    num_workers: Annotated[
        int, typer.Option(min=1, help="Processes for a file; on GPUs, one a device.")
    ] = 1,
    device: Annotated[str | None, typer.Option(help="cuda, mps or cpu.")] = None,
    batch_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens of a batch.")] = None,
    json: Annotated[
        str | None,
        typer.Option("--json", help="Write the result as JSON to a file, or - for stdout."),
    ] = None,
) -> None:
    """Score responses: expected level, probabilities and uncertainty a dimension, one reward.

    A file: score MODEL IN.jsonl --out OUT.jsonl; run it again to go on where it was stopped.
    One response: score MODEL --prompt @prompt.md --response @report.md
    """
    from reward_model.score_command import run_score

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
