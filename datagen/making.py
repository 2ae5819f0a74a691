"""Making one pair: the golden report, its neutral edit, and the edit that makes it worse.

`await PairMaker(...).make(slot)` gives the record, or raises `NotMade` with the reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

from datagen import acceptance
from datagen.design import Slot
from datagen.planting import plant_share
from datagen.requests import Prompts
from reward_model.llm import LLM, Answer, Caller, Reply, Request, UnansweredError
from reward_model.llm.known import Known
from reward_model.llm.pending import Pending
from reward_model.records import Pair
from reward_model.rubrics import Degradation, Rewrite, Rubric, Words

SEVERITY_SHARE = {1: 0.0, 2: 0.2, 3: 0.4}
"""Share of the checkable figures that code makes wrong at a severity; 0 is one figure."""


WAITING = "waits for a batch"


class Named(Protocol):
    """Something to be made: its id, which begins with its number, and that number."""

    @property
    def id(self) -> str: ...
    @property
    def number(self) -> int: ...


class NotMade(Exception):  # noqa: N818 - a pair that is counted, not a fault of the program
    """A pair could not be made; `owed` when another run may make it."""

    def __init__(self, reason: str, *, owed: bool) -> None:
        super().__init__(reason)
        self.reason, self.owed = reason, owed


async def accepted(
    caller: Caller | Pending | Known,
    llm: LLM,
    request: Callable[[int], Request],
    problem: Callable[[Reply], str | None],
    retries: int,
) -> Answer:
    """The first answer that passes its checks.

    Args:
        request: number of the draw -> what is asked.
        problem: why a reply is not accepted, or None.
        retries: times that a reply which fails is asked for anew.

    Raises:
        NotMade: no answer, or none that passes; with the reason.
    """
    reason = ""
    for sample in range(retries + 1):
        try:
            answer = await caller.complete(llm, request(sample))
        except UnansweredError as error:
            words = {"refused": "refused by the provider", "waiting": WAITING}
            why = words.get(error.reason, "no answer")
            raise NotMade(why, owed=error.reason != "refused") from None
        found = problem(answer.reply)
        if found is None:
            return answer
        reason = found
    raise NotMade(reason, owed=False)


@dataclass(frozen=True)
class _Text:
    """A text of a pair and the call it came from."""

    text: str
    call: str
    reply: Reply


class PairMaker:
    """Makes the pairs of one data set."""

    def __init__(
        self,
        caller: Caller | Pending | Known,
        llms: Sequence[LLM],
        prompts: Prompts,
        rubric: Rubric,
    ) -> None:
        self.caller, self.llms, self.prompts, self.rubric = caller, llms, prompts, rubric
        self.settings = prompts.settings

    async def make(self, slot: Slot) -> dict[str, Any]:
        """The record of a pair.

        Raises:
            NotMade: with the reason, to be counted.
        """
        settings, prompts = self.settings, self.prompts
        llm = self.llms[slot.model]
        gold = await self._ask(llm, lambda n: prompts.write(slot, n), slot, names=self._names(slot))
        # Neither edit needs the other; together they take the time of one, or one batch.
        sides = await asyncio.gather(
            self._chosen(llm, slot, gold), self._rejected(llm, slot, gold), return_exceptions=True
        )
        for side in sides:
            if isinstance(side, BaseException):
                raise side
        chosen, rejected = cast(list[_Text], sides)
        worse, planted = rejected.text, list[dict[str, Any]]()
        if slot.planted:
            share = SEVERITY_SHARE.get(slot.severity, 0.85)
            seed = f"{settings.seed}:{slot.id}"
            worse, planted = plant_share(prompts.report(slot), rejected.text, share, seed)
            if not planted:
                raise NotMade("no figure to plant an error on", owed=False)
        if chosen.text == worse:
            raise NotMade("both sides are the same", owed=False)
        return self._record(slot, gold, chosen, replace(rejected, text=worse), planted)

    async def _chosen(self, llm: LLM, slot: Slot, gold: _Text) -> _Text:
        """The gold, after a neutral edit by the same editor where it is asked for."""
        if not (self.settings.edit_gold and self.rubric.rewrites):
            return gold
        return await self._rewritten(llm, slot, gold, self.rubric.rewrites[0].name, "chosen")

    async def _rejected(self, llm: LLM, slot: Slot, gold: _Text) -> _Text:
        """The other side: made worse, rewritten, or rewritten for code to plant errors in."""
        if slot.planted and not self.rubric.rewrites:
            return gold
        if slot.planted:
            return await self._rewritten(llm, slot, gold, self.rubric.rewrites[0].name, "rejected")
        if slot.kind == "neutral":
            return await self._rewritten(llm, slot, gold, slot.edit, "rejected")
        return await self._ask(
            llm,
            lambda n: self.prompts.degrade(slot, gold.text, n),
            slot,
            original=gold.text,
            ratio=self.rubric.degradation(slot.edit).length_ratio,
            names=self._names(slot),
        )

    async def _rewritten(self, llm: LLM, slot: Slot, gold: _Text, kind: str, side: str) -> _Text:
        return await self._ask(
            llm,
            lambda n: self.prompts.rewrite(slot, gold.text, kind, side, n),
            slot,
            original=gold.text,
            ratio=self.rubric.rewrite(kind).length_ratio,
        )

    async def _ask(
        self,
        llm: LLM,
        request: Callable[[int], Request],
        slot: Slot,
        *,
        original: str | None = None,
        ratio: tuple[float, float] | None = None,
        names: tuple[str, ...] = (),
    ) -> _Text:
        """The text of an accepted reply; asked anew when it fails its checks."""

        def problem(reply: Reply) -> str | None:
            return acceptance.problem(
                reply, slot.language, original=original, length_ratio=ratio, names=names
            )

        answer = await accepted(self.caller, llm, request, problem, self.settings.retries)
        return _Text(acceptance.clean(answer.reply.text), answer.call, answer.reply)

    def _names(self, slot: Slot) -> tuple[str, ...]:
        """Names of degradations and focuses, which no report may show."""
        entries: list[Degradation | Rewrite] = [*self.rubric.degradations, *self.rubric.rewrites]
        names = [entry.name for entry in entries if "_" in entry.name]
        if slot.kind == "degraded":
            names += [t for t in _titles(self.rubric.degradation(slot.edit).title) if len(t) > 3]
        return tuple(names)

    def _record(
        self, slot: Slot, gold: _Text, chosen: _Text, rejected: _Text,
        planted: list[dict[str, Any]],
    ) -> dict[str, Any]:  # fmt: skip
        settings, llm = self.settings, self.llms[slot.model]
        defect: dict[str, Any] = {
            "model": model_of(llm, rejected.reply),
            "temperature": rejected.reply.sent(settings.degraded_temperature),
            "call": rejected.call,
        }  # fmt: skip
        if slot.kind == "neutral":
            defect["rewrite"] = slot.edit
        else:
            targets = self.rubric.degradation(slot.edit).targets
            defect |= {
                "degradation_type": slot.edit, "severity": slot.severity, "targets": list(targets),
                "planted": planted, "by_code": slot.planted,
            }  # fmt: skip
        about_gold = {
            "quality_focus": slot.focus, "model": model_of(llm, chosen.reply),
            "temperature": chosen.reply.sent(settings.temperature_gold), "call": gold.call,
        }  # fmt: skip
        if chosen is not gold:
            about_gold["edit_call"] = chosen.call
        row = {
            "id": slot.id,
            "prompt": self.prompts.report(slot),
            "chosen": chosen.text,
            "rejected": rejected.text,
            "metadata": {
                "field": slot.company.field, "language": slot.language,
                "prompt_id": slot.company.id, "company": self.prompts.name(slot),
                "kind": slot.kind, "synthetic": slot.company.synthetic, "seed": settings.seed,
                "rubric": self.rubric.id, "gold_metadata": about_gold, "defect_metadata": defect,
            },
        }  # fmt: skip
        Pair.model_validate(row)
        return row


def model_of(llm: LLM, reply: Reply) -> str:
    """The model as it was asked for; the provider's own name for it where that says more."""
    provider, _, asked = llm.name.partition(":")
    return llm.name if reply.model in {asked, provider} else f"{provider}:{reply.model}"


def _titles(words: Words) -> list[str]:
    return [words] if isinstance(words, str) else list(words.values())
