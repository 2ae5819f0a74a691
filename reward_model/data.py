"""Scored records as labelled texts: both sides of every pair, or single responses.

`MultiDimRewardDataset.from_file("scored.jsonl")` is what training and evaluation read;
`PairwiseMultiDimDataset` keeps the pairs together. Nothing here imports torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from reward_model.records import (
    SIDES,
    Levels,
    Metadata,
    Pair,
    Text,
    UserError,
    as_text,
    digest,
    parse_record,
    read_jsonl,
)
from reward_model.records.files import Pathish
from reward_model.rubric import Rubric, load_rubric, shipped_rubrics

if TYPE_CHECKING:
    from reward_model.inputs import Encoded, InputBuilder

IGNORE = -100
"""Label of a level nobody gave; the loss leaves it out."""

SampleSide = Literal["chosen", "rejected", "single"]


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


def read_samples(path: Pathish, rubric: Rubric) -> tuple[list[Sample], int]:
    """Every labelled text of a file, in order, and how many records carry no label at all.

    Raises:
        UserError: naming file and line: a record that is not one, a level or a dimension that is
            not of the rubric; or a file without a single label.
    """
    samples: list[Sample] = []
    bare = 0
    for line in read_jsonl(path):
        new = list(_samples_of(line.value, rubric, path, line.number))
        if not any(label != IGNORE for sample in new for label in sample.labels):
            bare += 1
            continue
        samples += new
    if not samples:
        raise UserError(
            "no level on any line" if bare else "no record",
            expected=f"scores for {', '.join(rubric.names)}",
            mend="score the pairs first: judge score PAIRS --out SCORED",
            path=path,
        )
    return samples, bare


def _samples_of(
    value: dict[str, Any], rubric: Rubric, path: Pathish, number: int
) -> Iterator[Sample]:
    where: dict[str, Any] = {"path": path, "line": number}
    if "response" in value and "chosen" not in value:
        single: SingleResponse = parse_record(SingleResponse, value, **where)
        labels = _labels(single.scores, rubric, "scores", where)
        yield Sample(
            single.prompt,
            single.response,
            labels,
            single.group,
            "single",
            single.key,
            metadata=single.metadata,
        )
        return
    pair: Pair = parse_record(Pair, value, **where)
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
        )


def _labels(
    levels: Levels | None, rubric: Rubric, name: str, where: dict[str, Any]
) -> tuple[int, ...]:
    levels = levels or {}
    rubric.check_levels(levels, where=name, **where)
    given = (levels.get(dimension) for dimension in rubric.names)
    return tuple(IGNORE if level is None else level for level in given)


def find_rubric(path: Pathish, name_or_path: str | None = None) -> Rubric:
    """The rubric to read a file with: the one asked for, else the one its judge named, if it ships,
    else `financial_report`.
    """
    if name_or_path:
        return load_rubric(name_or_path)
    for line in itertools.islice(read_jsonl(path), 1):
        scores = line.value.get("scores")
        judge = scores.get("judge") if isinstance(scores, dict) else None
        named = judge.get("rubric") if isinstance(judge, dict) else None
        if isinstance(named, str) and named.split("@")[0] in shipped_rubrics():
            return load_rubric(named.split("@")[0])
    return load_rubric("financial_report")


class MultiDimRewardDataset:
    """Labelled texts, one item a response; a map-style dataset for any torch loader.

    Args:
        samples: the texts and their labels.
        rubric: names and number of the levels.
        builder: turns texts into token ids, once, here; without one items carry texts only.
    """

    def __init__(
        self, samples: Sequence[Sample], rubric: Rubric, builder: InputBuilder | None = None
    ) -> None:
        self.samples = list(samples)
        self.rubric = rubric
        self.encoded: list[Encoded] | None = None
        if builder is not None:
            self.encoded = builder.build(
                [s.prompt for s in self.samples], [s.response for s in self.samples]
            )

    @classmethod
    def from_file(
        cls, path: Pathish, rubric: Rubric | None = None, builder: InputBuilder | None = None
    ) -> MultiDimRewardDataset:
        """Read a file of scored pairs or single responses."""
        rubric = rubric or find_rubric(path)
        return cls(read_samples(path, rubric)[0], rubric, builder)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.samples[index]
        item: dict[str, Any] = {
            "prompt": sample.prompt,
            "response": sample.response,
            "labels": list(sample.labels),
            "group": sample.group,
            "side": sample.side,
            "pair": sample.pair,
        }
        if self.encoded is not None:
            encoded = self.encoded[index]
            item["input_ids"] = encoded.input_ids
            item["types"] = encoded.token_type_ids
        return item

    @property
    def lengths(self) -> list[int]:
        """Tokens of every text."""
        if self.encoded is None:
            raise ValueError("lengths need a dataset made with a builder")
        return [len(encoded.input_ids) for encoded in self.encoded]

    def truncation(self) -> dict[str, float]:
        """Share of the texts whose prompt, and whose response, lost its middle, and by side."""
        encoded = self.encoded or []
        shares: dict[str, float] = {
            "prompt": sum(e.prompt_cut for e in encoded) / max(1, len(encoded)),
            "response": sum(e.response_cut for e in encoded) / max(1, len(encoded)),
        }
        for side in (*SIDES, "single"):
            cut = [
                e.response_cut for e, s in zip(encoded, self.samples, strict=True) if s.side == side
            ]
            if cut:
                shares[f"response_{side}"] = sum(cut) / len(cut)
        return shares


class PairwiseMultiDimDataset:
    """Pairs kept together: item -> {"chosen": item, "rejected": item, "group", "pair"}."""

    def __init__(self, dataset: MultiDimRewardDataset, *, neutral: bool = False) -> None:
        self.dataset = dataset
        self.indices: list[tuple[int, int]] = pair_indices(dataset.samples, neutral=neutral)
        """(chosen, rejected) positions in the dataset."""

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> dict[str, Any]:
        chosen, rejected = (self.dataset[i] for i in self.indices[index])
        return {
            "chosen": chosen,
            "rejected": rejected,
            "group": chosen["group"],
            "pair": chosen["pair"],
        }


def pair_indices(samples: Sequence[Sample], *, neutral: bool = False) -> list[tuple[int, int]]:
    """Positions of the two sides of every pair; `neutral` picks the controls instead."""
    return [
        (i, i + 1)
        for i, (a, b) in enumerate(itertools.pairwise(samples))
        if a.side == "chosen" and b.side == "rejected" and a.pair == b.pair and a.neutral == neutral
    ]


def get_label_distribution(
    samples: MultiDimRewardDataset | Iterable[Sample], rubric: Rubric | None = None
) -> dict[str, dict[str, dict[str, int]]]:
    """Dimension -> side (and `all`) -> level (and `missing`) -> how many texts.

    >>> rubric = load_rubric("financial_report")
    >>> one = Sample("", "text", (4, 3, IGNORE), "g", "chosen", "p")
    >>> get_label_distribution([one], rubric)["accuracy"]["all"]
    {'0': 0, '1': 0, '2': 0, '3': 0, '4': 0, 'missing': 1}
    """
    if isinstance(samples, MultiDimRewardDataset):
        return get_label_distribution(samples.samples, samples.rubric)
    if rubric is None:
        raise ValueError("a list of samples needs its rubric")
    rows = list(samples)
    sides = ["all", *(s for s in (*SIDES, "single") if any(row.side == s for row in rows))]
    empty = {**{str(level): 0 for level in range(rubric.classes)}, "missing": 0}
    counts = {name: {side: dict(empty) for side in sides} for name in rubric.names}
    for row in rows:
        for name, label in zip(rubric.names, row.labels, strict=True):
            level = "missing" if label == IGNORE else str(label)
            counts[name]["all"][level] += 1
            counts[name][row.side][level] += 1
    return counts
