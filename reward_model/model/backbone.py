"""A pretrained encoder or decoder, loaded as training and scoring need it, or refused in words."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn
from transformers import MODEL_MAPPING, AutoConfig, AutoModel, PreTrainedConfig

from reward_model.model.packed import dropout_rates
from reward_model.records import UserError
from reward_model.records.errors import some_of


def load_backbone(name_or_path: str, *, dropout: bool = True, **kwargs: Any) -> Any:
    """A backbone with all of its weights, in float32 unless `dtype` says otherwise.

    Args:
        name_or_path: folder or hub id.
        dropout: keep what it was pretrained with.
        kwargs: for `AutoModel.from_pretrained`.

    Raises:
        UserError: weights that the files do not have, which would be random.
    """
    kwargs.setdefault("dtype", torch.float32)
    trust = kwargs.get("trust_remote_code", False)
    known = AutoConfig.from_pretrained(name_or_path, trust_remote_code=trust)
    if not dropout:
        _switch_off_dropout(known)
    backbone, found = AutoModel.from_pretrained(
        name_or_path,
        config=known,
        output_loading_info=True,
        **without_pooler(known),
        **kwargs,
    )
    _check_weights(name_or_path, backbone, found)
    if not dropout:
        for module in backbone.modules():  # rates that stand in the code alone
            if isinstance(module, nn.Dropout):
                module.p = 0.0
    _keep_precision_of_4bit(backbone)
    return backbone


def unread(backbone: Any) -> list[str]:
    """Parts of a backbone that texts never go through: what reads images, or sounds."""
    known = backbone.config
    reader = None if known.get_text_config() is known else backbone.get_decoder()
    if reader is None or reader is backbone:
        return []
    parts = dict(backbone.named_children())
    return [name for name, part in parts.items() if all(m is not reader for m in part.modules())]


def freeze_unread(backbone: Any) -> None:
    """Weights that would get no gradient do not train: distributed training waits for each."""
    for name in unread(backbone):
        getattr(backbone, name).requires_grad_(False)


def _check_weights(name: str, backbone: nn.Module, found: dict[str, Any]) -> None:
    """transformers fills weights that it finds under no name with random numbers, and only warns.

    Names differ where a checkpoint was saved from inside a wrapper (`module.`, `_orig_mod.`), or
    where a layer or a file was lost on the way.

    Raises:
        UserError: some are missing.
    """
    # A pooler is never used here, and many checkpoints come without one.
    missing = sorted(key for key in found["missing_keys"] if not key.startswith("pooler."))
    if not missing:
        return
    whole = len(missing) >= sum(1 for _ in backbone.parameters())
    spare = sorted(found["unexpected_keys"])
    raise UserError(
        f"a base model without {'any' if whole else len(missing)} of its weights "
        f"({some_of(missing)}), which would be random",
        expected=f"all weights that its config.json asks for, under the names that "
        f"{type(backbone).__name__} gives them"
        + (f"; its files hold {some_of(spare)} beside" if spare else ""),
        mend="copy the model again, whole, or save it with save_pretrained of the model itself, "
        "not of a wrapper around it",
        path=name,
    )


def without_pooler(config: PreTrainedConfig) -> dict[str, bool]:
    """BERT's own pooler is never used here; its idle weights would stop distributed training."""
    model: Any = MODEL_MAPPING.get(type(config), None)
    if isinstance(model, tuple):  # several classes for one configuration; all take the same
        model = model[0]
    if model is None or "add_pooling_layer" not in inspect.signature(model).parameters:
        return {}
    return {"add_pooling_layer": False}


def _keep_precision_of_4bit(backbone: nn.Module) -> None:
    """On a CPU with AVX-512 bf16, bitsandbytes (0.49 and later) repacks 4-bit layers for inference.

    It rounds their scales to bfloat16, so that a model scores other than it was trained, and fails
    on rows that are shorter than a block of 64.
    """
    layer: Any
    for layer in backbone.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False


def _switch_off_dropout(config: PreTrainedConfig) -> None:
    """Every rate by its name: attention takes its own from here, not from a module."""
    for part in (config, config.get_text_config()):
        for name in dropout_rates(part):
            setattr(part, name, 0.0)
