"""Settings of a reward that a trainer finds by its name alone, from environment variables.

`from_environment()` reads `REWARD_MODEL` and its companions; used by the dotted path of `trl grpo`
and by the files that verl and OpenRLHF load.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass

from reward_model.records import UserError
from reward_model.records.chat.templates import ChatTemplate, load_template
from reward_model.rlhf.client import PATIENCE as PATIENCE_S
from reward_model.rlhf.client import RewardClient
from reward_model.rlhf.source import RewardSource, is_address, open_source
from reward_model.rlhf.texts import Marks
from reward_model.score.terms import checked_abstain, checked_risk, parse_weights

MODEL = "REWARD_MODEL"
"""Folder of a trained model, or address of `reward-model serve`."""
WEIGHTS = "REWARD_MODEL_WEIGHTS"
"""`depth=2,accuracy=1` instead of the rubric's weights."""
RISK = "REWARD_MODEL_RISK"
"""Lambda of mean - lambda x sd."""
NO_OPINION = "REWARD_MODEL_NO_OPINION"
"""Reward of a response that the model gives none, such as an empty one."""
ABSTAIN = "REWARD_MODEL_ABSTAIN"
"""Familiarity below which a response has none."""
CHAT_TEMPLATE = "REWARD_MODEL_CHAT_TEMPLATE"
"""Chat template of the policy, a name or a TOML file: whose tokens are in OpenRLHF's texts, and
which marks stand around a thought.
"""
DEVICE = "REWARD_MODEL_DEVICE"
"""`cuda`, `mps` or `cpu`."""
CENTERED = "REWARD_MODEL_CENTERED"
"""`1`: rewards are centred and scaled by the reference texts of the model."""
PATIENCE = "REWARD_MODEL_PATIENCE"
"""Seconds that a server is waited for."""
FALLBACK = "REWARD_MODEL_FALLBACK"
"""What a response earns when no request was answered for so long; without it that is an error."""
DIMENSIONS = "REWARD_MODEL_DIMENSIONS"
"""`depth,accuracy`: names that are known before a server is first reached."""
_VARIABLES = (
    MODEL, WEIGHTS, RISK, NO_OPINION, ABSTAIN, CHAT_TEMPLATE, DEVICE, CENTERED, PATIENCE, FALLBACK,
    DIMENSIONS,
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """What the variables say."""

    source: RewardSource
    weights: dict[str, float] | None
    risk: float | None
    no_opinion: float | None
    abstain: float | None
    template: ChatTemplate | None

    @property
    def thinking(self) -> Marks | None:
        """Marks around a thought of the policy."""
        return self.template.thinking if self.template else None


def from_environment() -> Settings:
    """Settings from the environment.

    Raises:
        UserError: `REWARD_MODEL` is not set, or a value is none of its kind.
    """
    return _settings(*(os.environ.get(name, "") for name in _VARIABLES))


@functools.cache
def _settings(
    model: str,
    weights: str,
    risk: str,
    no_opinion: str,
    abstain: str,
    chat_template: str,
    device: str,
    centered: str,
    patience: str,
    fallback: str,
    dimensions: str,
) -> Settings:
    if not model:
        raise UserError(
            f"no environment variable {MODEL}",
            expected="the folder of a trained model, or the address of reward-model serve",
            mend=f"export {MODEL}=outputs/multidim/best",
        )
    asked, careful = _weights(weights), checked_risk(_number(risk, RISK), RISK)
    return Settings(
        source=open_source(
            waiting(
                model,
                _number(patience, PATIENCE),
                _number(fallback, FALLBACK),
                [name.strip() for name in dimensions.split(",") if name.strip()],
            ),
            device=device or None,
            centered=_switch(centered, CENTERED),
            weights=asked,
            risk=careful,
        ),
        weights=asked,
        risk=careful,
        no_opinion=_number(no_opinion, NO_OPINION),
        abstain=checked_abstain(_number(abstain, ABSTAIN), ABSTAIN),
        template=load_template(chat_template or None),
    )


def waiting(
    model: str,
    patience: float | None,
    fallback: float | None,
    dimensions: Sequence[str] = (),
) -> str | RewardClient:
    """The address of a server as a client that waits so long, and then gives the declared reward.

    Raises:
        UserError: a folder, which is never waited for, or a time that is none.
    """
    if patience is None and fallback is None and not dimensions:
        return model
    if not is_address(model):
        raise UserError(
            f"a time to wait, a fallback reward or names of dimensions with {model}",
            expected="them with the address of reward-model serve",
        )
    return RewardClient(
        model,
        patience=PATIENCE_S if patience is None else patience,
        fallback_reward=fallback,
        dimensions=dimensions,
    )


def _switch(value: str, variable: str) -> bool:
    if value.strip().lower() in ("", "0", "false", "no"):
        return False
    if value.strip().lower() in ("1", "true", "yes"):
        return True
    raise UserError(f"{value!r} in {variable}", expected="1 or 0")


def _weights(words: str) -> dict[str, float] | None:
    try:
        return parse_weights([word for word in words.split(",") if word.strip()])
    except UserError:
        raise UserError(
            f"{words!r} in {WEIGHTS}", expected="DIMENSION=NUMBER,...: depth=2,accuracy=1"
        ) from None


def _number(value: str, variable: str) -> float | None:
    if not value:
        return None
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{value!r} in {variable}", expected="a number")
    return number
