"""Rewards for TRL (1.13 and later): GRPO, RLOO, OnlineDPO, AsyncGRPO and `trl grpo`.

`GRPOTrainer(reward_funcs=MultiDimReward("outputs/multidim/best"), ...)`, or one callable a
dimension from `dimension_rewards(...)`; a server's address in place of the folder works as well.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from reward_model.records import UserError
from reward_model.records.chat.thoughts import checked_marks
from reward_model.records.texts import read_each
from reward_model.rlhf.environment import from_environment
from reward_model.rlhf.source import Model, RewardSource, open_source
from reward_model.rlhf.terms import familiar
from reward_model.rlhf.texts import Marks, read_pair
from reward_model.rlhf.wire import is_fallback
from reward_model.score.terms import checked_abstain, checked_reward, checked_risk

if TYPE_CHECKING:
    from reward_model.score.scorer import Score

NAME = "multidim"
"""Name in a trainer's metrics where none is given."""


class MultiDimReward:
    """The scalar reward, in [0, 1] where it is not centred: the weighted expected level.

    It logs the mean level and uncertainty of each dimension, the mean familiarity (NaN of a model
    that does not know it), and the shares of truncated responses and of those without an opinion,
    where the trainer takes metrics. It can be pickled when made from a path or an address, and
    loads the model on its first call.

    Args:
        model: folder of a trained model, address of `reward-model serve`, or a scorer.
        weights: dimension -> share in the reward instead of the rubric's.
        risk: lambda of ``mean - lambda * sd`` instead of the model's own 0.
        no_opinion: reward of a response that the model has no opinion on, such as an empty one.
            Without it that is None, and GRPO and RLOO leave a response out for which every reward
            said None; beside another reward that gave a number they make 0 of it, the worst, and
            so does OnlineDPO: say it then.
        centered: give ``(reward - mean) / sd`` of reference texts, which the model's folder has
            from `reward-model calibrate --rewards`; a server has to be started with `--centered`.
        name: of the reward in the trainer's metrics.
        device: where a model folder runs; the trainer's own device if not given.
        thinking: marks around a thought of the policy, which is not judged:
            ``("<think>", "</think>")``.
        abstain: no opinion on responses whose familiarity is below it, such as 0.01.

    Raises:
        UserError: there is no such model, a risk below 0, or `abstain` not between 0 and 1.
    """

    def __init__(
        self,
        model: Model,
        *,
        weights: Mapping[str, float] | None = None,
        risk: float | None = None,
        no_opinion: float | None = None,
        centered: bool = False,
        name: str = NAME,
        device: str | None = None,
        thinking: Marks | None = None,
        abstain: float | None = None,
    ) -> None:
        self._source = open_source(
            model, device=device, centered=centered, weights=weights, risk=risk
        )
        self._weights = None if weights is None else dict(weights)
        self._risk = checked_risk(risk)
        self._no_opinion = checked_reward(no_opinion, "no_opinion")
        self._thinking = checked_marks(thinking)
        self._abstain = checked_abstain(abstain)
        self.__name__ = name

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], **kwargs: Any
    ) -> list[float | None]:
        """One reward a completion; `kwargs` are the trainer's, dataset columns among them."""
        return self._rewards(*self._scores(prompts, completions), kwargs)

    def _scores(
        self, prompts: Sequence[Any], completions: Sequence[Any]
    ) -> tuple[list[Score], tuple[str, ...]]:
        scores = _scores(
            *(self._source, prompts, completions, self._thinking, self._abstain),
            weights=self._weights,
            risk=self._risk,
        )
        return scores, self._source.names(scores)

    def _rewards(
        self, scores: list[Score], names: Sequence[str], kwargs: Mapping[str, Any]
    ) -> list[float | None]:
        log_scores(scores, names, self.__name__, kwargs)
        return [self._no_opinion if score.reward is None else score.reward for score in scores]


