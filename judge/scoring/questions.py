"""Many questions to the configured judge outside a scored file, with the same care as scoring.

`asyncio.run(ask_all(questions, settings, ...))` gives the level of every text and dimension, from
the ledger where it was asked before.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from judge.scoring.ask import Asked, Asker
from judge.scoring.merge import joint_level
from judge.settings import Evidence, ScoreSettings
from reward_model.llm import LLM, Caller, FatalError, Prices, bounded
from reward_model.llm.pending import Pending, batchable, check_none_open, rounds
from reward_model.records import Stopped, UserError
from reward_model.records.terminal import console, progress
from reward_model.rubrics import Rubric


class Question(NamedTuple):
    """One text, or two in the order in which they are shown, and the first of its draws."""

    prompt: str
    reports: tuple[str, ...]
    sample: int = 0
    evidence: Evidence = "none"


class Answers:
    """Levels by question: one mapping of dimension to level for each text."""

    def __init__(self) -> None:
        self._draws: dict[Question, dict[tuple[int, str], list[tuple[str, int]]]] = {}
        self.causes: Counter[str] = Counter()
        """Causes of draws without a level."""
        self.calls = self.cached = 0
        self.cost_usd = 0.0
        self.why = ""
        """Why calls brought no answer, in the providers' words."""
        self.report: dict[str, Any] = {}
        """What the caller says of its calls."""

    @property
    def levels(self) -> int:
        """Levels that were given."""
        return sum(len(given) for own in self._draws.values() for given in own.values())

    def add(self, question: Question, judge: str, asked: Asked) -> None:
        """Take in what one judge said of one question."""
        own = self._draws.setdefault(question, {})
        for text, verdicts in enumerate(asked.verdicts):
            self.causes.update(verdicts.problems.values())
            for name, level in verdicts.levels.items():
                if level is not None:
                    own.setdefault((text, name), []).append((judge, level))

    def level(self, question: Question, dimension: str, text: int = 0) -> int | None:
        """Level that all judges together gave a text of a question."""
        return joint_level(self._draws.get(question, {}).get((text, dimension), []))


async def ask_all(
    questions: Sequence[Question],
    settings: ScoreSettings,
    rubric: Rubric,
    judges: Sequence[LLM],
    ledger: Path | None,
    *,
    dimensions: Sequence[str],
    draws: int = 1,
) -> Answers:
    """Ask every judge every question, `draws` times each, in an order shuffled by the seed.

    Raises:
        UserError: no call to a judge can work; nothing was called.
        Stopped: the budget is used up or a provider is down; the answers so far are kept.
    """
    manifest = None if ledger is None else ledger.with_name(f"{ledger.name}.batches.json")
    if settings.batch:
        batchable(judges)
    elif manifest is not None:
        check_none_open(manifest)
    shown = (tuple(dimensions),) if settings.mode == "all" else tuple((d,) for d in dimensions)
    work = [
        (question, judge, names, draw)
        for question in dict.fromkeys(questions)
        for judge in judges
        for names in shown
        for draw in range(draws)
    ]
    random.Random(f"{settings.seed}:order").shuffle(work)
    answers = Answers()
    async with Caller(
        ledger=ledger,
        attempts=settings.attempts,
        max_concurrency=settings.max_concurrency,
        requests_per_minute=settings.requests_per_minute,
        tokens_per_minute=settings.tokens_per_minute,
        budget_usd=settings.budget,
        prices=Prices.load(Path(settings.prices)) if settings.prices else None,
        timeout_s=settings.timeout,
    ) as caller:

        async def ask_each(by: Caller | Pending) -> None:
            nonlocal answers
            answers = Answers()  # each round of batches takes everything from the ledger anew
            askers = {
                evidence: Asker(by, settings.model_copy(update={"evidence": evidence}), rubric)
                for evidence in {question.evidence for question in questions}
            }

            async def ask(item: tuple[Question, LLM, tuple[str, ...], int]) -> Asked:
                question, judge, names, draw = item
                sample = question.sample + draw
                return await askers[question.evidence].ask(
                    judge, question.prompt, question.reports, names, sample
                )

            with ExitStack() as stack:
                bar = stack.enter_context(progress(transient=True))
                task = bar.add_task("judging", total=len(work), note="")
                async for item, asked in bounded(ask, work, settings.max_concurrency):
                    if not asked.waiting:
                        answers.add(item[0], item[1].name, asked)
                    bar.update(task, advance=1, note=caller.note())

        try:
            if settings.batch and manifest is not None:
                await rounds(caller, batchable(judges), manifest, ask_each, wait=settings.wait)
            else:
                await ask_each(caller)
        except FatalError as error:
            if caller.counts["calls"]:
                raise Stopped(f"no further call can work: {error}") from None
            raise UserError(f"a judge that cannot be called: {error}") from None
        finally:
            for judge in judges:
                await judge.close()
        answers.calls, answers.cached = caller.counts["calls"], caller.counts["cached"]
        answers.cost_usd = caller.cost_usd
        answers.why, answers.report = caller.reasons.words(), caller.report()
    return answers


def usual_ledger(settings: ScoreSettings, beside: Path, what: str) -> Path | None:
    """The file named in the settings, else one beside the input; the embedded judge needs none."""
    if settings.ledger:
        return Path(settings.ledger)
    if settings.llm == ("offline",):
        return None
    return beside.with_name(f"{beside.name}.{what}.calls.jsonl")


def check_owed(answers: Answers) -> None:
    """Say that levels are owed, or that there is none, once the rest has been shown.

    Raises:
        Stopped: a provider gave no answer to some questions, or not one level came back.
    """
    if answers.why:
        console().print(f"calls without an answer:\n{answers.why}", markup=False)
    owed = answers.causes["failed"]
    if owed:
        raise Stopped(
            f"{owed} level(s) are owed because the provider gave no answer, and count as missing. "
            "Run the same command again to ask for these alone"
        )
    if answers.causes and not answers.levels:
        raise Stopped("not one level was given, so the figures above say nothing of the judge")
