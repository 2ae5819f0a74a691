"""The design of a data set: which company, focus, edit, severity, model and language each pair has.

Every factor is drawn so that it is balanced by itself and against the factors before it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from datagen import synthetic
from datagen.companies import Company
from datagen.settings import Settings
from reward_model.records import UserError
from reward_model.rubrics import Degradation, Rubric

T = TypeVar("T", bound=Hashable)


class Slot(NamedTuple):
    """One pair to be made."""

    number: int
    company: Company
    language: str
    focus: str
    kind: str
    """`degraded` or `neutral`."""
    edit: str
    """Name of the degradation or of the neutral rewrite."""
    severity: int
    """0 for a neutral rewrite."""
    model: int
    """Index of the model in the settings."""
    planted: bool
    """Errors are planted by code."""

    @property
    def id(self) -> str:
        """Name of the pair, the same for the same design."""
        return f"{self.number:06d}-{self.company.id}"


class Balance:
    """Draws levels of a factor so that each meets those of earlier factors equally often.

    >>> balance = Balance(random.Random(0))
    >>> drawn = [balance.draw("severity", [1, 2, 3, 4], (f"field{n % 2}",)) for n in range(8)]
    >>> sorted(drawn[::2]) == sorted(drawn[1::2]) == [1, 2, 3, 4]
    True
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.alone: Counter[Hashable] = Counter()
        self.met: Counter[Hashable] = Counter()

    def draw(self, factor: str, levels: Sequence[T], before: tuple[Hashable, ...]) -> T:
        """The level that is furthest behind, drawn among equals."""

        def cost(level: T) -> tuple[int, int, int]:
            met = [self.met[factor, level, other] for other in before]
            return max(met, default=0), sum(met), self.alone[factor, level]

        costs = [cost(level) for level in levels]
        least = min(costs)
        level = self.rng.choice([x for x, c in zip(levels, costs, strict=True) if c == least])
        self.alone[factor, level] += 1
        for other in before:
            self.met[factor, level, other] += 1
        return level


def plan(settings: Settings, rubric: Rubric, companies: Sequence[Company]) -> list[Slot]:
    """The pairs to be made, in their order."""
    rng = random.Random(f"{settings.seed}:design")
    balance = Balance(rng)
    sources = {
        (field, language): _companies(settings, companies, field, language)
        for field in settings.fields
        for language in settings.languages
    }
    degradations = [rubric.degradation(name).name for name in settings.degradations]
    degradations = degradations or [d.name for d in rubric.degradations]
    rewrites = [r.name for r in rubric.rewrites]
    focuses = [f.name for f in rubric.focuses]
    depths = {d.name: _severities(d, settings.severities) for d in rubric.degradations}
    slots = []
    for number in range(settings.total):
        field = settings.fields[number % len(settings.fields)]
        usable = [x for x in settings.languages if not sources[field, x].empty]
        language = balance.draw("language", usable, (("field", field),))
        before: tuple[Hashable, ...] = (("field", field), ("language", language))
        # A running total spreads the controls evenly over each field, and over the fields.
        turn, place = divmod(number, len(settings.fields))
        start = place / len(settings.fields)
        share = settings.neutral_share
        neutral = int((turn + 1) * share + start) > int(turn * share + start)
        neutral = bool(rewrites) and (neutral or not degradations)
        kind = "neutral" if neutral else "degraded"
        edit = balance.draw(kind, rewrites if neutral else degradations, before)
        before += (("edit", edit),)
        severity = 0
        if not neutral:
            severity = balance.draw("severity", depths[edit], before)
            before += (("severity", severity),)
        focus = balance.draw("focus", focuses, before)
        before += (("focus", focus),)
        model = balance.draw("model", range(len(settings.llm)), before)
        planted = False
        if edit == "simplified_calculation" and settings.planted_share > 0:
            due = balance.alone["planted"] < settings.planted_share * (balance.alone["calc"] + 1)
            planted = due and (
                settings.planted_share == 1 or balance.draw("code", (True, False), before)
            )
            balance.alone["calc"] += 1
            balance.alone["planted"] += planted
        company = sources[field, language].next()
        slots.append(Slot(number, company, language, focus, kind, edit, severity, model, planted))
    return slots


def _severities(degradation: Degradation, wanted: Sequence[int]) -> list[int]:
    known = range(1, len(degradation.severities) + 1)
    unknown = [severity for severity in wanted if severity not in known]
    if unknown:
        raise UserError(
            f"severity {unknown[0]}",
            expected=f"1 to {known[-1]}, as degradation {degradation.name} has",
        )
    return sorted(set(wanted)) or list(known)


class _Source:
    """Companies of one field for one language, real ones first."""

    def __init__(self, own: list[Company], most: int, invented: Iterator[Company] | None) -> None:
        self.own, self.most, self.invented = own, most, invented
        self.taken = 0
        self.fresh: list[Company] = []

    @property
    def empty(self) -> bool:
        return not self.own and self.invented is None

    def next(self) -> Company:
        """Each company once, then again up to the bound, then invented ones."""
        n, self.taken = self.taken, self.taken + 1
        if n < len(self.own) * self.most or self.invented is None:
            return self.own[n % len(self.own)]
        n -= len(self.own) * self.most
        if n % self.most == 0:
            self.fresh = [next(self.invented)]
        return self.fresh[0]


def _companies(
    settings: Settings, companies: Sequence[Company], field: str, language: str
) -> _Source:
    """A company is used in one language only, so that languages never share a prompt group."""
    rng = random.Random(f"{settings.seed}:companies:{field}")
    own = [c for c in companies if c.field == field and not c.language]
    rng.shuffle(own)
    place = settings.languages.index(language)
    own = own[place :: len(settings.languages)]
    own += [c for c in companies if c.field == field and c.language == language]
    share = settings.fields.index(field) * len(settings.languages) + place
    cells = len(settings.fields) * len(settings.languages)
    asked = settings.synthetic // cells + (share < settings.synthetic % cells)
    numbers = iter(range(1 + place, 10**9, len(settings.languages)))
    invented = (synthetic.named(field, n) for n in numbers)
    own += [next(invented) for _ in range(asked)]
    # Own statements are used as they are: none are invented beside them unless asked for.
    return _Source(own, settings.pairs_per_company, None if settings.statements else invented)
