"""The `judge` command line: blind scores, agreement between scorings, validation of a data set.

Every command is thin: it reads its flags and hands over to the module that does the work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from judge.options import (
    Budget,
    Concurrency,
    Config,
    Evidence,
    Form,
    Json,
    Judges,
    LedgerFile,
    MaxPromptChars,
    RubricName,
    Samples,
    Shown,
    Side,
    Temperature,
)
from reward_model.llm.flags import (
    BaseUrl,
    Batch,
    Body,
    Effort,
    Header,
    Prices,
    Thinking,
    Wait,
)
from reward_model.records.program import PageLanguageOption, PushOption, check_page, program
from reward_model.records.terminal import given, run

app = program(
    "Blind scores for reports, agreement between scorings, validation of a scored data set."
)


@app.command()
def score(
    context: typer.Context,
    pairs: Annotated[
        Path,
        typer.Argument(
            help="Pairs, or prompt with response, completion or completions, or messages; "
            "JSON Lines, CSV, TSV or Parquet."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Where the scored rows go.")],
    llm: Judges = None,
    rubric: RubricName = "financial_report",
    mode: Annotated[
        str,
        typer.Option(
            help="per-dimension: one call each; all: one call for all (cheaper); pairwise: both "
            "sides in one call, in both orders."
        ),
    ] = "per-dimension",
    samples: Samples = 1,
    reasoning: Annotated[
        str, typer.Option(help="first: reasons before levels; none: levels only.")
    ] = "first",
    expectation: Annotated[
        bool,
        typer.Option(
            "--expectation",
            help="With --reasoning none: keep the expected level from token probabilities too.",
        ),
    ] = False,
    evidence: Annotated[
        str,
        typer.Option(
            help="checks: show the judge of accuracy which figures agree with the tables."
        ),
    ] = "none",
    language: Annotated[
        str, typer.Option(help="Language of the judge's prompt: auto (that of the text), zh, en.")
    ] = "auto",
    temperature: Temperature = 0.0,
    max_tokens: Annotated[int, typer.Option(help="Longest reply, in tokens.")] = 4096,
    max_prompt_chars: MaxPromptChars = 0,
    retries: Annotated[int, typer.Option(help="Times a reply that cannot be read is redone.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Shuffles the calls; sent to the provider.")] = 0,
    overwrite_scores: Annotated[
        bool, typer.Option("--overwrite-scores", help="Score rows that have scores anew.")
    ] = False,
    ledger: Annotated[
        str | None, typer.Option(help="File of all calls. [default: OUT.calls.jsonl]")
    ] = None,
    max_concurrency: Concurrency = 32,
    requests_per_minute: Annotated[
        float | None, typer.Option(help="Never more, for each judge.")
    ] = None,
    tokens_per_minute: Annotated[
        float | None, typer.Option(help="Never more, for each judge.")
    ] = None,
    batch: Batch = False,
    wait: Wait = False,
    budget: Budget = None,
    prices: Prices = None,
    attempts: Annotated[
        int, typer.Option(help="Tries of a call without an answer, before it is owed.")
    ] = 8,
    timeout: Annotated[float, typer.Option(help="Longest wait for one reply, in seconds.")] = 600,
    base_url: BaseUrl = None,
    header: Header = None,
    body: Body = None,
    thinking: Thinking = None,
    reasoning_effort: Effort = None,
    config: Config = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show calls, tokens and money; call nothing.")
    ] = False,
    push_to_hub: PushOption = None,
) -> None:
    """Score pairs or single answers, blind: one response a call, no metadata in sight."""
    from reward_model.records.hub import check_push, push_rows

    if push_to_hub is not None:
        check_push(push_to_hub)  # a wrong name is said before the calls
    from judge.scoring.run import score_file
    from judge.settings import ScoreSettings, resolve

    settings = resolve(given(context, ScoreSettings.model_fields), config)
    score_file(pairs, out, settings, dry_run=dry_run)
    if push_to_hub is not None and not dry_run:
        push_rows(
            out,
            push_to_hub,
            title="Scored texts",
            tags=["rlhf", "reward-model", "llm-as-a-judge"],
            body="Each response was scored blind; every record names its judge and says why.",
        )


@app.command()
def redteam(
    context: typer.Context,
    reports: Annotated[
        Path,
        typer.Argument(
            help="Pairs, or rows with prompt and response; JSON Lines, CSV, TSV or Parquet."
        ),
    ],
    llm: Judges = None,
    rubric: RubricName = "financial_report",
    side: Annotated[
        Side, typer.Option(help="Side of the pairs to attack with; the worse one has room to rise.")
    ] = Side.rejected,
    max_reports: Annotated[int, typer.Option(min=1, help="Reports to attack with.")] = 20,
    max_success: Annotated[
        float, typer.Option(min=0, max=1, help="Exit code 1 when an attack works more often.")
    ] = 0.1,
    mode: Annotated[
        str, typer.Option(help="per-dimension: one call each; all: one call for all.")
    ] = "per-dimension",
    samples: Samples = 1,
    evidence: Evidence = "none",
    temperature: Temperature = 0.0,
    max_prompt_chars: MaxPromptChars = 0,
    seed: Annotated[int, typer.Option(min=0, help="Draws the reports; sent to the provider.")] = 0,
    json_: Json = None,
    ledger: LedgerFile = None,
    max_concurrency: Concurrency = 32,
    batch: Batch = False,
    wait: Wait = False,
    budget: Budget = None,
    prices: Prices = None,
    base_url: BaseUrl = None,
    header: Header = None,
    body: Body = None,
    thinking: Thinking = None,
    reasoning_effort: Effort = None,
    config: Config = None,
) -> None:
    """What attacks planted into reports gain from the judge: instructions, fakes, flattery.

    Exit code 1: an attack raises a level more often than --max-success.
    """
    from judge.redteam import redteam_file
    from judge.settings import ScoreSettings, resolve

    settings = resolve(given(context, ScoreSettings.model_fields), config)
    code = redteam_file(
        reports,
        settings,
        side=side.value,
        max_reports=max_reports,
        max_success=max_success,
        json_out=json_,
    )
    raise typer.Exit(code)


@app.command()
def calibrate(
    context: typer.Context,
    reports: Annotated[
        Path,
        typer.Argument(
            help="Pairs (chosen sides), or rows with prompt and response; JSON Lines, CSV, TSV or "
            "Parquet."
        ),
    ],
    llm: Judges = None,
    rubric: RubricName = "financial_report",
    max_reports: Annotated[int, typer.Option(min=1, help="Reports to plant errors into.")] = 20,
    mode: Annotated[
        str, typer.Option(help="per-dimension, or pairwise: clean and changed text side by side.")
    ] = "per-dimension",
    samples: Annotated[
        int, typer.Option(help="Draws of each clean text, for test and retest.")
    ] = 2,
    evidence: Annotated[
        Shown, typer.Option(help="Findings of the checks shown to the judge; both: side by side.")
    ] = Shown.none,
    temperature: Temperature = 0.0,
    max_prompt_chars: MaxPromptChars = 0,
    seed: Annotated[int, typer.Option(min=0, help="Draws reports and errors.")] = 0,
    json_: Json = None,
    ledger: LedgerFile = None,
    max_concurrency: Concurrency = 32,
    batch: Batch = False,
    wait: Wait = False,
    budget: Budget = None,
    prices: Prices = None,
    base_url: BaseUrl = None,
    header: Header = None,
    body: Body = None,
    thinking: Thinking = None,
    reasoning_effort: Effort = None,
    config: Config = None,
) -> None:
    """How many planted errors the judge finds, by kind, and how often it accuses clean text."""
    from judge.calibrate.run import calibrate_file
    from judge.settings import ScoreSettings, resolve

    flags = given(context, ScoreSettings.model_fields)
    both = flags.get("evidence") == "both"
    if both:
        del flags["evidence"]
    settings = resolve(flags, config)
    if "samples" not in settings.model_fields_set:
        settings = settings.model_copy(update={"samples": samples})
    calibrate_file(
        reports,
        settings,
        evidence="both" if both else settings.evidence,
        max_reports=max_reports,
        json_out=json_,
    )


@app.command()
def agree(
    files: Annotated[list[Path], typer.Argument(help="Scored pairs, two files or more.")],
    rubric: RubricName = "financial_report",
    json_: Json = None,
    resamples: Annotated[int, typer.Option(min=100, help="Bootstrap resamples, by group.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
) -> None:
    """How far two or more scorings of the same pairs agree: judges, repeats, people."""
    from judge.agree import agree_files

    agree_files(files, rubric, json_out=json_, resamples=resamples, seed=seed)


@app.command("export-review")
def export_review_command(
    scored: Annotated[Path, typer.Argument(help="Scored pairs, JSON Lines.")],
    out: Annotated[Path, typer.Option(help="Where the review goes; must not be there yet.")],
    n: Annotated[int, typer.Option(min=1, help="Pairs to review.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Draws the pairs.")] = 0,
    format_: Annotated[
        Form, typer.Option("--format", help="csv for spreadsheets, or Argilla's records.")
    ] = Form.csv,
    show_levels: Annotated[
        bool, typer.Option("--show-levels", help="Show the judge's levels: no longer blind.")
    ] = False,
    rubric: RubricName = "financial_report",
) -> None:
    """A blind sample of pairs for people to grade, spread over degradations and disagreement."""
    from judge.review.export import export_review

    export_review(
        scored,
        out,
        n=n,
        seed=seed,
        rubric_name=rubric,
        form=format_.value,
        show_levels=show_levels,
    )


@app.command("import-review")
def import_review_command(
    scored: Annotated[Path, typer.Argument(help="The scored pairs the review was made from.")],
    review: Annotated[Path, typer.Argument(help="The review with its answers.")],
    out: Annotated[Path, typer.Option(help="Where the pairs with people's levels go.")],
    format_: Annotated[Form, typer.Option("--format", help="Form of the review.")] = Form.csv,
    user: Annotated[
        str | None, typer.Option(help="Of an Argilla file: whose responses to take, by user id.")
    ] = None,
    rubric: RubricName = "financial_report",
) -> None:
    """People's levels as a scored file, each cell checked; compare it with judge agree."""
    from judge.review.importing import import_review

    import_review(scored, review, out, rubric_name=rubric, form=format_.value, user=user)


