"""What a run needs of this machine: precision, memory, peft, bitsandbytes.

`check_machine(config)` raises before anything is read or written when a setting cannot work here;
`compute_dtype(config)` is what the backbone will compute in; `settle_memory(config, model)` how
many tokens a device takes at once, and whether it keeps what its layers compute.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import torch

from reward_model.model.adapter import plain
from reward_model.model.device import device_tokens
from reward_model.records import UserError
from reward_model.records.errors import first_line, require
from reward_model.train.config import TrainConfig
from reward_model.train.processes import processes

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


@dataclass(frozen=True)
class Memory:
    """What a training step needs of a GPU, in bytes."""

    fixed: float
    """Weights, their gradients, AdamW's two moments, and copies in half precision."""
    kept: float
    """What the layers keep of a token for the backward pass."""
    inputs: float
    """What they keep of it where they are computed again, and what one layer keeps meanwhile."""

    def fit(self, free: float, longest: int, most: int) -> tuple[int, bool]:
        """Tokens at once, and whether activations are computed again.

        Args:
            free: bytes.
            longest: tokens of the longest text, which has to fit whatever else does.
            most: tokens that fill the device.

        >>> Memory(fixed=8e9, kept=4e6, inputs=1e6).fit(80e9, 1024, 32768)
        (14000, False)
        >>> Memory(fixed=60e9, kept=4e6, inputs=1e6).fit(80e9, 1024, 32768)
        (4000, True)
        """
        room = max(0.0, USABLE * free - self.fixed)
        tokens = int(room / self.kept)
        if tokens >= min(most, max(ENOUGH, longest)):
            return min(most, tokens), False
        return max(longest, min(most, int(room / self.inputs))), True


USABLE = 0.8
"""Of the free memory: the rest is for what kernels need beside and for pieces that do not join."""
ENOUGH = 4096
"""Tokens from which on a step is not worth computing anything twice for a fuller device."""


def memory_of(config: TrainConfig, model: Any, dtype: torch.dtype) -> Memory:
    """What training this model needs; a token keeps 34 bytes a layer and unit of its width.

    That is of a layer in half precision without the scores of attention, which today's kernels do
    not keep (arXiv 2205.05198, 4.1); twice as much in float32.
    """
    half = dtype is not torch.float32
    weights = list(model.parameters())
    trained = [weight for weight in weights if weight.requires_grad]
    moments = 2 if config.optimizer == "adamw_8bit" else 8
    fixed = sum(w.numel() * w.element_size() for w in weights)
    fixed += sum(w.numel() * (w.element_size() + moments) for w in trained)
    fixed += half * sum(2 * w.numel() for w in weights if w.element_size() > 2)
    if spread():
        fixed //= processes().num_processes
    shape = plain(model).backbone.config.get_text_config()
    layers, width = max(1, shape.num_hidden_layers), shape.hidden_size
    layer = 34 * width * (1 if half else 2)
    return Memory(fixed, layers * layer, layers * width * (2 if half else 4) + layer)


def settle_memory(config: TrainConfig, model: Any) -> tuple[TrainConfig, int]:
    """Settings with gradient checkpointing on or off, and the tokens a device takes at once.

    Both are as asked for; what is not is chosen by the memory that is free on a GPU. On a CPU
    nothing is computed twice.
    """
    gpu = torch.cuda.is_available()
    again, tokens = False, config.batch_tokens or device_tokens("cuda" if gpu else "cpu")
    if gpu:
        free, _ = torch.cuda.mem_get_info()
        needs = memory_of(config, model, compute_dtype(config))
        fitting, again = needs.fit(free, config.max_length, tokens)
        tokens = config.batch_tokens or fitting
        again &= plain(model).backbone.supports_gradient_checkpointing
    if config.gradient_checkpointing is None:
        config = config.model_copy(update={"gradient_checkpointing": again})
    return config, tokens


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
