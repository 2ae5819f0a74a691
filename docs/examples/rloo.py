"""RLOO with the scalar reward, less half a standard deviation where the model is unsure.

Run it: ``python docs/examples/rloo.py``; half a minute on a CPU, nothing is downloaded.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tiny_world import command, mean_reward, reward_model, saved_policy, write_prompts


def main(folder: Path) -> tuple[float, float]:
    """Train a policy; give its mean reward before and after."""
    reward, base = reward_model(folder), saved_policy(folder / "base")
    before = mean_reward(base, reward)
    command(
        *("reward-model", "policy", "train", write_prompts(folder / "prompts.jsonl")),
        *("--base-model", base, "--method", "rloo", "--reward", reward, "--risk", 0.5),
        *("--output-dir", folder / "run", "--epochs", 24, "--lr", 1e-2, "--batch-size", 32),
        *("--max-length", 32, "--max-new-tokens", 12, "--eval-share", 0, "--test-share", 0),
        # Fields of TRL by their own names.
        *("--set", "num_generations=8", "--beta", 0, "--set", "save_strategy=no"),
    )
    return before, mean_reward(folder / "run" / "best", reward)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        before, after = main(Path(temporary))
    print(f"mean reward before {before:.3f}, after {after:.3f}")
    assert after > before + 0.2, "the policy learned nothing"
