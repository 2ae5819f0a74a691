"""Which texts make a step, which process takes which, and in what pieces they fit into memory.

A step is a number of texts over all processes, the same for the same seed however many there are.
Each process takes its share in pieces of at most `budget` tokens, so memory is bounded by the
budget alone and neither budget nor number of processes changes what is learned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Sampler

from reward_model.data.tokens.inputs import Encoded
from reward_model.model.rows import Row
from reward_model.records import UserError
from reward_model.stats.bootstrap import Ints

if TYPE_CHECKING:
    from torch import Tensor

WINDOW = 50
"""Steps whose texts are sorted by length together: long enough to pad little, short to mix."""
MANY = 16
"""Batches a lane from which on it does not matter that the last lane ends a little later."""


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
        for start in range(0, len(order), self._window):
            window = order[start : start + self._window]
            order[start : start + self._window] = window[
                np.argsort(self._longest[window], kind="stable")
            ]
        steps = np.array_split(order, self.steps)
        for i in rng.permutation(len(steps)):
            # Every other unit: each process gets as much of the long as of the short ones.
            mine = steps[i][self.rank :: self.world].tolist()
            yield mine if self.units is None else [t for u in mine for t in self.units[u]]


def token_batches(
    lengths: Mapping[int, int], budget: int, sizes: Mapping[int, int] | None = None
) -> Iterator[list[int]]:
    """Group rows of like length so that a padded batch stays within `budget` tokens.

    A row longer than the budget is a batch of its own.

    Args:
        lengths: row -> tokens.
        budget: most tokens of a batch, padding included.
        sizes: row -> texts it stands for; 1 each if not given.

    >>> list(token_batches({0: 5, 1: 90, 2: 6, 3: 5}, budget=18))
    [[1], [2, 0, 3]]
    """
    batch: list[int] = []
    texts = 0
    for i in sorted(lengths, key=lambda i: (-lengths[i], i)):
        size = 1 if sizes is None else sizes[i]
        # Longest first: the first row of a batch is as wide as the batch will be.
        if batch and lengths[batch[0]] * (texts + size) > budget:
            yield batch
            batch, texts = [], 0
        batch.append(i)
        texts += size
    if batch:
        yield batch


def row_batches(lengths: Mapping[int, int], budget: int) -> Iterator[list[int]]:
    """Group rows so that together they are at most `budget` tokens, without padding.

    Longest first, so that those of one length become neighbours; a row longer than the budget is a
    batch of its own.

    >>> list(row_batches({0: 5, 1: 90, 2: 6, 3: 5}, budget=12))
    [[1], [2, 0], [3]]
    """
    batch: list[int] = []
    tokens = 0
    for i in sorted(lengths, key=lambda i: (-lengths[i], i)):
        if batch and tokens + lengths[i] > budget:
            yield batch
            batch, tokens = [], 0
        batch.append(i)
        tokens += lengths[i]
    if batch:
        yield batch


def lane_batches(lengths: Mapping[int, int], budget: int, lanes: int = 1) -> list[list[int]]:
    """`row_batches` for several lanes that work side by side: of like size, and enough for all.

    Rows stay in order of length. A batch goes over the budget only where its one row does.

    >>> lane_batches({0: 5, 1: 4, 2: 4, 3: 5}, budget=18, lanes=2)
    [[0, 3], [1, 2]]
    """
    batches = list(row_batches(lengths, budget))
    rest = [i for batch in batches if lengths[batch[0]] <= budget for i in batch]
    if lanes == 1 or len(batches) > MANY * lanes or len(rest) < 2:
        return batches
    alone = [batch for batch in batches if lengths[batch[0]] > budget]
    total = sum(lengths[i] for i in rest)
    count = -(-total // (budget * lanes)) * lanes
    while count < len(rest):
        even: list[list[int]] = [[] for _ in range(count)]
        before = 0
        for i in rest:  # into the part where the row's middle lies
            even[min(count - 1, (2 * before + lengths[i]) * count // (2 * total))].append(i)
            before += lengths[i]
        if all(sum(lengths[i] for i in part) <= budget for part in even):
            return alone + [part for part in even if part]
        count += lanes
    return alone + [[i] for i in rest]


class StepCollator:
    """Items of a MultiDimRewardDataset -> `{"pieces": batches, "labels": all of them}`.

    Args:
        pad: id to pad with.
        budget: most tokens at a time, with padding where there is any.
        lanes: pieces that are computed at a time; each has its part of the budget.
        multiple: widths are multiples of it.
        pairs: keep the sides of a pair, which follow each other, in one piece, and mark them.
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
        row: Callable[[], Row] | None = None,
    ) -> None:
        self.pad, self.budget, self.multiple, self.pairs = pad, budget // lanes, multiple, pairs
        self.lanes, self.row = lanes, row

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """In as few pieces as the budget allows; padding, if any, on the right."""
        import torch

        units = _units(items) if self.pairs else [[i] for i in range(len(items))]
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
                    row.add(Encoded(ids, types, False, False))
                piece = {**row.tensors(), **collate_labels(texts), "row": row}
            else:
                piece = dict(collate(texts, self.pad, multiple=self.multiple))
            if self.pairs:
                sides = [k for k, i in enumerate(rows) if items[i].get("preferred")]
                there = torch.tensor([[k, k + 1] for k in sides], dtype=torch.long)
                piece["pairs"] = there.reshape(-1, 2)
            pieces.append(piece)
        return {"pieces": pieces, "labels": torch.tensor([list(item["labels"]) for item in items])}


def _units(items: Sequence[Mapping[str, Any]]) -> list[list[int]]:
    units: list[list[int]] = []
    for i in range(len(items)):
        if i and items[i - 1].get("preferred"):
            units[-1].append(i)
        else:
            units.append([i])
    return units


def collate(
    encoded: Sequence[Encoded | Mapping[str, Any]], pad_id: int, *, multiple: int = 1
) -> dict[str, Tensor]:
    """Pad texts on the right into one batch.

    The padding id carries no meaning (the attention mask does), so it may equal another token's.
    """
    import torch

    rows: list[Mapping[str, Any]] = [
        e if isinstance(e, Mapping) else {"input_ids": e.input_ids, "types": e.token_type_ids}
        for e in encoded
    ]
    longest = max(len(row["input_ids"]) for row in rows)
    width = -(-longest // multiple) * multiple
    ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    types = torch.zeros((len(rows), width), dtype=torch.long)
    typed = rows[0].get("types") is not None
    for i, row in enumerate(rows):
        n = len(row["input_ids"])
        ids[i, :n] = torch.as_tensor(row["input_ids"], dtype=torch.long)
        mask[i, :n] = 1
        if typed:
            types[i, :n] = torch.as_tensor(row["types"], dtype=torch.long)
    batch = {"input_ids": ids, "attention_mask": mask}
    if typed:
        batch["token_type_ids"] = types
    return batch | collate_labels(rows)


def collate_labels(rows: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
    """What stands beside the tokens: `labels` (B, D), `soft_labels` (B, D, K) where there are."""
    import torch

    found = {}
    if "labels" in rows[0]:
        found["labels"] = torch.tensor([row["labels"] for row in rows], dtype=torch.long)
    if "soft_labels" in rows[0]:
        soft = [row["soft_labels"] for row in rows]
        found["soft_labels"] = torch.tensor(soft, dtype=torch.float32)
    return found


def pad_id(tokenizer: Any) -> int:
    """An id to pad with; any will do, as the mask tells text from padding."""
    for name in ("pad_token_id", "eos_token_id"):
        value = getattr(tokenizer, name, None)
        if isinstance(value, int):
            return value
    return 0
