"""What a scorer says of a text: `Score`, made of the chance of each level.

`scores_of(seen, names, weights, risk)` makes those of many texts at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from reward_model.stats.bootstrap import Floats
from reward_model.stats.levels import expected_levels, level_sd, reward_of

if TYPE_CHECKING:
    from reward_model.model.scale import RewardScale


@dataclass(frozen=True)
class Score:
    """What the model thinks of one response."""

    reward: float | None
    """Weighted expected level over the scale, in [0, 1]; None where there is no opinion. Of a
    scorer that centres: standard deviations above the mean of the reference texts."""
    levels: dict[str, float] = field(default_factory=dict)
    """Dimension -> expected level, e.g. 3.42; empty where there is no opinion."""
    probabilities: dict[str, list[float]] = field(default_factory=dict)
    """Dimension -> chance of each level; they sum to 1."""
    predicted: dict[str, int] = field(default_factory=dict)
    """Dimension -> most likely level."""
    uncertainty: dict[str, float] = field(default_factory=dict)
    """Dimension -> standard deviation of the level, in levels."""
    prompt_truncated: bool = False
    """The prompt did not fit and lost its middle."""
    response_truncated: bool = False
    """The response alone did not fit: what was judged is its head and tail."""
    reason: str | None = None
    """Why there is no opinion."""
    familiarity: float | None = None
    """Share of the validation texts that are at least as unlike the training texts, in (0, 1];
    None where the model does not know. Of several models: the least."""
    spread: float | None = None
    """Of several models: standard deviation of the reward between them, in its units."""
    level_spread: dict[str, float] | None = None
    """Of several models: dimension -> standard deviation of the expected level between them."""
    uncentered: float | None = None
    """Where rewards are centred: the reward before, in [0, 1]."""
    centered: dict[str, float] | None = None
    """Where rewards are centred: dimension -> its own reward, so many standard deviations above its
    mean of the reference texts."""

    def to_json(self) -> dict[str, Any]:
        """The score as it is written to a file; the last six only where there are any."""
        optional = ("reason", "familiarity", "spread", "level_spread", "uncentered", "centered")
        return {k: v for k, v in self.__dict__.items() if k not in optional or v is not None}

    def own(self, dimension: str, risk: float = 0.0) -> float:
        """Reward of one dimension, in [0, 1]: its expected level, less `risk` standard deviations,
        over the scale."""
        top = len(self.probabilities[dimension]) - 1
        return min(
            1.0, max(0.0, (self.levels[dimension] - risk * self.uncertainty[dimension]) / top)
        )

    def by(self, scale: RewardScale | None) -> Score:
        """The score with its rewards centred and scaled; as it is without a scale."""
        if scale is None or self.reward is None:
            return self
        own = {name: scale.dimension(name, self.own(name, scale.risk)) for name in self.levels}
        return replace(
            self,
            reward=scale.centered(self.reward),
            spread=None if self.spread is None else self.spread / scale.sd,
            uncentered=self.reward,
            centered=own,
        )

    def unless_unfamiliar(self, abstain: float | None) -> Score:
        """The score, or no opinion where the text is less familiar than `abstain`."""
        if abstain is None or self.familiarity is None or self.reward is None:
            return self
        if self.familiarity >= abstain:
            return self
        return Score(
            None,
            prompt_truncated=self.prompt_truncated,
            response_truncated=self.response_truncated,
            reason=f"unlike the training texts: familiarity below {abstain:g}",
            familiarity=self.familiarity,
        )


@dataclass(frozen=True, slots=True)
class Seen:
    """What is kept of one text: everything that weights and risk do not change."""

    probabilities: Floats | None
    """[D, K]; None where there is no opinion."""
    prompt_cut: bool = False
    response_cut: bool = False
    reason: str | None = None
    familiarity: float | None = None


def scores_of(
    seen: Sequence[Seen],
    names: Sequence[str],
    weights: Floats,
    risk: float,
    *,
    top: int,
) -> list[Score]:
    """The score of each text, to the bit what it would be alone.

    Args:
        seen: what the model made of each.
        names: D dimensions.
        weights: [D] share of each in the reward.
        risk: lambda of the reward's `mean - lambda * sd`.
        top: highest level.
    """
    there = [one.probabilities for one in seen if one.probabilities is not None]
    if not there:
        return [_no_opinion(one) for one in seen]
    chances = np.stack(there)  # [N, D, K]
    mean, sd = expected_levels(chances), level_sd(chances)
    # [N, 1, D]: a product a text; of one matrix the sums would hang on how many texts there are.
    rewards = reward_of((mean - risk * sd)[:, None], weights, top)[:, 0]
    columns = (rewards, mean, chances, chances.argmax(2), sd)
    numbers = zip(*(column.tolist() for column in columns), strict=True)
    made = []
    for one in seen:
        if one.probabilities is None:
            made.append(_no_opinion(one))
            continue
        reward, levels, probabilities, predicted, uncertainty = next(numbers)
        made.append(
            Score(
                reward=reward,
                levels=dict(zip(names, levels, strict=True)),
                probabilities=dict(zip(names, probabilities, strict=True)),
                predicted=dict(zip(names, predicted, strict=True)),
                uncertainty=dict(zip(names, uncertainty, strict=True)),
                prompt_truncated=one.prompt_cut,
                response_truncated=one.response_cut,
                familiarity=one.familiarity,
            )
        )
    return made


def _no_opinion(seen: Seen) -> Score:
    return Score(
        None,
        prompt_truncated=seen.prompt_cut,
        response_truncated=seen.response_cut,
        reason=seen.reason,
    )
