"""One labelled text, and how a record of a file becomes one or two of them.

`Sample` is what everything downstream reads: made from texts in hand, or a light view of one row of
`reward_model.data.samples.Samples`, whose texts are read from the file when they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from reward_model.records import (
    IGNORE,
    SIDES,
    Levels,
    Metadata,
    Pair,
    Text,
    UserError,
    as_text,
    digest,
    parse_record,
)
from reward_model.records.files import Pathish
from reward_model.rubrics import Rubric

if TYPE_CHECKING:
    from reward_model.data.samples import Columns


SampleSide = Literal["chosen", "rejected", "single"]
Soft = tuple[tuple[float, ...], ...]
"""For each dimension the shares of the judge's draws that gave each level; zeros: no level."""


class SingleResponse(BaseModel):
    """One response with its levels, as HelpSteer has them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = ""
    prompt: Text = ""
    response: Text
    scores: Levels | None = None
    metadata: Metadata = Field(
        default_factory=Metadata, validation_alias=AliasChoices("metadata", "meta")
    )

    @property
    def key(self) -> str:
        """`id`, or a fingerprint of the texts."""
        return self.id or digest([as_text(self.prompt), as_text(self.response)])

    @property
    def group(self) -> str:
        """What splits keep together, as for pairs."""
        known = self.metadata.prompt_id or self.metadata.company
        return known or digest(as_text(self.prompt) or as_text(self.response))


@dataclass(frozen=True, slots=True)
class Sample:
    """One response with the level of every dimension."""

    prompt: Text
    response: Text
    labels: tuple[int, ...]
    """A level for each dimension of the rubric, -100 where there is none."""
    group: str
    """What splits and bootstraps keep together."""
    side: SampleSide
    pair: str
    """Key of the pair or the record it comes from."""
    neutral: bool = False
    """Side of a control whose two sides should score the same."""
    metadata: Metadata = field(default_factory=Metadata)
    soft: Soft | None = None
    """Where soft labels were asked for."""
    _row: tuple[Columns, int] | None = field(default=None, init=False, repr=False, compare=False)

    if not TYPE_CHECKING:  # for a type checker there is nothing but the fields

        def __getattr__(self, name: str) -> Any:
            """What a view does not hold is read from its file; only then is this called."""
            if name in _READ:
                columns, row = self._row
                return getattr(columns.read(row), name)
            raise AttributeError(name)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels to another process with its texts, without the file."""
        return Sample, tuple(getattr(self, f.name) for f in fields(self) if f.init)

    @classmethod
    def view(cls, columns: Columns, row: int) -> Sample:
        """Row `row` of `columns`; holds no text."""
        self = cls.__new__(cls)
        put = object.__setattr__
        put(self, "labels", tuple(columns.labels[row].tolist()))
        put(self, "group", columns.group(row))
        put(self, "side", columns.side(row))
        put(self, "pair", columns.pair(row))
        put(self, "neutral", bool(columns.neutral[row]))
        put(self, "soft", columns.soft_of(row))
        put(self, "_row", (columns, row))
        return self

    def _fact(self, name: str) -> Any:
        """A short fact of the metadata, kept by the file's columns."""
        return self._row[0].facet(name, self._row[1]) if self._row else None

    @property
    def field(self) -> str | None:
        """Field of the report, where known."""
        known: str | None = self._fact("field") if self._row else self.metadata.field
        return known

    @property
    def language(self) -> str | None:
        """Language of the report, where known."""
        known: str | None = self._fact("language") if self._row else self.metadata.language
        return known

    @property
    def degradation(self) -> str | None:
        """Kind of the degradation of its pair, where known (of both sides)."""
        defect = None if self._row else self.metadata.defect_metadata
        known: str | None = self._fact("degradation") if self._row else None
        return defect.degradation_type if defect else known

    @property
    def severity(self) -> int | None:
        """Severity of the degradation of its pair, where known (of both sides)."""
        defect = None if self._row else self.metadata.defect_metadata
        known: int | None = self._fact("severity") if self._row else None
        return defect.severity if defect else known

    @property
    def generator(self) -> str | None:
        """Who wrote the pair: one model, or both if they differ."""
        if self._row:
            known: str | None = self._fact("generator")
            return known
        gold, defect = self.metadata.gold_metadata, self.metadata.defect_metadata
        names = [part.model for part in (gold, defect) if part is not None and part.model]
        return " / ".join(dict.fromkeys(names)) or None

    @property
    def text_digest(self) -> str:
        """Fingerprint of prompt and response."""
        if self._row:
            return self._row[0].text_digest(self._row[1])
        return digest(as_text(self.prompt) + as_text(self.response))


