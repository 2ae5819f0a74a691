"""`reward-model score`: a whole file, or one response as a table that a person reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reward_model.cli.options import (
    AbstainOption,
    BatchTokensOption,
    CenteredOption,
    ColumnsOption,
    DeviceOption,
    HowOption,
    JsonOption,
    ModelArgument,
    OthersOption,
    RiskOption,
    WeightOption,
)
from reward_model.records import (
    UserError,
    check_named,
    check_outputs,
    check_plain,
    read_text,
    write_result,
)
from reward_model.records.terminal import console, table

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from reward_model.rubrics import Rubric
    from reward_model.score.files.run import Summary
    from reward_model.score.scorer import Score
    from reward_model.score.sentences import Explanation, Passage

SENTENCES = 12
"""Sentences of the table: those that move any number most."""
MARKED = 0.05
"""Share of the largest effect from which a sentence is marked in the text."""


def score(
    model: ModelArgument,
    texts: Annotated[
        Path | None,
        typer.Argument(
            metavar="[IN]",
            help="Pairs, prompts with responses, or chats: JSONL, Parquet or CSV.",
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
    columns: ColumnsOption = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Of one response: which sentences carry each dimension, in the text."
        ),
    ] = False,
    others: OthersOption = None,
    how: HowOption = "mean",
    weight: WeightOption = None,
    risk: RiskOption = 0.0,
    abstain: AbstainOption = None,
    centered: CenteredOption = False,
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
    from reward_model.data.columns import read_columns
    from reward_model.score.terms import check_terms, parse_weights

    models = (model, *(others or []))
    weights = parse_weights(weight or [])
    check_terms(how, risk, abstain, models=len(models))
    read = [text[1:] for text in (prompt, response or "") if text.startswith("@")]
    if out is not None:
        check_named(out)
        check_plain(out)
    check_outputs({"--out": out, "--json": json}, (texts, columns, *models, *read))
    if response is not None:
        if texts is not None or out is not None:
            raise UserError("both a file and --response", expected="IN with --out, or --response")
        if columns is not None:
            raise UserError("--columns beside --response", expected="it with a file of rows")
        if batch_tokens is not None or num_workers != 1:
            raise UserError(
                "--batch-tokens or --num-workers beside --response",
                expected="them with a file: one response is one batch",
            )
        found = score_one(
            models,
            prompt,
            response,
            how=how,
            weights=weights,
            risk=risk,
            device=device,
            explain=explain,
            abstain=abstain,
            centered=centered,
        )
        write_result(found, json)
        return
    if texts is None:
        raise UserError("nothing to score", expected="IN with --out, or --response TEXT")
    if out is None:
        raise UserError(
            "no --out", expected="--out OUT.jsonl or OUT.parquet, where the scored rows go"
        )
    if explain:
        raise UserError("--explain beside a file", expected="it with --response, of one text")
    if prompt:
        raise UserError(
            "--prompt beside a file",
            expected="the prompts in its rows",
            mend="give every row a prompt, or score one text with --response",
        )
    from reward_model.score.files.run import score_file

    summary = score_file(
        models,
        texts,
        out,
        how=how,
        weights=weights,
        risk=risk,
        device=device,
        batch_tokens=batch_tokens,
        num_workers=num_workers,
        columns=read_columns(columns) if columns else None,
        abstain=abstain,
        centered=centered,
    )
    tell(summary, out)
    write_result(asdict(summary), json)


def tell(summary: Summary, out: Path) -> None:
    """What was done, in a few lines."""
    screen = console()
    if summary.resumed == summary.rows:
        screen.print(f"{out} already holds all {summary.rows} rows", markup=False)
        return
    before = f" ({summary.resumed} of them before)" if summary.resumed else ""
    screen.print(f"{summary.rows} rows{before} in {out}", markup=False)
    if len(summary.computed_on) > 1:
        where = "; ".join(summary.computed_on)
        screen.print(f"not all on one device ({where}): last digits may differ", markup=False)
    for reason, count in summary.no_opinion.items():
        screen.print(f"{count} responses without a reward: {reason}", markup=False)
    if summary.prompts_truncated or summary.responses_truncated:
        cut, of = summary.responses_truncated, summary.responses
        screen.print(
            f"truncated: {summary.prompts_truncated} prompts, {cut} responses, of {of}",
            markup=False,
        )


def text_or_file(value: str) -> str:
    """The text itself, or with a leading @ the content of the file it names.

    Raises:
        UserError: the file cannot be read, or is not UTF-8.

    >>> text_or_file("Margins rose.")
    'Margins rose.'
    """
    return read_text(value[1:]) if value.startswith("@") else value


def score_one(
    models: Path | Sequence[Path],
    prompt: str,
    response: str,
    *,
    how: str = "mean",
    weights: dict[str, float] | None = None,
    risk: float = 0.0,
    device: str | None = None,
    explain: bool = False,
    abstain: float | None = None,
    centered: bool = False,
) -> dict[str, Any]:
    """Score one response, show it as a table, and return it as JSON.

    With `explain` the sentences that carry it are shown as well, and stand under `sentences`.
    """
    from reward_model.model.folder import read_rubric
    from reward_model.records.texts import language_of
    from reward_model.score.files.workers import Models
    from reward_model.score.sentences import explain as why

    asked, answer = text_or_file(prompt), text_or_file(response)
    paths = (models,) if isinstance(models, Path) else tuple(models)
    for path in paths:  # a wrong folder is said before anything slow happens
        read_rubric(path)
    scorer = Models(paths, how, weights, risk, device, abstain=abstain, centered=centered).load()
    explanation = why(scorer, asked, answer) if explain else None
    found = scorer.score(asked, answer) if explanation is None else explanation.score
    screen = console()
    if found.reward is None:
        screen.print(f"no reward: {found.reason}", markup=False)
    else:
        screen.print(score_table(found, scorer.rubric, scorer.weights, language_of(answer)))
    for words in reading_words(found, scorer.max_length):
        screen.print(words, markup=False)
    if explanation is None:
        return found.to_json()
    show_sentences(screen, explanation, scorer.rubric, language_of(answer))
    return found.to_json() | {"sentences": explanation.to_json()}


def bars(probabilities: list[float]) -> str:
    """A bar a level, as tall as its probability.

    >>> bars([0.0, 0.12, 0.38, 0.5, 1.0])
    '▁▂▄▅█'
    """
    return "".join("▁▂▃▄▅▆▇█"[min(7, int(p * 8 + 0.25))] for p in probabilities)


def score_table(found: Score, rubric: Rubric, weights: dict[str, float], language: str) -> Table:
    """Every dimension's level, distribution and uncertainty, and the scalar reward."""
    from rich.table import Column

    from reward_model.rubrics import say

    spread = "" if found.spread is None else f", ± {found.spread:.3f} between models"
    of = "0 to 1"
    if found.uncentered is not None:
        of = f"centred; {found.uncentered:.3f} of 0 to 1"
    out = table(
        f"reward {found.reward:.3f} ({of}){spread}, levels 0 to {rubric.scale}",
        *("dimension", "level", "± sd", "weight"),
        Column(f"0–{rubric.scale}"),
        *(f"P{level}" for level in range(rubric.classes)),
    )
    for name in rubric.names:
        chances = found.probabilities[name]
        likely = found.predicted[name]
        out.add_row(
            say(rubric.dimension(name).title, language) or name,
            f"[bold]{found.levels[name]:.2f}",
            f"{found.uncertainty[name]:.2f}",
            f"{weights[name]:.0%}",
            bars(chances),
            *(f"[bold]{p:.0%}" if i == likely else f"{p:.0%}" for i, p in enumerate(chances)),
        )
    return out


