"""Which precision this machine computes in, measured; see `reward_model.measure.doctor.run`."""

from __future__ import annotations

import torch

from reward_model.measure.doctor.findings import Finding, note, ok
from reward_model.train.machine import seconds

SLOW = 2.0
"""Times the time of float32 from which a precision is not worth its rounding."""


def precision_here() -> Finding:
    """Which half precisions are slower than float32 here, by a small matrix product each."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return ok("precision", "this GPU computes in bfloat16")
        return note(
            "precision",
            "this GPU has no bfloat16",
            "scoring runs in float32; training with precision bf16 would be emulated",
            "train with precision fp16 or fp32",
        )
    usual, *others = seconds(torch.float32, torch.bfloat16, torch.float16)
    slow = {name: t / usual for name, t in zip(("bfloat16", "float16"), others, strict=True)}
    times = " and ".join(f"{name} about {times:.1f} times" for name, times in slow.items())
    words = f"this CPU takes for a matrix product in {times} as long as in float32"
    if max(slow.values()) < SLOW:
        return ok("precision", words)
    return note(
        "precision",
        words,
        "scoring and training use float32 here unless told otherwise",
        "leave dtype and precision as they are; half precision is for a GPU that has it",
    )
