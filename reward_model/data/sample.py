"""One labelled text, and how a record of a file becomes one or two of them.

`Sample` is what everything downstream reads: made from texts in hand, or (`RowView`, in `samples`)
one row of a file, whose texts are read when they are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

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
)
from reward_model.records.chat.turns import judged
from reward_model.records.files import Pathish
from reward_model.records.rows import parse_row
from reward_model.records.schema import SingleResponse as SingleResponse
from reward_model.rubrics import Rubric

SampleSide = Literal["chosen", "rejected", "single"]
Soft = tuple[tuple[float, ...], ...]
"""For each dimension the shares of the judge's draws that gave each level; zeros: no level."""


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

    @property
    def field(self) -> str | None:
        """Field of the report, where known."""
        return self.metadata.field

    @property
    def language(self) -> str | None:
        """Language of the report, where known."""
        return self.metadata.language

    @property
    def degradation(self) -> str | None:
        """Kind of the degradation of its pair, where known (of both sides)."""
        defect = self.metadata.defect_metadata
        return defect.degradation_type if defect else None

    @property
    def severity(self) -> int | None:
        """Severity of the degradation of its pair, where known (of both sides)."""
        defect = self.metadata.defect_metadata
        return defect.severity if defect else None

    @property
    def company(self) -> str | None:
        """What it is about, where known: texts on one company are never divided."""
        return self.metadata.company or None

    @property
    def prompt_key(self) -> str:
        """Fingerprint of the prompt; empty without one. One prompt is never divided."""
        prompt = as_text(self.prompt)
        return digest(prompt) if prompt else ""

    @property
    def generator(self) -> str | None:
        """Who wrote the pair: one model, or both if they differ."""
        gold, defect = self.metadata.gold_metadata, self.metadata.defect_metadata
        names = [part.model for part in (gold, defect) if part is not None and part.model]
        return " / ".join(dict.fromkeys(names)) or None

    @property
    def text_digest(self) -> str:
        """Fingerprint of prompt and response."""
        return digest(as_text(self.prompt) + as_text(self.response))


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
    row = parse_row(value, **where, labelled=True, several=False)
    if single := row.single:
        labels = _labels(single.scores, rubric, "scores", single.response, where)
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
    pair = row.pair
    if pair is None:
        return
    for side in SIDES:
        levels = pair.scores.side(side) if pair.scores else None
        labels = _labels(levels, rubric, f"scores.{side}", pair.side(side), where)
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
    levels: Levels | None, rubric: Rubric, name: str, text: Text, where: dict[str, Any]
) -> tuple[int, ...]:
    levels = levels or {}
    rubric.check_levels(levels, where=name, **where)
    if judged("", text).reason:  # such as a thought that was cut: whatever was graded, no answer
        return (IGNORE,) * len(rubric.names)
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
