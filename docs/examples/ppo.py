"""PPO of TRL 1.12, the last that has it, with the reward as a module over the policy's tokens.

Run it where the extra `ppo` is installed: ``python docs/examples/ppo.py``; half a minute on a CPU.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from datasets import Dataset
from tiny_world import PROMPTS, mean_reward, policy, reward_model, tokenizer
from transformers import LlamaForSequenceClassification
from trl.experimental.ppo import PPOConfig, PPOTrainer

from reward_model.rlhf.ppo import PPOReward


def main(folder: Path) -> tuple[float, float]:
    """Train a policy; give its mean reward before and after."""
    reward = reward_model(folder)
    words, model, shape = tokenizer(), policy(), policy().config
    shape.num_labels = 1
    before = mean_reward(model, reward)
    prompts = Dataset.from_dict({"input_ids": [words(p)["input_ids"] for p in PROMPTS * 16]})
    trainer = PPOTrainer(
        args=PPOConfig(
            output_dir=str(folder / "ppo"),
            per_device_train_batch_size=32,
            num_mini_batches=1,
            num_ppo_epochs=4,
            total_episodes=32 * 30,
            response_length=12,
            stop_token="eos",
            kl_coef=0.0,
            learning_rate=5e-3,
            num_sample_generations=0,
            disable_tqdm=True,
            report_to=[],
            save_strategy="no",
            use_cpu=True,
        ),
        processing_class=words,
        model=model,
        ref_model=None,
        reward_model=PPOReward(
            reward, words, prompts=prompts["input_ids"], no_opinion=0.0, device="cpu"
        ),
        value_model=LlamaForSequenceClassification(shape),
        train_dataset=prompts,
        eval_dataset=prompts,
    )
    trainer.train()
    return before, mean_reward(trainer.policy_model, reward)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        before, after = main(Path(temporary))
    print(f"mean reward before {before:.3f}, after {after:.3f}")
    assert after > before + 0.2, "the policy learned nothing"