@app.command()
def validate(
    scored: Annotated[Path, typer.Argument(help="Scored pairs, JSON Lines.")],
    filtered: Annotated[
        Path | None, typer.Argument(help="Where the pairs that pass the filters go.")
    ] = None,
    json_: Annotated[
        Path | None, typer.Option("--json", help="Also write the report here; - for stdout.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Also write the page here.")] = None,
    page_language: PageLanguageOption = "en",
    rubric: RubricName = "financial_report",
    min_gap: Annotated[float | None, typer.Option(help="Keep pairs of this mean gap up.")] = None,
    require_target: Annotated[
        bool, typer.Option("--require-target", help="Keep pairs whose targets all drop.")
    ] = False,
    drop_incomplete: Annotated[
        bool, typer.Option("--drop-incomplete", help="Drop pairs that miss a level.")
    ] = False,
    drop_neutral: Annotated[bool, typer.Option("--drop-neutral", help="Drop controls.")] = False,
    drop_duplicates: Annotated[
        bool, typer.Option("--drop-duplicates", help="Drop repeated pairs and equal sides.")
    ] = False,
    max_length_ratio: Annotated[
        float | None, typer.Option(help="Keep pairs whose longer side is at most so many times.")
    ] = None,
    max_per_prompt: Annotated[
        int | None, typer.Option(help="Keep so many pairs of one prompt or company.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of intervals, samples and folds.")] = 0,
    no_ngrams: Annotated[
        bool, typer.Option("--no-ngrams", help="Do not look for phrases that give a side away.")
    ] = False,
    max_audit: Annotated[
        int, typer.Option(min=2, help="Pairs in the shortcut audit, sampled by prompt.")
    ] = 1000,
) -> None:
    """Whether a scored data set can teach a reward model, and what is wrong with it.

    Exit code 1: the verdict is poor or a finding is an error. Without a filter FILTERED is a copy.
    """
    check_page(page_language, html)
    from judge.validate.filters import Filters
    from judge.validate.run import Settings, validate_file

    filters = Filters(
        min_gap=min_gap,
        require_target=require_target,
        drop_incomplete=drop_incomplete,
        drop_neutral=drop_neutral,
        drop_duplicates=drop_duplicates,
        max_length_ratio=max_length_ratio,
        max_per_prompt=max_per_prompt,
    )
    settings = Settings(rubric, seed, not no_ngrams, max_audit, filters)
    raise typer.Exit(
        validate_file(
            scored,
            filtered,
            settings=settings,
            json_out=json_,
            html_out=html,
            page_language=page_language,
        )
    )


def main() -> None:
    """Entry point of the `judge` script."""
    run(app)
