"""Long texts in windows, for backbones with few positions: cut evenly, read alone, pool over all.

`into_windows(ids, mask, types, size)` before the backbone, `pool_windows(...)` after it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from reward_model.model.packed import Pooling, averaged, from_mean


def into_windows(
    input_ids: Tensor, mask: Tensor, types: Tensor | None, size: int
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """Cut B texts into R windows of at most `size` tokens, those of one text all of like length.

    How a text is cut follows from its own length alone, so its score does not depend on the batch.

    Args:
        input_ids: (B, T), padding on the right.
        mask: (B, T)
        types: (B, T) or None.
        size: most tokens of a window.

    Returns:
        ids (R, W), mask (R, W), types (R, W) or None, and the text (R,) each window belongs to.

    >>> ids = torch.tensor([[1, 2, 3, 4, 5], [6, 7, 0, 0, 0]])
    >>> into_windows(ids, (ids > 0).long(), None, 3)[0]
    tensor([[1, 2, 3],
            [4, 5, 0],
            [6, 7, 0]])
    """
    lengths = mask.sum(1)
    counts = ((lengths + size - 1) // size).clamp(min=1)
    # Even windows: cut greedily, the last one could be a few tokens that say nothing alone.
    each = (lengths + counts - 1) // counts
    owner = torch.repeat_interleave(torch.arange(len(counts), device=mask.device), counts)
    first = torch.cumsum(counts, 0) - counts
    start = (torch.arange(len(owner), device=mask.device) - first[owner]) * each[owner]
    length = torch.minimum(each[owner], lengths[owner] - start)
    column = torch.arange(int(each.max()), device=mask.device)
    there = column < length.unsqueeze(1)
    at = (start.unsqueeze(1) + column).clamp(max=mask.shape[1] - 1)
    rows = owner.unsqueeze(1)
    ids = torch.where(there, input_ids[rows, at], torch.zeros_like(at))
    kinds = None if types is None else torch.where(there, types[rows, at], torch.zeros_like(at))
    return ids, there.to(mask.dtype), kinds, owner


def pool_windows(hidden: Tensor, mask: Tensor, owner: Tensor, texts: int, how: Pooling) -> Tensor:
    """(R, W, H) -> (texts, H) in float32: over all tokens of each text."""
    # Sums of all windows over the count of all tokens: a mean of means would weigh a token of a
    # short window more than one of a long window.
    share = mask.to(torch.float32).unsqueeze(-1)
    sums = (averaged(hidden, how) * share).sum(1)
    pooled = sums.new_zeros(texts, sums.shape[1]).index_add(0, owner, sums)
    counts = share.new_zeros(texts, 1).index_add(0, owner, share.sum(1))
    return from_mean(pooled / counts.clamp(min=1), how)


def pool(hidden: Tensor, mask: Tensor, how: Pooling) -> Tensor:
    """(B, T, H) with padding on the right -> (B, H) in float32."""
    if how == "cls":
        return hidden[:, 0].float()
    if how == "last":
        last = (mask.sum(1) - 1).clamp(min=0)
        return hidden[torch.arange(hidden.shape[0], device=hidden.device), last].float()
    share = mask.to(torch.float32).unsqueeze(-1)
    return from_mean((averaged(hidden, how) * share).sum(1) / share.sum(1).clamp(min=1), how)


def _flush_left(
    input_ids: Tensor, mask: Tensor, types: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Move padding to the right, so that positions and pooling do not depend on the side.

    Encoders with learned positions would otherwise see a text further along only because a longer
    one shares its batch.
    """
    # Stable, so that tokens keep their order; int8, because argsort takes no booleans everywhere.
    order = torch.argsort(mask.to(torch.int8), dim=1, descending=True, stable=True)
    if types is not None:
        types = types.gather(1, order)
    return input_ids.gather(1, order), mask.gather(1, order), types