class AsyncMultiDimReward(MultiDimReward):
    """The same for the trainers' asynchronous path: rewards beside it are not kept waiting.

    Not for OnlineDPO, which awaits nothing.
    """

    # TRL before 1.14 asks `inspect.iscoroutinefunction` about the object itself, which answers by
    # the attributes of a function.
    __defaults__ = None
    __kwdefaults__ = None

    @property
    def __code__(self) -> Any:
        return AsyncMultiDimReward.__call__.__code__

    async def __call__(  # type: ignore[override]
        self, prompts: Sequence[Any], completions: Sequence[Any], **kwargs: Any
    ) -> list[float | None]:
        """One reward a completion, scored in a thread of its own."""
        scores, names = await asyncio.to_thread(self._scores, prompts, completions)
        return self._rewards(scores, names, kwargs)


class DimensionReward:
    """The reward of one dimension, in [0, 1] where it is not centred; see `dimension_rewards`."""

    def __init__(
        self,
        source: RewardSource,
        dimension: str,
        *,
        risk: float = 0.0,
        no_opinion: float | None = None,
        group: str = NAME,
        thinking: Marks | None = None,
        abstain: float | None = None,
    ) -> None:
        self._source = source
        self._risk = checked_risk(risk) or 0.0
        self._thinking = checked_marks(thinking)
        self._abstain = checked_abstain(abstain)
        self._no_opinion = checked_reward(no_opinion, "no_opinion")
        self._group = group
        self.dimension = self.__name__ = dimension

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], **kwargs: Any
    ) -> list[float | None]:
        """One reward a completion; `kwargs` are the trainer's, dataset columns among them."""
        scores = _scores(
            *(self._source, prompts, completions, self._thinking, self._abstain),
            # Levels hold for any risk; those who centre have to know it.
            risk=(self._risk or None) if self._source.centered else None,
        )
        log_scores(scores, [self.dimension], self._group, kwargs)
        return [self._reward(score) for score in scores]

    def _reward(self, score: Score) -> float | None:
        if score.reward is None:
            return self._no_opinion
        if is_fallback(score):
            return score.reward
        if score.centered is not None and self._risk and not self._source.centered:
            raise UserError(
                f"risk {self._risk:g} and rewards that were centred already",
                expected="a risk that whoever centres knows of",
                mend="say centered=True as well",
            )
        return dimension_reward(score, self.dimension, self._risk)


def dimension_rewards(
    model: Model,
    dimensions: Sequence[str] | None = None,
    *,
    risk: float = 0.0,
    no_opinion: float | None = None,
    centered: bool = False,
    name: str = NAME,
    device: str | None = None,
    thinking: Marks | None = None,
    abstain: float | None = None,
) -> list[DimensionReward]:
    """One callable a dimension, named after it; all together cost one forward pass a step.

    For ``multi_objective_aggregation="normalize_then_sum"``, with one of ``reward_weights`` each.
    They can be pickled, together or one by one, when made from a path or an address: in a new
    process they share one model again.

    Args:
        model: folder of a trained model, address of `reward-model serve`, or a scorer.
        dimensions: which of the model's, in this order; all if not given.
        risk: lambda of ``mean - lambda * sd``; that of a server, which holds for its scalar, is
            not known here.
        no_opinion: see `MultiDimReward`.
        centered: each less its own mean of the reference texts, over its own standard deviation;
            see `MultiDimReward`.
        name: what stands before their common metrics.
        device: where a model folder runs.
        thinking: see `MultiDimReward`.
        abstain: see `MultiDimReward`.

    Raises:
        UserError: there is no such model, it has no such dimension, or a risk below 0.
    """
    source = open_source(model, device=device, centered=centered, risk=risk, scalar=False)
    known = source.dimensions(dimensions or ())
    unknown = [d for d in dimensions or () if d not in known]
    if unknown:
        raise UserError(
            f"unknown dimension {', '.join(map(repr, unknown))}",
            expected=f"dimensions of this model: {', '.join(known)}",
        )
    return [
        DimensionReward(
            *(source, d),
            risk=risk,
            no_opinion=no_opinion,
            group=name,
            thinking=thinking,
            abstain=abstain,
        )
        for d in dimensions or known
    ]


