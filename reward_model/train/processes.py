"""The processes that one run was started in, by `accelerate launch` or `torchrun`, and their ranks.

`processes()` joins them and says which one this is; it is asked before anything is written.
"""

from __future__ import annotations

import os
from datetime import timedelta

import torch
from accelerate import PartialState

USE_CPU = "ACCELERATE_USE_CPU"
"""What accelerate and the Trainer look at; they leave processes on a CPU apart without it."""


def processes() -> PartialState:
    """Join the processes of this run, on CPUs through gloo.

    Without this, `torchrun` on a machine without GPU starts so many runs that know nothing of one
    another and write into one folder.
    """
    started = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if started and not torch.accelerator.is_available():
        os.environ[USE_CPU] = "true"
    cpu = os.environ.get(USE_CPU, "").lower() in {"1", "true", "yes"}
    # The first process encodes a large file while the others wait for it.
    return PartialState(cpu=cpu, timeout=timedelta(hours=3))
