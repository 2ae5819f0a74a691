"""Heads begin at logistic regressions on the untrained backbone, and training never ends below."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tiny_models import save_decoder, save_encoder

from reward_model.data.dataset import MultiDimRewardDataset
from reward_model.model.batches import collate, pad_id
from reward_model.model.folder import load_bundle
from reward_model.model.network import LevelHead, MultiDimRewardConfig
from reward_model.records import IGNORE
from reward_model.rubrics import load_rubric
from reward_model.train.config import TrainConfig, resolve
from reward_model.train.probe import STRENGTHS, fit, put
from reward_model.train.run import train

RUBRIC = load_rubric("financial_report")
STILL: dict[str, Any] = {"max_steps": 1, "learning_rate": 1e-30, "max_length": 200}


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = toy.pairs(RUBRIC, 40)
    rows[3]["scores"]["chosen"]["depth"] = None
    return toy.write(tmp_path_factory.mktemp("toy") / "scored.jsonl", rows)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for name, save in (("encoder", save_encoder), ("decoder", save_decoder)):
        bundle = load_bundle(save(tmp_path_factory.mktemp("whole") / name))
        found[name] = tmp_path_factory.mktemp("base") / name
        bundle.model.backbone.save_pretrained(found[name])
        bundle.tokenizer.save_pretrained(found[name])
    return found


def config(scored: Path, out: Path, base: Path, **flags: Any) -> TrainConfig:
    shares = {"eval_share": 0.2, "test_share": 0.1, "batch_size": 8}
    return resolve(scored, out, None, {**shares, "base_model": str(base), **flags})


def settings(**heads: Any) -> MultiDimRewardConfig:
    return MultiDimRewardConfig.for_rubric(RUBRIC, **heads)


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_a_head_computes_what_scikit_learn_fits(activation: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 32)) * rng.uniform(0.1, 2, 32) + rng.normal(size=32)
    level = np.clip(np.round(x[:, :2].sum(1)) + 2, 0, 4).astype(int)
    groups = np.arange(90) // 3
    line = fit(x.astype(np.float32), np.eye(5)[level], groups)
    assert line.strength in STRENGTHS
    assert line.kappa is not None
    theirs = make_pipeline(
        StandardScaler(), LogisticRegression(C=line.strength, max_iter=2000, tol=1e-7)
    ).fit(x.astype(np.float32).astype(np.float64), level)
    head = LevelHead(32, 5, settings(head_activation=activation)).eval()
    put(head, line.weight, line.bias, seed=0)
    with torch.no_grad():
        mine = head(torch.tensor(x, dtype=torch.float32)).log_softmax(-1).numpy()
    assert mine == pytest.approx(theirs.predict_log_proba(x), abs=1e-4, rel=1e-4)


def test_soft_labels_weigh_the_levels_and_missing_ones_stay_unlikely() -> None:
    x = np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32)
    shares = np.tile([0.0, 0.7, 0.3, 0.0, 0.0], (60, 1))
    line = fit(x, shares, np.arange(60))
    chances = np.exp(x @ line.weight.T + line.bias)
    chances /= chances.sum(1, keepdims=True)
    assert chances.mean(0) == pytest.approx([0.008, 0.689, 0.295, 0.008, 0.008], abs=0.01)


@pytest.mark.parametrize(
    ("base", "flags"),
    [
        ("encoder", {}),
        ("encoder", {"head_type": "linear", "class_weights": "sqrt"}),
        ("encoder", {"head": "shared", "head_width": 40}),
        ("decoder", {"lora_rank": 2}),
    ],
    ids=["encoder", "linear", "shared", "decoder with LoRA"],
)
def test_the_model_before_the_first_step_is_the_regression(
    base: str, flags: dict[str, Any], scored: Path, bases: dict[str, Path], tmp_path: Path
) -> None:
    best = train(config(scored, tmp_path / "out", bases[base], **STILL, **flags))
    found = json.loads((tmp_path / "out" / "metrics.json").read_text())["probe"]
    bundle = load_bundle(best)
    dataset = MultiDimRewardDataset.from_file(scored, bundle.rubric, bundle.builder)
    split = json.loads((best / "split.json").read_text())["groups"]["train"]
    kept = [i for i, sample in enumerate(dataset.samples) if sample.group in set(split)]
    rows = dataset.take(kept)
    assert found["texts"] == len(rows) == len(kept)
    assert rows.encoded is not None
    batch = collate([rows.encoded[i] for i in range(len(rows))], pad_id(bundle.tokenizer))
    with torch.no_grad():
        vectors = bundle.model(**batch, pooled_only=True).pooled
        mine = bundle.model.score_pooled(vectors).log_softmax(-1)
    for d, name in enumerate(bundle.rubric.names):
        level = np.array([sample.labels[d] for sample in rows.samples])
        there = level != IGNORE
        level, x = level[there], vectors.numpy()[there].astype(np.float64)
        counts = np.bincount(level, minlength=5)[level] ** (
            -0.5 if flags.get("class_weights") else 0.0
        )
        linear = flags.get("head_type") == "linear"
        theirs = make_pipeline(
            StandardScaler(with_mean=not linear),
            LogisticRegression(
                C=found["dimensions"][name]["C"],
                max_iter=2000,
                tol=1e-7,
                fit_intercept=not linear,
            ),
        ).fit(x, level, logisticregression__sample_weight=counts / counts.mean())
        assert set(level) == set(range(5))
        assert mine[there, d].numpy() == pytest.approx(
            theirs.predict_log_proba(x), abs=1e-4, rel=1e-4
        )


def test_training_never_ends_below_the_probe_and_goes_on_from_it(
    scored: Path, bases: dict[str, Path], tmp_path: Path
) -> None:
    flags = {"max_steps": 4, "eval_steps": 2, "learning_rate": 0.3, "max_length": 200}
    base = bases["encoder"]
    train(config(scored, tmp_path / "a", base, **flags))
    metrics = json.loads((tmp_path / "a" / "metrics.json").read_text())
    assert [entry["step"] for entry in metrics["history"]] == [0, 2, 4]
    assert metrics["best_step"] == 0
    assert metrics["validation"]["qwk"] == metrics["history"][0]["qwk"]
    assert metrics["history"][-1]["loss"] > metrics["history"][0]["loss"] + 1
    # As if killed before the second checkpoint, and as if killed before any.
    checkpoints = tmp_path / "a" / "checkpoints"
    last = load_file(checkpoints / "checkpoint-4" / "model.safetensors")
    for left in ("checkpoint-0", "none"):
        (tmp_path / "a" / "metrics.json").unlink()
        shutil.rmtree(checkpoints / "checkpoint-4")
        if left == "none":
            shutil.rmtree(checkpoints / "checkpoint-0")
        train(config(scored, tmp_path / "a", base, **flags))
        again = load_file(checkpoints / "checkpoint-4" / "model.safetensors")
        assert all(torch.equal(last[name], again[name]) for name in last)
        assert json.loads((tmp_path / "a" / "metrics.json").read_text()) == metrics


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"probe": False}, None),
        ({"head_activation": "tanh"}, "heads begin at random: two layers with tanh"),
        ({"head_width": 8}, "heads begin at random: head_width 8 is less than the 10"),
    ],
)
def test_without_a_probe_nothing_is_validated_before_the_first_step(
    flags: dict[str, Any], words: str | None, scored: Path, bases: dict[str, Path], tmp_path: Path
) -> None:
    train(config(scored, tmp_path / "out", bases["encoder"], **STILL, **flags))
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert "probe" not in metrics
    assert metrics["best_step"] == 1
    assert (words or "") in " ".join(metrics["remarks"])


def test_what_moves_by_rounding_alone_gets_no_weight_and_luck_no_steep_heads() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 8)).astype(np.float32)
    x[:, 6], x[:, 7] = 3.0, 1e-9 * rng.normal(size=120)
    level = np.clip(np.round(x[:, 0]) + 2, 0, 4).astype(int)
    line = fit(x, np.eye(5)[level], np.arange(120))
    assert (line.weight[:, 6:] == 0).all()
    assert line.kappa is not None
    assert line.kappa > 0.8
    assert np.abs(line.weight).max() < 20
    guesses = [rng.integers(0, 5, 120) for _ in range(8)]
    strengths = [fit(x, np.eye(5)[guess], np.arange(120)).strength for guess in guesses]
    assert strengths.count(STRENGTHS[0]) >= 6
    still = fit(np.ones((120, 8), np.float32), np.eye(5)[level], np.arange(120))
    assert np.isfinite(still.bias).all()
    assert (still.weight == 0).all()
