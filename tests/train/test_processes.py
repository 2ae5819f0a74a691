"""Two processes train as one: the same steps, the same losses, a model that one process loads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import commands
import pytest
import torch
import toy
from safetensors.torch import load_file
from tiny_models import save_encoder

from reward_model.model.folder import load_bundle
from reward_model.rubrics import load_rubric
from reward_model.score.scorer import RewardScorer

RUBRIC = load_rubric("financial_report")


def run(processes: int, scored: Path, base: Path, out: Path, **settings: Any) -> dict[str, Any]:
    """Train in so many processes; the metrics of the run."""
    file = out.parent / f"{out.name}.toml"
    # Losses are compared step by step, so nothing may be drawn at random but the order.
    wanted = {"head_dropout": 0.0, "max_length": 200, "batch_size": 12, **settings}
    file.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in wanted.items()), "utf-8")
    words = ["train", scored, "--base-model", base, "--output-dir", out, "--config", file]
    if processes == 1:
        alone = commands.run("reward-model", *words)
        assert alone.code == 0, alone.stderr[-3000:]
    else:
        launch = ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
        done = subprocess.run(
            [*(sys.executable, "-m", *launch, "reward_model"), *map(str, words)],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        )
        assert done.returncode == 0, done.stderr[-3000:]
    metrics: dict[str, Any] = json.loads((out / "metrics.json").read_text("utf-8"))
    return metrics


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = toy.pairs(RUBRIC, 43)
    rows[3]["scores"]["chosen"]["depth"] = None
    for row in rows[::3]:  # lengths that differ, so that processes have unlike pieces
        row["chosen"] = row["chosen"][: len(row["chosen"]) // 3]
    return toy.write(tmp_path_factory.mktemp("toy") / "scored.jsonl", rows)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    whole = save_encoder(tmp_path_factory.mktemp("whole") / "model")
    bundle = load_bundle(whole)
    folder = tmp_path_factory.mktemp("base")
    bundle.model.backbone.save_pretrained(folder)
    bundle.tokenizer.save_pretrained(folder)
    return folder


FLAGS: dict[str, Any] = {
    "max_steps": 6,
    "eval_steps": 3,
    "learning_rate": 1e-3,
    "warmup_share": 0.0,
    "schedule": "constant_with_warmup",
    "batch_tokens": 600,
    "class_weights": "sqrt",
    "pair_weight": 0.5,
    "gap_weight": 0.5,
    "logging_steps": 1,
}


@pytest.mark.slow
def test_two_processes_train_as_one_and_one_goes_on_where_they_stopped(
    scored: Path, base: Path, tmp_path: Path
) -> None:
    one = run(1, scored, base, tmp_path / "one", **FLAGS)
    two = run(2, scored, base, tmp_path / "two", **FLAGS)
    assert [a["step"] for a in one["loss"]] == [b["step"] for b in two["loss"]] == [*range(1, 7)]
    for a, b in zip(one["loss"], two["loss"], strict=True):
        assert abs(a["loss"] - b["loss"]) < 1e-4
    for a, b in zip(one["history"], two["history"], strict=True):
        assert a == pytest.approx(b, abs=1e-3)
    same_weights(tmp_path / "one", tmp_path / "two")
    # What two processes wrote is scored by one.
    texts = [row["chosen"] for row in toy.pairs(RUBRIC, 5)]
    first, second = (
        RewardScorer.from_pretrained(tmp_path / name / "best").score_batch([""] * 5, texts)
        for name in ("one", "two")
    )
    for x, y in zip(first, second, strict=True):
        assert x.reward == pytest.approx(y.reward, abs=1e-4)
    # As if the two had been stopped after their first checkpoint.
    cut = tmp_path / "two"
    (cut / "metrics.json").unlink()
    shutil.rmtree(cut / "checkpoints" / "checkpoint-6")
    assert run(1, scored, base, cut, **FLAGS)["loss"] != []
    same_weights(tmp_path / "one", cut)


def same_weights(first: Path, second: Path) -> None:
    a, b = (load_file(folder / "best" / "model.safetensors") for folder in (first, second))
    for key in a:
        torch.testing.assert_close(a[key], b[key], atol=1e-4, rtol=0, msg=key)
