"""`reward-model train`: flags over a file over defaults make the settings of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from reward_model.cli.options import (
    ColumnsOption,
    RubricOption,
    Scored,
    find_model,
)
from reward_model.records.program import PushOption


def train(
    context: typer.Context,
    scored: Scored,
    base_model: Annotated[
        str | None,
        typer.Option(help="Local folder, hub id, or 'tiny' (built in place from the texts)."),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(
            help="Trained reward model to go on from, instead of a base.", callback=find_model
        ),
    ] = None,
    output_dir: Annotated[Path | None, typer.Option(help="Folder to write to.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with any setting.")] = None,
    rubric: RubricOption = None,
    columns: ColumnsOption = None,
    soft_labels: Annotated[
        bool, typer.Option(help="Learn the shares of the levels that the judge's draws gave.")
    ] = False,
    hold_out: Annotated[
        list[str] | None,
        typer.Option(
            help="Kind that never trains nor validates, such as degradation=generic_wording, "
            "field=... or language=...; repeatable."
        ),
    ] = None,
    eval_file: Annotated[
        Path | None, typer.Option(help="Validate on this file instead of a share of SCORED.")
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the training texts.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--lr", help="Peak learning rate; left out: by size.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Texts of a step, over all devices.")
    ] = None,
    batch_tokens: Annotated[
        int | None, typer.Option(help="Most tokens a device takes at once; memory, not result.")
    ] = None,
    max_length: Annotated[int | None, typer.Option(help="Tokens of prompt + response.")] = None,
    window: Annotated[
        int | None, typer.Option(help="Read long texts in windows of so many tokens.")
    ] = None,
    max_prompt_length: Annotated[
        int | None, typer.Option(help="Most tokens of the prompt; 0 leaves it out.")
    ] = None,
    pooling: Annotated[str | None, typer.Option(help="mean, rms, cls or last.")] = None,
    head: Annotated[str | None, typer.Option(help="multi (one a dimension) or shared.")] = None,
    evidence: Annotated[str | None, typer.Option(help="none or checks.")] = None,
    counterexamples: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Copies for each training text, up to 0.3: words in no order at level 0, and "
            "another layout at the same levels.",
        ),
    ] = None,
    probe: Annotated[
        bool | None,
        typer.Option(help="Begin with heads fitted on the untrained backbone (the default)."),
    ] = None,
    eval_share: Annotated[
        float | None, typer.Option(help="Share of groups to validate on.")
    ] = None,
    test_share: Annotated[
        float | None, typer.Option(help="Share of groups kept for a test.")
    ] = None,
    class_weights: Annotated[
        str | None, typer.Option(help="none, sqrt or balanced: rare levels count more.")
    ] = None,
    label_smoothing: Annotated[float | None, typer.Option(help="0 to below 1.")] = None,
    pair_weight: Annotated[
        float | None, typer.Option(help="Weight of a pairwise term on the expected level.")
    ] = None,
    gap_weight: Annotated[
        float | None,
        typer.Option(help="Weight of the error of the gap inside a pair, in each dimension."),
    ] = None,
    center_rewards: Annotated[
        bool,
        typer.Option(
            "--center-rewards",
            help="Store mean and standard deviation of the reward on the validation texts, for "
            "score --centered and the like.",
        ),
    ] = False,
    patience: Annotated[
        int | None, typer.Option(help="Stop after this many evaluations without gain; 0: never.")
    ] = None,
    best_metric: Annotated[
        str | None, typer.Option(help="qwk, loss, accuracy or pair_accuracy on validation.")
    ] = None,
    lora_rank: Annotated[
        int | None, typer.Option(help="LoRA of this rank on a frozen backbone; 0: train it all.")
    ] = None,
    load_in_4bit: Annotated[
        bool, typer.Option("--load-in-4bit", help="QLoRA: the frozen backbone in 4 bits.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of split, weights and order.")
    ] = None,
    split_seed: Annotated[
        int | None,
        typer.Option(min=0, help="Of the split alone: the same texts held out for every --seed."),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the last checkpoint.")] = False,
    push_to_hub: PushOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start anew where OUTPUT_DIR holds another run.")
    ] = False,
) -> None:
    """Train a reward model on SCORED and keep its best checkpoint in OUTPUT_DIR/best."""
    from reward_model.records.hub import MODEL_FILES, check_push, push
    from reward_model.train.config import TrainConfig, resolve

    # A flag is called like its setting, so those that were given are found by their names.
    flags: dict[str, Any] = {
        name: value
        for name, value in context.params.items()
        if name in TrainConfig.model_fields and value is not None and value is not False
    }
    flags["probe"] = probe
    flags["labels"] = "soft" if soft_labels else None
    flags["hold_out"] = hold_out or None
    settings = resolve(scored, output_dir, config, flags)
    if push_to_hub is not None:
        check_push(push_to_hub, "model")  # a wrong name is said before the work
    from reward_model.train.processes import leave, processes
    from reward_model.train.run import train as start

    best = start(settings, resume=resume, overwrite=overwrite)
    if push_to_hub is not None and processes().is_main_process:
        push(best, push_to_hub, "model", MODEL_FILES)
    leave()
