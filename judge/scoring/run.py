"""`judge score`: levels for every text of every row, resumable at any point.

The calls are made in shuffled order and kept in the ledger; then the rows are written in the order
of the input, taking every answer from the ledger. A run that died goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from judge.scoring.ask import Asked, Asker
from judge.scoring.dry import show_dry_run
from judge.scoring.merge import Draw, apart, merge, paired, sent_temperature, swaps
from judge.scoring.parse import Cause, unanswered
from judge.scoring.prepare import (
    Seen,
    check_judges,
    check_out,
    check_rows,
    configuration,
    open_judges,
)
from judge.scoring.rows import Item, RowFile, item_of
from judge.settings import ScoreSettings
from reward_model.llm import LLM, Caller, FatalError, Prices, bounded
from reward_model.llm.pending import Pending, batchable, check_none_open, rounds
from reward_model.records import (
    SIDES,
    Stopped,
    UserError,
    check_named,
    check_outputs,
    check_plain,
    dump_json,
    locked,
    write_json,
    writing,
)
from reward_model.records.terminal import console, progress
from reward_model.rubrics import Rubric, load_rubric


class Task(NamedTuple):
    """One question: these sides of this row, these dimensions, this judge, this draw."""

    row: int
    sides: tuple[str, ...]
    """Slot of one text, or both sides in the order in which they are shown."""
    dimensions: tuple[str, ...]
    member: int
    sample: int


def score_file(
    pairs: Path,
    out: Path,
    settings: ScoreSettings,
    *,
    judges: Sequence[LLM] | None = None,
    dry_run: bool = False,
) -> None:
    """Score a file of pairs, single responses, or completions of prompts.

    Args:
        judges: models to ask; None opens those that `settings.llm` names.
        dry_run: say what it would take; call and write nothing.

    Raises:
        UserError: settings or files that cannot be used; nothing was called or written.
        Stopped: levels are owed because a provider failed; the rest is written.
    """
    config_path = out.with_name(out.name + ".config.json")
    ledger = Path(settings.ledger) if settings.ledger else out.with_name(out.name + ".calls.jsonl")
    manifest = out.with_name(out.name + ".batches.json")
    check_named(out)
    check_plain(out)
    check_outputs(
        {
            "--out": out,
            "--out with .config.json": config_path,
            "--out with .batches.json": manifest,
            "--ledger": ledger,
        },
        (pairs, settings.rubric),
    )
    rubric = load_rubric(settings.rubric)
    if dry_run:
        check_judges(settings, rubric)
        rows = RowFile(pairs)
        check_rows(rows, settings)
        show_dry_run(rows, settings, rubric, out, ledger)
        return
    llms = tuple(judges) if judges is not None else open_judges(settings, rubric)
    rows = RowFile(pairs)
    seen = check_rows(rows, settings)
    config = configuration(rows, settings, rubric)
    if settings.batch:
        batchable(llms)
    with locked(out):
        check_out(out, config_path, config)
        if not settings.batch:
            check_none_open(manifest)
        scoring = Scoring(rows, seen, out, settings, rubric, llms, ledger, manifest, config)
        summary = asyncio.run(scoring.run())
    if owed := summary.causes["failed"]:
        raise Stopped(
            f"{owed} level(s) are owed because the provider gave no answer; {out} has null for "
            "them. Run the same command again to ask for these alone"
        )
    if len(rows) and not summary.counts:
        raise Stopped(f"not one level was given; the reasons stand above and in {out}.report.json")


class Scoring:
    """One run over one file."""

    def __init__(
        self,
        rows: RowFile,
        seen: Seen,
        out: Path,
        settings: ScoreSettings,
        rubric: Rubric,
        llms: tuple[LLM, ...],
        ledger: Path,
        manifest: Path,
        config: dict[str, Any],
    ) -> None:
        self.rows, self.out, self.settings, self.rubric = rows, out, settings, rubric
        self.seen = seen
        self.llms, self.ledger, self.manifest, self.config = llms, ledger, manifest, config
        self.dimensions = (
            (rubric.names,) if settings.mode == "all" else tuple((n,) for n in rubric.names)
        )
        self.causes: Counter[str] = Counter()
        """Causes of draws without a level."""
        self.why = ""
        self.unanswered: dict[Task, Cause] = {}
        """Questions without a reply in this run, so that writing does not ask them again."""

    async def run(self) -> Summary:
        """Ask, write, report."""
        settings = self.settings
        async with Caller(
            ledger=self.ledger,
            attempts=settings.attempts,
            max_concurrency=settings.max_concurrency,
            requests_per_minute=settings.requests_per_minute,
            tokens_per_minute=settings.tokens_per_minute,
            budget_usd=settings.budget,
            prices=Prices.load(Path(settings.prices)) if settings.prices else None,
            timeout_s=settings.timeout,
        ) as caller:
            report: dict[str, Any] = {}
            try:
                try:
                    await self._ask_all(caller)
                finally:
                    # Writing takes every answer from the ledger once more, which is no news.
                    report = caller.report() if caller.counts else {}
                made, kept = caller.counts["calls"], caller.counts["cached"]
                summary = await self._write(Asker(caller, self.settings, self.rubric))
            except FatalError as error:
                if caller.counts["calls"]:
                    raise Stopped(f"no further call can work: {error}") from None
                raise UserError(f"a judge that cannot be called: {error}") from None
            finally:
                for llm in self.llms:
                    await llm.close()
                if report:
                    report = {"missing": dict(sorted(self.causes.items())), **report}
                    write_json(self.out.with_name(self.out.name + ".report.json"), report)
        self.why = caller.reasons.words()
        cost = f", ${caller.cost_usd:.2f}" if caller.cost_usd else ""
        console().print(
            f"{self.out}: {self._counted()}; {made} calls made, {kept} taken from "
            f"{self.ledger}{cost}\n{summary.text(self.rubric, expectation=settings.expectation)}",
            markup=False,
        )
        if self.why:
            console().print(f"calls without an answer:\n{self.why}", markup=False)
        return summary

    def _counted(self) -> str:
        others = len(self.rows) - self.seen.pairs
        if not others:
            return f"{self.seen.pairs} pairs"
        texts = f"{self.seen.texts - 2 * self.seen.pairs} responses in {others} rows"
        return f"{self.seen.pairs} pairs, {texts}" if self.seen.pairs else texts

    async def _ask_all(self, caller: Caller) -> None:
        """Make every call; each answer is in the ledger when this returns."""
        if not self.settings.batch:
            return await self._ask_each(caller, caller)
        models, wait = batchable(self.llms), self.settings.wait

        async def work(pending: Pending) -> None:
            await self._ask_each(caller, pending)

        return await rounds(caller, models, self.manifest, work, wait=wait)

    async def _ask_each(self, caller: Caller, by: Caller | Pending) -> None:
        asker = Asker(by, self.settings, self.rubric)
        self.causes.clear()
        self.unanswered.clear()
        each = len(self.dimensions) * len(self.llms) * self.settings.samples
        causes = self.causes

        async def work(item: tuple[Task, Item]) -> None:
            causes.update(await self._work(asker, *item))

        with ExitStack() as stack:
            bar = stack.enter_context(progress(transient=True))
            shown = bar.add_task("judging", total=self.seen.texts * each, note="")
            async for _ in bounded(work, self._shuffled(), self.settings.max_concurrency):
                note = [f"${caller.cost_usd:.2f}"] if caller.cost_usd else []
                note += [f"{count} {cause}" for cause, count in sorted(causes.items())]
                bar.update(shown, advance=1, note=", ".join(note))

    async def _work(self, asker: Asker, task: Task, item: Item) -> list[Cause]:
        asked = await self._ask(asker, task, item)
        if asked.waiting:
            return []
        problems = [cause for v in asked.verdicts for cause in v.problems.values()]
        if not asked.final:
            self.unanswered[task] = problems[0]
        return problems

    async def _ask(self, asker: Asker, task: Task, item: Item) -> Asked:
        return await asker.ask(
            self.llms[task.member],
            item.prompt,
            tuple(item.texts[side] for side in task.sides),
            task.dimensions,
            task.sample,
        )

    def _shuffled(self) -> Iterator[tuple[Task, Item]]:
        """Rows in random order and random order within a row, so that a judge that drifts over a
        run drifts across sides and dimensions alike; a row's calls stay close together, so that
        providers can reuse its prompt."""
        rng = random.Random(f"{self.settings.seed}:order")
        order = list(range(len(self.rows)))
        rng.shuffle(order)
        for number in order:
            item = item_of(self.rows[number])
            tasks = list(self._tasks(number, item))
            rng.shuffle(tasks)
            for task in tasks:
                yield task, item

    def _tasks(self, number: int, item: Item) -> Iterator[Task]:
        """Tasks of a row; in pairwise mode the two orders of a question follow each other."""
        shown: tuple[tuple[str, ...], ...] = tuple((slot,) for slot in item.slots)
        if self.settings.mode == "pairwise":
            shown = (SIDES, SIDES[::-1])
        for dimensions in self.dimensions:
            for member in range(len(self.llms)):
                for sample in range(self.settings.samples):
                    for sides in shown:
                        yield Task(number, sides, dimensions, member, sample)

    async def _write(self, asker: Asker) -> Summary:
        summary = Summary()
        write_json(self.out.with_name(self.out.name + ".config.json"), self.config)
        with writing(self.out) as file:
            for number in range(len(self.rows)):
                value = self.rows[number]
                item = item_of(value)
                scores = await self._scores(asker, number, item)
                summary.add(scores, item.slots)
                if item.pair is None:
                    value |= apart(scores, item.slots, item.form)
                else:
                    value["scores"] = scores
                file.write(dump_json(value).encode() + b"\n")
        return summary

    async def _scores(self, asker: Asker, number: int, item: Item) -> dict[str, Any]:
        draws: list[Draw] = []
        for task in self._tasks(number, item):
            draws += await self._draws(asker, task, item)
        pairwise = self.settings.mode == "pairwise"
        scores = merge(paired(draws) if pairwise else draws, self.rubric.names, item.slots)
        if pairwise:
            scores["judge"]["swap"] = swaps(draws)
        scores["judge"] = {
            "model": " + ".join(llm.name for llm in self.llms),
            "rubric": self.rubric.id,
            "samples": self.settings.samples,
            "mode": self.settings.mode,
            "reasoning": self.settings.reasoning,
            "evidence": self.settings.evidence,
            "temperature": sent_temperature(draws, self.settings.temperature),
            "prompts": self.config["prompts"],
            **scores["judge"],
        }
        return scores

    async def _draws(self, asker: Asker, task: Task, item: Item) -> list[Draw]:
        if task in self.unanswered:
            no_level = unanswered(task.dimensions, self.unanswered[task])
            asked = Asked((no_level,) * len(task.sides))
        else:
            asked = await self._ask(asker, task, item)
        return [
            Draw(
                side,
                name,
                self.llms[task.member].name,
                asked.returned,
                verdicts.levels[name],
                verdicts.reasons[name],
                verdicts.problems.get(name),
                expected=(asked.expected or {}).get(name),
                temperature=asked.temperature,
            )
            for side, verdicts in zip(task.sides, asked.verdicts, strict=True)
            for name in task.dimensions
        ]


class Summary:
    """Mean levels and missing levels of a run."""

    def __init__(self) -> None:
        self.sums: Counter[tuple[str, str]] = Counter()
        self.counts: Counter[tuple[str, str]] = Counter()
        self.causes: Counter[str] = Counter()
        self.sides = set[str]()
        self.missing = 0
        self.unexpected = 0

    def add(self, scores: dict[str, Any], slots: Sequence[str]) -> None:
        """Count one row."""
        for slot in slots:
            side = slot if slot in SIDES else "response"
            self.sides.add(side)
            for name, level in scores[slot].items():
                if level is None:
                    self.missing += 1
                else:
                    self.sums[side, name] += level
                    self.counts[side, name] += 1
                    known = scores["judge"].get("expected", {}).get(slot, {})
                    self.unexpected += name not in known
            for causes in scores["judge"].get("failures", {}).get(slot, {}).values():
                self.causes.update(causes)

    def text(self, rubric: Rubric, *, expectation: bool = False) -> str:
        """A line a dimension, and what is missing."""

        def mean(side: str, name: str) -> str:
            count = self.counts[side, name]
            return f"{self.sums[side, name] / count:.2f} {side}" if count else f"- {side}"

        sides = [side for side in (*SIDES, "response") if side in self.sides] or SIDES
        lines = [
            f"  {name}: mean level {', '.join(mean(side, name) for side in sides)}"
            for name in rubric.names
        ]
        if self.causes:
            why = ", ".join(f"{count} {cause}" for cause, count in sorted(self.causes.items()))
            lines.append(f"  {self.missing} levels are null; draws without a level: {why}")
        if expectation and self.unexpected:
            lines.append(
                f"  {self.unexpected} of {self.counts.total()} levels have no expected level: the "
                "provider gave no probabilities for them, or too few"
            )
        return "\n".join(lines)
