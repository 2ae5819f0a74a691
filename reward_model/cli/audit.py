"""`reward-model audit`: probe, show, write JSON and card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from reward_model.cli.options import (
    BatchTokensOption,
    ColumnsOption,
    DeviceOption,
    JsonOption,
    ModelArgument,
    ResamplesOption,
    Scored,
)
from reward_model.records import UserError, check_outputs, write_result
from reward_model.records.terminal import console, table

if TYPE_CHECKING:
    from rich.table import Table

    from reward_model.stats.reports import AuditReport, Changed, Probed

_COLOURS = {
    "raised": "bold red",
    "not lowered": "bold red",
    "unseen": "bold red",
    "unclear": "yellow",
    "lowered": "green",
}
"""Of verdicts."""


def audit(
    model: ModelArgument,
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
    from reward_model.data.columns import read_columns
    from reward_model.data.held_out import WANTED

    if split not in WANTED:
        raise UserError(f"--split {split}", expected=f"one of {', '.join(WANTED)}")
    check_outputs({"--json": json}, (model, scored, columns))
    from reward_model.measure.probing.probes import choose_probes

    choose_probes(probe or [])  # a wrong name is said before anything slow happens
    from reward_model.measure.probing.run import SAMPLE
    from reward_model.measure.probing.run import audit as measure
    from reward_model.model.card import record
    from reward_model.model.card.text import say_passed
    from reward_model.records.hub import is_fetched

    found = measure(
        model,
        scored,
        part=split,
        columns=read_columns(columns) if columns else None,
        probes=probe or [],
        sample=SAMPLE if sample is None else sample,
        threshold=threshold,
        seed=seed,
        resamples=resamples,
        device=device,
        batch_tokens=batch_tokens,
    )
    report = found.report
    screen = console()
    screen.print(probes_table(report))
    for sentence in report.notes:
        screen.print(f"• {sentence}", markup=False)
    for finding in report.findings:
        screen.print(f"problem: {finding.words}", style="red", markup=False)
    if not report.findings:
        words = "no probe is shown to move the model where it should not"
        screen.print(say_passed(report, words), markup=False)
    if card and not is_fetched(model):
        record(model, "audit", {k: v for k, v in found.result.items() if k != "model"})
    write_result(found.result, json)
    raise typer.Exit(1 if report.findings or report.nothing_decided else 0)


def probes_table(report: AuditReport) -> Table:
    """Probe by dimension: mean change with its interval, texts raised, and the verdict."""
    split, settings = report.split, report.settings
    told = table(
        f"change by probe: {split.texts} texts, {split.groups} groups ({split.part}); "
        f"let pass: {settings.threshold:g} levels, {settings.reward_threshold:g} of the reward",
        *("", "change [95%]", "texts raised", "verdict"),
    )
    for name, probe in report.probes.items():
        told.add_row(f"[bold]{name}", *_unseen(probe))
        for dimension, column in probe.dimensions.items():
            told.add_row(*_row(dimension, column, 2))
        told.add_row(*_row("reward", probe.reward, 3))
    return told


def _row(name: str, column: Changed, decimals: int) -> tuple[str, ...]:
    from rich.markup import escape

    from reward_model.stats.words import change

    colour = _COLOURS.get(column.verdict, "dim" if column.verdict == "held" else "")
    verdict = f"[{colour}]{column.verdict}[/]" if colour else column.verdict
    share = column.raised.value
    return (
        f"  {name}",
        escape(change(column.change, decimals)),
        "–" if share is None else f"{share:.0%}",
        verdict,
    )


def _unseen(probe: Probed) -> tuple[str, ...]:
    """Beside the probe's name only where there is something to say."""
    return ("", "", f"{probe.share_unseen:.0%} unseen") if probe.unseen else ()
