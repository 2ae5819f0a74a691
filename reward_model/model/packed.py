"""Texts through a backbone without padding: one row of tokens, attention text by text.

`Row(enable(backbone))`, `row.add(text)` and then `model(**row.tensors(device), row=row)`; what
several texts begin with is computed once (`row.add_shared`). Scoring and training both read texts
so on a CPU, and on a GPU whose kernels take texts of any length (`reward_model.model.attention`).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

from reward_model.model.attention import packed_attention, varlen_runs
from reward_model.model.rows import TokenRow

Pooling = Literal["mean", "rms", "cls", "last"]
"""Where a text's vector comes from: all of its tokens, the first, or the last.

`rms` is the root of the mean square, the generalised mean of exponent 2 (Radenović et al., arXiv
1711.02512): what few tokens say clearly is not lost among many that say nothing.
"""
OVER_ALL: tuple[Pooling, ...] = ("mean", "rms")
"""Those that read every token."""
_FLOOR = 1e-6
"""Under the root, whose slope at 0 is no number."""
NAME = "packed_texts"
"""Attention of transformers that this module adds; without a `row` it is `sdpa`, nothing else."""
_CAUSAL = {"qwen2", "qwen3", "llama"}
"""Known by reading their code and by tests/model/test_packed.py: positions are an argument, and
nothing but attention looks at other tokens. A convolution or a recurrence would mix texts."""
_FROM_ZERO = {"bert", "modernbert", *_CAUSAL}
_AFTER_PADDING = {"roberta", "xlm-roberta"}
"""Backbones whose positions begin one after the id of padding."""


def enable(backbone: Any) -> int | None:
    """Make `backbone` able to read packed rows; returns its first position, None if it cannot be.

    Left as it is: what is not known to give the same numbers, decoders with attention over a
    sliding window, and whatever was loaded with another attention than `sdpa`.
    """
    config = backbone.config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    known = {"full_attention"}
    if config.model_type == "modernbert":
        known = {"full_attention", "sliding_attention"}
    elif getattr(config, "sliding_window", None):
        return None
    if config._attn_implementation not in ("sdpa", NAME) or not kinds <= known:
        return None
    if getattr(config, "is_decoder", False):
        return None
    rope = getattr(config, "rope_parameters", None) or {}
    ropes = [one for one in rope.values() if isinstance(one, dict)] or [rope]
    if any(one.get("rope_type") in ("dynamic", "longrope") for one in ropes):
        return None  # angles follow from the longest text beside
    if config.model_type in _AFTER_PADDING:
        first = int(config.pad_token_id) + 1
    elif config.model_type in _FROM_ZERO:
        first = 0
    else:
        return None
    AttentionInterface.register(NAME, packed_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    backbone.set_attn_implementation(NAME)
    return first


def packs_on(backbone: Any, device: torch.device, dtype: torch.dtype) -> bool:
    """Whether it pays to read packed rows there: on a GPU a kernel a text costs more than padding.

    Args:
        backbone: one that `enable` took.
        device: where it runs.
        dtype: that attention is computed in.
    """
    config = backbone.config
    wide = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return device.type == "cpu" or varlen_runs(device, dtype, wide)


def draws(backbone: torch.nn.Module) -> bool:
    """Whether a forward pass draws random numbers."""
    config: Any = backbone.config
    rates = {**dropout_rates(config.get_text_config()), **dropout_rates(config)}.values()
    modules = [m.p for m in backbone.modules() if isinstance(m, torch.nn.Dropout)]
    return any(rate > 0 for rate in (*rates, *modules))


def dropout_rates(config: Any) -> dict[str, float]:
    """Settings of a backbone that drop something at random, by any of their names.

    `hidden_dropout_prob` of BERT, `attn_pdrop` of GPT-2, `layerdrop` of wav2vec and BART,
    `drop_path_rate` of vision models.
    """
    return {
        name: value
        for name, value in vars(config).items()
        if "drop" in name and isinstance(value, float)
    }


def is_causal(backbone: Any) -> bool:
    """Tokens see only what comes before them, so texts that begin alike share that work."""
    return backbone.config.model_type in _CAUSAL


def packed_hidden(backbone: Any, input_ids: Tensor, types: Tensor | None, row: TokenRow) -> Tensor:
    """(T, H): the last hidden state of every token of a row.

    Args:
        backbone: one that `enable` took.
        input_ids: (1, T)
        types: (1, T) for encoders that tell prompt from response.
        row: the texts that the tokens make.
    """
    extra: dict[str, Any] = {} if types is None else {"token_type_ids": types}
    if is_causal(backbone):
        extra["use_cache"] = False
    # Positions start anew with every text, as each would have them alone in a batch.
    # A mask of four dimensions is handed on as it is; that of the row would be T x T and unused.
    unused = torch.empty((1, 1, 1, 1), device=input_ids.device)
    hidden: Tensor = backbone(
        input_ids=input_ids,
        position_ids=torch.tensor([row.positions], device=input_ids.device),
        attention_mask=unused,
        return_dict=True,
        packed_row=row,
        **extra,
    ).last_hidden_state
    return hidden[0]


def pool_packed(hidden: Tensor, row: TokenRow, how: Pooling) -> Tensor:
    """(T, H) -> (texts, H) in float32."""
    if how not in OVER_ALL:
        at = [
            parts[0][0] if how == "cls" else parts[-1][0] + parts[-1][1] - 1 for parts in row.pieces
        ]
        return hidden[at].float()
    # Every token belongs to one part, and a split is undone in one step by backward.
    parts = sorted({part for parts in row.pieces for part in parts})
    apart = averaged(hidden, how).split([length for _, length in parts])
    sums = {start: part.sum(0) for (start, _), part in zip(parts, apart, strict=True)}
    means = [
        torch.stack([sums[start] for start, _ in parts]).sum(0) / sum(n for _, n in parts)
        for parts in row.pieces
    ]
    return from_mean(torch.stack(means), how)


def averaged(hidden: Tensor, how: Pooling) -> Tensor:
    """What the mean is taken of, in float32: the hidden states (..., H), or their squares."""
    return hidden.float().square() if how == "rms" else hidden.float()


def from_mean(mean: Tensor, how: Pooling) -> Tensor:
    """(B, H) means of `averaged` -> (B, H) vectors.

    >>> from_mean(averaged(torch.tensor([[3.0], [4.0]]), "rms").mean(0), "rms").round(decimals=4)
    tensor([3.5355])
    """
    return (mean + _FLOOR).sqrt() if how == "rms" else mean


__all__ = [
    "OVER_ALL",
    "averaged",
    "draws",
    "dropout_rates",
    "enable",
    "from_mean",
    "is_causal",
    "packed_hidden",
    "packs_on",
    "pool_packed",
]
