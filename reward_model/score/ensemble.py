"""Several models as one scorer: what they think together, and how far they disagree.

`EnsembleScorer.from_pretrained(["a/best", "b/best"], how="mean").score(prompt, response)`; `score`
and `score_batch` are those of `RewardScorer`, which also encodes texts and has a model.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NoReturn

import numpy as np

from reward_model.model.scale import RewardScale, read_scale
from reward_model.records import UserError
from reward_model.records.files import Pathish
from reward_model.records.hub import model_folder
from reward_model.records.texts import Words
from reward_model.score.scorer import RewardScorer, Score, refuse_to_leave
from reward_model.score.terms import shares

How = Literal["mean", "minimum"]
HOWS: tuple[How, ...] = ("mean", "minimum")


class EnsembleScorer:
    """Scores with every member and joins the scores.

    `mean` averages the members' distributions, so `uncertainty` holds their disagreement too;
    `minimum` takes the score of the member with the lowest reward, which a policy that found one
    member's blind spot does not raise. A text that one member has no opinion on gets none, and its
    familiarity is that of the member which knows it least: a mean would let those that do not see
    what is odd about it outvote the one that does.

    Args:
        members: at least two, of one rubric; backbones and tokenizers may differ.
        how: `mean` or `minimum`.
        scale: mean and standard deviation of the joined reward; it is centred and scaled by them.

    Raises:
        UserError: fewer than two, another rubric, other weights or another risk.
    """

    def __init__(
        self,
        members: Sequence[RewardScorer],
        how: How = "mean",
        *,
        scale: RewardScale | None = None,
    ) -> None:
        if how not in HOWS:
            raise UserError(f"how {how!r}", expected=" or ".join(HOWS))
        if len(members) < 2:
            raise UserError(f"{len(members)} models in an ensemble", expected="at least two")
        if any(member.scale is not None for member in members):
            raise UserError(
                "centred rewards of several models",
                expected="members whose rewards are as is, and the scale of what they say together",
                mend="EnsembleScorer.from_pretrained([...], centered=True)",
            )
        first = members[0]
        for other in members[1:]:
            if other.rubric.id != first.rubric.id:
                raise UserError(
                    f"models of different rubrics: {first.rubric.id} and {other.rubric.id}",
                    expected="members of one rubric",
                )
            if other.weights != first.weights or other.risk != first.risk:
                raise UserError(
                    "members with different weights or risk", expected="the same for all"
                )
            if other.abstain != first.abstain:
                raise UserError("members with different abstain", expected="the same for all")
        if scale is not None:
            scale.check(first.weights, first.risk)
        self.members, self.how, self.scale = tuple(members), how, scale
        self.rubric = first.rubric
        self.dimensions = first.dimensions
        self.device = first.device
        self.batch_tokens = min(member.batch_tokens for member in members)

    def __reduce__(self) -> NoReturn:
        refuse_to_leave()

    @classmethod
    def from_pretrained(
        cls, paths: Sequence[Pathish], *, how: How = "mean", centered: bool = False, **settings: Any
    ) -> EnsembleScorer:
        """Load the members; `settings` are those of `RewardScorer.from_pretrained`.

        Centred rewards are by the scale of the joined reward, which `reward-model calibrate
        --rewards --with` stored beside one of the members.
        """
        if isinstance(paths, str | os.PathLike):
            raise UserError("one path of an ensemble", expected="a list of the members' folders")
        folders = [model_folder(path) for path in paths]
        scale = read_scale(folders, how) if centered else None
        members = [RewardScorer.from_pretrained(folder, **settings) for folder in folders]
        return cls(members, how, scale=scale)

    @property
    def weights(self) -> dict[str, float]:
        """Dimension -> share in the reward; they sum to 1."""
        return self.members[0].weights

    @property
    def max_length(self) -> int:
        """Tokens that every member reads; more is cut by one of them."""
        return min(member.max_length for member in self.members)

    @property
    def abstain(self) -> float | None:
        """Familiarity below which there is no opinion."""
        return self.members[0].abstain

    @property
    def risk(self) -> float:
        """Lambda of the reward's `mean - lambda * sd`."""
        return self.members[0].risk

    def score(
        self,
        prompt: Words,
        response: Words,
        *,
        weights: Mapping[str, float] | None = None,
        risk: float | None = None,
    ) -> Score:
        """Score one response; see `score_batch`."""
        return self.score_batch([prompt], [response], weights=weights, risk=risk)[0]

    def score_batch(
        self,
        prompts: Sequence[Words],
        responses: Sequence[Words],
        *,
        weights: Mapping[str, float] | None = None,
        risk: float | None = None,
        evidence: Sequence[str | None] | None = None,
    ) -> list[Score]:
        """As `RewardScorer.score_batch`; every score says how far the members disagree."""
        if self.scale is not None and (weights is not None or risk is not None):
            given = None if weights is None else shares(weights, self.dimensions, "these models")
            self.scale.check(given or self.weights, self.risk if risk is None else risk)
        each = [
            member.score_batch(prompts, responses, weights=weights, risk=risk, evidence=evidence)
            for member in self.members
        ]
        return [self._joined(scores, weights, risk) for scores in zip(*each, strict=True)]

    def _joined(
        self, scores: Sequence[Score], weights: Mapping[str, float] | None, risk: float | None
    ) -> Score:
        cut: dict[str, Any] = {
            "prompt_truncated": any(score.prompt_truncated for score in scores),
            "response_truncated": any(score.response_truncated for score in scores),
        }
        known = [score.familiarity for score in scores if score.familiarity is not None]
        cut["familiarity"] = min(known, default=None)
        rewards = [score.reward for score in scores if score.reward is not None]
        if len(rewards) < len(scores):
            reason = next(score.reason for score in scores if score.reward is None)
            return Score(None, reason=reason, **cut)
        if self.how == "minimum":
            joined = scores[int(np.argmin(rewards))]
        else:
            chances = np.mean(
                [[score.probabilities[name] for name in self.dimensions] for score in scores],
                axis=0,
            )
            joined = self.members[0].score_of(chances, weights=weights, risk=risk)
        levels = {
            name: float(np.std([score.levels[name] for score in scores]))
            for name in self.dimensions
        }
        found = replace(joined, spread=float(np.std(rewards)), level_spread=levels, **cut)
        return found.by(self.scale)


__all__ = ["HOWS", "EnsembleScorer", "How"]
