"""Attention over a row of texts that stand side by side, each seeing itself alone.

`packed_attention` is what transformers calls once `reward_model.model.packed` has registered it:
text by text (and what texts share before them), `banded` within a few tokens, or `varlen` by the
kernels of torch that take texts of any length; `varlen_runs(device, ...)` tells where those are.
"""

from __future__ import annotations

import inspect
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers.integrations.sdpa_attention import sdpa_attention_forward

if TYPE_CHECKING:
    from reward_model.model.rows import TokenRow


def packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    packed_row: TokenRow | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Queries (1, heads, T, d) -> (1, T, heads, d); `sdpa` where no row is given."""
    if packed_row is None:
        done: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **kwargs
        )
        return done
    reach = getattr(module, "sliding_window", None)  # inclusive of the token itself
    if query.device.type != "cpu" and not packed_row.shares:
        return varlen(module, query, key, value, packed_row, reach, kwargs.get("scaling")), None
    if reach is not None:
        dropped = float(kwargs.get("dropout") or 0.0)
        return banded(query, key, value, packed_row, reach, kwargs.get("scaling"), dropped), None
    groups = getattr(module, "num_key_value_groups", 1)
    if groups > 1:
        # Grouped-query attention (arXiv 2305.13245): several queries share a head of keys.
        key, value = (one.repeat_interleave(groups, dim=1) for one in (key, value))
    causal, scale = bool(getattr(module, "is_causal", False)), kwargs.get("scaling")
    dropout = float(kwargs.get("dropout") or 0.0)
    sizes = [run.texts * run.length for run in packed_row.runs]
    queries, keys, values = (one[0].split(sizes, dim=1) for one in (query, key, value))
    mixed = []
    for run, *own in zip(packed_row.runs, queries, keys, values, strict=True):
        q, k, v = (_side_by_side(one, run.texts) for one in own)
        seen = None
        if run.prefix_length:
            before = slice(run.prefix, run.prefix + run.prefix_length)
            k = torch.cat([key[:, :, before], k], dim=2)
            v = torch.cat([value[:, :, before], v], dim=2)
            # All of the shared beginning, and of the own text what stands before.
            seen = torch.ones(run.length, k.shape[2], dtype=torch.bool, device=q.device)
            seen = seen.tril(run.prefix_length)
        out = scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=seen,
            dropout_p=dropout,
            is_causal=causal and seen is None,
            scale=scale,
        )
        mixed.append(out.transpose(1, 2).flatten(0, 1))
    return torch.cat(mixed).unsqueeze(0), None


def _side_by_side(heads: Tensor, texts: int) -> Tensor:
    """(heads, texts * n, d) -> (texts, heads, n, d), a view."""
    apart: Tensor = heads.unflatten(1, (texts, -1))
    return apart.transpose(0, 1)


def banded(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    row: TokenRow,
    reach: int,
    scale: float | None,
    dropout: float = 0.0,
) -> Tensor:
    """Each token attends to those of its own text that are less than `reach` tokens away.

    The row is cut into blocks; a block looks at itself and its two neighbours, so the work grows
    with the tokens, not with their square.

    Args:
        query: (1, heads, T, d), as key and value.
        row: the texts that the T tokens make.
        reach: as transformers counts it: 1 is the token alone.
        scale: of the products; by the width of a head if None.
        dropout: share of the weights that are dropped.

    Returns:
        (1, T, heads, d)
    """
    # A token sees at most reach - 1 tokens to either side: all of them lie in its own block of that
    # size and the two beside it (as in Longformer's chunks, arXiv 2004.05150, A).
    # Below 16 the products are smaller than what it costs to start them.
    size = max(16, reach - 1)
    tokens = query.shape[2]
    blocks = -(-tokens // size)
    name = f"band {reach}"
    if name not in row.kept:
        row.kept[name] = _band(row, size, blocks, reach, query.device)
    fill = blocks * size - tokens

    def in_blocks(one: Tensor) -> Tensor:  # (heads, blocks, size, d)
        filled: Tensor = pad(one[0], (0, 0, 0, fill))
        return filled.reshape(filled.shape[0], blocks, size, -1)

    def neighbours(one: Tensor) -> Tensor:  # (heads, blocks, 3 * size, d)
        around = pad(in_blocks(one), (0, 0, 0, 0, 1, 1))
        return torch.cat([around[:, :-2], around[:, 1:-1], around[:, 2:]], dim=2)

    mixed = scaled_dot_product_attention(
        in_blocks(query),
        neighbours(key),
        neighbours(value),
        attn_mask=row.kept[name],
        dropout_p=dropout,
        scale=scale,
    )
    out: Tensor = mixed.flatten(1, 2)[:, :tokens].transpose(0, 1).unsqueeze(0)
    return out


def _band(row: TokenRow, size: int, blocks: int, reach: int, device: torch.device) -> Tensor:
    """(blocks, size, 3 * size): which neighbours a token of a block sees."""
    lengths = torch.tensor(row.lengths)
    owner = torch.full(((blocks + 2) * size,), -1)
    owner[size : size + len(row.ids)] = torch.repeat_interleave(lengths)
    mine = owner[size:-size].view(blocks, size, 1)
    theirs = owner.unfold(0, 3 * size, size).unsqueeze(1)
    apart = torch.arange(3 * size) - size - torch.arange(size)[:, None]
    seen = (mine == theirs) & (apart.abs() < reach)
    # What fills the last block sees itself, as a softmax over nothing is no number.
    seen |= (mine < 0) & (apart == 0)
    return seen.to(device)


def varlen(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    row: TokenRow,
    reach: int | None,
    scale: float | None,
) -> Tensor:
    """Attention text by text in one kernel, where `varlen_runs`.

    Args:
        module: the attention layer, which says whether tokens see only what comes before them.
        query: (1, heads, T, d); key and value may have fewer heads.
        row: the texts that the T tokens make.
        reach: see `banded`; None: whole texts.
        scale: of the products.

    Returns:
        (1, T, heads, d)
    """
    from torch.nn.attention.varlen import varlen_attn

    if "varlen" not in row.kept:
        ends = torch.tensor([0, *accumulate(row.lengths)], dtype=torch.int32, device=query.device)
        row.kept["varlen"] = ends, max(row.lengths)
    ends, longest = row.kept["varlen"]
    dtype = query.dtype
    if torch.is_autocast_enabled(query.device.type):  # which does not know this function
        dtype = torch.get_autocast_dtype(query.device.type)
    q, k, v = (one[0].transpose(0, 1).to(dtype) for one in (query, key, value))
    # The kernel counts tokens to the left and to the right of a token; -1 is no limit.
    window = (-1, -1) if reach is None else (reach - 1, reach - 1)
    if getattr(module, "is_causal", False):
        window = (window[0], 0)
    mixed: Any = varlen_attn(
        q,
        k,
        v,
        ends,
        ends,
        longest,
        longest,
        scale=scale,
        window_size=window,
        enable_gqa=q.shape[1] != k.shape[1],
        num_splits=1,  # a text's numbers must not depend on what else is in the row
    )
    out: Tensor = mixed.unsqueeze(0)
    return out


@lru_cache
def varlen_runs(device: torch.device, dtype: torch.dtype, head_size: int) -> bool:
    """Whether this GPU has a kernel for it that is right, forward and backward.

    Tried on a few numbers: which cards, builds of torch and sizes of heads have one is written
    down nowhere in full.
    """
    if device.type != "cuda" or dtype not in (torch.float16, torch.bfloat16):
        return False
    try:
        from torch.nn.attention.varlen import varlen_attn

        if "num_splits" not in inspect.signature(varlen_attn).parameters:
            return False
        return _agrees(device, dtype, head_size)
    except (ImportError, RuntimeError, ValueError, TypeError, NotImplementedError):
        return False


def _agrees(device: torch.device, dtype: torch.dtype, head_size: int) -> bool:
    from reward_model.data.tokens.inputs import Encoded
    from reward_model.model.rows import TokenRow

    row = TokenRow(0)
    # Shorter and longer than a tile of any kernel's smallest size, and one token alone.
    for length in (3, 40, 1):
        row.add(Encoded([1] * length, None, False, False))
    generator = torch.Generator().manual_seed(0)
    shape = (3, 1, 2, len(row.ids), head_size)
    start = torch.randn(shape, generator=generator).to(device, dtype)
    for reach in (None, 5):
        q, k, v = (one.clone().requires_grad_() for one in start)
        found = varlen(None, q, k, v, row, reach, None)
        p, m, w = (one.float().requires_grad_() for one in start)
        wanted = banded(p, m, w, row, 41 if reach is None else reach, None)
        found.float().square().sum().backward()
        wanted.square().sum().backward()
        both = ((found, wanted), (q.grad, p.grad), (k.grad, m.grad), (v.grad, w.grad))
        for a, b in both:
            if a is None or b is None or not torch.allclose(a.float(), b, rtol=0.05, atol=0.05):
                return False
    return True


__all__ = ["banded", "packed_attention", "varlen", "varlen_runs"]
