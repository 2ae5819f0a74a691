"""What a policy says to the held-out prompts, beside its reference: scored, compared, measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reward_model.policy.base import Policy
from reward_model.policy.evaluation.measure import best_of, best_of_kl, distinct, kl
from reward_model.policy.evaluation.numbers import Numbers, Told
from reward_model.policy.generate import Answer, Manner, answer_blocks
from reward_model.policy.rows import PolicyRow
from reward_model.records.terminal import progress
from reward_model.rlhf.source import RewardSource
from reward_model.score.scorer import Score

Floats = NDArray[np.float64]
_TIE = 1e-9
SCORED_AT_ONCE = 256


@dataclass
class Sampled:
    """N answers to each of P prompts, and what rewards think of them."""

    rows: Sequence[PolicyRow]
    prompts: list[list[int]]
    said: list[list[Answer]]
    scores: dict[str, list[Score]] = field(default_factory=dict)
    """`reward` and `gold`: a score an answer, prompt by prompt."""

    @property
    def flat(self) -> list[Answer]:
        """All answers, (P * N)."""
        return [one for each in self.said for one in each]

    @property
    def groups(self) -> list[str]:
        """Of each answer."""
        return [r.group for r, each in zip(self.rows, self.said, strict=True) for _ in each]

    def rewards(self, name: str) -> Floats:
        """(P * N,); NaN where there is no opinion."""
        return np.array([np.nan if s.reward is None else s.reward for s in self.scores[name]])

    def levels(self, dimension: str) -> Floats:
        """(P * N,) levels of a dimension."""
        return np.array([s.levels.get(dimension, np.nan) for s in self.scores["reward"]])

    def uncertainty(self) -> Floats:
        """(P * N,) mean over the dimensions, in levels."""
        return np.array(
            [float(np.mean([*s.uncertainty.values()])) if s.uncertainty else np.nan
             for s in self.scores["reward"]]
        )  # fmt: skip

    def lengths(self) -> Floats:
        """(P * N,) tokens."""
        return np.array([float(len(a.ids)) for a in self.flat])


def draw(
    policy: Policy, rows: Sequence[PolicyRow], manner: Manner, rewards: dict[str, RewardSource]
) -> Sampled:
    """Let a policy answer, and score what it says."""
    prompts = policy.frame.prompt_ids([row.prompt for row in rows])
    said: list[list[Answer]] = [[] for _ in prompts]
    with progress(transient=True) as bar:
        task = bar.add_task(f"answers of {policy.place.name}", total=len(prompts), note="")
        for block in answer_blocks(policy, prompts, manner):
            for place, each in block:
                said[place] = each
            bar.update(task, advance=len(block))
    found = Sampled(rows, prompts, said)
    asked = [row.prompt for row, each in zip(rows, found.said, strict=True) for _ in each]
    texts = [a.text for a in found.flat]
    for name, source in rewards.items():
        scores = found.scores[name] = []
        with progress(transient=True) as bar:
            task = bar.add_task(f"{name} of answers", total=len(texts), note="")
            for at in range(0, len(texts), SCORED_AT_ONCE):
                some = slice(at, at + SCORED_AT_ONCE)
                scores += source.scores(asked[some], texts[some])
                bar.update(task, completed=len(scores))
    return found


def describe(own: Sampled, told: Told, numbers: Numbers, pick: NDArray[np.int64]) -> None:
    """The numbers of one policy alone, over the answers at `pick`."""
    for name in own.scores:
        told.add(name, numbers.mean(own.rewards(name)[pick]))
    if "reward" in own.scores:
        told.values["dimensions"] = {
            d: numbers.mean(own.levels(d)[pick]).to_json() for d in _dimensions(own)
        }
        told.add("uncertainty", numbers.mean(own.uncertainty()[pick]))
        none = np.isnan(own.rewards("reward")[pick]).astype(float)
        told.add("no_opinion", numbers.mean(none, share=True))
    told.add("answer_tokens", numbers.mean(own.lengths()[pick]))
    told.add("finished", numbers.mean(_finished(own)[pick], share=True))
    told.add("distinct_2", numbers.mean(_distinct(own)[pick]))


def compare(
    own: Sampled,
    before: Sampled,
    told: Told,
    numbers: Numbers,
    pick: NDArray[np.int64],
    divergence: Floats | None,
) -> None:
    """The numbers of a policy beside its reference: both answered the same prompts as often."""
    for name in own.scores:
        after, was = own.rewards(name)[pick], before.rewards(name)[pick]
        told.add(f"{name}_before", numbers.mean(was))
        told.add(f"{name}_change", numbers.mean(after - was))
        gap = after - was
        known = ~np.isnan(gap)
        for label, hits in (
            ("win_rate", gap > _TIE), ("tie_rate", np.abs(gap) <= _TIE), ("loss_rate", gap < -_TIE)
        ):  # fmt: skip
            values = np.where(known, hits.astype(float), np.nan)
            told.add(label if name == "reward" else f"{name}_{label}",
                     numbers.mean(values, share=True))  # fmt: skip
        if name == "reward":
            outcome = np.where(known, np.where(gap > _TIE, 1.0, np.where(gap < -_TIE, 0.0, 0.5)),
                               np.nan)  # fmt: skip
            more = (own.lengths() - before.lengths())[pick]
            told.add("win_rate_equal_length", numbers.equal_length(outcome, more))
    if "gold" in own.scores:
        apart = (own.rewards("reward") - before.rewards("reward")) - (
            own.rewards("gold") - before.rewards("gold")
        )
        told.add("reward_less_gold", numbers.mean(apart[pick]))
    if "reward" in own.scores:
        for d in _dimensions(own):
            after, was = own.levels(d)[pick], before.levels(d)[pick]
            told.values["dimensions"][d]["before"] = numbers.mean(was).to_json()
            told.add(f"dimension_change/{d}", numbers.mean(after - was))
        told.add(
            "uncertainty_ratio", numbers.ratio(own.uncertainty()[pick], before.uncertainty()[pick])
        )
    told.add("answer_tokens_before", numbers.mean(before.lengths()[pick]))
    told.add("length_ratio", numbers.ratio(own.lengths()[pick], before.lengths()[pick]))
    told.add("finished_before", numbers.mean(_finished(before)[pick], share=True))
    told.add("finished_ratio", numbers.ratio(_finished(own)[pick], _finished(before)[pick]))
    told.add("distinct_2_before", numbers.mean(_distinct(before)[pick]))
    told.add("distinct_ratio", numbers.ratio(_distinct(own)[pick], _distinct(before)[pick]))
    if divergence is not None:
        told.add("kl", numbers.mean(divergence[pick]))


def divergence(policy: Policy, reference: Policy, own: Sampled) -> Floats:
    """(P * N,): exact KL along the policy's answers, nats an answer."""
    asked = [p for p, each in zip(own.prompts, own.said, strict=True) for _ in each]
    return kl(policy, reference, list(zip(asked, [a.ids for a in own.flat], strict=True)))


