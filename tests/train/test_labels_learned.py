"""What is learned from the labels that are there: dimensions, pairs, soft labels, precision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy
from sklearn.metrics import cohen_kappa_score
from tiny_models import encoder_tokenizer, save_encoder
from transformers import EvalPrediction, GPT2Config, GPT2Model

from reward_model.data.dataset import Sample
from reward_model.data.tokens.inputs import InputBuilder
from reward_model.model.folder import first_model_digest, load_bundle, model_digest
from reward_model.model.network import MultiDimRewardConfig, MultiDimRewardModel
from reward_model.model.packed import draws
from reward_model.records import UserError
from reward_model.rubrics import load_rubric
from reward_model.score.scorer import RewardScorer
from reward_model.train import machine
from reward_model.train.arguments import training_arguments
from reward_model.train.config import TrainConfig, resolve
from reward_model.train.prepare import divide, prepare
from reward_model.train.run import train
from reward_model.train.steps import decided_pairs
from reward_model.train.validation import ValidationMetrics

RUBRIC = load_rubric("financial_report")
QUICK: dict[str, Any] = {"base_model": "tiny", "max_length": 64, "max_steps": 2, "batch_size": 8}


def config(scored: Path, out: Path, **flags: Any) -> TrainConfig:
    return resolve(scored, out, None, {**QUICK, **flags})


def test_a_dimension_without_labels_weighs_nothing(tmp_path: Path) -> None:
    rows = toy.pairs(RUBRIC, 24)
    for row in rows:
        for side in ("chosen", "rejected"):
            row["scores"][side]["depth"] = None
    best = train(config(toy.write(tmp_path / "a.jsonl", rows), tmp_path / "out"))
    remarks = " ".join(json.loads((tmp_path / "out" / "metrics.json").read_text())["remarks"])
    assert "depth: no labels to train on" in remarks
    bundle = load_bundle(best)
    assert bundle.model.config.untrained == ["depth"]
    assert bundle.model.config.weights["depth"] == bundle.rubric.weights["depth"] == 0
    assert sum(bundle.rubric.weights.values()) == pytest.approx(1)
    scorer = RewardScorer.from_pretrained(best)
    before = scorer.score("", "because driven margin").reward
    with torch.no_grad():
        scorer.model.heads[0].out.weight.fill_(7.0)
    assert RewardScorer(bundle).score("", "because driven margin").reward == pytest.approx(before)
    for row in rows:
        for side in ("chosen", "rejected"):
            row["scores"][side] = {"depth": None, "professionalism": None, "accuracy": None}
    rows[0]["scores"]["chosen"]["depth"] = 1
    with pytest.raises(UserError):
        divide(config(toy.write(tmp_path / "none.jsonl", rows), tmp_path / "none"))


def sample(labels: tuple[int, ...], side: str, pair: str) -> Sample:
    return Sample("p", "r", labels, "g", side, pair)  # type: ignore[arg-type]


def test_pairs_that_tie_or_contradict_teach_the_pairwise_term_nothing(tmp_path: Path) -> None:
    sides = ("chosen", "rejected")
    cases = [
        ((4, 4, 4), (1, 1, 1)),  # decided
        ((2, 2, 2), (2, 2, 2)),  # a tie
        ((0, 1, 1), (3, 1, 1)),  # contradicted
        ((-100, -100, -100), (2, 2, 2)),  # nothing to compare
        ((3, -100, 0), (2, 4, -100)),  # decided where both have a label
    ]
    samples = [
        sample(labels, side, f"s{i}")
        for i, pair in enumerate(cases)
        for side, labels in zip(sides, pair, strict=True)
    ]
    assert decided_pairs(samples, RUBRIC) == [(0, 1), (6, 7), (8, 9)]
    rows = toy.pairs(RUBRIC, 24)
    for row in rows[::2]:
        row["scores"]["chosen"] = dict(row["scores"]["rejected"])
    path = toy.write(tmp_path / "a.jsonl", rows)
    words = " ".join(divide(config(path, tmp_path / "out", pair_weight=0.5)).remarks)
    assert "training pairs tie in their levels or contradict them" in words
    train(config(path, tmp_path / "out", pair_weight=0.5))


def test_single_texts_and_empty_sides_beside_a_pairwise_term_are_said(tmp_path: Path) -> None:
    rows = toy.pairs(RUBRIC, 24, groups=12)
    alone = [{**row, "response": row["chosen"], "scores": row["scores"]["chosen"]} for row in rows]
    for row in alone:
        del row["chosen"], row["rejected"]
    path = toy.write(tmp_path / "alone.jsonl", alone)
    with pytest.raises(UserError, match="a pairwise term, and no pair to train on"):
        divide(config(path, tmp_path / "out", pair_weight=0.5))
    rows[0]["rejected"] = rows[1]["rejected"] = " "
    path = toy.write(tmp_path / "mixed.jsonl", rows[:12] + alone[12:])
    settings = {"eval_share": 0.0, "test_share": 0.0}
    words = divide(config(path, tmp_path / "out", pair_weight=0.5, **settings)).remarks
    assert "12 of 36 training texts are of no pair: the pairwise term leaves them out" in words
    assert any(one.startswith("2 training texts are empty: ") for one in words)
    quiet = " ".join(divide(config(path, tmp_path / "out", **settings)).remarks)
    assert "pairwise" not in quiet


def test_soft_labels_are_validated_on_as_they_are() -> None:
    soft = ((0.0, 0.5, 0.5, 0.0, 0.0),) * 3
    samples = [Sample("p", "r", (1, 1, 1), f"g{i}", "single", f"s{i}", soft=soft) for i in range(4)]
    logits = np.log(np.array([[soft] * 4], dtype=float)[0] + 1e-9)
    labels = np.ones((4, 3), dtype=int)
    found = ValidationMetrics(samples, RUBRIC)(EvalPrediction(logits, labels))
    assert found["loss"] == pytest.approx(np.log(2), abs=1e-6)
    hard = [Sample("p", "r", (1, 1, 1), f"g{i}", "single", f"s{i}") for i in range(4)]
    assert ValidationMetrics(hard, RUBRIC)(EvalPrediction(logits, labels))["loss"] == pytest.approx(
        np.log(2), abs=1e-6
    )
    uneven = np.tile(np.log([0.2, 0.5, 0.1, 0.1, 0.1]), (4, 3, 1))
    a = ValidationMetrics(samples, RUBRIC)(EvalPrediction(uneven, labels))["loss"]
    b = ValidationMetrics(hard, RUBRIC)(EvalPrediction(uneven, labels))["loss"]
    assert a == pytest.approx(-0.5 * np.log(0.5) - 0.5 * np.log(0.1))
    assert b == pytest.approx(-np.log(0.5))


def test_forward_takes_soft_labels_and_refuses_what_it_does_not_read(tmp_path: Path) -> None:
    model = load_bundle(save_encoder(tmp_path / "m")).model
    ids = torch.arange(3, 19).view(2, 8)
    labels = torch.tensor([[1, 2, 3], [0, 1, 2]])
    soft = torch.nn.functional.one_hot(labels, 5).float()
    hard = model(input_ids=ids, labels=labels).loss
    assert torch.equal(model(input_ids=ids, labels=labels, soft_labels=soft).loss, hard)
    spread = torch.full((2, 3, 5), 0.2)
    assert model(input_ids=ids, labels=labels, soft_labels=spread).loss != hard
    with pytest.raises(TypeError, match="reads no soft_label"):
        model(input_ids=ids, labels=labels, soft_label=soft)


def test_no_dropout_is_left_under_any_name(tmp_path: Path) -> None:
    settings = GPT2Config(vocab_size=280, n_embd=32, n_layer=2, n_head=2, n_positions=64)
    GPT2Model(settings).save_pretrained(tmp_path / "gpt2")
    for kept in (True, False):
        model = MultiDimRewardModel.from_backbone(
            str(tmp_path / "gpt2"), MultiDimRewardConfig.for_rubric(RUBRIC), backbone_dropout=kept
        )
        assert draws(model.backbone) is kept
        ids = torch.arange(3, 19).view(2, 8)
        model.train()
        two = [model(input_ids=ids, pooled_only=True).pooled for _ in range(2)]
        assert torch.equal(*two) is not kept


def test_a_prompt_that_is_left_out_is_not_a_cut_one() -> None:
    without, short = (
        InputBuilder(encoder_tokenizer(), 64, max_prompt_length=most) for most in (0, 4)
    )
    assert not without.one("a long prompt", "response").prompt_cut
    assert short.one("a long prompt", "response").prompt_cut


def test_a_digest_covers_tokenizer_and_all_weights(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "m")
    before, first = model_digest(folder), first_model_digest(folder)
    (folder / "README.md").write_text("other words")
    assert model_digest(folder) == before
    for name in ("tokenizer.json", "model.safetensors", "rubric.json"):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[:-40] + bytes([data[-40] ^ 1]) + data[-39:])
        assert model_digest(folder) != before
        (folder / name).write_bytes(data)
    assert (model_digest(folder), first_model_digest(folder)) == (before, first)


def test_precision_is_said_where_accelerate_asks_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = toy.write(tmp_path / "a.jsonl", toy.pairs(RUBRIC, 16))
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    wanted = config(path, tmp_path / "out", precision="fp32")
    remarks = " ".join(prepare(wanted).remarks)
    assert "precision fp32 of the settings is used, not mixed_precision bf16" in remarks
    arguments = training_arguments(wanted, 16, 512, None)
    assert not arguments.bf16
    assert not arguments.fp16
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert machine.compute_dtype(config(path, tmp_path / "out")) is torch.bfloat16
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp8")
    with pytest.raises(UserError, match="mixed_precision fp8"):
        prepare(config(path, tmp_path / "out"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="it is fast there")
def test_half_precision_that_a_cpu_only_emulates_is_refused(tmp_path: Path) -> None:
    whole, half = machine.seconds(torch.float32, torch.bfloat16)
    if half < machine.TOO_SLOW * whole * 2:
        pytest.skip("this CPU has bfloat16")
    path = toy.write(tmp_path / "a.jsonl", toy.pairs(RUBRIC, 16))
    with pytest.raises(UserError, match=r"precision bf16 on a CPU that takes \d+ times as long"):
        train(config(path, tmp_path / "out", precision="bf16"))
    assert not (tmp_path / "out").exists()


def test_the_error_of_what_picks_the_best_is_that_of_redrawn_groups() -> None:
    rng = np.random.default_rng(0)
    level = rng.integers(0, 5, (120, 3))
    logits = rng.normal(size=(120, 3, 5)) + 2 * np.eye(5)[level]
    samples = [
        Sample("", "text", tuple(map(int, row)), f"g{i // 2}", "single", str(i))
        for i, row in enumerate(level)
    ]
    metrics = ValidationMetrics(samples, RUBRIC)
    assert "qwk_error" not in metrics(EvalPrediction(logits, level))
    metrics.error_of = "qwk"
    told = metrics(EvalPrediction(logits, level))["qwk_error"]
    draws = []
    for _ in range(300):
        rows = np.concatenate([[2 * g, 2 * g + 1] for g in rng.integers(0, 60, 60)])
        kappas = [
            cohen_kappa_score(level[rows, d], logits[rows, d].argmax(-1), weights="quadratic")
            for d in range(3)
        ]
        draws.append(np.mean(kappas))
    assert told == pytest.approx(np.std(draws), rel=0.25)
