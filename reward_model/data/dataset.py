"""Scored records as labelled texts: both sides of every pair, or single responses.

`MultiDimRewardDataset.from_file("scored.jsonl")` is what training and evaluation read;
`PairwiseMultiDimDataset` keeps the pairs together. Nothing here imports torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reward_model.data.columns import ColumnMap
from reward_model.data.reading import find_rubric, read_samples
from reward_model.data.sample import Sample, SampleSide
from reward_model.data.samples import Samples, label_array, take
from reward_model.records import IGNORE, SIDES
from reward_model.records.files import Pathish
from reward_model.rubrics import Rubric

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
    "get_label_distribution",
    "label_array",
    "pair_indices",
    "take",
]


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
        return {
            **item,
            "input_ids": encoded.input_ids,
            "types": encoded.token_type_ids,
            "answer_tokens": encoded.answer_tokens,
        }

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

    >>> from reward_model.rubrics import load_rubric
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
