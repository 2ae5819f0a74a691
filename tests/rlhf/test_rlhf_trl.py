"""Rewards in TRL's own trainers, as they stand in the installed TRL (1.13 and later).

`.ci/upstream` runs this file with the oldest TRL as well.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny_models import save_encoder

pytest.importorskip("trl", minversion="1.13")

import tiny_world
import trl
from datasets import Dataset

from reward_model.rlhf.trl import AsyncMultiDimReward, MultiDimReward, dimension_rewards
from reward_model.score.scorer import RewardScorer

CHATML = (
    "{% for m in messages %}<im> {{ m['role'] }} {{ m['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}<im> assistant {% endif %}"
)
QUICK = {
    "per_device_train_batch_size": 8,
    "num_generations": 4,
    "max_completion_length": 6,
    "max_steps": 2,
    "logging_steps": 1,
    "gradient_checkpointing": False,
    "disable_tqdm": True,
    "save_strategy": "no",
    "report_to": [],
    "use_cpu": True,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("trl") / "best")


@pytest.fixture(scope="module")
def scorer(model: Path) -> RewardScorer:
    return RewardScorer.from_pretrained(model, device="cpu")


class Spy:
    """A reward beside ours that sees what the trainer hands out."""

    __name__ = "spy"

    def __init__(self, says: float | None = 0.0) -> None:
        self.says = says
        self.steps: list[dict[str, Any]] = []

    def __call__(self, prompts: Any, completions: Any, **kwargs: Any) -> list[float | None]:
        self.steps.append({"prompts": prompts, "completions": completions, **kwargs})
        return [self.says] * len(prompts)


def plain() -> Dataset:
    return Dataset.from_dict({"prompt": tiny_world.PROMPTS, "company": [*"abcd"]})


def chats() -> Dataset:
    return plain().map(lambda row: {"prompt": [{"role": "user", "content": row["prompt"]}]})


def chat_tokenizer() -> Any:
    tokenizer = tiny_world.tokenizer()
    tokenizer.chat_template = CHATML
    return tokenizer


def logged(trainer: Any) -> list[dict[str, Any]]:
    return [row for row in trainer.state.log_history if "reward" in row]


def mean(scores: list[Any]) -> Any:
    rewards = [score.reward for score in scores if score.reward is not None]
    return pytest.approx(sum(rewards) / len(rewards), abs=1e-5)


def test_grpo_sums_normalised_dimensions_of_one_pass(tmp_path: Path, scorer: RewardScorer) -> None:
    forwards: list[int] = []
    hook = scorer.model.backbone.register_forward_hook(lambda *_: forwards.append(1))
    spy = Spy()
    trainer = trl.GRPOTrainer(
        model=tiny_world.policy(),
        reward_funcs=[*dimension_rewards(scorer), spy],
        args=trl.GRPOConfig(
            output_dir=str(tmp_path),
            multi_objective_aggregation="normalize_then_sum",
            reward_weights=[0.5, 0.3, 0.2, 0.0],
            **QUICK,
        ),
        train_dataset=plain(),
        processing_class=tiny_world.tokenizer(),
    )
    trainer.train()
    in_training = len(forwards)
    for row, step in zip(logged(trainer), spy.steps, strict=True):
        own = scorer.score_batch(step["prompts"], step["completions"])
        told = [score for score in own if score.levels]
        for name in scorer.dimensions:
            level = sum(score.levels[name] for score in told) / len(told)
            assert row[f"rewards/{name}/mean"] == pytest.approx(level / 4, abs=1e-4)
            assert row[f"multidim/{name}/level"] == pytest.approx(level, abs=1e-4)
            assert row[f"multidim/{name}/uncertainty"] > 0
        assert row["multidim/no_opinion"] == pytest.approx(1 - len(told) / len(own))
        assert row["multidim/truncated_responses"] == 0
        assert len(step["company"]) == len(own)
    hook.remove()
    assert in_training == len(forwards) - in_training  # three rewards cost what one scoring costs


def test_grpo_awaits_the_asynchronous_one_on_chats(tmp_path: Path, scorer: RewardScorer) -> None:
    spy = Spy()
    trainer = trl.GRPOTrainer(
        model=tiny_world.policy(),
        reward_funcs=[AsyncMultiDimReward(scorer, name="report"), spy],
        args=trl.GRPOConfig(output_dir=str(tmp_path), **QUICK),
        train_dataset=chats(),
        processing_class=chat_tokenizer(),
    )
    trainer.train()
    for row, step in zip(logged(trainer), spy.steps, strict=True):
        said = [completion[0]["content"] for completion in step["completions"]]
        assert row["rewards/report/mean"] == mean(scorer.score_batch(step["prompts"], said))
        assert "report/depth/level" in row


def test_rloo_leaves_out_what_has_no_opinion(tmp_path: Path, scorer: RewardScorer) -> None:
    policy = tiny_world.policy()
    spy = Spy(says=None)
    trainer = trl.RLOOTrainer(
        model=policy,
        reward_funcs=[MultiDimReward(scorer), AsyncMultiDimReward(scorer, name="again"), spy],
        args=trl.RLOOConfig(
            output_dir=str(tmp_path),
            beta=0.0,
            seed=7,
            # Few words are left, so that many an answer is nothing but its end.
            generation_kwargs={"suppress_tokens": [0, *range(5, policy.config.vocab_size)]},
            **QUICK,
        ),
        train_dataset=plain(),
        processing_class=tiny_world.tokenizer(),
    )
    trainer._logs["advantages"] = []  # of all steps, not of the last one alone
    trainer.train()
    texts = [text for step in spy.steps for text in step["completions"]]
    advantages = list(zip(texts, trainer._logs["advantages"], strict=True))
    assert [a for text, a in advantages if not text] == [0.0] * texts.count("")
    assert any(a for text, a in advantages if text)
    silent = 0.0
    for row, step in zip(logged(trainer), spy.steps, strict=True):
        own = scorer.score_batch(step["prompts"], step["completions"])
        assert row["rewards/multidim/mean"] == row["rewards/again/mean"] == mean(own)
        silent += row["multidim/no_opinion"]
    assert silent == pytest.approx(texts.count("") / 8)
    assert silent > 0


def test_online_dpo_ranks_its_pairs_by_the_reward(tmp_path: Path, scorer: RewardScorer) -> None:
    online = pytest.importorskip("trl.experimental.online_dpo")
    spy = Spy()
    trainer = online.OnlineDPOTrainer(
        model=tiny_world.policy(),
        ref_model=tiny_world.policy(),
        reward_funcs=[MultiDimReward(scorer, no_opinion=0.0), spy],
        args=online.OnlineDPOConfig(
            output_dir=str(tmp_path),
            max_new_tokens=6,
            per_device_train_batch_size=4,
            max_steps=1,
            logging_steps=1,
            gradient_checkpointing=False,
            disable_tqdm=True,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
        ),
        train_dataset=plain(),
        processing_class=tiny_world.tokenizer(),
    )
    trainer.train()
    (step,) = spy.steps
    own = scorer.score_batch(step["prompts"], step["completions"])
    rewards = [score.reward or 0.0 for score in own]
    row = next(row for row in trainer.state.log_history if "objective/scores" in row)
    assert row["objective/scores"] == pytest.approx(sum(rewards) / len(rewards), abs=1e-4)
    first, second = rewards[: len(own) // 2], rewards[len(own) // 2 :]
    margin = sum(abs(a - b) for a, b in zip(first, second, strict=True)) / len(first)
    assert row["objective/scores_margin"] == pytest.approx(margin, abs=1e-4)


def test_trl_grpo_finds_rewards_by_their_dotted_paths(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trl.scripts import grpo

    tiny_world.policy().save_pretrained(tmp_path / "policy")
    tiny_world.tokenizer().save_pretrained(tmp_path / "policy")
    data = tmp_path / "data" / "train.jsonl"
    data.parent.mkdir()
    data.write_text("".join(json.dumps({"prompt": p}) + "\n" for p in tiny_world.PROMPTS))
    monkeypatch.setenv("REWARD_MODEL", str(model))
    names = ["reward", "reward_depth"]
    flags = {**QUICK, "output_dir": str(tmp_path / "out"), "report_to": "none"}
    flags |= {"save_strategy": "steps", "save_steps": 2}
    words = [f"--{name}={value}" for name, value in flags.items()]
    words += ["--model_name_or_path", str(tmp_path / "policy")]
    words += ["--dataset_name", str(data.parent)]
    words += ["--reward_funcs", *(f"reward_model.rlhf.trl.{name}" for name in names)]
    monkeypatch.setattr(sys, "argv", ["grpo", *words])
    monkeypatch.setattr(sys, "path", [*sys.path])  # the script puts its folder there
    parsed = grpo.make_parser().parse_args_and_config(fail_with_unknown_args=False)
    grpo.main(*parsed[:4])
    state = json.loads((tmp_path / "out" / "checkpoint-2" / "trainer_state.json").read_text())
    (first, *_) = (row for row in state["log_history"] if "reward" in row)
    assert first["rewards/depth/mean"] == pytest.approx(first["multidim/depth/level"] / 4, abs=1e-4)
    assert 0 < first["rewards/reward/mean"] < 1


async def _async_grpo_scores(rewards: list[Any], group: dict[str, Any]) -> list[Any]:
    """What AsyncGRPO's own worker makes of a group of completions."""
    from trl.experimental.async_grpo.async_rollout_worker import RolloutGroup, _AsyncRolloutLoop
    from trl.trainer.utils import get_callable_name

    loop = SimpleNamespace(
        reward_funcs=rewards,
        reward_func_names=[get_callable_name(r) for r in rewards],
        _env_reward_types=[],
        _provides_rollout_reward=False,
    )
    count = len(group["completions"])
    sequence = SimpleNamespace(input_ids=[1], completion_mask=[1], old_log_probs=[0.0])
    rollouts = RolloutGroup(
        reward_kwargs={"company": ["x"] * count},
        completions_ids=[[1]] * count,
        completions_sequences=[[sequence]] * count,
        tool_call_counts=[0] * count,
        tool_failure_counts=[0] * count,
        model_version=0,
        group_id=0,
        env_rewards=[None] * count,
        rollout_rewards=[None] * count,
        **group,
    )
    samples = await _AsyncRolloutLoop._score_group(loop, rollouts)
    return [sample.metrics for sample in samples]


def test_async_grpo_scores_groups_with_pickled_rewards(model: Path, scorer: RewardScorer) -> None:
    rewards = [*dimension_rewards(model), AsyncMultiDimReward(model, name="all")]
    again = pickle.loads(pickle.dumps({"reward_funcs": rewards}))["reward_funcs"]
    group = {
        "prompts": [[{"role": "user", "content": "Margins?"}]] * 3,
        "completions": [[{"role": "assistant", "content": t}] for t in ("Up.", "Down 2%.", "")],
    }
    metrics = asyncio.run(_async_grpo_scores(again, group))
    own = scorer.score_batch(group["prompts"], ["Up.", "Down 2%.", ""])
    for row, score in list(zip(metrics, own, strict=True))[:2]:
        assert row["rewards/all"] == pytest.approx(score.reward, abs=1e-5)
        assert row["rewards/depth"] == pytest.approx(score.levels["depth"] / 4, abs=1e-5)
    assert metrics[2]["reward"] != metrics[2]["reward"]  # no number for an empty answer
