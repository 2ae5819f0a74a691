"""Pieces side by side on a CPU: the same numbers, in order, and no setting of torch is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import encoder_tokenizer
from transformers import BertConfig, BertModel, TrainingArguments

from reward_model.data.dataset import MultiDimRewardDataset, Sample
from reward_model.data.tokens.inputs import Encoded, InputBuilder
from reward_model.model.batches import lane_batches
from reward_model.model.forward import Forward
from reward_model.model.lanes import Lanes, lanes_for
from reward_model.model.network import MultiDimRewardConfig, MultiDimRewardModel
from reward_model.records import IGNORE
from reward_model.rubrics import load_rubric
from reward_model.train.steps import LevelCollator
from reward_model.train.trainer import MultiDimRewardTrainer

TWO = Lanes(2, 1)
RUBRIC = load_rubric("financial_report")


@pytest.fixture
def two_cores() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_whoever_ends_first() -> None:
    def slow(i: int) -> tuple[int, str]:
        time.sleep(0.05 if i % 2 == 0 else 0)
        return i, threading.current_thread().name

    found = list(TWO.map(slow, range(6)))
    assert [i for i, _ in found] == list(range(6))
    assert len({name for _, name in found}) == 2


def test_one_piece_has_all_cores() -> None:
    here = threading.current_thread().name
    name = lambda _: threading.current_thread().name  # noqa: E731
    assert list(TWO.map(name, [0])) == [here]
    assert list(Lanes(1, 2).map(name, [0, 1])) == [here, here]


def test_an_error_is_told_and_what_waits_is_left() -> None:
    begun = []

    def work(i: int) -> None:
        begun.append(i)
        time.sleep(0.02)
        if i == 0:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        list(TWO.map(work, range(50)))
    time.sleep(0.1)
    assert len(begun) < 10


@pytest.mark.usefixtures("two_cores")
def test_lanes_share_the_cores_and_nobody_else_loses_any() -> None:
    assert lanes_for("cpu", 4096) == TWO
    assert lanes_for("cpu", 1024).count == 1
    fresh = Lanes(3, 1)  # no other test has started these
    assert list(fresh.map(lambda _: torch.get_num_threads(), range(6))) == [1] * 6
    assert torch.get_num_threads() == 2
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == 2


@given(
    st.lists(st.integers(1, 300), max_size=40),
    st.integers(10, 1000),
    st.integers(1, 4),
)
def test_batches_of_lanes_hold_every_row_within_the_budget(
    lengths: list[int], budget: int, lanes: int
) -> None:
    rows = dict(enumerate(lengths))
    batches = lane_batches(rows, budget, lanes)
    assert sorted(i for batch in batches for i in batch) == sorted(rows)
    sums = [sum(rows[i] for i in batch) for batch in batches]
    assert all(size <= budget or len(batch) == 1 for size, batch in zip(sums, batches, strict=True))
    if len(lengths) > 1 and lanes > 1:  # a long text may leave less than a batch a lane
        assert len(batches) > 1


def test_lanes_have_alike_to_do() -> None:
    rows = dict.fromkeys(range(9), 100)
    assert [len(batch) for batch in lane_batches(rows, 1000, 3)] == [3, 3, 3]
    assert [len(batch) for batch in lane_batches(rows, 400, 2)] == [2, 2, 3, 2]


def encoder(dropout: float = 0.1, backbone_dropout: float = 0.0) -> MultiDimRewardModel:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=300,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        initializer_range=0.2,
        hidden_dropout_prob=backbone_dropout,
        attention_probs_dropout_prob=0.0,
    )
    backbone = BertModel(config, add_pooling_layer=False)
    settings = MultiDimRewardConfig.for_rubric(
        RUBRIC, backbone_config=config, head_dropout=dropout, input_format="pair"
    )
    return MultiDimRewardModel(settings, backbone=backbone)


@pytest.mark.usefixtures("two_cores")
def test_scores_of_lanes_are_those_of_each_text_alone() -> None:
    rng = np.random.default_rng(0)
    texts = {
        i: Encoded(rng.integers(5, 300, n).tolist(), None, False, False)
        for i, n in enumerate([400, 3, 90, 512, 500, 77, 300, 299, 200, 1])
    }
    model = encoder().eval()
    run = Forward(model, torch.device("cpu"), 0, 2048)
    where = set()
    model.register_forward_pre_hook(lambda *_: where.add(threading.current_thread().name))
    found = {i: p for rows, batch in run.batches(texts) for i, p in zip(rows, batch, strict=True)}
    assert len(where) == 2
    assert sorted(found) == sorted(texts)
    for i, one in texts.items():
        assert found[i] == pytest.approx(run.padded([one])[0], abs=1e-5)


def learn(
    model: MultiDimRewardModel, out: Path, *, pair_weight: float = 0.5
) -> tuple[dict[str, torch.Tensor], set[str]]:
    """Weights after two steps of six pairs each, and the threads that ran the backbone."""
    samples = [
        Sample("", f"{word} {i}. " * (25 + i), (level, IGNORE, level - 1), str(i), side, str(i))
        for i in range(12)
        for side, word, level in (("chosen", "because", 4), ("rejected", "stuff", 1))
    ]
    threads: set[str] = set()
    hook = model.backbone.register_forward_pre_hook(
        lambda *_: threads.add(threading.current_thread().name)
    )
    trainer = MultiDimRewardTrainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(out),
            num_train_epochs=1,
            learning_rate=1e-3,
            use_cpu=True,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
            label_names=["labels"],
            seed=0,
        ),
        train_dataset=MultiDimRewardDataset(
            samples, RUBRIC, InputBuilder(encoder_tokenizer(), 512)
        ),
        data_collator=LevelCollator(0),
        texts_per_step=12,
        batch_tokens=2048,
        pair_weight=pair_weight,
    )
    trainer.train()
    hook.remove()
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}, threads


@pytest.mark.usefixtures("two_cores")
def test_a_step_in_lanes_learns_what_a_step_in_turn_learns(tmp_path: Path) -> None:
    before = {name: one.detach().clone() for name, one in encoder(0.0).named_parameters()}
    lanes, threads = learn(encoder(0.0), tmp_path)
    torch.set_num_threads(1)
    turn, alone = learn(encoder(0.0), tmp_path)
    assert (len(threads), len(alone)) == (2, 1)
    assert any((turn[name] - before[name]).abs().max() > 1e-3 for name in turn)
    for name, weight in turn.items():
        assert torch.allclose(lanes[name], weight, atol=2e-5), name


@pytest.mark.usefixtures("two_cores")
def test_the_same_seed_gives_the_same_weights_with_dropout_in_the_heads(tmp_path: Path) -> None:
    first, threads = learn(encoder(0.5), tmp_path)
    again, _ = learn(encoder(0.5), tmp_path)
    assert len(threads) == 2
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.usefixtures("two_cores")
def test_a_backbone_that_draws_learns_in_turn(tmp_path: Path) -> None:
    first, threads = learn(encoder(0.1, backbone_dropout=0.3), tmp_path)
    again, _ = learn(encoder(0.1, backbone_dropout=0.3), tmp_path)
    assert len(threads) == 1
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.usefixtures("two_cores")
def test_a_frozen_backbone_leaves_the_heads_to_learn(tmp_path: Path) -> None:
    model: Any = encoder(0.0)
    model.backbone.requires_grad_(False)
    before = {name: one.detach().clone() for name, one in model.named_parameters()}
    after, _ = learn(model, tmp_path)
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert moved
    assert all(name.startswith("heads") for name in moved)
