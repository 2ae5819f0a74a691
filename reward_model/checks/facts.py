"""The figures of a prompt, looked up by item and period, with ratios and changes derived."""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property

from reward_model.checks.columns import Scope
from reward_model.checks.figures import PARENT, Figure
from reward_model.checks.formulas import evaluate, names_in
from reward_model.checks.items import Item, clean_label, items
from reward_model.checks.periods import Period

_ORDER: dict[Scope, int] = {"": 0, "period": 0, "closing": 0, "ytd": 2, "opening": 3}
_ACTUAL = frozenset(_ORDER)


class Facts:
    """What the tables of a prompt say.

    >>> facts = read_facts("Unit: CNY million\\n| Item | FY2021 | FY2020 |\\n|---|---|---|\\n"
    ...                    "| Revenue | 120.0 | 100.0 |\\n| Cost of sales | 90.0 | 80.0 |")
    >>> facts.value("revenue", Period.of_year(2021))
    120000000.0
    >>> facts.derive("gross_margin", Period.of_year(2021))
    0.25
    >>> round(facts.change("revenue", Period.of_year(2021), Period.of_year(2020)), 6)
    0.2
    """

    def __init__(
        self,
        figures: Iterable[Figure],
        *,
        currency: str = "",
        current: Period | None = None,
        prose: str = "",
    ) -> None:
        self.figures: tuple[Figure, ...] = tuple(figures)
        """Every number read, in the order of the text."""
        self.currency = currency
        """ISO code where the prompt names one."""
        self.prose = prose
        """What the prompt says outside its tables."""
        self._current = current
        self._memo: dict[tuple[str, Period, Scope], float | None] = {}
        self._owned: dict[str, Facts] = {}

    @cached_property
    def by_item(self) -> dict[tuple[str, Period], list[Figure]]:
        """Actual values of known items (no budgets, no benchmarks, no stated changes)."""
        index: dict[tuple[str, Period], list[Figure]] = defaultdict(list)
        for figure in self.figures:
            if (
                figure.item
                and figure.period
                and figure.measure == "value"
                and figure.scope in _ACTUAL
            ):
                index[figure.item, figure.period].append(figure)
        for found in index.values():
            found.sort(key=lambda f: _ORDER[f.scope])
        return dict(index)

    @cached_property
    def stated(self) -> dict[str, list[Figure]]:
        """Everything else about known items: changes, budgets, benchmarks, undated figures."""
        index: dict[str, list[Figure]] = defaultdict(list)
        for figure in self.figures:
            if figure.item and not (
                figure.period and figure.measure == "value" and figure.scope in _ACTUAL
            ):
                index[figure.item].append(figure)
        return dict(index)

    @cached_property
    def by_label(self) -> dict[str, list[Figure]]:
        """Figures of labels that are not known items, by casefolded label."""
        index: dict[str, list[Figure]] = defaultdict(list)
        for figure in self.figures:
            if figure.item is None:
                index[figure.label.casefold()].append(figure)
        return dict(index)

    @cached_property
    def _periods(self) -> tuple[Period, ...]:
        return tuple(sorted({period for _, period in self.by_item}))

    @cached_property
    def _by_year(self) -> dict[tuple[str, int], list[Period]]:
        index: dict[tuple[str, int], list[Period]] = defaultdict(list)
        for item, period in self.by_item:
            index[item, period.year].append(period)
        return dict(index)

    def periods(self) -> list[Period]:
        """Periods that have actual figures of known items, oldest first."""
        return list(self._periods)

    def items(self) -> list[str]:
        """Keys of known items that have an actual figure, in the order of `items.toml`."""
        present = {item for item, _ in self.by_item}
        return [key for key in items() if key in present]

    @cached_property
    def main_period(self) -> Period | None:
        """The period the prompt is about: the one it calls current, else the latest."""
        if self._current is not None:
            return self._current
        return self._periods[-1] if self._periods else None

    def lookup(self, item: str, period: Period) -> list[Figure]:
        """All actual figures that may be meant by an item in a period, the best first.

        A balance at the end of a quarter is the balance at the end of its last month; a year to
        date given by a cumulative column stands for the quarter, half or year that ends there; a
        year is matched by the only period of that year.
        """
        found = list(self.by_item.get((item, period), ()))
        kind = items()[item].kind if item in items() else "flow"
        same_year = self._by_year.get((item, period.year), [])
        for other in same_year:
            if other.end_month == period.end_month and other != period:
                figures = self.by_item[item, other]
                if kind == "stock":
                    found.extend(figures)
                elif period.from_january:
                    found.extend(f for f in figures if f.scope == "ytd" or other.from_january)
        alone = len(same_year) == 1 and same_year[0].kind != "month"
        if not found and period.kind == "year" and alone:
            found.extend(self.by_item[item, same_year[0]])
        return found

    def value(self, item: str, period: Period, scope: Scope = "") -> float | None:
        """The figure of the tables in base units, else what follows from them by formula.

        `scope` asks for one column (`ytd`, `opening`, ...); left empty, the figure of the period
        itself comes before the year to date.
        """
        for figure in self.lookup(item, period):
            if not scope or figure.scope == scope:
                return figure.value
        if scope and any(f.scope == "" for f in self.lookup(item, period)):
            return self.lookup(item, period)[0].value if scope != "opening" else None
        return self.derive(item, period, scope)

    def opening(self, item: str, period: Period) -> float | None:
        """The balance with which a period opened: its own column, else the last closing one."""
        for figure in self.lookup(item, period):
            if figure.scope == "opening":
                return figure.value
        months = period.end_month - period.months
        before = (
            Period.of_year(period.year - 1) if months <= 0 else Period.of_month(period.year, months)
        )
        candidates = [before]
        if before.kind == "year":
            candidates.append(Period.of_month(before.year, 12))
        for candidate in candidates:
            value = self.value(item, candidate) if self.lookup(item, candidate) else None
            if value is not None:
                return value
            if items()[item].formula:
                value = self.derive(item, candidate)
                if value is not None:
                    return value
        return None

    def derive(self, item: str, period: Period, scope: Scope = "") -> float | None:
        """The item by formula from other lines, by the first convention the tables allow.

        Percentages come as fractions. None where a line is missing or a denominator is zero.
        """
        key = (item, period, scope)
        if key not in self._memo:
            self._memo[key] = None  # A formula that leads back to itself finds nothing.
            self._memo[key] = next(self.conventions(item, period, scope), None)
        return self._memo[key]

    def conventions(self, item: str, period: Period, scope: Scope = "") -> Iterator[float]:
        """The item by every formula the tables allow, the usual convention first."""
        known = items().get(item)
        for formula in known.formula if known else ():

            def look(name: str, average: bool) -> float | None:
                if name == "days":
                    return 365.0 if period.months == 12 else 30.0 * period.months
                kind = items()[name].kind
                value = self.value(name, period, scope if kind == "flow" else "")
                if not average:
                    return value
                opening = self.opening(name, period)
                return None if value is None or opening is None else (value + opening) / 2

            if names_in(formula):
                value = evaluate(formula, look)
                if value is not None:
                    yield value

    def change(self, item: str, period: Period, base_period: Period) -> float | None:
        """Relative change against the base's size, as a fraction; for items in percent the
        difference in points, as a fraction too (0.02 is two percentage points).

        None where either value is unknown or the base is zero.
        """
        now, base = self.value(item, period), self.value(item, base_period)
        if now is None or base is None:
            return None
        known: Item | None = items().get(item)
        if known is not None and known.unit == "percent":
            return now - base
        return (now - base) / abs(base) if base else None

    @cached_property
    def _shown(self) -> frozenset[tuple[str, str, str]]:
        return frozenset((f.label.casefold(), f.column.casefold(), f.shown) for f in self.figures)

    def shows(self, label: str, column: str, cell: str) -> bool:
        """Whether the tables have this very cell under this label and this header."""
        return (clean_label(label).casefold(), column.casefold(), cell) in self._shown

    def says(self, number: str) -> bool:
        """Whether the prompt's own text, outside its tables, has this number.

        >>> Facts([], prose="Sales were $17.9 million.").says("17.9 million")
        True
        """
        shown = number.strip("()+-$¥€£ ").casefold()
        if sum(c.isdigit() for c in shown) < 2:
            return False
        pattern = rf"(?<![\d.,]){re.escape(shown)}(?![\d,.]*\d)"
        return re.search(pattern, self.prose.casefold()) is not None

    @cached_property
    def scales_known(self) -> bool:
        """Whether the scale of every amount of a known item is stated."""
        return all(f.known for f in self.figures if f.item and f.unit == "money")

    @cached_property
    def one_scale(self) -> bool:
        """Whether amounts may be divided by one another: all scales stated, or none."""
        return len({f.known for f in self.figures if f.item and f.unit == "money"}) < 2

    @cached_property
    def owners(self) -> tuple[str, ...]:
        """The companies the figures are of, where the prompt has several."""
        return tuple(sorted({f.owner for f in self.figures} - {""}))

    def of(self, owner: str) -> Facts:
        """The figures of one company alone (an empty name: those that no other company has)."""
        if owner not in self._owned:
            kept = [f for f in self.figures if f.owner in {"", owner}]
            if owner and owner != PARENT:
                own = {(f.item, f.label, f.period) for f in kept if f.owner}
                kept = [f for f in kept if f.owner or (f.item, f.label, f.period) not in own]
            elif owner == PARENT:
                kept = [f for f in kept if f.owner]
            self._owned[owner] = Facts(
                kept, currency=self.currency, current=self._current, prose=self.prose
            )
        return self._owned[owner]

    def labelled(self, label: str) -> list[Figure]:
        """Figures of a label that is not a known item, as written in the tables."""
        return list(self.by_label.get(clean_label(label).casefold(), ()))


_CACHE: OrderedDict[bytes, Facts] = OrderedDict()
_CACHE_SIZE = 64


def read_facts(prompt: str) -> Facts:
    """The facts of a prompt; the last 64 prompts are kept by digest.

    >>> read_facts("no tables here").figures
    ()
    """
    from reward_model.checks.reader import read_prompt

    digest = hashlib.blake2b(prompt.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    facts = _CACHE.get(digest)
    if facts is None:
        read = read_prompt(prompt)
        facts = Facts(read.figures, currency=read.currency, current=read.current, prose=read.prose)
        _CACHE[digest] = facts
        while len(_CACHE) > _CACHE_SIZE:
            _CACHE.popitem(last=False)
    else:
        _CACHE.move_to_end(digest)
    return facts
