"""GRPO with one reward a dimension, normalised apart and then summed.

Run it: ``python docs/examples/grpo.py``; half a minute on a CPU, nothing is downloaded.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from datasets import Dataset
from tiny_world import PROMPTS, mean_reward, policy, reward_model, tokenizer
from trl import GRPOConfig, GRPOTrainer

from reward_model.rlhf.trl import dimension_rewards


def main(folder: Path) -> tuple[float, float]:
    """Train a policy; give its mean reward before and after."""
    reward = reward_model(folder)
    model = policy()
    before = mean_reward(model, reward)
    trainer = GRPOTrainer(
        model=model,
        # Together one forward pass a step; an answer of no words earns the least.
        reward_funcs=dimension_rewards(reward, no_opinion=0.0),
        args=GRPOConfig(
            output_dir=str(folder / "grpo"),
            multi_objective_aggregation="normalize_then_sum",
            reward_weights=[0.4, 0.3, 0.3],
            per_device_train_batch_size=32,
            num_generations=8,
            max_completion_length=12,
            learning_rate=1e-2,
            max_steps=24,
            gradient_checkpointing=False,
            disable_tqdm=True,
            logging_steps=15,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
        ),
        train_dataset=Dataset.from_dict({"prompt": PROMPTS * 8}),
        processing_class=tokenizer(),
    )
    trainer.train()
    return before, mean_reward(trainer.model, reward)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        before, after = main(Path(temporary))
    print(f"mean reward before {before:.3f}, after {after:.3f}")
    assert after > before + 0.2, "the policy learned nothing"
