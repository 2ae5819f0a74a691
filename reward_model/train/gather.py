"""The weights of a model that is spread over several processes, in one place.

`whole_weights(trainer)` is called by every process after training; the first one writes the result.
"""

from __future__ import annotations

from typing import TypeAlias

from torch import Tensor
from transformers import Trainer

Weights: TypeAlias = dict[str, Tensor]
"""By the names of the model's own state dict."""


def whole_weights(trainer: Trainer) -> Weights | None:
    """All weights on the first process, or None where the model there is whole already."""
    if not (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
        return None
    weights: Weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return weights
