"""What a run needs of this machine: precision, peft, bitsandbytes.

`check_machine(config)` raises before anything is read or written when a setting cannot work here;
`compute_dtype(config)` is what the backbone will compute in.
"""

from __future__ import annotations

import os

import torch

from reward_model.records import UserError
from reward_model.records.errors import first_line, require
from reward_model.train.config import TrainConfig


def compute_dtype(config: TrainConfig) -> torch.dtype:
    """bfloat16 or float16 where asked for, or where `auto` finds a GPU that has bfloat16."""
    if config.precision == "fp16":
        return torch.float16
    fast = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if config.precision == "bf16" or (config.precision == "auto" and fast):
        return torch.bfloat16
    return torch.float32


def check_machine(config: TrainConfig) -> None:
    """See that every library and kernel that the settings ask for is there.

    Raises:
        UserError: what is missing, and how to go on.
    """
    if config.lora_rank:
        require("LoRA", "lora", "peft")
    if config.load_in_4bit:
        if not config.lora_rank:
            raise UserError(
                "load_in_4bit without lora_rank",
                expected="LoRA on a backbone of 4-bit weights, which cannot be trained themselves",
                mend="add --lora-rank 16, or leave out --load-in-4bit",
            )
        if any(
            os.environ.get(f"ACCELERATE_USE_{kind}") == "true" for kind in ("FSDP", "DEEPSPEED")
        ):
            raise UserError(
                "load_in_4bit with weights that are spread over processes",
                expected="a whole 4-bit backbone in every process",
                mend="start with docs/accelerate/ddp.yaml, or leave out --load-in-4bit",
            )
        _probe_4bit()
    if config.optimizer == "adamw_8bit":
        _probe_8bit_adam()
    if config.report_to != "none":
        _probe_reporting(config.report_to)


def _probe_4bit() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        from bitsandbytes.nn.modules import Linear4bit

        layer = Linear4bit(64, 64, compute_dtype=torch.float32, quant_type="nf4").to(device)
        layer(torch.zeros(1, 64, device=device))
    # The loader of bitsandbytes' library fails in as many ways as there are machines.
    except Exception as error:
        raise _cannot("4-bit weights", error, "leave out --load-in-4bit") from None


def _probe_8bit_adam() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        from bitsandbytes.optim.adamw import AdamW8bit

        # From this size on the state is kept in 8 bits; smaller ones would show nothing.
        weight = torch.nn.Parameter(torch.zeros(4096, device=device))
        weight.grad = torch.ones_like(weight)
        AdamW8bit([weight]).step()
    except Exception as error:
        raise _cannot("8-bit AdamW", error, 'set optimizer = "adamw"') from None


def _cannot(what: str, error: Exception, mend: str) -> UserError:
    where = "this GPU" if torch.cuda.is_available() else "this machine's CPU"
    return UserError(
        f"no {what} on {where} ({first_line(error)})",
        expected="a machine on which bitsandbytes works: Linux or Windows, best with a GPU",
        mend=mend,
    )


def _probe_reporting(name: str) -> None:
    from transformers.integrations.integration_utils import get_reporting_integration_callbacks

    try:
        for callback in get_reporting_integration_callbacks([name]):
            callback()
    except (RuntimeError, ValueError, ImportError) as error:
        raise UserError(
            f"report_to {name!r} ({first_line(error)})",
            expected="a service that transformers reports to, and its package installed",
            mend=f"pip install {name}, or leave report_to out",
        ) from None
