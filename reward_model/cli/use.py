"""Commands that carry a reward to where it is used: `prefer` and `export`.

`reward_model.cli.commands` registers them; like its own they only read flags and hand over.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def prefer(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="[MODEL] COMPLETIONS",
            help="A trained model, and prompts with completions (JSONL, Parquet, CSV). Without it: "
            "rows that `score` or `judge score` wrote.",
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="Folder of the data set.")] = None,
    to: Annotated[
        str, typer.Option("--format", help="dpo, orpo, cpo, reward, kto or grpo.")
    ] = "dpo",
    pairs: Annotated[
        str, typer.Option(help="Which completions are compared: best-worst, best-random or all.")
    ] = "best-worst",
    min_margin: Annotated[float, typer.Option(help="Least difference of the rewards, 0 to 1.")] = 0,
    z: Annotated[
        float, typer.Option("--z", help="Least difference in standard deviations of it.")
    ] = 0,
    threshold: Annotated[
        float | None,
        typer.Option(help="KTO: desirable from this reward on. [default: labels from the pairs]"),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(help="DIMENSION=NUMBER instead of the rubric's weights; repeatable."),
    ] = None,
    risk: Annotated[
        float, typer.Option(help="Lambda of the reward's mean - lambda x sd; 0 is the mean.")
    ] = 0,
    rubric: Annotated[
        str | None, typer.Option(help="Of a judge's scores: name or path of a TOML file.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws of best-random.")] = 0,
    device: Annotated[str | None, typer.Option(help="cuda, mps or cpu.")] = None,
    batch_tokens: Annotated[
        int | None, typer.Option(min=1, help="Most tokens of a batch, padding included.")
    ] = None,
    push_to_hub: Annotated[
        str | None, typer.Option(metavar="NAME", help="Upload the folder as a private data set.")
    ] = None,
    json: Annotated[
        str | None,
        typer.Option("--json", help="Write the result as JSON to a file, or - for stdout."),
    ] = None,
) -> None:
    """Make preference data of completions: pairs for DPO and the like, labels for KTO, prompts.

    The folder feeds TRL's trainers as it is. Exits 1 if the filters leave nothing.
    """

    from reward_model.rlhf.preferences.make import run_prefer
    from reward_model.rlhf.preferences.options import Options

    asked: dict[str, Any] = {"to": to, "how": pairs}
    code = run_prefer(
        files,
        out,
        Options(**asked, min_margin=min_margin, z=z, threshold=threshold, seed=seed),
        weight=weight or [],
        risk=risk,
        rubric=rubric,
        device=device,
        batch_tokens=batch_tokens,
        push_to_hub=push_to_hub,
        json_to=json,
    )
    raise typer.Exit(code)


def export(
    model: Annotated[Path, typer.Argument(help="Folder of a trained model, or of its adapter.")],
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
    json: Annotated[
        str | None,
        typer.Option("--json", help="Write the result as JSON to a file, or - for stdout."),
    ] = None,
) -> None:
    """Write MODEL in a form that others load, and score it again; exits 1 if the two differ.

    sequence-classification: transformers' own class, exact or refused. scalar: one reward fitted
    to the model's, with its fidelity. onnx: a graph for onnxruntime.
    """
    from reward_model.score.export.run import Options, run_export

    asked: dict[str, Any] = {"to": to, "layout": layout}
    options = Options(**asked, data=data, sample=sample, seed=seed, device=device)
    raise typer.Exit(run_export(model, out, options, json_to=json))
