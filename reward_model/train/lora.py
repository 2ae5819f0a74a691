"""Adapters put on a backbone that is to be trained."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from torch import nn
from transformers.pytorch_utils import Conv1D

from reward_model.model.adapter import NAME, still
from reward_model.model.backbone import unread
from reward_model.model.network import MultiDimRewardModel
from reward_model.records import UserError
from reward_model.records.errors import require
from reward_model.train.config import TrainConfig

if TYPE_CHECKING:
    from peft import PeftModel


def add_lora(model: MultiDimRewardModel, config: TrainConfig, base: str) -> PeftModel:
    """Freeze the backbone and put adapters beside its linear layers.

    The whole model is wrapped, heads included, not the backbone alone: a PeftModel is what
    transformers' Trainer, FSDP and DeepSpeed know how to save, resume and gather. Heads are
    `modules_to_save`, so they travel in the adapter file and cannot be lost on the way.

    Args:
        model: a backbone with fresh heads.
        config: `lora_rank` and the other settings of LoRA.
        base: folder or hub id of the backbone, to be named by the adapter.

    Raises:
        UserError: `lora_targets` names no linear layer of this backbone.
    """
    require("LoRA", "lora", "peft")
    from peft import LoraConfig, get_peft_model

    names = "|".join(map(re.escape, _targets(model, config)))
    idle = "".join(rf"(?!{re.escape(name)}\.)" for name in unread(model.backbone))
    settings = LoraConfig(
        r=config.lora_rank,
        # It follows the rank, so that what the matrices add keeps its scale when the rank changes,
        # and one learning rate serves all.
        lora_alpha=2 * config.lora_rank if config.lora_alpha is None else config.lora_alpha,
        lora_dropout=config.lora_dropout,
        # Anchored to the backbone: heads have a layer called `dense` as BERT has.
        target_modules=rf"backbone\.{idle}(.*\.)?({names})",
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.backbone.modules()),
        modules_to_save=[f"heads.{i}" for i in range(len(model.heads))],
    )
    with still():
        adapted: PeftModel = get_peft_model(model, settings)
    adapted.peft_config[NAME].base_model_name_or_path = base
    return adapted


def _targets(model: MultiDimRewardModel, config: TrainConfig) -> list[str]:
    idle = tuple(f"{name}." for name in unread(model.backbone))
    linear = {
        name
        for name, module in model.backbone.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and not name.startswith(idle)
    }
    last = {name.rsplit(".", 1)[-1] for name in linear}
    if not linear:
        raise UserError(
            "a base model without linear layers, which LoRA adapts",
            expected="a pretrained encoder or decoder as --base-model",
            mend="leave out --lora-rank: a model this small trains whole",
        )
    if config.lora_targets == "all-linear":
        return sorted(last)
    unknown = [
        target
        for target in config.lora_targets
        if not any(f".{name}".endswith(f".{target}") for name in linear)
    ]
    if unknown:
        raise UserError(
            f"lora_targets {', '.join(map(repr, unknown))}",
            expected=f"linear layers of the base model: {', '.join(sorted(last))}",
            mend='or lora_targets = "all-linear"',
        )
    return sorted(config.lora_targets)
