"""From settings to encoded data sets: caches, soft labels, maps, words on poor labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy
from commands import run
from tiny_models import save_encoder
from transformers import BertConfig

from reward_model.model.batches import collate
from reward_model.model.device import device_tokens
from reward_model.model.network import MultiDimRewardConfig, MultiDimRewardModel
from reward_model.records import UserError
from reward_model.rubrics import load_rubric
from reward_model.train.config import TrainConfig, resolve
from reward_model.train.machine import Memory, memory_of, settle_memory
from reward_model.train.prepare import prepare
from reward_model.train.run import train

RUBRIC = load_rubric("financial_report")


def config(scored: Path, out: Path, **flags: Any) -> TrainConfig:
    known = {"base_model": "tiny", "max_length": 64, "eval_share": 0.2, "test_share": 0.1}
    return resolve(scored, out, None, {**known, **flags})


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A plain encoder of random weights, as a local folder."""
    from reward_model.model.folder import load_bundle

    folder = tmp_path_factory.mktemp("base")
    bundle = load_bundle(save_encoder(folder / "reward"))
    bundle.model.backbone.save_pretrained(folder / "plain")
    bundle.tokenizer.save_pretrained(folder / "plain")
    return str(folder / "plain")


def test_another_seed_finds_the_same_token_ids(tmp_path: Path, backbone: str) -> None:
    path = toy.write(tmp_path / "a.jsonl", toy.pairs(RUBRIC, 20))
    cache = tmp_path / "cache"
    flags = {"base_model": backbone, "cache_dir": str(cache)}
    first = prepare(config(path, tmp_path / "out", **flags))
    (folder,) = cache.iterdir()
    stamp = (folder / "tokens.npy").stat().st_mtime_ns
    second = prepare(config(path, tmp_path / "out", **flags, seed=1))
    assert [f.name for f in cache.iterdir()] == [folder.name]
    assert (folder / "tokens.npy").stat().st_mtime_ns == stamp
    for ready in (first, second):
        builder_ids = {s.pair + s.side: i for i, s in enumerate(ready.train.samples)}
        assert len(builder_ids) == len(ready.train) == len(ready.train.lengths)
    assert {s.group for s in first.train.samples} != {s.group for s in second.train.samples}
    same = {s.pair + s.side: first.train[i] for i, s in enumerate(first.train.samples)}
    both = [(same[s.pair + s.side], second.train[i]) for i, s in enumerate(second.train.samples)
            if s.pair + s.side in same]  # fmt: skip
    assert both
    assert all(a["input_ids"] == b["input_ids"] for a, b in both)
    none = prepare(config(path, tmp_path / "out", **{**flags, "cache_dir": "none"}))
    assert [none.train[i] for i in range(5)] == [first.train[i] for i in range(5)]


def test_soft_labels_reach_the_batch_and_training(tmp_path: Path) -> None:
    rows = toy.pairs(RUBRIC, 24)
    for row in rows:
        levels = row["scores"]["chosen"]
        row["scores"]["judge"] = {
            "levels": {"a": {"chosen": {"depth": [levels["depth"], levels["depth"] - 1]}}}
        }
        row["scores"]["rejected"]["accuracy"] = None
    path = toy.write(tmp_path / "a.jsonl", rows)
    soft = config(path, tmp_path / "soft", labels="soft", max_steps=2)
    ready = prepare(soft)
    batch = collate([ready.train[0], ready.train[1]], 0)
    assert batch["soft_labels"].shape == (2, 3, 5)
    depth = ready.train[0]["labels"][0]
    assert batch["soft_labels"][0, 0, depth - 1 : depth + 1].tolist() == [0.5, 0.5]
    assert batch["soft_labels"][1, 2].sum() == 0
    best = train(soft)
    hard = train(config(path, tmp_path / "hard", max_steps=2))
    losses = [json.loads((b.parent / "metrics.json").read_text())["history"] for b in (best, hard)]
    assert all(np.isfinite(h[-1]["loss"]) for h in losses)
    assert (best / "model.safetensors").read_bytes() != (hard / "model.safetensors").read_bytes()


