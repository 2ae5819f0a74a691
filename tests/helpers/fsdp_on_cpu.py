"""`reward-model` under FSDP2 on a machine without GPU, for tests: accelerate has it for GPUs only.

    accelerate launch --config_file docs/accelerate/fsdp2.yaml fsdp_on_cpu.py train ...

torch itself shards on CPUs through gloo; accelerate is told that these processes are GPUs.
"""

from __future__ import annotations

import os

import torch.distributed
from accelerate import DistributedType
from accelerate.state import PartialState

from reward_model.cli.commands import main


def take_cpus_for_gpus() -> None:
    """Before the command, in each process."""
    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    PartialState._prepare_backend = lambda *_, **__: ("gloo", DistributedType.MULTI_GPU)
    torch.distributed.init_process_group("gloo")


if __name__ == "__main__":
    take_cpus_for_gpus()
    main()
