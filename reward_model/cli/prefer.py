"""`reward-model prefer`: preference data of completions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from reward_model.cli.options import (
    BatchTokensOption,
    ColumnsOption,
    DeviceOption,
    JsonOption,
    find_model,
)
from reward_model.records import check_outputs, write_result
from reward_model.records.program import PushOption
from reward_model.records.terminal import console


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
    columns: ColumnsOption = None,
    device: DeviceOption = None,
    batch_tokens: BatchTokensOption = None,
    push_to_hub: PushOption = None,
    json: JsonOption = None,
) -> None:
    """Make preference data of completions: pairs for DPO and the like, labels for KTO, prompts.

    The folder feeds TRL's trainers as it is. Exits 1 if the filters leave nothing.
    """
    from reward_model.data.columns import read_columns
    from reward_model.records.hub import check_push, push
    from reward_model.rlhf.preferences.card import UPLOADED
    from reward_model.rlhf.preferences.make import run_prefer
    from reward_model.rlhf.preferences.options import WRITTEN, PreferOptions

    written = {f"--out with {name}": out / name for name in WRITTEN} if out else {}
    if len(files) == 2 and (model := find_model(files[0])) is not None:
        files = [model, files[1]]
    check_outputs({"--json": json, **written}, (*files, rubric, columns))
    asked: dict[str, Any] = {"to": to, "how": pairs}
    if push_to_hub is not None:
        check_push(push_to_hub)  # a wrong name is said before the work
    result = run_prefer(
        files,
        out,
        PreferOptions(**asked, min_margin=min_margin, z=z, threshold=threshold, seed=seed),
        weight=weight or [],
        risk=risk,
        rubric=rubric,
        device=device,
        batch_tokens=batch_tokens,
        columns=read_columns(columns) if columns else None,
    )
    _tell(result, out)
    write_result(result, json)
    if not result["counts"]["written"]:
        raise typer.Exit(1)
    if out is not None and push_to_hub is not None:
        push(out, push_to_hub, "dataset", UPLOADED)


def _tell(result: dict[str, Any], out: Path | None) -> None:
    from reward_model.rlhf.preferences.options import ROWS

    screen = console()
    counts = result["counts"]
    written = counts["written"]
    screen.print(
        f"{written} rows for {result['to']} in {out}/{ROWS}, from {counts['completions']} "
        f"completions of {counts['prompts']} prompts",
        markup=False,
    )
    if counts["desirable"] is not None:
        screen.print(f"desirable: {counts['desirable']} of {written}", markup=False)
    for what in ("completions", "pairs", "rows"):
        for reason, count in counts[f"dropped_{what}"].items():
            screen.print(f"left out: {count} {what}: {reason}", markup=False)
    if not written:
        screen.print(f"[bold red]nothing is left[/], no {ROWS} was written: loosen the filters")
