"""`judge score`: levels for both sides of every pair, resumable at any point.

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

from judge.ask import Asker
from judge.family import family
from judge.merge import Draw, merge
from judge.parse import Cause, unanswered
from judge.rows import PairFile
from judge.settings import WITHOUT_EFFECT, ScoreSettings
from reward_model.llm import LLM, Caller, FatalError, bounded, open_llm
from reward_model.records import (
    SIDES,
    Pair,
    Side,
    Stopped,
    UserError,
    as_text,
    digest,
    dump_json,
    parse_json,
    parse_record,
    write_json,
    writing,
)
from reward_model.records.terminal import console, progress
from reward_model.rubric import Rubric, load_rubric


class Task(NamedTuple):
    """One question: this side of this row, these dimensions, this judge, this draw."""

    row: int
    side: Side
    dimensions: tuple[str, ...]
    member: int
    sample: int


def score_file(
    pairs: Path, out: Path, settings: ScoreSettings, *, judges: Sequence[LLM] | None = None
) -> None:
    """Score a file of pairs.

    Args:
        judges: models to ask; None opens those that `settings.llm` names.

    Raises:
        UserError: settings or files that cannot be used; nothing was called or written.
        Stopped: levels are owed because a provider failed; the rest is written.
    """
    rubric = load_rubric(settings.rubric)
    llms = tuple(judges) if judges is not None else _open(settings, rubric)
    rows = PairFile(pairs)
    _check_rows(rows, settings)
    config = _config(rows, settings, rubric)
    config_path = out.with_name(out.name + ".config.json")
    _check_out(pairs, out, config_path, config)
    ledger = Path(settings.ledger) if settings.ledger else out.with_name(out.name + ".calls.jsonl")
    owed = asyncio.run(Scoring(rows, out, settings, rubric, llms, ledger, config).run())
    if owed:
        raise Stopped(
            f"{owed} level(s) are owed because the provider gave no answer; {out} has null for "
            "them. Run the same command again to ask for these alone"
        )


class Scoring:
    """One run over one file."""

    def __init__(
        self,
        rows: PairFile,
        out: Path,
        settings: ScoreSettings,
        rubric: Rubric,
        llms: tuple[LLM, ...],
        ledger: Path,
        config: dict[str, Any],
    ) -> None:
        self.rows, self.out, self.settings, self.rubric = rows, out, settings, rubric
        self.llms, self.ledger, self.config = llms, ledger, config
        self.dimensions = (
            (rubric.names,) if settings.mode == "all" else tuple((n,) for n in rubric.names)
        )
        self.unanswered: dict[Task, Cause] = {}
        """Questions without a reply in this run, so that writing does not ask them again."""

    async def run(self) -> int:
        """Ask, write, report; the number of levels owed."""
        settings = self.settings
        async with Caller(
            ledger=self.ledger,
            attempts=settings.attempts,
            max_concurrency=settings.max_concurrency,
            requests_per_minute=settings.requests_per_minute,
            tokens_per_minute=settings.tokens_per_minute,
            budget_usd=settings.budget,
        ) as caller:
            asker = Asker(caller, self.settings, self.rubric)
            try:
                await self._ask_all(caller, asker)
                made, kept = caller.counts["calls"], caller.counts["cached"]
                summary = await self._write(asker)
            except FatalError as error:
                if caller.counts["calls"]:
                    raise Stopped(f"no further call can work: {error}") from None
                raise UserError(f"a judge that cannot be called: {error}") from None
            finally:
                for llm in self.llms:
                    await llm.close()
        cost = f", ${caller.cost_usd:.2f}" if caller.cost_usd else ""
        console().print(
            f"{self.out}: {len(self.rows)} pairs; {made} calls made, {kept} taken from "
            f"{self.ledger}{cost}\n{summary.text(self.rubric)}",
            markup=False,
        )
        return summary.causes["failed"]

    async def _ask_all(self, caller: Caller, asker: Asker) -> None:
        """Make every call; each answer is in the ledger when this returns."""
        each = len(SIDES) * len(self.dimensions) * len(self.llms) * self.settings.samples
        causes: Counter[str] = Counter()

        async def work(item: tuple[Task, Pair]) -> None:
            causes.update(await self._ask(asker, *item))

        with ExitStack() as stack:
            bar = stack.enter_context(progress(transient=True))
            shown = bar.add_task("judging", total=len(self.rows) * each, note="")
            async for _ in bounded(work, self._shuffled(), self.settings.max_concurrency):
                note = [f"${caller.cost_usd:.2f}"] if caller.cost_usd else []
                note += [f"{count} {cause}" for cause, count in sorted(causes.items())]
                bar.update(shown, advance=1, note=", ".join(note))

    async def _ask(self, asker: Asker, task: Task, pair: Pair) -> list[Cause]:
        asked = await asker.ask(
            self.llms[task.member],
            as_text(pair.prompt),
            as_text(pair.side(task.side)),
            task.dimensions,
            task.sample,
        )
        problems = list(asked.verdicts.problems.values())
        if not asked.final:
            self.unanswered[task] = problems[0]
        return problems

    def _shuffled(self) -> Iterator[tuple[Task, Pair]]:
        """Rows in random order and random order within a row, so that a judge that drifts over a
        run drifts across sides and dimensions alike; a row's calls stay close together, so that
        providers can reuse its prompt."""
        rng = random.Random(f"{self.settings.seed}:order")
        order = list(range(len(self.rows)))
        rng.shuffle(order)
        for number in order:
            pair: Pair = parse_record(Pair, self.rows.value(number))
            tasks = list(self._tasks(number))
            rng.shuffle(tasks)
            for task in tasks:
                yield task, pair

    def _tasks(self, number: int) -> Iterator[Task]:
        for side in SIDES:
            for dimensions in self.dimensions:
                for member in range(len(self.llms)):
                    for sample in range(self.settings.samples):
                        yield Task(number, side, dimensions, member, sample)

    async def _write(self, asker: Asker) -> Summary:
        summary = Summary()
        write_json(self.out.with_name(self.out.name + ".config.json"), self.config)
        with writing(self.out) as file:
            for number in range(len(self.rows)):
                value = self.rows.value(number)
                value["scores"] = await self._scores(asker, number, parse_record(Pair, value))
                summary.add(value["scores"])
                file.write(dump_json(value).encode() + b"\n")
        return summary

    async def _scores(self, asker: Asker, number: int, pair: Pair) -> dict[str, Any]:
        draws = []
        for task in self._tasks(number):
            if task in self.unanswered:
                verdicts, returned = unanswered(task.dimensions, self.unanswered[task]), None
            else:
                verdicts, returned, _ = await asker.ask(
                    self.llms[task.member],
                    as_text(pair.prompt),
                    as_text(pair.side(task.side)),
                    task.dimensions,
                    task.sample,
                )
            for name in task.dimensions:
                draws.append(
                    Draw(
                        task.side,
                        name,
                        self.llms[task.member].name,
                        returned,
                        verdicts.levels[name],
                        verdicts.reasons[name],
                        verdicts.problems.get(name),
                    )
                )
        scores = merge(draws, self.rubric.names)
        scores["judge"] = {
            "model": " + ".join(llm.name for llm in self.llms),
            "rubric": self.rubric.id,
            "samples": self.settings.samples,
            "mode": self.settings.mode,
            "reasoning": self.settings.reasoning,
            "evidence": self.settings.evidence,
            "temperature": self.settings.temperature,
            "prompts": self.config["prompts"],
            **scores["judge"],
        }
        return scores


class Summary:
    """Mean levels and missing levels of a run."""

    def __init__(self) -> None:
        self.sums: Counter[tuple[str, str]] = Counter()
        self.counts: Counter[tuple[str, str]] = Counter()
        self.causes: Counter[str] = Counter()
        self.missing = 0

    def add(self, scores: dict[str, Any]) -> None:
        """Count one row."""
        for side in SIDES:
            for name, level in scores[side].items():
                if level is None:
                    self.missing += 1
                else:
                    self.sums[side, name] += level
                    self.counts[side, name] += 1
            for causes in scores["judge"].get("failures", {}).get(side, {}).values():
                self.causes.update(causes)

    def text(self, rubric: Rubric) -> str:
        """A line a dimension, and what is missing."""

        def mean(side: Side, name: str) -> str:
            count = self.counts[side, name]
            return f"{self.sums[side, name] / count:.2f}" if count else "-"

        lines = [
            f"  {name}: mean level {mean('chosen', name)} chosen, {mean('rejected', name)} rejected"
            for name in rubric.names
        ]
        if self.causes:
            why = ", ".join(f"{count} {cause}" for cause, count in sorted(self.causes.items()))
            lines.append(f"  {self.missing} levels are null; draws without a level: {why}")
        return "\n".join(lines)


def _open(settings: ScoreSettings, rubric: Rubric) -> tuple[LLM, ...]:
    if len(set(settings.llm)) < len(settings.llm):
        raise UserError(
            "the same judge twice in --llm", expected="different judges", mend="use --samples"
        )
    if "offline" in settings.llm:
        from reward_model.llm.offline.judge import DIMENSIONS

        unknown = [name for name in rubric.names if name not in DIMENSIONS]
        if unknown:
            raise UserError(
                f"dimension(s) {', '.join(unknown)} of rubric {rubric.name}, which the embedded "
                "judge cannot grade",
                expected=f"only {', '.join(DIMENSIONS)}",
                mend="name a language model with --llm",
            )
    return tuple(open_llm(name, base_url=settings.base_url) for name in settings.llm)


def _check_rows(rows: PairFile, settings: ScoreSettings) -> None:
    generators: set[str] = set()
    for number, pair in enumerate(rows.pairs(), 1):
        if pair.scores is not None and not settings.overwrite_scores:
            raise UserError(
                f"scores in pair {number} already",
                expected="pairs without scores",
                mend="score them anew with --overwrite-scores",
                path=rows.path,
            )
        made = (pair.metadata.gold_metadata, pair.metadata.defect_metadata)
        names = [part.model for part in made if part is not None]
        names.append((pair.metadata.model_extra or {}).get("model"))
        generators.update(name for name in names if isinstance(name, str) and name)
    for judge in settings.llm:
        related = sorted(name for name in generators if family(name) == family(judge))
        if related and family(judge) == "offline":
            console().print("note: the embedded judge is grading texts of the embedded writer")
        elif related:
            console().print(
                f"warning: judge {judge} grades texts by a model of its own family "
                f"({', '.join(related)}) and may favour them; use a judge of another family",
                markup=False,
            )


def _config(rows: PairFile, settings: ScoreSettings, rubric: Rubric) -> dict[str, Any]:
    from importlib.resources import files

    folder = files("judge") / "prompts"
    prompts = {f.name: f.read_text("utf-8") for f in folder.iterdir() if f.name.endswith(".md")}
    return {
        "command": "judge score",
        "settings": settings.model_dump(mode="json"),
        "rubric": rubric.id,
        "prompts": digest(prompts),
        "pairs": {"digest": rows.digest, "rows": len(rows)},
        "aggregate": "mean over the draws of each judge, mean over judges, rounded half up",
    }


def _check_out(pairs: Path, out: Path, config_path: Path, config: dict[str, Any]) -> None:
    if out.is_dir():
        raise UserError("a folder", expected="a file to write", path=out)
    if not out.exists():
        return
    if out.resolve() == pairs.resolve():
        raise UserError("the input named as --out", expected="another file", path=out)
    try:
        before = parse_json(config_path.read_bytes())
        settings = before["settings"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"a file without a readable {config_path.name}",
            expected="no file, or one made by this command with the same settings",
            mend="delete it or choose another --out",
            path=out,
        ) from None
    now = config["settings"]
    changes = [
        f"{name.replace('_', '-')} {settings.get(name)!r} before, {now[name]!r} now"
        for name in now
        if name not in WITHOUT_EFFECT and settings.get(name) != now[name]
    ]
    changes += [
        f"other {words} than before"
        for key, words in (("rubric", "rubric"), ("prompts", "judge prompts"), ("pairs", "pairs"))
        if before.get(key) != config[key]
    ]
    if changes:
        raise UserError(
            f"scores made with another configuration ({'; '.join(changes)})",
            expected="the same configuration",
            mend="delete it or choose another --out; calls already made stay in the ledger",
            path=out,
        )
