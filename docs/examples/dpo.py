"""DPO on preferences that the reward makes of the policy's own samples.

Run it: ``python docs/examples/dpo.py``; half a minute on a CPU, nothing is downloaded.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tiny_world import command, mean_reward, reward_model, saved_policy, write_prompts


def main(folder: Path) -> tuple[float, float]:
    """Train a policy; give its mean reward before and after."""
    reward, base = reward_model(folder), saved_policy(folder / "base")
    before = mean_reward(base, reward)
    samples, preferences = folder / "samples.jsonl", folder / "preferences"
    command(
        *("reward-model", "policy", "sample", base, write_prompts(folder / "prompts.jsonl")),
        *("--out", samples, "--n", 64, "--max-new-tokens", 12, "--max-length", 32),
    )
    command(
        *("reward-model", "prefer", reward, samples, "--out", preferences),
        *("--pairs", "all", "--min-margin", 0.12),
    )
    command(
        *("reward-model", "policy", "train", preferences / "train.jsonl", "--base-model", base),
        *("--output-dir", folder / "run", "--lr", 1e-2, "--batch-size", 32, "--max-length", 32),
        *("--eval-share", 0, "--test-share", 0, "--set", "max_steps=30"),
        *("--set", "save_strategy=no"),
    )
    return before, mean_reward(folder / "run" / "best", reward)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        before, after = main(Path(temporary))
    print(f"mean reward before {before:.3f}, after {after:.3f}")
    assert after > before + 0.1, "the policy learned nothing"
