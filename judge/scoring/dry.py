"""`judge score --dry-run`: calls, tokens and dollars that a run takes, before anything is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from judge.scoring.ask import Asker, answers, messages_of
from judge.scoring.prepare import open_judges
from judge.scoring.rows import Item, RowFile
from judge.settings import ScoreSettings
from reward_model.llm import LLM
from reward_model.llm.addresses import clean_name
from reward_model.llm.estimates import Work, estimate
from reward_model.llm.known import Known
from reward_model.llm.prices import Prices, likely_tokens
from reward_model.records import SIDES, UserError
from reward_model.records.terminal import console
from reward_model.rubrics import Rubric

REPLY_TOKENS = {"first": 200, "none": 20}
"""Of a level with its reasons, and of one without."""
MOST_MEASURED = 200
"""Rows whose questions are written out to measure them."""


def show_dry_run(
    rows: RowFile, settings: ScoreSettings, rubric: Rubric, out: Path, ledger: Path
) -> None:
    """Print what the run would take, less what the ledger has already. Replies that would be asked
    for again are not in it."""
    parts = (rubric.names,) if settings.mode == "all" else tuple((n,) for n in rubric.names)
    step = max(1, len(rows) // MOST_MEASURED)
    questions = measured = 0
    tokens = 0.0
    for number, (_, item, _) in enumerate(rows.items()):
        shown = _shown(item, settings)
        questions += len(shown) * len(parts)
        if number % step:
            continue
        for texts in shown:
            for names in parts:
                asked = messages_of(settings, rubric, item.prompt, texts, names)
                tokens += sum(likely_tokens(message.content) for message in asked)
                measured += 1
    calls = questions * settings.samples
    texts_each = 2 if settings.mode == "pairwise" else 1
    reply = REPLY_TOKENS[settings.reasoning] * texts_each * len(rubric.names) / len(parts)
    each = tokens / measured if measured else 0.0
    prices = Prices.load(Path(settings.prices) if settings.prices else None)
    works = [Work(name, calls, calls * each, calls * reply) for name in settings.llm]
    spent = 0.0
    if ledger.is_file():
        try:
            llms = open_judges(settings, rubric)
        except UserError as error:
            console().print(f"what {ledger} holds is not taken off: {error}", markup=False)
        else:
            known = asyncio.run(_asked(rows, settings, rubric, parts, llms, ledger))
            spent = known.spent_usd
            works = [
                Work(given, known.lacking[llm.name], known.tokens[llm.name],
                     known.lacking[llm.name] * reply)
                for given, llm in zip(settings.llm, llms, strict=True)
            ]  # fmt: skip
            everything = calls * len(llms)
            console().print(
                f"{everything - known.lacking.total():,} of {everything:,} answered already, in "
                f"{ledger}",
                markup=False,
            )
    lines, dollars = estimate(
        works,
        prices,
        base_url=settings.base_url,
        batch=settings.batch,
    )
    if settings.budget is not None and spent + dollars > settings.budget:
        lines.append(f"more than the budget of ${settings.budget:g}, which would stop the run")
    for line in lines:
        console().print(line, markup=False)
    who = ", ".join(map(clean_name, settings.llm))
    console().print(
        f"dry run: {who} not called, nothing written to {out}; prices as of {prices.as_of}",
        markup=False,
    )


def _shown(item: Item, settings: ScoreSettings) -> list[tuple[str, ...]]:
    """The texts of each question about a row, one or two; those without an answer are not asked."""
    shown: list[tuple[str, ...]] = [(text,) for text in item.texts.values()]
    if settings.mode == "pairwise":
        first, second = (item.texts[side] for side in SIDES)
        shown = [(first, second), (second, first)]
    return [texts for texts in shown if all(map(answers, texts))]


async def _asked(
    rows: RowFile,
    settings: ScoreSettings,
    rubric: Rubric,
    parts: Sequence[tuple[str, ...]],
    llms: Sequence[LLM],
    ledger: Path,
) -> Known:
    """Every question put to the ledger alone."""
    known = Known(ledger)
    asker = Asker(known, settings, rubric)
    try:
        for _, item, _ in rows.items():
            for texts in _shown(item, settings):
                for names in parts:
                    for llm in llms:
                        for sample in range(settings.samples):
                            await asker.ask(llm, item.prompt, texts, names, sample)
    finally:
        known.close()
        for llm in llms:
            await llm.close()
    return known
