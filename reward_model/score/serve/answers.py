"""Scores as each kind of client reads them: ours and OpenRLHF's (vLLM's are in `vllm`).

A text without an opinion is `null` with its reason for ours; where the client needs a number it is
an error that names the text. No number is ever made up.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from reward_model.score.serve.errors import ApiError

if TYPE_CHECKING:
    from reward_model.score.scorer import Score


class ModelName(BaseModel):
    """Which model answered."""

    name: str
    digest: str
    """Changes with its weights."""


class Claim(BaseModel):
    """A figure of a response, checked against the tables of its prompt."""

    text: str
    status: str
    """verified, wrong or unverifiable."""
    reason: str


class Evidence(BaseModel):
    """What the checks found, as the model read it."""

    text: str
    verified: int
    wrong: int
    unverifiable: int
    claims: list[Claim]


class PassageOut(BaseModel):
    """A sentence of a response, or several, and what it does to the score."""

    start: int
    end: int
    """In characters of `text`."""
    text: str
    reward: float | None
    """Reward of the whole less that without it; null where that has no score."""
    levels: dict[str, float]


class SumOut(BaseModel):
    """Effects need not add up: their sum, and what leaving out all at once does."""

    passages: float
    whole: float


class SentencesOut(BaseModel):
    """Which sentences carry each dimension."""

    text: str
    passages: list[PassageOut]
    sentences: int
    reward: SumOut | None
    levels: dict[str, SumOut]
    notes: list[str]


class ScoreOut(BaseModel):
    """What the model thinks of one response."""

    reward: float | None
    """In [0, 1], or centred and scaled; null where there is no opinion."""
    levels: dict[str, float]
    probabilities: dict[str, list[float]]
    predicted: dict[str, int]
    uncertainty: dict[str, float]
    prompt_truncated: bool
    response_truncated: bool
    reason: str | None = None
    """Why there is no opinion."""
    familiarity: float | None = None
    """Share of the validation texts that are at least as unlike the training texts."""
    spread: float | None = None
    """Of several models: how far their rewards are apart."""
    level_spread: dict[str, float] | None = None
    uncentered: float | None = None
    """Where the server centres: the reward before, in [0, 1]."""
    centered: dict[str, float] | None = None
    """Where the server centres: each dimension's own reward, centred and scaled."""
    evidence: Evidence | None = None
    sentences: SentencesOut | None = None

    model_config = ConfigDict(extra="allow")


class ScoreAnswer(BaseModel):
    """The answer of `/v1/score`: a score for each response, in order."""

    model: ModelName
    scores: list[ScoreOut]


class RewardAnswer(BaseModel):
    """The answer of `/get_reward`, as OpenRLHF reads it."""

    rewards: list[float]
    scores: list[float]
    extra_logs: dict[str, list[float]]


class ErrorWords(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None = None
    """Which part of the body it is about."""
    code: int
    """The status, as clients of OpenAI and vLLM read it."""
    item: int | None = None
    """Which text it is about, from 0."""


class ErrorAnswer(BaseModel):
    """The answer where there is no result."""

    error: ErrorWords


def rewards(scores: Sequence[Score], no_opinion: float | None = None) -> list[float]:
    """Every reward as a number.

    Args:
        scores: of the texts.
        no_opinion: what was declared for a text without a reward.

    Raises:
        ApiError: one of them has none, and nothing was declared; 422, naming it.
    """
    numbers = []
    for i, score in enumerate(scores):
        reward = no_opinion if score.reward is None else score.reward
        if reward is None:
            raise ApiError(422, "no_opinion", f"item {i} has no reward: {score.reason}", item=i)
        numbers.append(reward)
    return numbers


def openrlhf(
    scores: Sequence[Score], names: Sequence[str], no_opinion: float | None = None
) -> dict[str, Any]:
    """Rewards, and every dimension's level and uncertainty to be logged.

    Where a reward was declared for texts without an opinion, their levels are logged as -1, which
    is no level, and `no_opinion` says how many there were.
    """
    numbers = rewards(scores, no_opinion)
    logs: dict[str, list[float]] = {}
    for name in names:
        logs[name] = [score.levels.get(name, -1.0) for score in scores]
        logs[f"{name}_sd"] = [score.uncertainty.get(name, -1.0) for score in scores]
    if no_opinion is not None:
        logs["no_opinion"] = [float(score.reward is None) for score in scores]
    if any(score.familiarity is not None for score in scores):
        logs["familiarity"] = [-1.0 if s.familiarity is None else s.familiarity for s in scores]
    if any(score.uncentered is not None for score in scores):
        logs["uncentered"] = [
            -1.0 if score.uncentered is None else score.uncentered for score in scores
        ]
    logs["prompt_truncated"] = [float(score.prompt_truncated) for score in scores]
    logs["response_truncated"] = [float(score.response_truncated) for score in scores]
    return {"rewards": numbers, "scores": numbers, "extra_logs": logs}
