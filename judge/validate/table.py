"""A scored file as compact columns: one pass, a few hundred bytes a pair, no text kept.

`read_table("scored.jsonl", rubric)` refuses wrong input with file and line; all statistics are
computed from the `Table` it returns.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from judge.validate.measures.sketches import Linker, figure_lines, sentences
from reward_model.records import SIDES, Pair, Side, UserError, as_text, read_jsonl
from reward_model.records.files import Pathish
from reward_model.records.rows import parse_pair
from reward_model.rubrics import Rubric

MISSING = -1
"""Stands for null in the array of levels only."""


class Generator(NamedTuple):
    """What one side was made with."""

    model: str | None
    temperature: float | None


class PlantedError(NamedTuple):
    """An error put into the rejected text of a row, at character offsets [start, end)."""

    row: int
    where: tuple[int, int]
    was: str
    now: str
    error: str


class Names:
    """Texts met so far, numbered from 0."""

    def __init__(self) -> None:
        self.list: list[str] = []
        self._number: dict[str, int] = {}

    def number(self, name: str | None) -> int:
        """The number of a name, or -1 for None."""
        if name is None:
            return -1
        found = self._number.get(name)
        if found is None:
            found = self._number[name] = len(self.list)
            self.list.append(name)
        return found


@dataclass
class Table:
    """Columns over the N pairs of a file; D dimensions, sides in the order chosen, rejected."""

    path: str
    rubric: Rubric
    lines: NDArray[np.int64]
    """(N,) 1-based line in the file."""
    ids: list[str]
    """The pairs' own ids, empty where the file gives none."""
    group: NDArray[np.int64]
    """(N,) which prompt or company the pair belongs to."""
    groups: list[str]
    levels: NDArray[np.int16]
    """(N, 2, D) level, or `MISSING`."""
    scored: NDArray[np.bool_]
    """(N,) the pair has a `scores` object."""
    neutral: NDArray[np.bool_]
    """(N,) a control, not a preference."""
    degradation: NDArray[np.int64]
    """(N,) index into `degradations`, -1 where none is named."""
    degradations: list[str]
    """The rubric's name where it knows the degradation, else the name in the file."""
    severity: NDArray[np.int64]
    """(N,) 1 and up, 0 where none is given."""
    targets: NDArray[np.bool_]
    """(N, D) dimensions the degradation is meant to lower."""
    length: NDArray[np.int64]
    """(N, 2) characters."""
    generator: NDArray[np.int64]
    """(N, 2) index into `generators`, -1 where nothing is recorded."""
    generators: list[Generator]
    judges: Counter[str]
    text_key: NDArray[np.int64]
    """(N, 2) equal for equal texts answering equal prompts."""
    same_sides: NDArray[np.bool_]
    """(N,) both sides are the same text, white space aside."""
    causes: Counter[str]
    """Cause, as the judge recorded it -> levels missing for it."""
    failed_draws: Counter[str]
    """Cause -> draws of the judge that gave no level, whether or not others did."""
    planted: list[PlantedError]
    languages: Counter[str]
    prompts: Linker = field(repr=False)
    texts: Linker = field(repr=False)
    """Of the chosen side; rejected texts are edits of it, and lie close to it on purpose."""

    @property
    def names(self) -> tuple[str, ...]:
        """Dimension names."""
        return self.rubric.names

    @property
    def gaps(self) -> NDArray[np.float64]:
        """(N, D) chosen minus rejected level, NaN where either is missing."""
        high, low = self.levels[:, 0], self.levels[:, 1]
        known = (high != MISSING) & (low != MISSING)
        gaps: NDArray[np.float64] = np.where(known, high - low, np.nan)
        return gaps

    @property
    def preference(self) -> NDArray[np.bool_]:
        """(N,) rows that are preferences, not controls."""
        return ~self.neutral

    def label(self, row: int) -> str:
        """How a person finds a pair: its line, and its id if it has one."""
        name = self.ids[row]
        return f"line {self.lines[row]}" + (f" ({name})" if name else "")


