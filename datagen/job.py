"""A data set in the making that can be killed at any moment: kept, gone on with, put in order.

Finished pairs are appended as they come; at the end the file is put in the order of the plan, so
the same options give the same file whatever happened on the way.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from datagen.making import WAITING, Named, NotMade
from datagen.settings import ONLY_SPEED, CallSettings
from reward_model.llm import LLM, Caller, FatalError, bounded
from reward_model.llm.options import ModelOptions
from reward_model.llm.pending import Pending, batchable, check_none_open, rounds
from reward_model.llm.providers import open_llms
from reward_model.records import (
    Appender,
    Stopped,
    UserError,
    check_named,
    check_outputs,
    check_plain,
    locked,
    parse_json,
    read_object,
    repair_tail,
    write_json,
    writing,
)
from reward_model.records.files import Pathish, is_object, sweep
from reward_model.records.terminal import console, progress

BESIDE = ("config.json", "report.json", "failures.json", "batches.json")
"""Endings of the files that stand beside the pairs."""


USUAL = {name: field.default for name, field in ModelOptions.model_fields.items()}
"""Options that older files do not have, as they were then."""


class Maker(Protocol):
    """Makes the record of one thing."""

    def make(self, item: Any, /) -> Awaitable[dict[str, Any]]:
        """The record, or `NotMade` with the reason."""
        ...


@dataclass(frozen=True)
class Work:
    """What a data set is made of."""

    items: Sequence[Named]
    """In the order of the file; the id of each begins with its number."""
    made_with: dict[str, Any]
    """Settings and fingerprints that decide what is made: `settings` and others."""
    maker: Callable[[Caller | Pending, Sequence[LLM]], Maker]


class Job:
    """A data set in the making, in a file that can be gone on with."""

    def __init__(self, settings: CallSettings, out: Path, work: Work) -> None:
        self.settings, self.out, self.work = settings, out, work
        self.items, self.made_with = work.items, work.made_with
        self.places = array("q", [-1]) * len(self.items)
        """Where the line of each pair begins in the file, -1 for none; the texts stay there."""
        self.lines = 0
        """Lines found in the file at the start."""
        self.failures: Counter[str] = Counter()
        self.owed = 0
        self.why = ""
        """Why calls brought no answer, in the providers' words."""
        self.begun = False
        """This run has opened the file to write."""
        self.names: dict[str, list[str]] = {}

    def open(self) -> None:
        """Read what is there, refuse what was made otherwise, write the configuration."""
        config = self._beside("config.json")
        if self.out.exists() and self.out.stat().st_size:
            self._compare(config)
            self._find_lines()
            repair_tail(self.out)
        sweep(self.out)  # of a process killed while it put the file in order
        write_json(config, self.made_with)

    def _find_lines(self) -> None:
        start = 0
        with self.out.open("rb") as file:
            for number, raw in enumerate(file, 1):
                if not raw.endswith(b"\n") and not is_object(raw):
                    if not raw.startswith(b'{"'[: len(raw)]):
                        raise self._no_pair(number)
                    return  # torn: this pair is made again
                try:
                    name = str(parse_json(raw)["id"]) if raw.strip() else ""
                except (ValueError, KeyError, TypeError):
                    raise self._no_pair(number) from None
                place = name.partition("-")[0]
                known = place.isdigit() and int(place) < len(self.items)
                if known and self.items[int(place)].id == name:
                    self.places[int(place)] = start
                elif name:  # putting the file in order would drop it
                    raise self._no_pair(number)
                start += len(raw)
                self.lines += 1

    def _no_pair(self, number: int) -> UserError:
        return UserError(
            "a line that is no pair of this data set",
            expected="a file that this command made",
            mend="choose another --out",
            path=self.out,
            line=number,
        )

    def _compare(self, config: Path) -> None:
        if not config.exists():
            raise UserError(
                "a file without its configuration",
                expected=f"{config.name} beside it",
                mend="choose another --out",
                path=self.out,
            )
        before = read_object(config)
        settings = (before or {}).get("settings")
        if before is None or not isinstance(settings, dict):
            raise UserError("a broken configuration", mend="choose another --out", path=config)
        now = self.made_with["settings"]
        wrong = [
            f"{name} {settings.get(name)!r} (now {now[name]!r})"
            for name in now
            if name not in ONLY_SPEED and settings.get(name, USUAL.get(name)) != now[name]
        ]
        wrong += [
            f"other {name}"
            for name in self.made_with
            if name != "settings" and before.get(name) != self.made_with[name]
        ]
        if wrong:
            raise UserError(
                f"pairs made with {', '.join(wrong)}",
                expected="the same options, to go on with them",
                mend="use those options, or choose another --out",
                path=self.out,
            )

    async def run(self, llms: list[LLM]) -> None:
        """Make what is missing, put the file in order, and tell."""
        try:
            await self._make(llms)
        finally:
            if self.begun and not self.made:
                self.out.unlink(missing_ok=True)  # an empty file is no data set
            for llm in llms:
                await llm.close()
        self._report()

    async def _make(self, llms: list[LLM]) -> None:
        s = self.settings
        if self._in_order():
            return
        caller = self._caller()
        bar = progress()
        async with caller:
            self.begun = True
            with Appender(self.out) as file, bar:
                task = bar.add_task("pairs", total=len(self.items), completed=self.made, note="")

                async def fill(by: Caller | Pending) -> None:
                    maker = self.work.maker(by, llms)
                    self.failures.clear()
                    self.names.clear()
                    self.owed = 0
                    missing = [slot for slot in self.items if self.places[slot.number] < 0]
                    # More pairs than calls, so that a pair being checked leaves no call unused;
                    # but a few only where answers are computed here, one after another.
                    network = any(llm.base_url for llm in llms)
                    limit = s.max_concurrency + s.max_concurrency // 2 if network else 4
                    async for slot, row in bounded(
                        lambda slot: self._one(maker, slot), missing, limit
                    ):
                        if row is not None:
                            self.places[slot.number] = file.append(row)
                        lost = sum(self.failures.values())
                        note = caller.note() + (f", {lost} not made" if lost else "")
                        bar.update(task, advance=row is not None, note=note)

                try:
                    if s.batch:
                        manifest = self._beside("batches.json")
                        await rounds(caller, batchable(llms), manifest, fill, wait=s.wait)
                    else:
                        await fill(caller)
                except FatalError as error:
                    if self.made:
                        raise Stopped(f"no further call can work: {error}") from None
                    raise UserError(f"a model that cannot be called: {error}") from None
                except Stopped as stop:
                    raise Stopped(
                        f"{self.made:,} of {len(self.items):,} pairs made; {stop}"
                    ) from None
                finally:
                    self._save_report(caller)
            self._put_in_order()

    def _caller(self) -> Caller:
        s = self.settings
        prices = None
        if s.prices:
            from reward_model.llm.prices import Prices

            prices = Prices.load(Path(s.prices))
        return Caller(
            ledger=ledger_of(s, self.out),
            max_concurrency=s.max_concurrency, budget_usd=s.budget_usd, prices=prices,
            requests_per_minute=s.requests_per_minute, tokens_per_minute=s.tokens_per_minute,
            timeout_s=s.timeout_s,
        )  # fmt: skip

    def _beside(self, ending: str) -> Path:
        return _beside(self.out, ending)

    def _save_report(self, caller: Caller) -> None:
        """What the run did: pairs, failures, and for each model its calls, tokens and cost."""
        report = {
            "pairs": self.made,
            "wanted": len(self.items),
            "not_made": dict(self.failures.most_common()),
            **caller.report(),
        }
        write_json(self._beside("report.json"), report)
        self.why = caller.reasons.words()

    @property
    def made(self) -> int:
        """Pairs in the file."""
        return sum(start >= 0 for start in self.places)

    async def _one(self, maker: Maker, slot: Named) -> dict[str, Any] | None:
        try:
            return await maker.make(slot)
        except NotMade as lost:
            if lost.reason != WAITING:
                self.failures[lost.reason] += 1
                self.owed += lost.owed
                self.names.setdefault(lost.reason, []).append(slot.id)
            return None

    def _in_order(self) -> bool:
        """Whether the file holds every pair once, in the order of the plan."""
        complete = self.made == len(self.items) == self.lines
        return complete and all(one < next_ for one, next_ in pairwise(self.places))

    def _put_in_order(self) -> None:
        """Rewrite the file in the order of the plan, whole or not at all."""
        if not self.made:
            return
        with writing(self.out) as target, self.out.open("rb") as source:
            for start in self.places:
                if start >= 0:
                    source.seek(start)
                    target.write(source.readline())

    def _report(self) -> None:
        made, wanted = self.made, len(self.items)
        out = console()
        out.print(f"{made:,} of {wanted:,} pairs in {self.out}", markup=False)
        if not self.failures:
            self._beside("failures.json").unlink(missing_ok=True)
            return
        reasons = ", ".join(f"{n} {reason}" for reason, n in self.failures.most_common())
        write_json(self._beside("failures.json"), self.names)
        out.print(f"not made: {reasons}", markup=False)
        if self.why:
            out.print(f"calls without an answer:\n{self.why}", markup=False)
        if self.owed or not made:
            raise Stopped(
                f"{made:,} of {wanted:,} pairs made, {wanted - made:,} missing ({reasons}); "
                "run the same command again to go on"
            )