def reading_words(found: Score, max_length: int) -> list[str]:
    """How familiar the text is, and what of it the model did not see."""
    words = []
    if found.familiarity is not None:
        words.append(
            f"familiarity {found.familiarity:.3f}: so large a share of the texts it was validated "
            "on is as strange to it"
        )
    if found.prompt_truncated:
        words.append(f"the prompt was not read whole: it gives way within {max_length} tokens")
    if found.response_truncated:
        words.append(f"the response did not fit {max_length} tokens: its middle was not judged")
    return words


def show_sentences(screen: Console, found: Explanation, rubric: Rubric, language: str) -> None:
    """The text, a table of the strongest sentences, and whether effects add up."""
    from rich.text import Text

    from reward_model.rubrics import say

    if not found.passages:
        return
    screen.print(drawn(found))
    names = [say(rubric.dimension(name).title, language) or name for name in found.levels]
    ranked = sorted(
        range(len(found.passages)), key=lambda i: -_most(found.passages[i], rubric.scale)
    )
    kept = sorted(ranked[:SENTENCES])
    more = (
        f", the {len(kept)} strongest of {len(found.passages)}" if len(kept) < len(ranked) else ""
    )
    told = table(f"what is lost without a sentence{more}", "", "reward", *names)
    for i in kept:
        one = found.passages[i]
        told.add_row(
            Text(f"[{i + 1}] {_start(one.text)}"),
            _signed(one.reward),
            *(_signed(one.levels.get(name)) for name in found.levels),
        )
    sums = [found.reward, *found.levels.values()]
    told.add_section()
    told.add_row("sum of all", *(_signed(one.passages if one else None) for one in sums))
    told.add_row("without the whole", *(_signed(one.whole if one else None) for one in sums))
    screen.print(told)
    screen.print(
        "effects need not add up: sentences say things twice, and lean on each other", markup=False
    )
    for note in found.notes:
        screen.print(f"• {note}", markup=False)


def drawn(found: Explanation) -> Text:
    """The text: sentences that raise the reward in green after [n+], those that lower it in red
    after [n-], so that it reads without colours too.
    """
    from rich.text import Text

    largest = max((abs(one.reward or 0.0) for one in found.passages), default=0.0)
    out, end = Text(), 0
    for number, one in enumerate(found.passages, 1):
        out.append(found.text[end : one.start])
        end = one.end
        effect = one.reward or 0.0
        if largest == 0 or abs(effect) < MARKED * largest:
            out.append(f"[{number}] ", "dim")
            out.append(one.text)
            continue
        sign, colour = ("+", "green") if effect > 0 else ("-", "red")
        style = f"bold {colour}" if abs(effect) > largest / 2 else colour
        out.append(f"[{number}{sign}] ", "dim")
        out.append(one.text, style)
    out.append(found.text[end:])
    return out


def _most(one: Passage, scale: int) -> float:
    """How much a sentence moves the number that it moves most, in parts of the score's range."""
    levels = [abs(level) / scale for level in one.levels.values()]
    return max([abs(one.reward or 0.0), *levels])


def _start(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= 40 else f"{words[:39]}…"


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}"
