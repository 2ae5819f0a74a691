"""`judge score --dry-run`: calls, tokens and dollars that a run takes, before anything is sent."""

from __future__ import annotations

from pathlib import Path

from judge.scoring.ask import answers, messages_of
from judge.scoring.rows import RowFile
from judge.settings import ScoreSettings
from reward_model.llm.addresses import clean_name
from reward_model.llm.estimates import Work, estimate
from reward_model.llm.prices import Prices, likely_tokens
from reward_model.records import SIDES
from reward_model.records.terminal import console
from reward_model.rubrics import Rubric

REPLY_TOKENS = {"first": 200, "none": 20}
"""Of a level with its reasons, and of one without."""
MOST_MEASURED = 200
"""Rows whose questions are written out to measure them."""


def show_dry_run(rows: RowFile, settings: ScoreSettings, rubric: Rubric, out: Path) -> None:
    """Print what the run would take. Replies asked for again are not in it, nor is what the ledger
    has already."""
    parts = (rubric.names,) if settings.mode == "all" else tuple((n,) for n in rubric.names)
    step = max(1, len(rows) // MOST_MEASURED)
    questions = measured = 0
    tokens = 0.0
    for number, (_, item, _) in enumerate(rows.items()):
        shown = [(text,) for text in item.texts.values()]
        if settings.mode == "pairwise":
            first, second = (item.texts[side] for side in SIDES)
            shown = [(first, second), (second, first)]  # type: ignore[list-item]
        shown = [texts for texts in shown if all(map(answers, texts))]
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
    lines, dollars = estimate(
        [Work(name, calls, calls * each, calls * reply) for name in settings.llm],
        prices,
        base_url=settings.base_url,
        batch=settings.batch,
    )
    if settings.budget is not None and dollars > settings.budget:
        lines.append(f"more than the budget of ${settings.budget:g}, which would stop the run")
    for line in lines:
        console().print(line, markup=False)
    who = ", ".join(map(clean_name, settings.llm))
    console().print(
        f"dry run: {who} not called, nothing written to {out}; prices as of {prices.as_of}",
        markup=False,
    )
