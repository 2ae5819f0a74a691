"""What a run needs of this machine: precision, peft, bitsandbytes.

`check_machine(config)` raises before anything is read or written when a setting cannot work here;
`compute_dtype(config)` is what the backbone will compute in.
"""

from __future__ import annotations

import os
import time

import torch

from reward_model.records import UserError
from reward_model.records.errors import first_line, require
from reward_model.train.config import TrainConfig

MIXED = "ACCELERATE_MIXED_PRECISION"
"""What accelerate looks at, and what its launcher sets."""
NAMES = {torch.float32: "no", torch.bfloat16: "bf16", torch.float16: "fp16"}
"""Precisions, as accelerate names them."""
SIZE = 256
"""Rows and columns of the matrices that are multiplied to see how fast a precision is."""
TOO_SLOW = 10.0
"""Times the time of float32: with bfloat16 a CPU takes about as long, without some 200 times."""


def compute_dtype(config: TrainConfig) -> torch.dtype:
    """bfloat16 or float16 where asked for, or where `auto` finds a GPU that has bfloat16.

    `auto` takes the word of accelerate's own configuration, where that has one.
    """
    asked = _asked_of_accelerate()
    if config.precision == "auto" and asked != "no":
        return torch.bfloat16 if asked == "bf16" else torch.float16
    if config.precision == "fp16":
        return torch.float16
    fast = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    if config.precision == "bf16" or (config.precision == "auto" and fast):
        return torch.bfloat16
    return torch.float32


def _asked_of_accelerate() -> str:
    """What `accelerate config` or `accelerate launch --mixed_precision` says.

    Raises:
        UserError: a precision that this training does not have.
    """
    asked = os.environ.get(MIXED, "no").lower()
    if asked not in NAMES.values():
        raise UserError(
            f"accelerate's mixed_precision {asked}",
            expected=f"one of {', '.join(NAMES.values())}",
            mend="change it with accelerate config, or launch with --mixed_precision bf16",
        )
    return asked


def settle_precision(config: TrainConfig) -> torch.dtype:
    """`compute_dtype`, told to accelerate as well, which would go by its own word otherwise."""
    dtype = compute_dtype(config)
    os.environ[MIXED] = NAMES[dtype]
    return dtype


def precision_words(config: TrainConfig) -> list[str]:
    """What is said where accelerate and the settings ask for two precisions."""
    asked, ours = _asked_of_accelerate(), NAMES[compute_dtype(config)]
    if MIXED not in os.environ or config.precision == "auto" or asked == ours:
        return []
    return [
        f"precision {config.precision} of the settings is used, not mixed_precision {asked} of "
        "accelerate's configuration"
    ]


def device_words() -> list[str]:
    """What is said where GPUs lie idle."""
    count = torch.cuda.device_count()
    if count < 2 or "WORLD_SIZE" in os.environ:
        return []
    return [f"one of {count} GPUs is used; accelerate launch -m reward_model train ... uses all"]


def check_machine(config: TrainConfig) -> None:
    """See that every library and kernel that the settings ask for is there.

    Raises:
        UserError: what is missing, and how to go on.
    """
    _check_precision(config)
    if config.lora_rank and config.load_in_4bit:
        require("QLoRA", "qlora", "bitsandbytes", "peft")
    elif config.lora_rank:
        require("LoRA", "lora", "peft")
    if config.load_in_4bit:
        if not config.lora_rank:
            raise UserError(
                "load_in_4bit without lora_rank",
                expected="LoRA on a backbone of 4-bit weights, which cannot be trained themselves",
                mend="add --lora-rank 16, or leave out --load-in-4bit",
            )
        if spread():
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


def spread() -> bool:
    """The launcher spreads the weights over processes: none of them will hold a whole model."""
    return any(os.environ.get(f"ACCELERATE_USE_{kind}") == "true" for kind in ("FSDP", "DEEPSPEED"))


def _check_precision(config: TrainConfig) -> None:
    """Half precision that a CPU only emulates: a run of minutes would take days."""
    dtype = compute_dtype(config)
    if dtype is torch.float32 or torch.accelerator.is_available():
        return
    whole, half = seconds(torch.float32, dtype)
    if half > TOO_SLOW * whole:
        raise UserError(
            f"precision {NAMES[dtype]} on a CPU that takes {half / whole:.0f} times as long for it "
            "as for float32",
            expected="fp32 here: half precision is for a GPU, or a CPU that has it",
            mend='leave out precision, or set precision = "fp32"',
        )


def seconds(*dtypes: torch.dtype) -> list[float]:
    """The best of five products of two square matrices each, in turns: others may be at work."""
    best = [float("inf")] * len(dtypes)
    for _ in range(5):
        for i, dtype in enumerate(dtypes):
            a = torch.ones(SIZE, SIZE, dtype=dtype)
            start = time.perf_counter()
            a @ a
            best[i] = min(best[i], time.perf_counter() - start)
    return best


def _probe_4bit() -> None:
    require("4-bit weights", "qlora", "bitsandbytes")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        from bitsandbytes.nn.modules import Linear4bit

        layer = Linear4bit(64, 64, compute_dtype=torch.float32, quant_type="nf4").to(device)
        layer(torch.zeros(1, 64, device=device))
    # The loader of bitsandbytes' library fails in as many ways as there are machines.
    except Exception as error:
        raise _cannot("4-bit weights", error, "leave out --load-in-4bit") from None


def _probe_8bit_adam() -> None:
    require("8-bit AdamW", "qlora", "bitsandbytes")
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
