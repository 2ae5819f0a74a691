"""Which texts make a step, which process takes which, and in what pieces they fit into memory.

A step is a number of texts over all processes, the same for the same seed however many there are.
Each process takes its share in pieces of at most `budget` tokens, so memory is bounded by the
budget alone and neither budget nor number of processes changes what is learned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from transformers import TrainerCallback

from reward_model.data.dataset import MultiDimRewardDataset, Sample, label_array, pair_indices
from reward_model.data.tokens.inputs import Encoded
from reward_model.model.batches import collate, collate_labels, lane_batches, token_batches
from reward_model.model.rows import TokenRow
from reward_model.records import IGNORE, UserError
from reward_model.rubrics import Rubric
from reward_model.stats.bootstrap import Ints

WINDOW = 50
"""Steps whose texts are sorted by length together: long enough to pad little, short to mix."""


class StepBatches(Sampler[list[int]]):
    """This process's texts of every step of an epoch; the order follows from seed and epoch alone.

    Texts of like length meet in a step. What is left over is spread, so no step has fewer than
    `texts` texts.

    Args:
        lengths: tokens of every text.
        texts: texts of a step, over all processes.
        seed: of the order.
        units: texts that have to stay together, such as the two sides of a pair; each text alone
            if not given.
        rank: of this process.
        world: number of processes.

    >>> list(StepBatches([5, 9, 5, 8], texts=2, seed=0))
    [[3, 1], [2, 0]]
    """

    def __init__(
        self,
        lengths: Sequence[int] | Ints,
        texts: int,
        seed: int,
        *,
        units: Sequence[Sequence[int]] | None = None,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.lengths = np.asarray(lengths)
        self.units = None if units is None else [list(unit) for unit in units]
        self.seed, self.rank, self.world, self.epoch = seed, rank, world, 0
        count = len(self.lengths) if self.units is None else len(self.units)
        size = len(self.lengths) / count
        self.steps = max(1, len(self.lengths) // texts)
        if count // self.steps < world:
            what = "texts" if self.units is None else "pairs or texts"
            raise UserError(
                f"steps of {count // self.steps} {what} for {world} processes",
                expected="at least one for each process",
                mend="a larger --batch-size, or fewer processes",
            )
        self._longest = (
            self.lengths
            if self.units is None
            else np.array([self.lengths[unit].max() for unit in self.units])
        )
        self._window = WINDOW * max(1, round(texts / size))

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of this epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self._longest))
        # Sorting all texts would make every step of one length and the lengths a schedule; sorting
        # windows of a random order keeps steps mixed and their texts alike.
        for start in range(0, len(order), self._window):
            window = order[start : start + self._window]
            order[start : start + self._window] = window[
                np.argsort(self._longest[window], kind="stable")
            ]
        steps = np.array_split(order, self.steps)
        # Steps of a window stand in order of length now, and must not be taken in it.
        for i in rng.permutation(len(steps)):
            # Every other unit: each process gets as much of the long as of the short ones.
            mine = steps[i][self.rank :: self.world].tolist()
            yield mine if self.units is None else [t for u in mine for t in self.units[u]]


class EpochOfOrder(TrainerCallback):
    """Tells the order which epoch begins, also in the middle of one that is resumed."""

    def __init__(self, order: StepBatches) -> None:
        self.order = order

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The Trainer counts epochs in fractions."""
        self.order.set_epoch(int(state.epoch or 0))


def decided_pairs(samples: Sequence[Sample], rubric: Rubric) -> list[tuple[int, int]]:
    """Pairs whose chosen side is the better one by its labels; what the pairwise term learns from.

    A pair of equal weighted levels has no better side, and one whose levels say the opposite would
    pull against the cross-entropy. Pairs without a dimension that both sides have a label for are
    kept: nothing speaks against them.
    """
    labels = label_array(samples)
    weights = np.array([rubric.weights[name] for name in rubric.names])
    kept = []
    for chosen, rejected in pair_indices(samples):
        both = (labels[chosen] != IGNORE) & (labels[rejected] != IGNORE) & (weights > 0)
        gap = (weights * (labels[chosen].astype(float) - labels[rejected]))[both].sum()
        if not both.any() or gap > 1e-9:
            kept.append((chosen, rejected))
    return kept


def some_pairs(samples: Sequence[Sample], rubric: Rubric) -> list[tuple[int, int]]:
    """`decided_pairs`, of which there have to be some.

    Raises:
        UserError: there is none, so that a pairwise term would do nothing.
    """
    pairs = decided_pairs(samples, rubric)
    if not pairs:
        raise UserError(
            "a pairwise term, and no pair to train on",
            expected="pairs with both sides whose levels say which is better",
            mend="leave out --pair-weight and --gap-weight",
        )
    return pairs


