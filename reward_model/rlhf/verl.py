"""The reward as verl loads it: `compute_score` for `reward.custom_reward_function`.

`path: pkg://reward_model.rlhf.verl`, `name: compute_score`, and `REWARD_MODEL` set to the address
of `reward-model serve`, which joins the samples of all workers into batches.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from inspect import signature
from typing import TYPE_CHECKING, Any

from reward_model.records import UserError
from reward_model.records.chat.templates import load_template
from reward_model.rlhf.environment import from_environment, waiting
from reward_model.rlhf.source import RewardSource, open_source
from reward_model.rlhf.terms import familiar, numbers
from reward_model.rlhf.texts import read_pair
from reward_model.rlhf.wire import is_fallback
from reward_model.score.terms import checked_abstain, checked_risk, checked_weights

if TYPE_CHECKING:
    from reward_model.score.scorer import Score


async def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    *,
    model: str | None = None,
    prompt_key: str = "prompt",
    weights: Mapping[str, float] | None = None,
    risk: float | None = None,
    no_opinion: float | None = None,
    chat_template: str | None = None,
    abstain: float | None = None,
    centered: bool = False,
    patience: float | None = None,
    fallback_reward: float | None = None,
    dimensions: Sequence[str] = (),
    **others: Any,
) -> dict[str, float]:
    """The reward of one response, and what it is made of under the same keys for every sample.

    `score` is what verl optimises. Each dimension's reward in [0, 1], or centred as the score is,
    stands under its name: list them in ``algorithm.gdpo_reward_keys`` for GDPO.
    `<dimension>_uncertainty`, in levels, and the flags `response_truncated`, `prompt_truncated` and
    `no_opinion`, and `familiarity`, are for the logs.

    Args:
        data_source: of the sample; not used.
        solution_str: the response.
        ground_truth: not used: the reward reads prompt and response alone.
        extra_info: holds the prompt, which verl does not pass.
        model: address of a server or folder of a model; REWARD_MODEL if not given. This and what
            follows goes into ``reward.custom_reward_function.reward_kwargs``.
        prompt_key: where in `extra_info` the prompt is: a string or chat messages.
        weights: dimension -> share in the reward instead of the rubric's.
        risk: lambda of ``mean - lambda * sd``.
        no_opinion: reward of a response that the model has no opinion on, such as an empty one;
            verl needs a number, so without it that is an error.
        chat_template: of the policy, a name or a TOML file: which marks stand around a thought,
            which is not judged. `qwen` has ``<think>``.
        abstain: no opinion on responses whose familiarity is below it, such as 0.01.
        centered: give ``(reward - mean) / sd`` of reference texts; see
            `reward_model.rlhf.trl.MultiDimReward`. Like the next two, beside `model` alone.
        patience: seconds that the server is waited for.
        fallback_reward: what a response earns when no request was answered for so long; without it
            that is an error. `fallback` is 1 for such a sample.
        dimensions: names of the model's, so that samples have their keys (NaN the uncertainty) also
            before the server is first reached. Without them the samples of a process whose first
            one met no server have none, from the first to the last.

    Raises:
        UserError: no prompt, no model, a wrong risk or template, or no reward where none was
            declared for such a response.
    """
    _check_names(frozenset(others))
    held = extra_info if isinstance(extra_info, Mapping) else {}
    prompt = held.get(prompt_key)
    if prompt is None:
        raise UserError(
            f"no {prompt_key!r} in extra_info (it has {', '.join(map(str, held)) or 'nothing'})",
            expected="the prompt, which the reward reads",
            mend="put it into extra_info of the data set, or name its key: prompt_key",
        )
    if model is None:
        settings = from_environment()
        source = settings.source
        weights = settings.weights if weights is None else weights
        risk = settings.risk if risk is None else risk
        no_opinion = settings.no_opinion if no_opinion is None else no_opinion
        abstain = settings.abstain if abstain is None else abstain
        template = settings.template if chat_template is None else load_template(chat_template)
    else:
        source = open_source(
            waiting(model, patience, fallback_reward, dimensions),
            centered=centered,
            weights=weights,
            risk=risk,
        )
        template = load_template(chat_template)
    careful = checked_risk(risk)
    read = read_pair(prompt, solution_str, template.thinking if template else None)
    found = await _score(source, read.prompt, read.text, weights, careful)
    (score,) = familiar([found], checked_abstain(abstain))
    names = await asyncio.to_thread(source.names, [found], alike=True)
    return _fields(score, names, no_opinion, careful or 0.0)


@cache
def _check_names(others: frozenset[str]) -> None:
    """verl passes settings of its own too; one that is nearly one of ours is a slip of the pen."""
    ours = [name for name in signature(compute_score).parameters if name != "others"]
    for name in sorted(others):
        if near := get_close_matches(name, ours, 1, 0.75):
            raise UserError(f"reward_kwargs.{name}", expected=f"{near[0]}")


async def _score(
    source: RewardSource,
    prompt: Any,
    response: str,
    weights: Mapping[str, float] | None,
    risk: float | None,
) -> Score:
    shares = checked_weights(weights)
    if source.origin is not None and source.origin.is_server:
        client: Any = source.opened()
        scores = await client.score_async([prompt], [response], weights=shares, risk=risk)
        source.check(scores)
    else:
        scores = await asyncio.to_thread(
            source.scores, [prompt], [response], weights=shares, risk=risk
        )
    found: Score = scores[0]
    return found


def _fields(
    score: Score, dimensions: tuple[str, ...], no_opinion: float | None, risk: float
) -> dict[str, float]:
    from reward_model.rlhf.trl import dimension_reward

    told = bool(score.levels)
    (reward,) = numbers([score], no_opinion, trainer="verl", declare="reward_kwargs.no_opinion")
    out = {"score": reward}
    for name in dimensions:
        out[name] = dimension_reward(score, name, risk) if told else reward
        out[f"{name}_uncertainty"] = score.uncertainty[name] if told else math.nan
    return out | {
        "response_truncated": float(score.response_truncated),
        "prompt_truncated": float(score.prompt_truncated),
        "familiarity": math.nan if score.familiarity is None else score.familiarity,
        "no_opinion": float(score.reward is None),
        "fallback": float(is_fallback(score)),
    }
