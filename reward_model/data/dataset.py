"""Scored records as labelled texts: both sides of every pair, or single responses.

`MultiDimRewardDataset.from_file("scored.jsonl")` is what training and evaluation read;
`PairwiseMultiDimDataset` keeps the pairs together. Nothing here imports torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reward_model.data.columns import ColumnMap
from reward_model.data.formats import records_of, rubric_of
from reward_model.data.sample import IGNORE, Sample, SampleSide, SingleResponse, samples_of
from reward_model.data.samples import Columns, Samples, label_array, take
from reward_model.data.sources import Source, find_source, without_null
from reward_model.records import SIDES, UserError, read_jsonl
from reward_model.records.files import Pathish
from reward_model.rubrics import Rubric, load_rubric, shipped_rubrics

if TYPE_CHECKING:
    from pathlib import Path

    from reward_model.data.tokens.inputs import InputBuilder
    from reward_model.data.tokens.store import Tokens

__all__ = [
    "IGNORE",
    "MultiDimRewardDataset",
    "PairwiseMultiDimDataset",
    "Sample",
    "SampleSide",
    "Samples",
    "SingleResponse",
    "find_rubric",
    "get_label_distribution",
    "label_array",
    "pair_indices",
    "read_samples",
    "take",
]


def read_samples(
    path: Pathish,
    rubric: Rubric,
    *,
    columns: ColumnMap | None = None,
    soft: bool = False,
    cache_dir: str | None = None,
) -> tuple[Samples, int]:
    """Every labelled text of a file, in order, and how many rows carry no label at all.

    The file is read once, row by row; texts stay on the disk.

    Args:
        path: scored pairs or single responses, rows of HelpSteer or UltraFeedback, in JSON Lines,
            Parquet or CSV; a folder of such files; or the id of a data set of the hub.
        rubric: dimensions and scale.
        columns: which columns hold what, for rows of another shape.
        soft: keep the shares of the levels that the judge's draws gave, beside the level.
        cache_dir: where rows that are not JSON Lines are kept, as in the settings of training.

    Raises:
        UserError: naming file and line: a record that is not one, a level or a dimension that is
            not of the rubric; or a file without a single label.
    """
    source = _source(path, columns, cache_dir)

    def opened(value: Any, number: int | None) -> list[Sample]:
        where: dict[str, Any] = {"path": source.shown, "line": number}
        try:
            return [
                sample
                for record in _records(value, rubric, columns, source, where)
                for sample in samples_of(record, rubric, source.shown, number, soft=soft)
            ]
        except UserError as error:
            if not source.converted:
                raise
            row = f"{error.found} in row {number}"
            raise UserError(
                row, expected=error.expected, mend=error.mend, path=source.shown
            ) from None

    table = Columns(
        source.path,
        opened,
        len(rubric.names),
        shown=source.shown,
        classes=rubric.classes if soft else 0,
        layout=columns.digest if columns else "",
        holder=source.folder,
    )
    bare = 0
    for line in read_jsonl(source.path):
        new = opened(line.value, line.number)
        if any(label != IGNORE for sample in new for label in sample.labels):
            table.add(new, line)
        else:
            bare += 1
    samples = Samples(table.close())
    if not samples:
        raise UserError(
            "no level on any line" if bare else "no record",
            expected=f"scores for {', '.join(rubric.names)}",
            mend="score the pairs first: judge score PAIRS --out SCORED",
            path=source.shown,
        )
    return samples, bare


def find_rubric(
    path: Pathish,
    name_or_path: str | None = None,
    *,
    columns: ColumnMap | None = None,
    cache_dir: str | None = None,
) -> Rubric:
    """The rubric to read a file with: the one asked for, else the one its column map or its judge
    names, or its format has, else `financial_report`.

    Raises:
        UserError: the judge's rubric does not ship, so it has to be given.
    """
    wanted = name_or_path or (columns.rubric if columns else None)
    if wanted:
        return load_rubric(wanted)
    source = _source(path, columns, cache_dir)
    named = judge_rubric(path, columns=columns, cache_dir=cache_dir)
    if named is not None:
        name = named.split("@")[0]
        if name not in shipped_rubrics():
            raise UserError(
                f"levels of the rubric {named}, which does not ship",
                expected="the file of that rubric",
                mend="pass --rubric FILE, or the name of a shipped one to read the levels by",
                path=source.shown,
            )
        return load_rubric(name)
    for line in itertools.islice(read_jsonl(source.path), 1):
        if (known := rubric_of(line.value)) is not None:
            return load_rubric(known)
    return load_rubric("financial_report")


def judge_rubric(
    path: Pathish, *, columns: ColumnMap | None = None, cache_dir: str | None = None
) -> str | None:
    """`name@digest` of the rubric that the first scored line was judged by, if a judge says so."""
    for line in read_jsonl(_source(path, columns, cache_dir).path):
        scores = line.value.get("scores")
        if isinstance(scores, dict):
            judge = scores.get("judge")
            named = judge.get("rubric") if isinstance(judge, dict) else None
            return named if isinstance(named, str) else None
    return None


def _source(path: Pathish, columns: ColumnMap | None, cache_dir: str | None) -> Source:
    if columns is None:
        return find_source(path, cache_dir=cache_dir)
    return find_source(path, config=columns.config, split=columns.split, cache_dir=cache_dir)


def _records(
    value: Any,
    rubric: Rubric,
    columns: ColumnMap | None,
    source: Source,
    where: dict[str, Any],
) -> Iterable[Mapping[str, Any]]:
    if columns is not None:
        return [columns.record(value, rubric, where)]
    return records_of(without_null(value) if source.converted else value, where)


class MultiDimRewardDataset:
    """Labelled texts, one item a response; a map-style dataset for any torch loader.

    Items of a dataset with token ids carry no text: training reads nothing but the ids.

    Args:
        samples: the texts and their labels.
        rubric: names and number of the levels.
        builder: turns texts into token ids, once, here; without one items carry texts.
        cache: folder of the cache (`reward_model.records.cache.cache_root`); without it the ids lie
            in a temporary folder as long as the dataset lives.
        encoded: the token ids, where they are there already.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        rubric: Rubric,
        builder: InputBuilder | None = None,
        *,
        cache: Path | None = None,
        encoded: Tokens | None = None,
    ) -> None:
        self.samples = samples
        self.rubric = rubric
        self.encoded = encoded
        if builder is not None:
            from reward_model.data.tokens.store import encode

            self.encoded = encode(samples, builder, cache)

    @classmethod
    def from_file(
        cls,
        path: Pathish,
        rubric: Rubric | None = None,
        builder: InputBuilder | None = None,
        *,
        columns: ColumnMap | None = None,
        soft: bool = False,
        cache: Path | None = None,
    ) -> MultiDimRewardDataset:
        """Read a file; `columns` and `soft` as in `read_samples`."""
        rubric = rubric or find_rubric(path, columns=columns)
        samples, _ = read_samples(path, rubric, columns=columns, soft=soft)
        return cls(samples, rubric, builder, cache=cache)

    def take(self, rows: Sequence[int] | NDArray[Any]) -> MultiDimRewardDataset:
        """The items at these positions, with the token ids that are here."""
        encoded = None if self.encoded is None else self.encoded.take(rows)
        return MultiDimRewardDataset(take(self.samples, rows), self.rubric, encoded=encoded)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.samples[index]
        item: dict[str, Any] = {
            "labels": list(sample.labels),
            "group": sample.group,
            "side": sample.side,
            "pair": sample.pair,
        }
        if sample.soft is not None:
            item["soft_labels"] = [list(shares) for shares in sample.soft]
        if self.encoded is None:
            return {"prompt": sample.prompt, "response": sample.response, **item}
        encoded = self.encoded[index]
        return {**item, "input_ids": encoded.input_ids, "types": encoded.token_type_ids}

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of every text."""
        if self.encoded is None:
            raise ValueError("lengths need a dataset made with a builder")
        return self.encoded.lengths

    def truncation(self) -> dict[str, float]:
        """Share of the texts whose prompt, and whose response, lost its middle, and by side."""
        if self.encoded is None or len(self) == 0:
            return {"prompt": 0.0, "response": 0.0}
        cut = self.encoded.response_cut
        shares = {"prompt": float(self.encoded.prompt_cut.mean()), "response": float(cut.mean())}
        side_of = np.array([sample.side for sample in self.samples])
        for side in (*SIDES, "single"):
            if (of_side := side_of == side).any():
                shares[f"response_{side}"] = float(cut[of_side].mean())
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
    if isinstance(samples, Samples):
        return samples.pairs(neutral=neutral)
    return [
        (i, i + 1)
        for i, (a, b) in enumerate(itertools.pairwise(samples))
        if a.side == "chosen" and b.side == "rejected" and a.pair == b.pair and a.neutral == neutral
    ]


def get_label_distribution(
    samples: MultiDimRewardDataset | Sequence[Sample], rubric: Rubric | None = None
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
    labels = label_array(samples).reshape(-1, len(rubric.names))
    side_of = np.array([sample.side for sample in samples])
    masks: dict[str, NDArray[np.bool_]] = {"all": np.ones(len(labels), np.bool_)}
    for side in (*SIDES, "single"):
        if (mask := side_of == side).any():
            masks[side] = mask
    return {
        name: {
            side: {
                **{str(level): int((column[mask] == level).sum()) for level in levels},
                "missing": int((column[mask] == IGNORE).sum()),
            }
            for side, mask in masks.items()
        }
        for name, column in zip(rubric.names, labels.T, strict=True)
        for levels in [range(rubric.classes)]
    }