def _beside(out: Path, ending: str) -> Path:
    return out.with_name(f"{out.name}.{ending}")


def ledger_of(settings: CallSettings, out: Path) -> Path:
    """The file that keeps the calls of a data set."""
    return Path(settings.ledger) if settings.ledger else _beside(out, "calls.jsonl")


def check_place(settings: CallSettings, out: Path, *inputs: Pathish | None) -> None:
    """Said before the work: nothing is written over what is read.

    Raises:
        UserError: `out`, a file beside it or the ledger is one of the inputs, or a folder.
    """
    check_named(out)
    check_plain(out)
    beside = {f"--out with .{ending}": _beside(out, ending) for ending in BESIDE}
    check_outputs({"--out": out, **beside, "--ledger": settings.ledger}, (*inputs, settings.prices))


def carry_out(
    settings: CallSettings, out: Path, work: Work, llms: Sequence[LLM] | None = None
) -> None:
    """Make a data set, or go on with one.

    Args:
        llms: models that stand for those that the settings name, one for each.

    Raises:
        UserError: `out` was made with other options, or a model cannot be called.
        Stopped: pairs are owed to another run.
    """
    # Keys and names are looked at before anything is written.
    llms = llms or open_llms(settings.llm, base_url=settings.base_url, options=settings)
    if settings.batch:
        batchable(llms)
    job = Job(settings, out, work)
    with locked(out):
        job.open()
        if not settings.batch:
            check_none_open(_beside(out, "batches.json"))
        asyncio.run(job.run(list(llms)))
