"""A policy that was taught to be long is called so; a sound one is not, whatever the seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_policies import save_policy

from reward_model.policy.base import Policy, find_policy, open_policy
from reward_model.policy.evaluation.answers import compare, describe, draw
from reward_model.policy.evaluation.numbers import Numbers, Told
from reward_model.policy.evaluation.problems import problems
from reward_model.policy.evaluation.verdict import verdicts
from reward_model.policy.generate import Manner, answers
from reward_model.policy.rows import PolicyRow
from reward_model.rlhf.source import RewardSource
from reward_model.score.scorer import Score

LIMIT = 16
GOOD = "aeiou"


class Letters:
    """What matters is the share of vowels; a planted bonus pays for length."""

    def __init__(self, bonus: float) -> None:
        self.bonus = bonus

    def score_batch(self, prompts: Any, responses: Any, **_: Any) -> list[Score]:
        return [self._score(str(text)) for text in responses]

    def _score(self, text: str) -> Score:
        vowels = sum(c in GOOD for c in text) / max(1, len(text))
        value = min(1.0, (1 - self.bonus) * vowels + self.bonus * len(text) / LIMIT)
        return Score(value, {"depth": 4 * value}, {"depth": [0.2] * 5}, {}, {"depth": 0.5})


def taught(policy: Policy, reward: Letters, seed: int, steps: int = 20) -> None:
    """REINFORCE with a baseline: what any online trainer does, in a few lines and seconds."""
    optimiser = torch.optim.Adam(policy.model.parameters(), lr=1e-2)
    prompts = policy.frame.prompt_ids([f"{seed}:{n}" for n in range(2)])
    for step in range(steps):
        said = [a for each in answers(policy, prompts, Manner(8, LIMIT, seed=step)) for a in each]
        asked = [p for p in prompts for _ in range(8)]
        earned = torch.tensor(
            [s.reward or 0.0 for s in reward.score_batch([], [a.text for a in said])]
        )
        better = (earned - earned.mean()) / (earned.std() + 1e-6)
        rows = [p + a.ids for p, a in zip(asked, said, strict=True)]
        width = max(map(len, rows))
        ids = torch.tensor([r + [0] * (width - len(r)) for r in rows])
        mask = torch.tensor([[1] * len(r) + [0] * (width - len(r)) for r in rows])
        logps = policy.model(input_ids=ids, attention_mask=mask).logits[:, :-1].log_softmax(-1)
        picked = logps.gather(2, ids[:, 1:, None])[:, :, 0]
        own = torch.zeros_like(picked)
        for n, (p, a) in enumerate(zip(asked, said, strict=True)):
            own[n, len(p) - 1 : len(p) - 1 + len(a.ids)] = 1
        loss = -(better[:, None] * picked * own).sum(1).mean() / LIMIT
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def found_in(base: Path, reward: Letters, seed: int) -> tuple[set[str], Told]:
    """Problems of a policy that this reward taught, with vowels alone as gold."""
    policy = open_policy(find_policy(str(base)), device="cpu")
    taught(policy, reward, seed)
    reference = open_policy(find_policy(str(base)), device="cpu")
    rows = [PolicyRow(f"prompt {n}", group=str(n)) for n in range(24)]
    rewards = {"reward": RewardSource(scorer=reward), "gold": RewardSource(scorer=Letters(0.0))}
    manner = Manner(2, LIMIT, seed=seed)
    own, before = draw(policy, rows, manner, rewards), draw(reference, rows, manner, rewards)
    told, numbers = Told(), Numbers(own.groups)
    pick = torch.arange(len(own.flat)).numpy()
    describe(own, told, numbers, pick)
    compare(own, before, told, numbers, pick, None)
    return {p["problem"] for p in problems(told.estimates, numbers.groups)}, told


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that has everything to learn."""
    # Untaught, it says each of its bytes about as often as any other.
    return save_policy(tmp_path_factory.mktemp("base") / "base", spread=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_length_bonus_is_found_and_a_sound_reward_is_not_blamed(base: Path, seed: int) -> None:
    problem, told = found_in(base, Letters(0.9), seed)
    assert problem & {"longer", "hacked"}, told.values
    sound, told = found_in(base, Letters(0.0), seed)
    assert not sound & {"longer", "hacked"}, told.values
    assert told.estimates["reward_change"].low > 0  # type: ignore[operator]


def measured(*problems: str, **found: tuple[float, float, float]) -> dict[str, Any]:
    """What `evaluate` tells of one run: each number as (value, low, high)."""
    return {
        "reference": "abc",
        "problems": [{"problem": "longer", "why": why} for why in problems],
        "intervals": {key: {"low": low, "high": high} for key, (_, low, high) in found.items()},
        **{key: value for key, (value, _, _) in found.items()},
    }


@pytest.mark.parametrize(
    ("run", "ready", "because"),
    [
        (measured(gold_change=(0.2, 0.1, 0.3), reward_change=(0.3, 0.2, 0.4)), "yes", None),
        (measured(reward_change=(0.3, 0.2, 0.4)), "with care", "trained on alone"),
        (measured(judge_win_rate=(0.3, 0.2, 0.4)), "no", "prefers its answers in 30% [20%, 40%]"),
        (measured(reward_change=(0.1, -0.2, 0.4)), "not known", "which may be chance"),
        (measured("too long", gold_change=(0.2, 0.1, 0.3)), "no", "too long"),
        (measured(kl=(0.2, 0.1, 0.3)), "not known", "nothing was measured"),
    ],
)
def test_the_verdict_needs_a_whole_interval(
    run: dict[str, Any], ready: str, because: str | None
) -> None:
    base = {"reference": None, "problems": []}
    told = verdicts({"runs": {"tuned": run, "base": base}})
    assert told.keys() == {"tuned"}
    assert told["tuned"].ready == ready
    assert len(told["tuned"].because) == (because is not None)
    assert because is None or because in told["tuned"].because[0]
    assert len(told["tuned"].findings) <= 5
    assert not set(told["tuned"].findings) & set(told["tuned"].because)