_READ = frozenset({"prompt", "response", "metadata"})
"""Fields that a view reads from its file."""


def samples_of(
    value: Mapping[str, Any],
    rubric: Rubric,
    path: Pathish,
    number: int | None,
    *,
    soft: bool = False,
) -> Iterator[Sample]:
    """The labelled texts of one record: both sides of a pair, or a single response.

    Raises:
        UserError: naming file and line.
    """
    where: dict[str, Any] = {"path": path, "line": number}
    if "response" in value and "chosen" not in value:
        single: SingleResponse = parse_record(SingleResponse, dict(value), **where)
        labels = _labels(single.scores, rubric, "scores", where)
        yield Sample(
            single.prompt,
            single.response,
            labels,
            single.group,
            "single",
            single.key,
            metadata=single.metadata,
            soft=_soft(labels, rubric, {}, where) if soft else None,
        )
        return
    pair: Pair = parse_record(Pair, dict(value), **where)
    for side in SIDES:
        levels = pair.scores.side(side) if pair.scores else None
        labels = _labels(levels, rubric, f"scores.{side}", where)
        yield Sample(
            pair.prompt,
            pair.side(side),
            labels,
            pair.group,
            side,
            pair.key,
            pair.is_neutral,
            pair.metadata,
            _soft(labels, rubric, _draws(pair, side, where), where) if soft else None,
        )


def _labels(
    levels: Levels | None, rubric: Rubric, name: str, where: dict[str, Any]
) -> tuple[int, ...]:
    levels = levels or {}
    rubric.check_levels(levels, where=name, **where)
    given = (levels.get(dimension) for dimension in rubric.names)
    return tuple(IGNORE if level is None else level for level in given)


Draws = dict[str, list[list[int]]]
"""Dimension -> for each judge the levels of its draws, those without a level left out."""


def _draws(pair: Pair, side: str, where: dict[str, Any]) -> Draws:
    judge = pair.scores.judge if pair.scores else None
    kept = (judge.model_extra or {}).get("levels") if judge else None
    found: Draws = {}
    try:
        for sides in (kept or {}).values():
            for name, levels in sides.get(side, {}).items():
                given = [level for level in levels if level is not None]
                if any(not isinstance(level, int) for level in given):
                    raise TypeError
                if given:
                    found.setdefault(name, []).append(given)
    except (AttributeError, TypeError):
        raise UserError(
            "scores.judge.levels of another shape",
            expected="judge -> side -> dimension -> list of integer levels or null",
            mend="take it out, or train without --soft-labels",
            **where,
        ) from None
    return found


def _soft(labels: tuple[int, ...], rubric: Rubric, draws: Draws, where: dict[str, Any]) -> Soft:
    """Shares of the levels: of the draws, every judge counting alike as in its mean level; one-hot
    where there are no draws, zeros where there is no level."""
    out = []
    for name, label in zip(rubric.names, labels, strict=True):
        shares = [0.0] * rubric.classes
        judges = draws.get(name, [])
        for levels in judges if label != IGNORE else []:
            for level in levels:
                rubric.check_levels({name: level}, where="scores.judge.levels", **where)
                shares[level] += 1 / (len(levels) * len(judges))
        if label != IGNORE and not judges:
            shares[label] = 1.0
        out.append(tuple(shares))
    return tuple(out)
