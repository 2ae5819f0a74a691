"""The processes that one run was started in, by `accelerate launch` or `torchrun`, and their ranks.

`processes()` joins them and says which one this is; it is asked before anything is written.
`leave()` ends what joined them. `whole_weights(trainer)` brings a model that is spread over them
into one place.
"""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TypeAlias

import torch
from accelerate import PartialState
from torch import Tensor
from transformers import Trainer

Weights: TypeAlias = dict[str, Tensor]
"""By the names of the model's own state dict."""
USE_CPU = "ACCELERATE_USE_CPU"
"""What accelerate and the Trainer look at; they leave processes on a CPU apart without it."""


def processes() -> PartialState:
    """Join the processes of this run, on CPUs through gloo.

    Without this, `torchrun` on a machine without GPU starts so many runs that know nothing of one
    another and write into one folder.
    """
    started = int(os.environ.get("WORLD_SIZE", "1")) > 1
    # Without a GPU accelerate would take each process for a run of its own.
    if started and not torch.accelerator.is_available():
        os.environ[USE_CPU] = "true"
    cpu = os.environ.get(USE_CPU, "").lower() in {"1", "true", "yes"}
    # The first process encodes a large file while the others wait for it.
    return PartialState(cpu=cpu, timeout=timedelta(hours=3))


def leave() -> None:
    """The last thing that each process of a command does.

    Threads of a process group that is still open abort a process now and then as it exits, after
    all work is done, and the launcher then calls the run failed.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def whole_weights(trainer: Trainer) -> Weights | None:
    """All weights on the first process, or None where the model there is whole already.

    Every process calls it after training; the first one writes the result.
    """
    if not (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
        return None
    weights: Weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return weights
