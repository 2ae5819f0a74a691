"""The model: outputs, masks, pooling, and scores that depend on nothing but the text."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import BertConfig, Qwen2Config, RobertaConfig

from reward_model.data.tokens.inputs import InputBuilder
from reward_model.model.batches import collate
from reward_model.model.folder import load_bundle, save_bundle
from reward_model.model.losses import (
    expected_levels,
    gap_loss,
    level_cross_entropy,
    ordinal_targets,
)
from reward_model.model.network import MultiDimRewardConfig, MultiDimRewardModel
from reward_model.model.padded import pool
from reward_model.records import UserError
from reward_model.rubrics import load_rubric
from reward_model.train.tiny import train_tokenizer

RUBRIC = load_rubric("financial_report")
SMALL: dict[str, Any] = {
    "vocab_size": 120,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 80,
}


def bert(**kwargs: Any) -> MultiDimRewardModel:
    return _model(BertConfig(**SMALL), **kwargs)


def roberta(**kwargs: Any) -> MultiDimRewardModel:
    return _model(RobertaConfig(**SMALL, type_vocab_size=1), **kwargs)


def qwen2(**kwargs: Any) -> MultiDimRewardModel:
    config = Qwen2Config(**SMALL, num_key_value_heads=2, pad_token_id=2, eos_token_id=2)
    return _model(config, **{"pooling": "last", **kwargs})


def _model(config: Any, **kwargs: Any) -> MultiDimRewardModel:
    torch.manual_seed(0)
    model = MultiDimRewardModel(
        MultiDimRewardConfig.for_rubric(RUBRIC, backbone_config=config, **kwargs)
    )
    return model.eval()


MAKERS = [bert, roberta, qwen2]


def texts(count: int = 5) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    # The last token is 2, the padding id of the decoder: pad = eos must not eat it.
    return [
        [*torch.randint(5, 120, (5 + 7 * i,), generator=generator).tolist(), 2]
        for i in range(count)
    ]


def batch(rows: list[list[int]], *, left: bool = False, pad: int = 2) -> dict[str, torch.Tensor]:
    width = max(map(len, rows))
    ids, mask = [], []
    for row in rows:
        gap = [pad] * (width - len(row))
        ids.append(gap + row if left else row + gap)
        ones, zeros = [1] * len(row), [0] * len(gap)
        mask.append(zeros + ones if left else ones + zeros)
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask)}


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("pooling", ["mean", "rms", "cls", "last"])
@torch.no_grad()
def test_scores_depend_on_the_text_alone(
    make: Callable[..., MultiDimRewardModel], pooling: str
) -> None:
    model, rows = make(pooling=pooling), texts()
    alone = torch.cat([model(**batch([row])).logits for row in rows])
    together = model(**batch(rows)).logits
    padded_left = model(**batch(rows, left=True)).logits
    other_padding = model(**batch(rows, pad=7)).logits
    reversed_order = model(**batch(rows[::-1])).logits.flip(0)
    for other in (together, padded_left, other_padding, reversed_order):
        torch.testing.assert_close(other, alone, atol=1e-5, rtol=0)
    # The texts differ, so equal scores would mean that nothing was read.
    assert (alone[0] - alone[1]).abs().max() > 1e-3


@pytest.mark.parametrize("make", MAKERS)
@torch.no_grad()
def test_what_is_saved_scores_the_same(
    make: Callable[..., MultiDimRewardModel], tmp_path: Path
) -> None:
    model = make()
    tokenizer = train_tokenizer(["profit rose because costs fell"] * 3, 100, 64)
    save_bundle(model, tokenizer, RUBRIC, tmp_path / "best", "# card")
    files = {file.name for file in (tmp_path / "best").iterdir()}
    assert {"model.safetensors", "config.json", "rubric.json", "tokenizer.json"} <= files
    assert not {name for name in files if name.endswith((".bin", ".pt", ".pkl", ".py"))}
    bundle = load_bundle(tmp_path / "best")
    torch.testing.assert_close(
        bundle.model(**batch(texts())).logits, model(**batch(texts())).logits, atol=1e-5, rtol=0
    )
    assert bundle.rubric == RUBRIC
    assert bundle.model.config.weights == RUBRIC.weights
    assert bundle.model.config.rubric == RUBRIC.id


def test_outputs_have_the_promised_shapes() -> None:
    model = bert()
    labels = torch.tensor([[4, 3, -100], [0, -100, 2]])
    out = model(**batch(texts(2)), labels=labels)
    assert out.logits.shape == (2, 3, 5)
    assert out.predicted_labels.tolist() == out.logits.argmax(-1).tolist()
    right = [
        int(out.predicted_labels[i, d]) == int(labels[i, d])
        for i in range(2)
        for d in range(3)
        if labels[i, d] >= 0
    ]
    assert float(out.accuracy) == pytest.approx(sum(right) / 4)
    assert out.per_dim_accuracy.shape == (3,)


def test_masked_labels_do_not_count() -> None:
    logits = torch.randn(4, 3, 5)
    labels = torch.tensor([[4, -100, 1], [0, 2, -100], [-100, -100, -100], [3, 3, 3]])
    ours = level_cross_entropy(logits, labels)
    theirs = F.cross_entropy(logits.reshape(-1, 5), labels.reshape(-1), ignore_index=-100)
    torch.testing.assert_close(ours, theirs)


def test_no_label_at_all_gives_zero_with_a_gradient() -> None:
    model = bert()
    out = model(**batch(texts(2)), labels=torch.full((2, 3), -100))
    out.loss.backward()
    assert out.loss.item() == 0
    assert all(float(head.out.weight.grad.abs().max()) == 0 for head in model.heads)


def test_gradients_accumulate_to_those_of_the_whole_batch() -> None:
    whole, parts = bert(head_dropout=0.0), bert(head_dropout=0.0)
    rows = texts(4)
    labels = torch.tensor([[4, -100, 1], [0, 2, -100], [-100, -100, 3], [3, 3, 3]])
    whole(**batch(rows), labels=labels).loss.backward()
    count = (labels != -100).sum()
    for i in range(4):
        one = batch(rows[i : i + 1])
        parts(**one, labels=labels[i : i + 1], num_items_in_batch=count).loss.backward()
    for (name, a), b in zip(whole.named_parameters(), parts.parameters(), strict=True):
        assert a.grad is not None, name
        torch.testing.assert_close(a.grad, b.grad, atol=1e-6, rtol=1e-4, msg=name)


def test_class_weights_and_smoothing_agree_with_torch() -> None:
    logits, labels = torch.randn(6, 1, 4), torch.tensor([[0], [1], [2], [3], [1], [-100]])
    weights = torch.tensor([[0.5, 1.0, 2.0, 0.5]])
    ours = level_cross_entropy(logits, labels, class_weights=weights)
    theirs = F.cross_entropy(logits[:5, 0], labels[:5, 0], weight=weights[0], reduction="sum") / 5
    torch.testing.assert_close(ours, theirs)
    target = ordinal_targets(torch.tensor(0), 4, 0.3)
    assert float(target.sum()) == pytest.approx(1)
    assert target[1] > target[2] > target[3] > 0


def test_the_gap_of_a_pair_counts_where_both_sides_have_a_label() -> None:
    logits = torch.randn(4, 2, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.tensor([[4, 3], [1, -100], [-100, -100], [2, 2]])
    pairs = torch.tensor([[0, 1], [2, 3]])
    expected = expected_levels(logits).detach()
    # One gap of the first pair, none of the second, over two pairs.
    off = float(expected[0, 0] - expected[1, 0] - 3)
    loss = gap_loss(logits, labels, pairs)
    assert float(loss.detach()) == pytest.approx(off**2 / 2, rel=1e-5)
    loss.backward()
    assert logits.grad is not None
    # What both sides have in common moves neither: the gradients of the two expected levels cancel.
    moved = logits.grad.abs().sum(-1)
    assert moved[0, 0] > 0
    assert moved[1, 0] > 0
    assert moved[[0, 1], 1].sum() + moved[2:].sum() == 0
    again = gap_loss(logits, labels, pairs, num_pairs=8)
    assert float(again.detach()) == pytest.approx(off**2 / 8, rel=1e-5)
    none = gap_loss(logits, labels, torch.zeros(0, 2, dtype=torch.long))
    assert float(none.detach()) == 0
    assert none.requires_grad


def test_the_gap_of_soft_labels_is_that_of_their_means() -> None:
    labels, pair = torch.tensor([[4], [1]]), torch.tensor([[0, 1]])
    soft = torch.zeros(2, 1, 5)
    soft[0, 0, 3] = soft[0, 0, 4] = 0.5
    soft[1, 0, 1] = 1.0
    flat = torch.zeros(2, 1, 5)
    assert float(gap_loss(flat, labels, pair, soft_labels=soft)) == pytest.approx(2.5**2)
    assert float(gap_loss(flat, labels, pair)) == pytest.approx(3**2)


@pytest.mark.parametrize("head", ["multi", "shared"])
def test_both_kinds_of_head_give_every_dimension(head: str) -> None:
    model = bert(head=head)
    assert len(model.heads) == (3 if head == "multi" else 1)
    assert model(**batch(texts(2))).logits.shape == (2, 3, 5)


def test_heads_of_other_shapes_are_built_saved_and_read_back(tmp_path: Path) -> None:
    rows = batch(texts(3))
    for i, settings in enumerate(
        (
            {"head_type": "linear"},
            {"head_activation": "tanh", "head_width": 10},
            {"head_activation": "gelu", "head": "shared"},
        )
    ):
        model = bert(**settings).eval()
        assert (model.heads[0].dense is None) == (i == 0)
        pooled = torch.randn(2, model.backbone.config.hidden_size)
        if i == 0:
            assert model.heads[1].out.bias is None
            by_hand = pooled @ model.heads[1].out.weight.T
        else:
            dense, out = model.heads[0].dense, model.heads[0].out
            between = (pooled @ dense.weight.T + dense.bias).double()
            phi = torch.distributions.Normal(0, 1).cdf(between)
            between = between.tanh() if i == 1 else between * phi
            by_hand = between.float() @ out.weight.T + out.bias
        torch.testing.assert_close(model.heads[1 if i == 0 else 0](pooled), by_hand)
        model.save_pretrained(tmp_path / str(i))
        again = MultiDimRewardModel.from_pretrained(tmp_path / str(i)).eval()
        assert torch.equal(again(**rows).logits, model(**rows).logits)
    with pytest.raises(ValueError, match="swish"):
        bert(head_activation="swish")


def test_pooling_reads_what_it_says() -> None:
    hidden = torch.arange(12.0).view(1, 4, 3)
    mask = torch.tensor([[1, 1, 1, 0]])
    assert pool(hidden, mask, "cls").tolist() == [[0, 1, 2]]
    assert pool(hidden, mask, "last").tolist() == [[6, 7, 8]]
    assert pool(hidden, mask, "mean").tolist() == [[3, 4, 5]]
    squares = [[(0 + 9 + 36) / 3, (1 + 16 + 49) / 3, (4 + 25 + 64) / 3]]
    torch.testing.assert_close(pool(hidden, mask, "rms"), torch.tensor(squares).sqrt())
    nothing = torch.zeros(1, 2, 3, requires_grad=True)
    pool(nothing, torch.ones(1, 2), "rms").sum().backward()
    assert nothing.grad is not None
    assert torch.isfinite(nothing.grad).all()


def test_half_precision_leaves_the_heads_alone(tmp_path: Path) -> None:
    bert().save_pretrained(tmp_path)
    model = MultiDimRewardModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert model.backbone.dtype == torch.bfloat16
    assert {p.dtype for p in model.heads.parameters()} == {torch.float32}


def test_wrong_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        load_bundle(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no config\.json of a model"):
        load_bundle(tmp_path)
    bert().backbone.save_pretrained(tmp_path / "plain")
    with pytest.raises(UserError, match="a bert model"):
        load_bundle(tmp_path / "plain")


def test_lost_heads_and_a_foreign_rubric_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    tokenizer = train_tokenizer(["profit rose"] * 3, 100, 64)
    save_bundle(bert(), tokenizer, RUBRIC, tmp_path / "a")
    weights = load_file(tmp_path / "a" / "model.safetensors")
    kept = {name: w for name, w in weights.items() if not name.startswith("heads.1")}
    save_file(kept, tmp_path / "a" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"without the weights of heads\.1"):
        load_bundle(tmp_path / "a")
    save_bundle(bert(), tokenizer, load_rubric("helpsteer"), tmp_path / "b")
    with pytest.raises(UserError, match="a rubric with helpfulness"):
        load_bundle(tmp_path / "b")


def test_a_builder_pads_and_types_as_the_model_expects() -> None:
    tokenizer = train_tokenizer(["profit rose because costs fell"] * 3, 100, 64)
    builder = InputBuilder(tokenizer, 64)
    rows = builder.build(["profit", ""], ["costs fell", "profit rose because"])
    encoded = collate(rows, tokenizer.pad_token_id)
    assert encoded["token_type_ids"].max() == 1
    model = bert()
    before = copy.deepcopy(encoded)
    assert model(**encoded).logits.shape == (2, 3, 5)
    assert all(torch.equal(before[key], encoded[key]) for key in encoded)