def test_a_dimension_without_labels_is_warned_of_and_trained_masked(tmp_path: Path) -> None:
    rows = toy.pairs(RUBRIC, 24)
    for row in rows:
        for side in ("chosen", "rejected"):
            row["scores"][side]["depth"] = None
            row["scores"][side]["accuracy"] = 3
    path = toy.write(tmp_path / "a.jsonl", rows)
    best = train(config(path, tmp_path / "out", max_steps=2))
    metrics = json.loads((best.parent / "metrics.json").read_text())
    words = " ".join(metrics["remarks"])
    assert "depth: no labels at all" in words
    assert "accuracy: level 3 on every text" in words
    assert np.isfinite(metrics["history"][-1]["loss"])


def test_other_columns_train(tmp_path: Path) -> None:
    rows = [
        {
            "q": f"Company {i}",
            "text": f"revenue {'rose' if i % 2 else 'fell'} {i}",
            "mark": 1 + i % 5,
        }
        for i in range(30)
    ]
    layout = tmp_path / "columns.toml"
    layout.write_text('prompt = "q"\nresponse = "text"\noffset = -1\n[levels]\ndepth = "mark"\n')
    path = toy.write(tmp_path / "a.jsonl", rows)
    best = train(config(path, tmp_path / "out", columns=layout, max_steps=2))
    page = tmp_path / "numbers.json"
    done = run("reward-model", "evaluate", best, path, "--columns", layout, "--json", page)
    assert done.code == 0, done.stderr
    assert json.loads(page.read_text())["split"]["part"] == "test"
    assert run("reward-model", "evaluate", best, path).code == 2
    layout.write_text('prompt = "q"\nresponse = "text"\n[levels]\ndepth = "mark"\n')
    with pytest.raises(UserError, match="5 in mark; expected a whole number from 0 to 4"):
        train(config(path, tmp_path / "out2", columns=layout))
    assert not (tmp_path / "out2").exists()


def test_what_a_step_needs_of_a_gpu() -> None:
    config = resolve(Path("scored.jsonl"), None, None, {})
    shape = BertConfig(
        vocab_size=10,
        hidden_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=128,
    )
    rubric = load_rubric("financial_report")
    model = MultiDimRewardModel(MultiDimRewardConfig.for_rubric(rubric, backbone_config=shape))
    weights = sum(weight.numel() for weight in model.parameters())
    # Weights, gradients, two moments of four bytes each, and a copy of the weights of two.
    assert memory_of(config, model, torch.bfloat16).fixed == weights * (4 + 4 + 8 + 2)
    assert memory_of(config, model, torch.float32).fixed == weights * (4 + 4 + 8)
    eight = config.model_copy(update={"optimizer": "adamw_8bit"})
    assert memory_of(eight, model, torch.float32).fixed == weights * (4 + 4 + 2)
    for weight in model.backbone.parameters():
        weight.requires_grad_(False)
    heads = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert memory_of(config, model, torch.float32).fixed == weights * 4 + heads * 12
    needs = memory_of(config, model, torch.bfloat16)
    assert needs.kept == 3 * 34 * 64
    # Seven billion weights in one GPU of 80 GB: whole they do not fit, adapters do, twice computed
    # on a small one.
    large = Memory(fixed=7e9 * 18, kept=32 * 34 * 4096, inputs=32 * 2 * 4096 + 34 * 4096)
    assert large.fit(80e9, 1024, 32768) == (1024, True)
    adapters = Memory(fixed=7e9 * 2, kept=large.kept, inputs=large.inputs)
    assert adapters.fit(80e9, 1024, 32768) == (11219, False)
    assert adapters.fit(24e9, 1024, 32768) == (12954, True)
    assert settle_memory(config, model)[1] == device_tokens(
        "cuda" if torch.cuda.is_available() else "cpu"
    )