def pair_words(samples: Sequence[Sample], rubric: Rubric) -> list[str]:
    """What a reader should know of the texts that the pairwise term leaves out.

    Raises:
        UserError: it would leave out all of them.
    """
    every, kept = len(pair_indices(samples)), len(some_pairs(samples, rubric))
    alone = len(samples) - 2 * every - 2 * len(pair_indices(samples, neutral=True))
    words = []
    if every > kept:
        words.append(
            f"{every - kept} of {every} training pairs tie in their levels or contradict them: the "
            "pairwise term leaves them out"
        )
    if alone:
        words.append(
            f"{alone} of {len(samples)} training texts are of no pair: the pairwise term leaves "
            "them out"
        )
    return words


def units_of(texts: int, pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Pairs together, all other texts alone."""
    second = {rejected for _, rejected in pairs}
    first = {chosen for chosen, _ in pairs}
    return [[i, i + 1] if i in first else [i] for i in range(texts) if i not in second]


class PairItems(Dataset[dict[str, Any]]):
    """Items that say whether the next one is what they were preferred to."""

    def __init__(self, dataset: MultiDimRewardDataset, first: set[int]) -> None:
        self.dataset, self.first = dataset, first

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.dataset[index], "preferred": index in self.first}


class LevelCollator:
    """Items of a MultiDimRewardDataset -> one padded batch.

    Args:
        pad: id to pad with.
        answers: with the lengths of the responses, for a model that reads them.
    """

    def __init__(self, pad: int, *, answers: bool = False) -> None:
        self.pad, self.answers = pad, answers

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Pad on the right."""
        return collate(items, self.pad, answers=self.answers)


class StepCollator:
    """Items of a MultiDimRewardDataset -> `{"pieces": batches, "labels": all of them}`.

    Args:
        pad: id to pad with.
        budget: most tokens at a time, with padding where there is any.
        lanes: pieces that are computed at a time; each has its part of the budget.
        multiple: widths are multiples of it.
        pairs: keep the sides of a pair, which follow each other, in one piece, and mark them.
        answers: with the lengths of the responses, for a model that reads them.
        row: makes an empty row; then pieces are rows of texts without padding.
    """

    def __init__(
        self,
        pad: int,
        budget: int,
        *,
        lanes: int = 1,
        multiple: int = 1,
        pairs: bool = False,
        answers: bool = False,
        row: Callable[[], TokenRow] | None = None,
    ) -> None:
        self.answers = answers
        self.pad, self.budget, self.multiple, self.pairs = pad, budget // lanes, multiple, pairs
        self.lanes, self.row = lanes, row

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """In as few pieces as the budget allows; padding, if any, on the right."""
        units = _item_units(items) if self.pairs else [[i] for i in range(len(items))]
        lengths = [[len(items[i]["input_ids"]) for i in unit] for unit in units]
        if self.row:
            tokens = {u: sum(n) for u, n in enumerate(lengths)}
            batches = lane_batches(tokens, self.budget, self.lanes)
        else:
            longest = {u: max(n) for u, n in enumerate(lengths)}
            sizes = {u: len(n) for u, n in enumerate(lengths)}
            batches = list(token_batches(longest, self.budget, sizes))
        pieces: list[dict[str, Any]] = []
        for batch in batches:
            rows = [i for u in batch for i in units[u]]
            texts = [items[i] for i in rows]
            piece: dict[str, Any]
            if self.row:
                row = self.row()
                for text in texts:
                    ids, types = list(text["input_ids"]), text.get("types")
                    row.add(Encoded(ids, types, False, False, text.get("answer_tokens", 0)))
                piece = {**row.tensors(), **collate_labels(texts), "row": row}
            else:
                padded = collate(texts, self.pad, multiple=self.multiple, answers=self.answers)
                piece = dict(padded)
            if self.pairs:
                sides = [k for k, i in enumerate(rows) if items[i].get("preferred")]
                there = torch.tensor([[k, k + 1] for k in sides], dtype=torch.long)
                piece["pairs"] = there.reshape(-1, 2)
            pieces.append(piece)
        return {"pieces": pieces, "labels": torch.tensor([list(item["labels"]) for item in items])}


def _item_units(items: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    units: list[list[int]] = []
    for i in range(len(items)):
        if i and items[i - 1].get("preferred"):
            units[-1].append(i)
        else:
            units.append([i])
    return units


class Targets(NamedTuple):
    """What the texts of a piece are to be."""

    labels: Tensor
    """(B, D)"""
    soft: Tensor | None
    """(B, D, K) shares of the levels."""
    sides: Tensor | None
    """(P, 2) rows of chosen and rejected."""


def take_targets(piece: dict[str, Any]) -> Targets:
    """Out of a piece, which is left with what the model reads."""
    return Targets(piece.pop("labels"), piece.pop("soft_labels", None), piece.pop("pairs", None))