def dimension_reward(score: Score, dimension: str, risk: float = 0.0) -> float:
    """Expected level of one dimension over its scale, less `risk` standard deviations; of a score
    that is centred that dimension's centred reward, with the risk that it was centred with."""
    if score.centered is not None:
        return score.centered[dimension]
    return score.own(dimension, risk)


def log_scores(
    scores: Sequence[Score], names: Sequence[str], name: str, kwargs: Mapping[str, Any]
) -> None:
    """Tell a trainer what the rewards were made of, where it takes such.

    All processes of a training log the same, each its own share: one that waits for a metric that
    another does not have waits for ever. NaN stands where a process has nothing to tell.

    Args:
        scores: of the completions of this step, in order.
        names: of the dimensions.
        name: what stands before the metrics.
        kwargs: what the trainer called the reward with.
    """
    told = [score for score in scores if score.levels]
    log_metric, log_extra = kwargs.get("log_metric"), kwargs.get("log_extra")
    if callable(log_metric) and scores:
        for d in names:
            log_metric(f"{name}/{d}/level", _mean([s.levels[d] for s in told]))
            log_metric(f"{name}/{d}/uncertainty", _mean([s.uncertainty[d] for s in told]))
        known = [s.familiarity for s in scores if s.familiarity is not None]
        log_metric(f"{name}/familiarity", _mean(known))
        log_metric(f"{name}/truncated_responses", fmean(s.response_truncated for s in scores))
        log_metric(f"{name}/truncated_prompts", fmean(s.prompt_truncated for s in scores))
        log_metric(f"{name}/no_opinion", fmean(s.reward is None for s in scores))
        log_metric(f"{name}/fallback", fmean(map(is_fallback, scores)))
    if callable(log_extra):
        for d in names:
            log_extra(f"{name}/{d}", [s.levels.get(d) for s in scores])


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else math.nan


def reward(prompts: Sequence[Any], completions: Sequence[Any], **kwargs: Any) -> list[float | None]:
    """The scalar reward of the model that `REWARD_MODEL` names, for `trl grpo --reward_funcs`.

    `reward_depth` and so on are the rewards of its dimensions.
    """
    settings = from_environment()
    scalar = MultiDimReward(
        settings.source,
        weights=settings.weights,
        risk=settings.risk,
        no_opinion=settings.no_opinion,
        thinking=settings.thinking,
        abstain=settings.abstain,
    )
    return scalar(prompts, completions, **kwargs)


def __getattr__(name: str) -> Any:
    """`reward_<dimension>` of the model that `REWARD_MODEL` names."""
    if name.startswith("reward_"):
        settings = from_environment()
        dimension = name.removeprefix("reward_")
        if dimension in settings.source.dimensions([dimension]):
            return DimensionReward(
                settings.source,
                dimension,
                risk=settings.risk or 0.0,
                no_opinion=settings.no_opinion,
                thinking=settings.thinking,
                abstain=settings.abstain,
            )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _scores(
    source: RewardSource,
    prompts: Sequence[Any],
    completions: Sequence[Any],
    thinking: Marks | None,
    abstain: float | None,
    *,
    weights: Mapping[str, float] | None = None,
    risk: float | None = None,
) -> list[Score]:
    read = read_each(prompts, completions, lambda p, c: read_pair(p, c, thinking))
    scores = source.scores(
        [one.prompt for one in read], [one.text for one in read], weights=weights, risk=risk
    )
    return familiar(scores, abstain)


__all__ = [
    "AsyncMultiDimReward",
    "DimensionReward",
    "MultiDimReward",
    "dimension_reward",
    "dimension_rewards",
    "reward",
]
