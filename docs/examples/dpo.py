"""DPO on preferences that the reward makes of the policy's own samples.

Run it: ``python docs/examples/dpo.py``; half a minute on a CPU, nothing is downloaded.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from datasets import load_dataset
from tiny_world import answers, mean_reward, policy, reward_model, tokenizer
from trl import DPOConfig, DPOTrainer

from reward_model.rlhf.preferences.make import run_prefer
from reward_model.rlhf.preferences.options import Options


def main(folder: Path) -> tuple[float, float]:
    """Train a policy; give its mean reward before and after."""
    reward = reward_model(folder)
    model = policy()
    before = mean_reward(model, reward)
    samples = folder / "samples.jsonl"
    with samples.open("w", encoding="utf-8") as file:
        for prompt, said in zip(*answers(model, count=64), strict=True):
            # A space between the two: the policy reads words.
            file.write(json.dumps({"prompt": prompt, "completion": f" {said}"}) + "\n")
    # reward-model prefer REWARD SAMPLES --out PREFERENCES --pairs all --min-margin 0.12
    run_prefer([reward, samples], folder / "preferences", Options(how="all", min_margin=0.12))
    dataset = load_dataset(str(folder / "preferences"), split="train")
    trainer = DPOTrainer(
        model=model,
        ref_model=policy(),  # the same seed: what the policy was at the beginning
        args=DPOConfig(
            output_dir=str(folder / "dpo"),
            beta=0.1,
            per_device_train_batch_size=32,
            learning_rate=1e-2,
            max_steps=30,
            gradient_checkpointing=False,
            disable_tqdm=True,
            logging_steps=20,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            bf16=False,
        ),
        train_dataset=dataset,
        processing_class=tokenizer(),
    )
    trainer.train()
    return before, mean_reward(trainer.model, reward)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        before, after = main(Path(temporary))
    print(f"mean reward before {before:.3f}, after {after:.3f}")
    assert after > before + 0.1, "the policy learned nothing"
