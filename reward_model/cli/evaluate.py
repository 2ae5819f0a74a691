"""`reward-model evaluate`: measure, show, write JSON, page and card; `report`: the pages in one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
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
from reward_model.records import (
    UserError,
    check_named,
    check_outputs,
    is_folder,
    is_there,
    write_result,
    write_text,
)
from reward_model.records.page import PageLanguage
from reward_model.records.program import PageLanguageOption, check_page
from reward_model.records.terminal import TONES, console, table

if TYPE_CHECKING:
    from rich.table import Table

    from reward_model.data.columns import ColumnMap
    from reward_model.data.held_out import Wanted
    from reward_model.stats.bootstrap import Estimate
    from reward_model.stats.evaluated import (
        EvaluatedTexts,
        EvaluationReport,
        Kind,
        Metrics,
        PreferenceReport,
        ScalarReport,
        Scaled,
    )


def evaluate(
    model: ModelArgument,
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
    page_language: PageLanguageOption = "en",
    card: Annotated[bool, typer.Option(help="Keep the result in MODEL's card.")] = True,
    compare: Annotated[
        bool,
        typer.Option(help="Train TRL's Bradley-Terry scalar on the same base, data and steps too."),
    ] = False,
    compare_out: Annotated[
        Path | None, typer.Option(help="Folder to keep that scalar model in; implies --compare.")
    ] = None,
    explain: Annotated[
        int,
        typer.Option(
            min=0,
            help="In the page, show of as many of the worst pairs and texts which sentences "
            "carry their scores.",
        ),
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the intervals.")] = 0,
    resamples: ResamplesOption = 1000,
    device: DeviceOption = None,
    batch_tokens: BatchTokensOption = None,
) -> None:
    """Measure MODEL on the held-out groups of SCORED, beside simple baselines.

    Pairs without levels (RewardBench's rows, say) give the accuracy of reward and dimensions.
    """
    from reward_model.data.columns import read_columns
    from reward_model.data.held_out import WANTED

    if split not in WANTED:
        raise UserError(f"--split {split}", expected=f"one of {', '.join(WANTED)}")
    check_page(page_language, html)
    if explain and html is None:
        raise UserError("--explain without --html", expected="the page that shows it")
    check_outputs(
        {"--json": json, "--html": html}, (model, scored, columns, train_data, compare_out)
    )
    from reward_model.measure.evaluation.preferences import has_no_levels

    layout = read_columns(columns) if columns else None
    if has_no_levels(scored, layout):
        if compare or compare_out is not None or train_data is not None or explain:
            raise UserError(
                "--compare, --train-data or --explain with pairs without levels",
                expected="scored texts",
            )
        _preferences(
            model, scored, split, layout, json, html, page_language, seed, resamples, device,
            batch_tokens,
        )  # fmt: skip
        return
    from reward_model.measure.evaluation.answer import answer
    from reward_model.measure.evaluation.mistakes import worst_pairs
    from reward_model.measure.evaluation.run import evaluate as measure
    from reward_model.model.card import record
    from reward_model.records.hub import is_fetched

    found = measure(
        model,
        scored,
        part=split,
        columns=layout,
        train_data=train_data,
        seed=seed,
        resamples=resamples,
        device=device,
        batch_tokens=batch_tokens,
        compare=compare or compare_out is not None,
        compare_out=compare_out,
        explain=explain,
    )
    screen = console()
    report = found.report
    told = tell(report)
    title = f"{report.split.pairs} held-out pairs of {report.split.groups} groups"
    screen.print(first_table(report, title))
    for more in tables(report):
        screen.print(more)
    for sentence in report.notes:
        if sentence not in told:
            screen.print(f"• {sentence}", markup=False)
    worst = [{"pair": mistake["pair"], "gap": mistake["gap"]} for mistake in worst_pairs(found)]
    if html is not None:
        from reward_model.measure.evaluation.page import page

        write_text(html, page(found, page_language))
        screen.print(f"page: {html}", markup=False)
    write_result(found.result | {"worst_pairs": worst}, json)
    if card and not is_fetched(model):
        # Without places on a disk, and without keys of single pairs.
        kept = report.model_copy(update={"model": ""})
        kept = kept.model_copy(update={"answer": answer(kept)})
        record(model, "evaluation", {k: v for k, v in kept.to_json().items() if k != "model"})


def tell(report: EvaluationReport | PreferenceReport) -> list[str]:
    """The answer first: verdict, findings and what to do next; returns the findings."""
    screen, found = console(), report.answer
    if found is None:
        return []
    screen.print(found.verdict, style=f"bold {TONES[found.ready]}", markup=False)
    for sentence in found.findings:
        screen.print(f"• {sentence}", markup=False)
    screen.print(f"next: {found.next}", style="cyan", markup=False, soft_wrap=True)
    return found.findings


def first_table(report: EvaluationReport, title: str) -> Table:
    """Levels and pairs right, beside the baselines: what fits a screen of 80 columns."""
    from reward_model.measure.evaluation.baselines import TITLES
    from reward_model.measure.evaluation.words import WHAT
    from reward_model.stats.words import SHORT, figure

    others = [name for name in report.metrics if name in TITLES]
    shown = [report.metrics[name] for name in ("model", *others)]
    head = f"{title}: QWK of levels, share of pairs in order"
    told = table(head, "", "model [95%]", *(SHORT[name] for name in others))

    def row(label: str, numbers: list[Estimate]) -> None:
        own, *theirs = numbers
        told.add_row(label, figure(own), *(figure(one, interval=False) for one in theirs))

    for metric, what in WHAT.items():
        for dimension in report.metrics["model"].dimensions:
            row(f"{dimension} {what}", [one.dimensions[dimension][metric] for one in shown])
    row("reward pairs", [one.pair_accuracy for one in shown])
    row("reward and labels, r", [one.reward_correlation for one in shown])
    return told


def _preferences(
    model: Path,
    pairs: Path,
    split: Wanted,
    columns: ColumnMap | None,
    json: str | None,
    html: Path | None,
    page_language: PageLanguage,
    seed: int,
    resamples: int,
    device: str | None,
    batch_tokens: int | None,
) -> None:
    from reward_model.measure.evaluation.preferences import evaluate_preferences

    report = evaluate_preferences(
        model,
        pairs,
        part=split,
        columns=columns,
        seed=seed,
        resamples=resamples,
        device=device,
        batch_tokens=batch_tokens,
    )
    screen = console()
    findings = tell(report)
    for told in preference_tables(report):
        screen.print(told)
    for sentence in report.notes:
        if sentence not in findings:
            screen.print(f"• {sentence}", markup=False)
    if html is not None:
        from reward_model.measure.evaluation.page import preferences_page
        from reward_model.model.folder import read_rubric

        write_text(html, preferences_page(report, read_rubric(model), page_language))
        screen.print(f"page: {html}", markup=False)
    write_result(report.to_json(), json)


def preference_tables(report: PreferenceReport) -> list[Table]:
    """How often the preferred response wins: on all pairs, and by subset."""
    from reward_model.stats.words import figure

    of = f"{report.pairs.measured} pairs, {report.pairs.groups} groups"
    told = table(f"preferred response higher: {of}", "by", "accuracy [95%]", "ties")
    own = report.metrics
    told.add_row("reward", figure(own.pair_accuracy), figure(own.pair_ties, interval=False))
    for name, found in own.dimensions.items():
        ties = figure(found["pair_ties"], interval=False)
        told.add_row(name, figure(found["pair_accuracy"]), ties)
    told.add_row("length alone", figure(report.longer_wins), "–")
    if not report.subsets:
        return [told]
    # Dimensions of every subset stand in JSON and page: a screen is not wide enough.
    parts = table("by subset", "subset", "pairs", "reward [95%]", "ties")
    for name, part in report.subsets.items():
        ties = figure(part.pair_ties, interval=False)
        parts.add_row(name or "none", str(part.pairs), figure(part.pair_accuracy), ties)
    return [told, parts]


def tables(report: EvaluationReport) -> list[Table]:
    """Every metric of the model beside the baselines: on all texts, on the kinds that were trained
    on and on those that training held out, and beside a Bradley-Terry scalar.
    """
    found = [_metrics(report.split, report.metrics, report.split.part, report.calibration)]
    found += [_metrics(part, part.metrics, kinds, {}) for kinds, part in report.by_training.items()]
    return found if report.bradley_terry is None else [*found, _scalar(report.bradley_terry)]


def _metrics(
    counts: EvaluatedTexts | Kind,
    all_metrics: Mapping[str, Metrics],
    of: str,
    calibration: Mapping[str, Scaled],
) -> Table:
    from reward_model.measure.evaluation.baselines import TITLES
    from reward_model.stats.words import LABELS, SHORT, figure

    others = [name for name in all_metrics if name in TITLES]  # a scalar has its own table
    title = f"{counts.texts} texts, {counts.pairs} pairs, {counts.groups} groups ({of})"
    told = table(title, "", "model [95%]", *(SHORT[name] for name in others))
    shown = [all_metrics[name] for name in ("model", *others)]

    def row(label: str, numbers: list[Estimate]) -> None:
        own, *theirs = numbers
        told.add_row(f"  {label}", figure(own), *(figure(one, interval=False) for one in theirs))

    for dimension in all_metrics["model"].dimensions:
        told.add_row(f"[bold]{dimension}")
        for metric, label in LABELS.items():
            row(label, [one.dimensions[dimension][metric] for one in shown])
        if dimension in calibration:
            found = calibration[dimension]
            label = f"ECE before T={found.temperature:.2f}"
            told.add_row(f"  {label}", figure(found.ece_before), *["–"] * len(others))
    told.add_row("[bold]all dimensions together")
    row("pair accuracy", [one.pair_accuracy for one in shown])
    row("pair ties", [one.pair_ties for one in shown])
    row("correlation of reward", [one.reward_correlation for one in shown])
    row("levels right", [one.element_accuracy for one in shown])
    row("all of a text right", [one.all_dimensions_accuracy for one in shown])
    return told


def _scalar(scalar: ScalarReport) -> Table:
    from reward_model.measure.comparison.numbers import METRICS
    from reward_model.stats.words import figure

    told = table("beside a Bradley-Terry scalar (B-T)", "", "model", "B-T", "difference [95%]")
    for entry in scalar.comparisons:
        label = f"{entry.dimension or 'reward'}: {METRICS[entry.metric]}"
        cells = [figure(one, interval=False) for one in (entry.model, entry.scalar)]
        told.add_row(label, *cells, figure(entry.difference))
    return told


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a run, with its pages in or below it.")],
    out: Annotated[
        Path | None, typer.Option(help="Where the page goes. [default: FOLDER/report.html]")
    ] = None,
    page_language: PageLanguageOption = "en",
) -> None:
    """Join the pages of FOLDER (validation, evaluation, policies, traffic, ...) into one."""
    from reward_model.records.page.report import find_pages
    from reward_model.records.page.report import report as joined

    if not is_folder(folder):
        raise UserError(
            "no folder" if not is_there(folder) else "a file",
            expected="a folder of pages",
            path=folder,
        )
    place = folder / "report.html" if out is None else out
    # The page of an earlier run is none of its own pages; any other that is there would be lost.
    own = folder / "report.html"
    pages = [path for path in find_pages(folder) if path.resolve() != own.resolve()]
    check_named(place)
    if not pages:
        raise UserError(
            "no page in the folder",
            expected="pages that --html wrote",
            mend="run judge validate or reward-model evaluate with --html FOLDER/NAME.html first",
            path=folder,
        )
    check_outputs({"--out": place}, pages)
    write_text(place, joined(folder, pages, page_language))
    console().print(f"{len(pages)} page{'s' * (len(pages) != 1)} in {place}", markup=False)
