"""What is asked of a reward's risk, and what trainers ask of rewards: numbers alone.

`checked_risk(-0.5)` and `numbers(scores, None, ...)` say what is wrong before a policy learns it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reward_model.records import UserError

if TYPE_CHECKING:
    from reward_model.score.scorer import Score


def checked_risk(risk: float | None, name: str = "risk") -> float | None:
    """Lambda of ``mean - lambda * sd``: below 0 it would pay for uncertainty.

    Raises:
        UserError: it is no number from 0 up.
    """
    if risk is not None and not 0 <= risk < math.inf:
        raise UserError(f"{name} {risk}", expected="a number from 0 up")
    return risk


def numbers(
    scores: Sequence[Score], no_opinion: float | None, *, trainer: str, declare: str
) -> list[float]:
    """Rewards for a trainer that takes nothing but numbers.

    Args:
        scores: of the responses.
        no_opinion: reward of a response without one.
        trainer: which one that is.
        declare: the setting that says what such a response earns.

    Raises:
        UserError: a response without a reward, and nothing declared for it.
    """
    rewards = []
    for score in scores:
        reward = no_opinion if score.reward is None else score.reward
        if reward is None:
            raise UserError(
                f"a response without a reward ({score.reason})",
                expected=f"a number for each, which {trainer} needs",
                mend=f"declare what such a response earns: {declare}=0.0 is the lowest",
            )
        rewards.append(reward)
    return rewards
