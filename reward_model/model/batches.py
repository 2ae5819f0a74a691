"""Which texts go through a model together, and how they become tensors.

`token_batches` for padded batches, `row_batches` and `lane_batches` for rows without padding; each
keeps to a budget of tokens, so memory is bounded by the budget alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from reward_model.data.tokens.inputs import Encoded

if TYPE_CHECKING:
    from torch import Tensor

MANY = 16
"""Batches a lane from which on it does not matter that the last lane ends a little later."""


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


def collate(
    encoded: Sequence[Encoded | Mapping[str, Any]],
    pad_id: int,
    *,
    multiple: int = 1,
    answers: bool = False,
) -> dict[str, Tensor]:
    """Pad texts on the right into one batch.

    The padding id carries no meaning (the attention mask does), so it may equal another token's.

    Args:
        encoded: texts, or items of a data set.
        pad_id: to pad with.
        multiple: the width is one of it.
        answers: with `answer_tokens` (B,), for a model that reads lengths.
    """
    import torch

    rows: list[Mapping[str, Any]] = [
        e
        if isinstance(e, Mapping)
        else {
            "input_ids": e.input_ids,
            "types": e.token_type_ids,
            "answer_tokens": e.answer_tokens,
        }
        for e in encoded
    ]
    lengths = torch.tensor([len(row["input_ids"]) for row in rows])
    width = -(-int(lengths.max()) // multiple) * multiple
    there = torch.arange(width) < lengths[:, None]

    def padded(key: str, fill: int) -> Tensor:
        filled = torch.full(there.shape, fill, dtype=torch.long)
        flat = np.concatenate([row[key] for row in rows], dtype=np.int64, casting="unsafe")
        filled[there] = torch.from_numpy(flat)
        return filled

    batch = {"input_ids": padded("input_ids", pad_id), "attention_mask": there.long()}
    if rows[0].get("types") is not None:
        batch["token_type_ids"] = padded("types", 0)
    if answers:
        batch["answer_tokens"] = torch.tensor([row["answer_tokens"] for row in rows])
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
