"""The scalar model that `evaluate --compare-out` keeps, read again as a reward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoTokenizer

from reward_model.measure.comparison import KEPT
from reward_model.measure.comparison.scalar import values_of
from reward_model.model.device import checked_device
from reward_model.model.folder import builder_of
from reward_model.model.network import MultiDimRewardModel
from reward_model.model.quiet import UNREADABLE, quiet
from reward_model.records import Text, UserError
from reward_model.records.errors import first_line
from reward_model.records.files import Pathish

BATCH_TOKENS = 8192
"""Tokens of a pass."""


def read_scalar(
    folder: Pathish, device: str | None = None
) -> Callable[[Sequence[Text], Sequence[str]], list[float | None]]:
    """Its rewards: one number for each prompt and response, None where a response is empty.

    Raises:
        UserError: its files cannot be read.
    """
    try:
        with quiet():
            network: Any = MultiDimRewardModel.from_pretrained(folder)
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except UNREADABLE as error:
        raise UserError(
            f"a scalar model that cannot be read: {first_line(error)}",
            expected=f"model.safetensors and a tokenizer beside {KEPT}",
            mend="make it again: reward-model evaluate MODEL SCORED --compare-out FOLDER",
            path=Path(folder),
        ) from None
    network.to(checked_device(device))
    builder = builder_of(tokenizer, network.config)

    def give(prompts: Sequence[Text], responses: Sequence[str]) -> list[float | None]:
        values = values_of(
            network, builder, list(zip(prompts, responses, strict=True)), BATCH_TOKENS
        )
        return [None if np.isnan(value) else float(value) for value in values]

    return give