def mean_gap(gaps: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N,) mean over the dimensions that both sides have, NaN where there is none.

    >>> mean_gap(np.array([[2.0, 1.0], [np.nan, 3.0], [np.nan, np.nan]])).tolist()
    [1.5, 3.0, nan]
    """
    known = ~np.isnan(gaps)
    count = known.sum(axis=1)
    total = np.where(known, gaps, 0.0).sum(axis=1)
    means = np.full(len(gaps), np.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means


def read_table(
    path: Pathish, rubric: Rubric, *, progress: Callable[[int], None] | None = None
) -> Table:
    """Read and check a whole file; `progress` is told the bytes of every line.

    Raises:
        UserError: not JSON Lines, an unknown key, a level that is none, an unknown dimension.
    """
    reader = _Reader(path, rubric)
    for line in read_jsonl(path):
        pair = parse_pair(line.value, path=path, line=line.number)
        if pair.scores is not None:
            for side in SIDES:
                rubric.check_levels(
                    pair.scores.side(side), where=f"scores.{side}", path=path, line=line.number
                )
        reader.add(pair, line.number)
        if progress is not None:
            progress(len(line.raw))
    return reader.table()


def degradation_of(pair: Pair, rubric: Rubric) -> tuple[str | None, tuple[str, ...]]:
    """Name of the pair's degradation as the rubric calls it, and the dimensions it targets."""
    defect = pair.metadata.defect_metadata
    name = defect.degradation_type if defect else None
    if name is None:
        # Sets of biased against neutral texts name the bias where others name a degradation.
        bias = (pair.metadata.model_extra or {}).get("bias_type")
        name = bias if isinstance(bias, str) else None
    targets = defect.targets if defect and defect.targets is not None else None
    if name is not None:
        try:
            known = rubric.degradation(name)
        except UserError:
            pass
        else:
            return known.name, known.targets if targets is None else targets
    return name, targets or ()


def _squeezed(text: str) -> str:
    return text.replace(" ", "").replace("\n", "")


