"""Making one pair: the golden report, its neutral edit, and the edit that makes it worse.

`await Maker(...).make(slot)` gives the record, or raises `NotMade` with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from datagen import acceptance
from datagen.design import Slot
from datagen.planting import plant_share
from datagen.requests import Prompts
from reward_model.llm import LLM, Caller, Reply, Request, UnansweredError
from reward_model.records import Pair
from reward_model.rubric import Degradation, Rewrite, Rubric, Words

SEVERITY_SHARE = {1: 0.0, 2: 0.2, 3: 0.4}
"""Share of the checkable figures that code makes wrong at a severity; 0 is one figure."""


class NotMade(Exception):  # noqa: N818 - a pair that is counted, not a fault of the program
    """A pair could not be made; `owed` when another run may make it."""

    def __init__(self, reason: str, *, owed: bool) -> None:
        super().__init__(reason)
        self.reason, self.owed = reason, owed


class Maker:
    """Makes the pairs of one data set."""

    def __init__(
        self, caller: Caller, llms: Sequence[LLM], prompts: Prompts, rubric: Rubric
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
        gold, gold_call = await self._ask(
            llm, lambda n: prompts.write(slot, n), slot, names=self._names(slot)
        )
        chosen, chosen_reply, edit_call = gold, gold_call[1], ""
        if settings.edit_gold and self.rubric.rewrites:
            kind = self.rubric.rewrites[0].name
            chosen, (edit_call, chosen_reply) = await self._ask(
                llm,
                lambda n: prompts.rewrite(slot, gold, kind, "chosen", n),
                slot,
                original=gold,
                ratio=self.rubric.rewrite(kind).length_ratio,
            )
        planted: list[dict[str, Any]] = []
        if slot.planted:
            kind = self.rubric.rewrites[0].name if self.rubric.rewrites else ""
            source, call = chosen, edit_call or gold_call[0]
            if kind:
                source, (call, reply) = await self._ask(
                    llm,
                    lambda n: prompts.rewrite(slot, gold, kind, "rejected", n),
                    slot,
                    original=gold,
                    ratio=self.rubric.rewrite(kind).length_ratio,
                )
            else:
                reply = chosen_reply
            share = SEVERITY_SHARE.get(slot.severity, 0.85)
            seed = f"{settings.seed}:{slot.id}"
            rejected, planted = plant_share(prompts.report(slot), source, share, seed)
            if not planted:
                raise NotMade("no figure to plant an error on", owed=False)
        elif slot.kind == "neutral":
            rejected, (call, reply) = await self._ask(
                llm,
                lambda n: prompts.rewrite(slot, gold, slot.edit, "rejected", n),
                slot,
                original=gold,
                ratio=self.rubric.rewrite(slot.edit).length_ratio,
            )
        else:
            rejected, (call, reply) = await self._ask(
                llm,
                lambda n: prompts.degrade(slot, gold, n),
                slot,
                original=gold,
                ratio=self.rubric.degradation(slot.edit).length_ratio,
                names=self._names(slot),
            )
        if chosen == rejected:
            raise NotMade("both sides are the same", owed=False)
        return self._record(
            slot, chosen, rejected, chosen_reply, reply,
            calls=(gold_call[0], edit_call, call), planted=planted,
        )  # fmt: skip

    async def _ask(
        self,
        llm: LLM,
        request: Callable[[int], Request],
        slot: Slot,
        *,
        original: str | None = None,
        ratio: tuple[float, float] | None = None,
        names: tuple[str, ...] = (),
    ) -> tuple[str, tuple[str, Reply]]:
        """An accepted reply: its text, its call and itself; asked anew when it fails its checks."""
        reason = ""
        for sample in range(self.settings.retries + 1):
            try:
                answer = await self.caller.complete(llm, request(sample))
            except UnansweredError as error:
                why = "refused by the provider" if error.reason == "refused" else "no answer"
                raise NotMade(why, owed=error.reason != "refused") from None
            found = acceptance.problem(
                answer.reply, slot.language, original=original, length_ratio=ratio, names=names
            )
            if found is None:
                return acceptance.clean(answer.reply.text), (answer.call, answer.reply)
            reason = found
        raise NotMade(reason, owed=False)

    def _names(self, slot: Slot) -> tuple[str, ...]:
        """Names of degradations and focuses, which no report may show."""
        entries: list[Degradation | Rewrite] = [*self.rubric.degradations, *self.rubric.rewrites]
        names = [entry.name for entry in entries if "_" in entry.name]
        if slot.kind == "degraded":
            names += [t for t in _titles(self.rubric.degradation(slot.edit).title) if len(t) > 3]
        return tuple(names)

    def _record(
        self, slot: Slot, chosen: str, rejected: str, chosen_reply: Reply, reply: Reply,
        calls: tuple[str, str, str], planted: list[dict[str, Any]],
    ) -> dict[str, Any]:  # fmt: skip
        settings, llm = self.settings, self.llms[slot.model]
        gold_call, edit_call, call = calls
        defect: dict[str, Any] = {
            "model": _model(llm, reply), "temperature": settings.degraded_temperature, "call": call,
        }  # fmt: skip
        if slot.kind == "neutral":
            defect["rewrite"] = slot.edit
        else:
            targets = self.rubric.degradation(slot.edit).targets
            defect |= {
                "degradation_type": slot.edit, "severity": slot.severity, "targets": list(targets),
                "planted": planted, "by_code": slot.planted,
            }  # fmt: skip
        gold = {
            "quality_focus": slot.focus, "model": _model(llm, chosen_reply),
            "temperature": settings.temperature_gold, "call": gold_call,
        }  # fmt: skip
        if edit_call:
            gold["edit_call"] = edit_call
        row = {
            "id": slot.id,
            "prompt": self.prompts.report(slot),
            "chosen": chosen,
            "rejected": rejected,
            "metadata": {
                "field": slot.company.field, "language": slot.language,
                "prompt_id": slot.company.id, "company": self.prompts.name(slot),
                "kind": slot.kind, "synthetic": slot.company.synthetic, "seed": settings.seed,
                "rubric": self.rubric.id, "gold_metadata": gold, "defect_metadata": defect,
            },
        }  # fmt: skip
        Pair.model_validate(row)
        return row


def _model(llm: LLM, reply: Reply) -> str:
    """The model as it was asked for; the provider's own name for it where that says more."""
    provider, _, asked = llm.name.partition(":")
    return llm.name if reply.model in {asked, provider} else f"{provider}:{reply.model}"


def _titles(words: Words) -> list[str]:
    return [words] if isinstance(words, str) else list(words.values())