def best_of_n(before: Sampled) -> list[dict[str, float]]:
    """What picking the best of n of the reference's answers by the reward would give."""
    count = min(len(each) for each in before.said)
    shape = (len(before.said), count)
    if count < 2 or any(len(each) != count for each in before.said):
        return []
    reward = np.nan_to_num(before.rewards("reward").reshape(shape))
    out = []
    for n in range(1, count + 1):
        point = {
            "n": float(n),
            "kl": best_of_kl(n),
            "reward": float(np.mean([best_of(row, n) for row in reward])),
        }
        if "gold" in before.scores:
            gold = np.nan_to_num(before.rewards("gold").reshape(shape))
            order = np.argsort(reward, axis=1)
            weights = _weights(count, n)
            point["gold"] = float((np.take_along_axis(gold, order, 1) @ weights).mean())
        out.append(point)
    return out


def _weights(count: int, n: int) -> Floats:
    """Chance that the i-th smallest of `count` is the best of n, (N,)."""
    ways = math.comb(count, n)
    return np.array([math.comb(place, n - 1) / ways for place in range(count)])


def examples(own: Sampled, before: Sampled | None, count: int = 10) -> list[dict[str, Any]]:
    """A few prompts with what was said, before and after."""
    out: list[dict[str, Any]] = []
    at = 0
    for n, (row, each) in enumerate(zip(own.rows, own.said, strict=True)):
        if n >= count:
            break
        prompt = row.prompt if isinstance(row.prompt, str) else [
            m.model_dump() for m in row.prompt
        ]  # fmt: skip
        entry: dict[str, Any] = {"prompt": prompt, "policy": each[0].text}
        if "reward" in own.scores:
            entry["policy_reward"] = own.scores["reward"][at].reward
        if before is not None:
            entry["reference"] = before.said[n][0].text
            if "reward" in before.scores:
                entry["reference_reward"] = before.scores["reward"][at].reward
        at += len(each)
        out.append(entry)
    return out


def _dimensions(own: Sampled) -> tuple[str, ...]:
    return next((tuple(s.levels) for s in own.scores["reward"] if s.levels), ())


def _finished(own: Sampled) -> Floats:
    return np.array([float(a.finished) for a in own.flat])


def _distinct(own: Sampled) -> Floats:
    found = (distinct([a.ids]) for a in own.flat)
    return np.array([np.nan if one is None else one for one in found])
