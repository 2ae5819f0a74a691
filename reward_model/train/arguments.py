"""A run's settings as transformers' Trainer takes them; for this package's trainer and TRL's.

`common_arguments(config, steps, ...)` is what both have in common, `training_arguments(...)` all of
ours; `give_heads_a_rate(...)` divides the optimiser's groups.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

import torch
from torch import nn
from transformers import TrainingArguments

from reward_model.train.checkpoints import CHECKPOINTS
from reward_model.train.config import TrainConfig
from reward_model.train.machine import settle_precision
from reward_model.train.processes import processes


def common_arguments(
    config: TrainConfig, steps: float, *, gpu: bool, dtype: torch.dtype
) -> dict[str, Any]:
    """What a run says of optimiser, schedule, precision and checkpoints.

    Args:
        config: of the run.
        steps: optimiser steps that the schedule is laid over.
        gpu: texts go to a GPU.
        dtype: that the backbone computes in.
    """
    return {
        "learning_rate": config.learning_rate,
        "lr_scheduler_type": config.schedule,
        "warmup_steps": round(config.warmup_share * steps),
        "weight_decay": config.weight_decay,
        "max_grad_norm": config.max_grad_norm,
        "gradient_checkpointing": bool(config.gradient_checkpointing),
        "bf16": dtype is torch.bfloat16,
        "fp16": dtype is torch.float16,
        # The fused kernel updates all weights in one pass over memory, on CPUs as well.
        "optim": "adamw_8bit" if config.optimizer == "adamw_8bit" else "adamw_torch_fused",
        # The best one, which the end loads, and the last one, which a killed run goes on from.
        "save_total_limit": 2,
        "disable_tqdm": True,
        "dataloader_pin_memory": gpu,
        "seed": config.seed,
    }


def training_arguments(
    config: TrainConfig, texts: int, tokens: int, best: str | None
) -> TrainingArguments:
    """All arguments of a run of this package.

    Args:
        config: of the run.
        texts: that are trained on.
        tokens: that a device takes at once.
        best: measure that picks the best checkpoint; None where nothing is validated on.
    """
    gpu = torch.cuda.is_available()
    steps = config.max_steps or max(1, texts // config.batch_size) * config.epochs
    when = "steps" if config.eval_steps else "epoch"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return TrainingArguments(
            **common_arguments(config, steps, gpu=gpu, dtype=settle_precision(config)),
            output_dir=str(config.output_dir / CHECKPOINTS),
            num_train_epochs=config.epochs,
            max_steps=config.max_steps or -1,
            per_device_train_batch_size=max(1, config.batch_size // processes().num_processes),
            per_device_eval_batch_size=max(1, tokens // config.max_length),
            eval_strategy=when if best else "no",
            eval_steps=config.eval_steps,
            save_strategy=when,
            save_steps=config.eval_steps or 500,
            load_best_model_at_end=best is not None,
            metric_for_best_model=f"eval_{best}" if best else None,
            greater_is_better=best != "loss" if best else None,
            logging_steps=config.logging_steps,
            # A loss that is no number has to be seen, not averaged away.
            logging_nan_inf_filter=False,
            report_to=config.report_to,
            remove_unused_columns=False,
            label_names=["labels"],
            # Every weight has a gradient in every step; looking for others costs a pass.
            ddp_find_unused_parameters=False,
        )


def give_heads_a_rate(optimizer: torch.optim.Optimizer, network: nn.Module, rate: float) -> None:
    """Put the heads into groups of their own, at `rate`; the rest of each group stays as it is."""
    # peft and wrappers for several devices put words before the name; BERT's own layers have none.
    named = network.named_parameters()
    heads = {id(weight) for name, weight in named if re.search(r"(^|\.)heads\.\d", name)}
    for group in list(optimizer.param_groups):
        mine = [weight for weight in group["params"] if id(weight) in heads]
        rest = [weight for weight in group["params"] if id(weight) not in heads]
        if mine and rest:
            group["params"] = rest
            optimizer.add_param_group({**group, "params": mine, "lr": rate})
        elif mine:
            group["lr"] = rate
