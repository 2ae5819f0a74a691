"""`reward-model`: labels, train, evaluate, calibrate, audit, score, serve, prefer, policy, doctor,
quickstart.

Each command only reads its flags here and hands over; torch and transformers are imported inside
the commands that need them, so `--help` stays fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from reward_model.cli import policy
from reward_model.cli import use as cli_use
from reward_model.cli.bench import bench
from reward_model.cli.labels import labels
from reward_model.cli.options import (
    BatchTokensOption,
    ColumnsOption,
    DeviceOption,
    JsonOption,
    ResamplesOption,
    RubricOption,
    Scored,
)
from reward_model.cli.score import score
from reward_model.cli.serve import serve
from reward_model.cli.traffic import app as traffic
from reward_model.records.terminal import run

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: loading rich would take longer than all the rest
    help="Train, measure and use multi-dimensional reward models.",
)

app.command()(labels)


@app.command()
def train(
    scored: Scored,
    base_model: Annotated[
        str | None,
        typer.Option(help="Local folder, hub id, or 'tiny' (built in place from the texts)."),
    ] = None,
    init: Annotated[
        Path | None, typer.Option(help="Trained reward model to go on from, instead of a base.")
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
    learning_rate: Annotated[float | None, typer.Option("--lr", help="Peak learning rate.")] = None,
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
    pooling: Annotated[str | None, typer.Option(help="mean, cls or last.")] = None,
    head: Annotated[str | None, typer.Option(help="multi (one a dimension) or shared.")] = None,
    evidence: Annotated[str | None, typer.Option(help="none or checks.")] = None,
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
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start anew where OUTPUT_DIR holds another run.")
    ] = False,
) -> None:
    """Train a reward model on SCORED and keep its best checkpoint in OUTPUT_DIR/best."""
    flags: dict[str, Any] = {
        "base_model": base_model,
        "init": init,
        "rubric": rubric,
        "columns": columns,
        "labels": "soft" if soft_labels else None,
        "hold_out": hold_out or None,
        "eval_file": eval_file,
        "epochs": epochs,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "batch_tokens": batch_tokens,
        "window": window,
        "pair_weight": pair_weight,
        "max_length": max_length,
        "max_prompt_length": max_prompt_length,
        "pooling": pooling,
        "head": head,
        "evidence": evidence,
        "eval_share": eval_share,
        "test_share": test_share,
        "class_weights": class_weights,
        "label_smoothing": label_smoothing,
        "patience": patience,
        "best_metric": best_metric,
        "lora_rank": lora_rank,
        "load_in_4bit": load_in_4bit or None,
        "seed": seed,
        "split_seed": split_seed,
    }
    from reward_model.train.config import resolve

    settings = resolve(scored, output_dir, config, flags)
    from reward_model.train.run import train as start

    start(settings, resume=resume, overwrite=overwrite)


@app.command()
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
    from reward_model.cli.evaluate import run_evaluate

    run_evaluate(
        model,
        scored,
        part=split,
        columns=columns,
        train_data=train_data,
        json_to=json,
        html_to=html,
        to_card=card,
        compare=compare,
        compare_out=compare_out,
        seed=seed,
        resamples=resamples,
        device=device,
        batch_tokens=batch_tokens,
    )


@app.command()
def audit(
    model: Annotated[Path, typer.Argument(help="Folder of a trained model.")],
    scored: Scored,
    split: Annotated[
        str, typer.Option(help="Groups to edit texts of, as in evaluate: auto, test, ..., all.")
    ] = "auto",
    columns: ColumnsOption = None,
    probe: Annotated[
        list[str] | None, typer.Option(help="Only this probe; repeatable. [default: all]")
    ] = None,
    sample: Annotated[
        int | None, typer.Option(min=0, help="Texts to edit; 0 for all. [default: 200]")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Mean rise let pass, in levels. [default: 0.25 on a 0-4 scale]"),
    ] = None,
    json: JsonOption = None,
    card: Annotated[bool, typer.Option(help="Keep the result in MODEL's card.")] = True,
    seed: Annotated[int, typer.Option(min=0, help="Seed of sample, edits and intervals.")] = 0,
    resamples: ResamplesOption = 1000,
    device: DeviceOption = None,
    batch_tokens: BatchTokensOption = None,
) -> None:
    """Edit held-out responses in ways that must not please MODEL; exits 1 if one does."""
    from reward_model.cli.audit import run_audit

    code = run_audit(
        model,
        scored,
        part=split,
        columns=columns,
        probes=probe or [],
        sample=sample,
        threshold=threshold,
        json_to=json,
        to_card=card,
        seed=seed,
        resamples=resamples,
        device=device,
        batch_tokens=batch_tokens,
    )
    raise typer.Exit(code)


@app.command()
def calibrate(
    model: Annotated[Path, typer.Argument(help="Folder of a trained model.")],
    scored: Scored,
    split: Annotated[
        str,
        typer.Option(
            help="Held-out groups to fit on: auto (validation, or the whole of a file unknown to "
            "training), validation or test."
        ),
    ] = "auto",
    columns: ColumnsOption = None,
    json: JsonOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the intervals.")] = 0,
    resamples: ResamplesOption = 1000,
    device: DeviceOption = None,
    batch_tokens: BatchTokensOption = None,
) -> None:
    """Fit one temperature a head on held-out groups of SCORED and store it in MODEL."""
    from reward_model.cli.calibrate import run_calibrate

    run_calibrate(
        model,
        scored,
        part=split,
        columns=columns,
        json_to=json,
        seed=seed,
        resamples=resamples,
        device=device,
        batch_tokens=batch_tokens,
    )


app.command()(score)
app.command()(serve)
app.command()(cli_use.prefer)
app.command()(cli_use.export)
app.add_typer(policy.app, name="policy")


@app.command()
def doctor(
    target: Annotated[
        Path, typer.Argument(metavar="MODEL|FILE", help="A model folder, or scored records.")
    ],
    rubric: RubricOption = None,
    model: Annotated[
        Path | None, typer.Option(help="Of a file: how much of it this model would cut off.")
    ] = None,
    columns: ColumnsOption = None,
    json: JsonOption = None,
) -> None:
    """Look for what usually goes wrong with a model folder or a file of pairs; exits 1 if found."""
    from reward_model.measure.doctor.run import run_doctor

    code = run_doctor(target, rubric=rubric, model=model, columns=columns, json_to=json)
    raise typer.Exit(code)


@app.command()
def quickstart(
    fields: Annotated[str | None, typer.Option(help="Fields, separated by commas.")] = None,
    pairs: Annotated[int, typer.Option(min=1, help="Pairs to generate.")] = 300,
    language: Annotated[str, typer.Option(help="zh or en.")] = "zh",
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything.")] = 0,
    base_model: Annotated[str, typer.Option(help="Folder, hub id or 'tiny'.")] = "tiny",
    max_length: Annotated[
        int | None, typer.Option(help="Tokens of a text. [default: 512, or all that tiny reads]")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("outputs/quickstart"),
) -> None:
    """Run the whole flow on the embedded writer and judge: no key, no network."""
    from reward_model.cli.quickstart import Options
    from reward_model.cli.quickstart import run as start

    start(Options(fields, pairs, language, seed, base_model, max_length), out)


app.command()(bench)
app.add_typer(traffic, name="traffic")


def main() -> None:
    """Entry point of the `reward-model` script."""
    run(app)
