"""Texts side by side without padding, and what they begin with once: the numbers stay the same."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaModel,
    ModernBertConfig,
    ModernBertModel,
    Qwen2Config,
    Qwen2Model,
    Qwen3Config,
    Qwen3Model,
    RobertaConfig,
    RobertaModel,
)

from reward_model import MultiDimRewardConfig, MultiDimRewardModel, load_rubric
from reward_model.data.tokens.inputs import Encoded
from reward_model.model.forward import LEAST_SHARED, Forward, common_beginning
from reward_model.model.losses import level_cross_entropy
from reward_model.model.packed import enable
from reward_model.model.rows import TokenRow
from reward_model.records import IGNORE
from reward_model.train.steps import StepCollator

SIZES: dict[str, Any] = {
    "vocab_size": 90,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "initializer_range": 0.2,
    "max_position_embeddings": 512,
}
DECODER: dict[str, Any] = {**SIZES, "num_key_value_heads": 2, "head_dim": 8}
BACKBONES: dict[str, Any] = {
    "bert": lambda: BertModel(BertConfig(**SIZES), add_pooling_layer=False),
    "roberta": lambda: RobertaModel(RobertaConfig(**SIZES), add_pooling_layer=False),
    "qwen2": lambda: Qwen2Model(Qwen2Config(**DECODER)),
    "qwen3": lambda: Qwen3Model(Qwen3Config(**DECODER)),
    "llama": lambda: LlamaModel(LlamaConfig(**DECODER)),
}
IDS = {f"{name}_token_id": 0 for name in ("pad", "eos", "bos", "cls", "sep")}
BACKBONES["modernbert"] = lambda: ModernBertModel(
    ModernBertConfig(**SIZES, **IDS, local_attention=8, global_attn_every_n_layers=2)
)
DECODERS = ("qwen2", "qwen3", "llama")


def reward_model(backbone: Any, **settings: Any) -> MultiDimRewardModel:
    torch.manual_seed(0)
    rubric = load_rubric("financial_report")
    config = MultiDimRewardConfig.for_rubric(rubric, backbone_config=backbone.config, **settings)
    model = MultiDimRewardModel(config, backbone=backbone).eval()
    with torch.no_grad():
        for head in model.heads:  # fresh heads say almost nothing; spread them so tests can tell
            head.out.weight.mul_(30)
    return model


def texts(lengths: Sequence[int], *, shared: int = 0, seed: int = 0) -> dict[int, Encoded]:
    rng = np.random.default_rng(seed)
    beginning = rng.integers(5, 90, shared).tolist()
    return {
        i: Encoded(beginning + rng.integers(5, 90, n).tolist(), None, False, False)
        for i, n in enumerate(lengths)
    }


def forward(model: MultiDimRewardModel, batch_tokens: int = 64) -> Forward:
    return Forward(model, torch.device("cpu"), 0, batch_tokens)


def scored(
    run: Forward, encoded: dict[int, Encoded], alike: Sequence[Sequence[int]] = ()
) -> np.ndarray:
    found = {
        i: chances
        for rows, batch in run.batches(encoded, alike)
        for i, chances in zip(rows, batch, strict=True)
    }
    assert sorted(found) == sorted(encoded)
    return np.array([found[i] for i in sorted(found)])


def tokens_read(run: Forward) -> list[int]:
    read: list[int] = []
    run.model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    return read


@pytest.mark.parametrize(
    ("kind", "pooling"),
    [
        *((kind, "mean") for kind in BACKBONES),
        ("bert", "rms"),
        ("bert", "cls"),
        ("qwen2", "last"),
        ("roberta", "last"),
    ],
)
def test_without_padding_the_numbers_are_those_of_each_text_alone(kind: str, pooling: Any) -> None:
    run = forward(reward_model(BACKBONES[kind](), pooling=pooling))
    encoded = texts([1, 2, 30, 7, 30, 30, 61, 5, 5, 90])
    alone = np.concatenate([run.padded([one]) for one in encoded.values()])
    read = tokens_read(run)
    assert scored(run, encoded) == pytest.approx(alone, abs=1e-5)
    assert sum(read) == sum(len(one.input_ids) for one in encoded.values())
    assert np.ptp(alone, axis=0).max() > 0.01


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        *((kind, {}) for kind in BACKBONES),
        ("bert", {"window": 16}),
        ("bert", {"window": 16, "pooling": "rms"}),
        ("roberta", {"pooling": "cls"}),
        ("llama", {"pooling": "last"}),
    ],
)
def test_a_step_learns_the_same_without_padding(kind: str, settings: dict[str, Any]) -> None:
    model = reward_model(BACKBONES[kind](), head_dropout=0.0, **settings)
    lengths = [1, 40, 7, 40, 22, 22, 3]
    items = [
        {
            "input_ids": one.input_ids,
            "types": [j % 2 for j in range(len(one.input_ids))] if kind == "bert" else None,
            "labels": [i % 5, 4, IGNORE],
        }
        for i, one in enumerate(texts(lengths).values())
    ]
    padded = StepCollator(0, 100)(items)["pieces"]
    first = enable(model.backbone)
    assert first is not None
    rows = StepCollator(0, 100, row=partial(TokenRow, first, model.config.window))(items)["pieces"]
    assert [piece["input_ids"].numel() for piece in rows] == [80, 55]

    def gradients(pieces: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        model.zero_grad()
        for piece in pieces:
            inputs = {name: value for name, value in piece.items() if name != "labels"}
            loss = level_cross_entropy(model(**inputs).logits, piece["labels"], num_items=14)
            loss.backward()
        return {n: w.grad.clone() for n, w in model.named_parameters() if w.grad is not None}

    expected, found = gradients(padded), gradients(rows)
    assert set(found) == set(expected)
    largest = max(float(one.abs().max()) for one in expected.values())
    assert largest > 0.1
    for name, one in expected.items():
        assert torch.allclose(found[name], one, atol=1e-5 * largest), name


def test_dropout_of_the_attention_is_not_lost_without_padding() -> None:
    config = BertConfig(**SIZES, attention_probs_dropout_prob=0.5, hidden_dropout_prob=0.0)
    model = reward_model(BertModel(config, add_pooling_layer=False), head_dropout=0.0).train()
    row = TokenRow(enable(model.backbone) or 0)
    for one in texts([20, 30]).values():
        row.add(one)
    first, second = (model(**row.tensors(), row=row).logits for _ in range(2))
    assert not torch.allclose(first, second)


@pytest.mark.parametrize(
    ("kind", "pooling"), [*((d, "last") for d in DECODERS), ("qwen3", "mean"), ("qwen3", "rms")]
)
def test_a_shared_beginning_is_read_once(kind: str, pooling: Any) -> None:
    run = forward(reward_model(BACKBONES[kind](), pooling=pooling))
    encoded = texts([20, 1, 33, 20, 8], shared=150)
    alone = np.concatenate([run.padded([one]) for one in encoded.values()])
    read = tokens_read(run)
    together = scored(run, encoded, alike=[[0, 1, 2, 3, 4]])
    assert together == pytest.approx(alone, abs=1e-5)
    assert read == [150 + 20 + 1 + 33 + 20 + 8]
    assert np.ptp(alone, axis=0).max() > 0.01


def test_an_encoder_reads_every_text_whole_and_what_differs_is_not_shared() -> None:
    encoder = forward(reward_model(BACKBONES["bert"]()))
    encoded = texts([20, 30], shared=150)
    read = tokens_read(encoder)
    scored(encoder, encoded, alike=[[0, 1]])
    assert sum(read) == 170 + 180
    decoder = forward(reward_model(BACKBONES["qwen2"](), pooling="last"))
    apart = {0: texts([200], seed=1)[0], 1: texts([200], seed=2)[0]}
    read = tokens_read(decoder)
    alone = np.concatenate([decoder.padded([one]) for one in apart.values()])
    read.clear()
    assert scored(decoder, apart, alike=[[0, 1]]) == pytest.approx(alone, abs=1e-5)
    assert sum(read) == 400


def test_memory_is_bounded_whatever_is_shared() -> None:
    run = forward(reward_model(BACKBONES["qwen2"](), pooling="last"), batch_tokens=100)
    encoded = texts([60] * 40, shared=200)
    read = tokens_read(run)
    together = scored(run, encoded, alike=[list(encoded)])
    assert max(read) <= 2 * 200
    read.clear()
    plain = scored(run, encoded)
    assert together == pytest.approx(plain, abs=1e-5)


def test_long_texts_in_windows_are_those_of_the_padded_way() -> None:
    run = forward(reward_model(BACKBONES["bert"](), window=16))
    encoded = texts([3, 16, 17, 40, 100])
    alone = np.concatenate([run.padded([one]) for one in encoded.values()])
    assert scored(run, encoded) == pytest.approx(alone, abs=1e-5)


def test_what_is_not_known_to_be_exact_stays_padded() -> None:
    sliding = Qwen2Config(**DECODER, use_sliding_window=True, sliding_window=8, max_window_layers=0)
    stretched = Qwen2Config(**DECODER, rope_parameters={"rope_type": "dynamic", "factor": 2.0})
    eager = Qwen2Model(Qwen2Config(**DECODER))
    eager.set_attn_implementation("eager")
    for backbone in (Qwen2Model(sliding), Qwen2Model(stretched), eager):
        before = backbone.config._attn_implementation
        assert enable(backbone) is None
        assert backbone.config._attn_implementation == before
    run = forward(reward_model(Qwen2Model(sliding)))
    encoded = texts([5, 60, 61])
    alone = np.concatenate([run.padded([one]) for one in encoded.values()])
    assert scored(run, encoded, alike=[[1, 2]]) == pytest.approx(alone, abs=1e-5)


def test_a_model_that_scores_is_saved_and_trained_as_before(tmp_path: Any) -> None:
    model = reward_model(BACKBONES["qwen2"]())
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 0, 0]])
    mask = (ids > 0).long()
    before = model(ids, mask).logits
    forward(model)
    assert torch.equal(model(ids, mask).logits, before)
    model.save_pretrained(tmp_path)
    assert "packed" not in (tmp_path / "config.json").read_text()


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=8), min_size=1, max_size=6))
def test_a_common_beginning_leaves_something_of_every_text(rows: list[list[int]]) -> None:
    shared = common_beginning(rows)
    assert 0 <= shared < min(map(len, rows))
    assert all(row[:shared] == rows[0][:shared] for row in rows)
    longer = shared + 1
    assert longer == min(map(len, rows)) or len({tuple(row[:longer]) for row in rows}) > 1


def test_short_beginnings_are_not_worth_it() -> None:
    run = forward(reward_model(BACKBONES["llama"]()))
    encoded = texts([20, 30], shared=LEAST_SHARED - 2)
    read = tokens_read(run)
    scored(run, encoded, alike=[[0, 1]])
    assert sum(read) == 2 * (LEAST_SHARED - 2) + 50
