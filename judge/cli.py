"""The `judge` command line: blind scores, agreement between scorings, validation of a data set.

Every command is thin: it reads its flags and hands over to the module that does the work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reward_model.records.terminal import run

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Blind scores for reports, agreement between scorings, validation of a scored data set.",
)


@app.command()
def score(
    context: typer.Context,
    pairs: Annotated[Path, typer.Argument(help="Pairs to score, JSON Lines.")],
    out: Annotated[Path, typer.Option(help="Where the scored pairs go.")],
    llm: Annotated[
        list[str] | None,
        typer.Option(
            help="Judge: offline, openai:MODEL or dashscope:MODEL. Several make a panel. "
            "[default: offline]"
        ),
    ] = None,
    rubric: Annotated[
        str, typer.Option(help="Rubric that ships, by name, or a TOML file.")
    ] = "financial_report",
    mode: Annotated[
        str, typer.Option(help="per-dimension: one call each; all: one call for all (cheaper).")
    ] = "per-dimension",
    samples: Annotated[int, typer.Option(help="Draws a level; the level is their mean.")] = 1,
    reasoning: Annotated[
        str, typer.Option(help="first: reasons before levels; none: levels only.")
    ] = "first",
    evidence: Annotated[
        str,
        typer.Option(
            help="checks: show the judge of accuracy which figures agree with the tables."
        ),
    ] = "none",
    language: Annotated[
        str, typer.Option(help="Language of the judge's prompt: auto (that of the text), zh, en.")
    ] = "auto",
    temperature: Annotated[float, typer.Option(help="Of the judge.")] = 0.0,
    max_tokens: Annotated[int, typer.Option(help="Longest reply, in tokens.")] = 4096,
    max_prompt_chars: Annotated[
        int, typer.Option(help="Show at most this much of a prompt; 0 shows it whole.")
    ] = 0,
    retries: Annotated[int, typer.Option(help="Times a reply that cannot be read is redone.")] = 2,
    seed: Annotated[int, typer.Option(help="Shuffles the calls; sent to the provider.")] = 0,
    overwrite_scores: Annotated[
        bool, typer.Option("--overwrite-scores", help="Score pairs that have scores anew.")
    ] = False,
    ledger: Annotated[
        str | None, typer.Option(help="File of all calls. [default: OUT.calls.jsonl]")
    ] = None,
    max_concurrency: Annotated[int, typer.Option(help="Calls under way at once.")] = 8,
    base_url: Annotated[
        str | None, typer.Option(help="Address of an OpenAI-compatible server.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file with any of these options; flags win.")
    ] = None,
) -> None:
    """Score both sides of every pair, blind: one response a call, no metadata in sight."""
    from judge.score import score_file
    from judge.settings import resolve

    given = {
        name: value
        for name, value in context.params.items()
        if name not in {"pairs", "out", "config"}
        and getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    }
    score_file(pairs, out, resolve(given, config))


@app.command()
def agree(
    files: Annotated[list[Path], typer.Argument(help="Scored pairs, two files or more.")],
    rubric: Annotated[
        str, typer.Option(help="Rubric that ships, by name, or a TOML file.")
    ] = "financial_report",
    json_: Annotated[
        Path | None, typer.Option("--json", help="Also write the numbers here; - for stdout.")
    ] = None,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples, by group.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
) -> None:
    """How far two or more scorings of the same pairs agree: judges, repeats, people."""
    from judge.agree import agree_files

    agree_files(files, rubric, json_out=json_, resamples=resamples, seed=seed)


@app.command()
def validate(
    scored: Annotated[Path, typer.Argument(help="Scored pairs, JSON Lines.")],
    filtered: Annotated[
        Path | None, typer.Argument(help="Where the pairs worth keeping go.")
    ] = None,
) -> None:
    """Whether a scored data set can teach a reward model, and what is wrong with it."""
    from judge.validate.run import validate_file

    validate_file(scored, filtered)


def main() -> None:
    """Entry point of the `judge` script."""
    run(app)
