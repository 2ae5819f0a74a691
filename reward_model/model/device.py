"""Where a model runs, in which precision, and how many tokens at once."""

from __future__ import annotations

import contextlib

import torch

from reward_model.model.lanes import LEAST_TOKENS
from reward_model.records import UserError


def tokens_at_once(device: torch.device) -> int:
    """Wide batches win on an accelerator; on a CPU they only fall out of its caches."""
    return 65536 if device.type != "cpu" else max(2048, LEAST_TOKENS * torch.get_num_threads())


def best_device() -> torch.device:
    """The fastest device this process can use."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def checked_device(device: str | torch.device | None) -> torch.device:
    """A device of this machine; the best there is for None.

    Raises:
        UserError: this machine has no such device.
    """
    if device is None:
        return best_device()
    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    counts = {"cpu": 1, "mps": int(torch.backends.mps.is_available()), "cuda": cuda}
    where: torch.device | None = None
    with contextlib.suppress(RuntimeError, TypeError):  # a word that is none
        where = torch.device(device)
    if where is None or (where.index or 0) >= counts.get(where.type, 0):
        have = [f"{kind}:{i}" if i else kind for kind, n in counts.items() for i in range(n)]
        raise UserError(
            f"device {str(device)!r}", expected=f"one that this machine has: {', '.join(have)}"
        )
    return where


def checked_dtype(dtype: torch.dtype | str | None, device: torch.device) -> torch.dtype:
    """What a backbone computes in; the best of the device for None.

    >>> checked_dtype("bfloat16", torch.device("cpu"))
    torch.bfloat16

    Raises:
        UserError: it is no floating-point type of torch.
    """
    if dtype is None:
        return best_dtype(device)
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise UserError(f"dtype {dtype!r}", expected="float32, bfloat16 or float16")
    return found


def best_dtype(device: torch.device) -> torch.dtype:
    """What a backbone computes in: bfloat16 on a GPU that does, else float32."""
    fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.bfloat16 if fast else torch.float32


def device_tokens(device: torch.device | str) -> int:
    """Tokens that a device takes at once: what fits a CPU's caches, what fills a GPU.

    >>> device_tokens("cpu")
    4096
    """
    return 4096 if torch.device(device).type == "cpu" else 32768
