"""What trainers ask of rewards: numbers alone, and of texts like those the model knows.

`numbers(scores, None, ...)` says what is wrong before a policy learns it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from reward_model.records import UserError
from reward_model.score.terms import checked_reward

if TYPE_CHECKING:
    from reward_model.score.scorer import Score


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
    no_opinion = checked_reward(no_opinion, "no_opinion")
    for score in scores:
        reward = no_opinion if score.reward is None else score.reward
        if reward is None:
            raise UserError(
                f"a response without a reward ({score.reason})",
                expected=f"a number for each, which {trainer} needs",
                mend=f"declare what such a response earns: {declare}=0.0 is the lowest of rewards "
                "that are not centred",
            )
        rewards.append(reward)
    return rewards


def familiar(scores: Sequence[Score], abstain: float | None) -> list[Score]:
    """The scores, with no opinion where a response is less familiar than `abstain`.

    Raises:
        UserError: a model that cannot tell, of which every response would seem familiar.
    """
    if abstain is None:
        return list(scores)
    if any(score.reward is not None and score.familiarity is None for score in scores):
        raise UserError(
            f"abstain {abstain:g}, and scores of a model that knows no familiarity",
            expected="one whose folder holds familiarity.safetensors",
            mend="train it anew with texts to validate on, or leave out abstain",
        )
    return [score.unless_unfamiliar(abstain) for score in scores]