class _Reader:
    """Columns under construction."""

    def __init__(self, path: Pathish, rubric: Rubric) -> None:
        self.path, self.rubric = str(path), rubric
        self.place = {name: i for i, name in enumerate(rubric.names)}
        self.groups, self.degradations = Names(), Names()
        self.generators: dict[Generator, int] = {}
        self.lines: list[int] = []
        self.ids: list[str] = []
        self.group: list[int] = []
        self.levels = array("h")
        self.flags: list[tuple[bool, bool, bool]] = []
        self.cause: list[tuple[int, int]] = []
        self.targets = array("b")
        self.length: list[tuple[int, int]] = []
        self.generator: list[tuple[int, int]] = []
        self.text_key: list[tuple[int, int]] = []
        self.judges: Counter[str] = Counter()
        self.languages: Counter[str] = Counter()
        self.causes: Counter[str] = Counter()
        self.failed_draws: Counter[str] = Counter()
        self.planted: list[PlantedError] = []
        self.prompts, self.texts = Linker(figure_lines, 0.5), Linker(sentences, 0.8)

    def add(self, pair: Pair, number: int) -> None:
        prompt = as_text(pair.prompt)
        texts = [as_text(pair.chosen), as_text(pair.rejected)]
        group = self.groups.number(pair.group)
        name, targets, severity = self._degradation(pair, number)
        row = len(self.lines)
        self.lines.append(number)
        self.ids.append(pair.id)
        self.group.append(group)
        for side in SIDES:
            self.levels.extend(self._levels(pair, side))
        same = _squeezed(texts[0]) == _squeezed(texts[1])
        self.flags.append((pair.scores is not None, pair.is_neutral, same))
        self.cause.append((name, severity))
        self.targets.extend(targets)
        self.length.append((len(texts[0]), len(texts[1])))
        self.generator.append(self._generators(pair))
        key = hash(prompt)
        self.text_key.append((hash((key, texts[0])), hash((key, texts[1]))))
        self._judge(pair)
        if pair.metadata.language:
            self.languages[pair.metadata.language] += 1
        defect = pair.metadata.defect_metadata
        for error in defect.planted if defect else ():
            self.planted.append(PlantedError(row, error.where, error.was, error.now, error.error))
        self.prompts.add(prompt, group)
        self.texts.add(texts[0], group)

    def _levels(self, pair: Pair, side: Side) -> list[int]:
        if pair.scores is None:
            return [MISSING] * len(self.place)
        given = pair.scores.side(side)
        return [MISSING if (v := given.get(n)) is None else v for n in self.place]

    def _degradation(self, pair: Pair, number: int) -> tuple[int, list[bool], int]:
        name, targets = degradation_of(pair, self.rubric)
        unknown = [t for t in targets if t not in self.place]
        if unknown:
            raise UserError(
                f"unknown dimension {unknown[0]!r} in metadata.defect_metadata.targets",
                expected=f"the dimensions of rubric {self.rubric.name}: "
                f"{', '.join(self.rubric.names)}",
                path=self.path,
                line=number,
            )
        defect = pair.metadata.defect_metadata
        severity = defect.severity if defect and defect.severity else 0
        return self.degradations.number(name), [n in targets for n in self.place], severity

    def _generators(self, pair: Pair) -> tuple[int, int]:
        found = []
        for made in (pair.metadata.gold_metadata, pair.metadata.defect_metadata):
            if made is None or (made.model is None and made.temperature is None):
                found.append(-1)
            else:
                key = Generator(made.model, made.temperature)
                found.append(self.generators.setdefault(key, len(self.generators)))
        return found[0], found[1]

    def _judge(self, pair: Pair) -> None:
        judge = pair.scores.judge if pair.scores else None
        if pair.scores is None or judge is None:
            return
        if judge.model:
            self.judges[judge.model] += 1
        failures = (judge.model_extra or {}).get("failures")
        for side in SIDES:
            by_dimension = failures.get(side) if isinstance(failures, dict) else None
            if not isinstance(by_dimension, dict):
                continue
            for dimension, draws in by_dimension.items():
                if not isinstance(draws, dict):
                    continue
                counts = Counter({why: n for why, n in draws.items() if isinstance(n, int)})
                self.failed_draws.update(counts)
                if counts and pair.scores.side(side).get(dimension) is None:
                    self.causes[counts.most_common(1)[0][0]] += 1

    def table(self) -> Table:
        n, d = len(self.lines), len(self.place)
        flags = np.array(self.flags, bool).reshape(n, 3)
        cause = np.array(self.cause, np.int64).reshape(n, 2)
        return Table(
            path=self.path,
            rubric=self.rubric,
            lines=np.array(self.lines, np.int64),
            ids=self.ids,
            group=np.array(self.group, np.int64),
            groups=self.groups.list,
            levels=np.frombuffer(self.levels, np.int16).reshape(n, 2, d),
            scored=flags[:, 0],
            neutral=flags[:, 1],
            degradation=cause[:, 0],
            degradations=self.degradations.list,
            severity=cause[:, 1],
            targets=np.frombuffer(self.targets, np.int8).reshape(n, d).astype(bool),
            length=np.array(self.length, np.int64).reshape(n, 2),
            generator=np.array(self.generator, np.int64).reshape(n, 2),
            generators=list(self.generators),
            judges=self.judges,
            text_key=np.array(self.text_key, np.int64).reshape(n, 2),
            same_sides=flags[:, 2],
            causes=self.causes,
            failed_draws=self.failed_draws,
            planted=self.planted,
            languages=self.languages,
            prompts=self.prompts,
            texts=self.texts,
        )
