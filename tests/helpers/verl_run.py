"""What verl makes of our `compute_score`, told by verl's own code; run by test_rlhf_verl.py.

`python verl_run.py SAMPLES.json` prints what its reward manager gives for each sample, and
what its worker for reward models gets from a server's `/classify`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from tiny_models import byte_tokenizer
from verl import DataProto, __version__
from verl.experimental.reward_loop.reward_loop import RewardLoopWorker
from verl.experimental.reward_loop.reward_manager.naive import NaiveRewardManager
from verl.trainer.ppo.core_algos import compute_gdpo_outcome_advantage
from verl.trainer.ppo.reward import get_custom_reward_fn

PROMPT, RESPONSE = 4, 64


def batch(samples: list[dict[str, Any]], tokenizer: Any) -> DataProto:
    """Samples as verl's rollout leaves them: prompts padded left, responses right."""
    responses = torch.full((len(samples), RESPONSE), tokenizer.pad_token_id)
    mask = torch.zeros((len(samples), RESPONSE), dtype=torch.long)
    for i, sample in enumerate(samples):
        ids = tokenizer(sample["response"])["input_ids"][:RESPONSE]
        responses[i, : len(ids)] = torch.tensor(ids)
        mask[i, : len(ids)] = 1
    prompts = torch.ones((len(samples), PROMPT), dtype=torch.long)
    return DataProto.from_dict(
        tensors={
            "prompts": prompts,
            "responses": responses,
            "attention_mask": torch.cat([prompts, mask], 1),
            "response_mask": mask,
        },
        non_tensors={
            "data_source": np.array(["reports"] * len(samples), dtype=object),
            "reward_model": np.array([{"ground_truth": ""}] * len(samples), dtype=object),
            "extra_info": np.array([sample["extra_info"] for sample in samples], dtype=object),
            "uid": np.array(["group"] * len(samples), dtype=object),
        },
    )


async def rewarded(samples: list[dict[str, Any]], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Rewards of all samples at once, as a reward loop asks for them."""
    config = OmegaConf.create(
        {
            "reward": {
                "custom_reward_function": {
                    "path": "pkg://reward_model.rlhf.verl",
                    "name": "compute_score",
                    "reward_kwargs": kwargs,
                }
            }
        }
    )
    tokenizer = byte_tokenizer(["<eos>"], pad_token="<eos>", eos_token="<eos>")
    manager = NaiveRewardManager(config, tokenizer, get_custom_reward_fn(config))
    data = batch(samples, tokenizer)
    results = await asyncio.gather(*(manager.run_single(data[i : i + 1]) for i in range(len(data))))
    extra = [one["reward_extra_info"] for one in results]
    keys = ["depth", "accuracy"]
    advantages, _ = compute_gdpo_outcome_advantage(
        token_level_rewards=torch.zeros((len(data), RESPONSE)),
        response_mask=data.batch["response_mask"],
        index=data.non_tensor_batch["uid"],
        config=OmegaConf.create({"gdpo_reward_keys": keys}),
        non_tensor_batch={key: np.array([row[key] for row in extra]) for key in keys},
        batch=data.batch,
    )
    return {
        "rewards": [one["reward_score"] for one in results],
        "extra": extra,
        "advantages": advantages[:, 0].tolist(),
        "version": __version__,
    }


async def from_a_reward_model(
    samples: list[dict[str, Any]], address: str, tokenizer: str
) -> list[float]:
    """Scores as verl asks a server of a reward model for them, without a function of ours."""
    config = OmegaConf.create(
        {
            "actor_rollout_ref": {"model": {"path": tokenizer, "tokenizer_path": None}},
            "reward": {
                "custom_reward_function": {"path": None},
                "reward_manager": {"name": "naive", "source": "register"},
                "reward_model": {
                    "enable": True,
                    "model_path": tokenizer,
                    "rollout": {"name": "vllm"},
                },
            },
        }
    )
    worker = RewardLoopWorker(config, address)
    data = batch(samples, worker.input_tokenizer)
    chats = np.empty(len(samples), dtype=object)
    for i, sample in enumerate(samples):
        prompt = sample["extra_info"]["prompt"]
        chats[i] = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    data.non_tensor_batch["raw_prompt"] = chats
    return [one["reward_score"] for one in await worker.compute_score_batch(data)]


if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text())
    answer = asyncio.run(rewarded(asked["samples"], asked["kwargs"]))
    told = [sample for sample in asked["samples"] if sample["response"].strip()]
    answer["classified"] = asyncio.run(
        from_a_reward_model(told, asked["address"], asked["tokenizer"])
    )
    sys.stdout.write(json.dumps(answer) + "\n")
