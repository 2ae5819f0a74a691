"""`reward-model export`: transformers, TRL and onnxruntime load it and give the same scores."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import run
from safetensors.torch import load_file, save_file
from tiny_models import byte_tokenizer, save_decoder, save_encoder
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from reward_model import RewardScorer
from reward_model.model.adapter import save_adapter
from reward_model.model.batches import collate
from reward_model.model.folder import load_bundle, save_bundle
from reward_model.model.network import MultiDimRewardConfig, MultiDimRewardModel
from reward_model.rubrics import load_rubric
from reward_model.score.export.card import _encode, _inputs
from reward_model.score.export.padding import safe_padding
from reward_model.score.export.run import _input, open_model
from reward_model.score.export.sample import BUILT_IN, sample_texts
from reward_model.score.export.scalar import fidelity
from reward_model.train.config import TrainConfig
from reward_model.train.lora import add_lora

RUBRIC = load_rubric("financial_report")
SIZES: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 32,
    "max_position_embeddings": 300,
    "initializer_range": 0.2,
}
HEAT = {"depth": 1.7, "professionalism": 0.6}


def save(
    folder: Path,
    kind: str,
    *,
    eos_is_pad: bool = True,
    layers: int = 2,
    **settings: Any,
) -> Path:
    """A tiny trained-looking model on a backbone of any type, heads far from zero."""
    torch.manual_seed(0)
    decoder = settings.get("pooling") == "last"
    if decoder:
        pad = "<eos>" if eos_is_pad else "<pad>"
        tokenizer = byte_tokenizer(["<pad>", "<eos>"], pad_token=pad, eos_token="<eos>")
    else:
        tokenizer = byte_tokenizer(
            ["[PAD]", "[CLS]", "[SEP]"],
            "[CLS] $A [SEP] $B:1 [SEP]:1",
            pad_token="[PAD]",
            cls_token="[CLS]",
            sep_token="[SEP]",
        )
        if kind in {"roberta", "distilbert", "electra", "modernbert"}:
            tokenizer.model_input_names = ["input_ids", "attention_mask"]
    known = AutoConfig.for_model(
        kind,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        **SIZES | {"num_hidden_layers": layers},
    )
    known.update(_OTHER_NAMES.get(kind, {}))
    extra = {"add_pooling_layer": False} if kind in {"bert", "roberta"} else {}
    backbone = AutoModel.from_config(known, **extra)
    config = MultiDimRewardConfig.for_rubric(
        RUBRIC,
        backbone_config=backbone.config,
        max_input_length=256,
        input_format="plain" if decoder else "pair",
        temperatures=HEAT,
        **settings,
    )
    model = MultiDimRewardModel(config, backbone=backbone)
    with torch.no_grad():
        for parameter in model.heads.parameters():
            parameter.normal_(std=0.3)
    save_bundle(model, tokenizer, RUBRIC, folder)
    return folder


_OTHER_NAMES: dict[str, dict[str, Any]] = {
    "distilbert": {"dim": 24, "n_layers": 2, "n_heads": 2, "hidden_dim": 32},
    "electra": {"embedding_size": 24},
    "gpt2": {"n_embd": 24, "n_layer": 2, "n_head": 2, "n_positions": 300},
    "modernbert": {"global_attn_every_n_layers": 1, "cls_token_id": 1, "sep_token_id": 2},
}
LINEAR = {"head_type": "linear", "pooling": "last"}
EXACT: dict[str, dict[str, Any]] = {
    "qwen2": LINEAR,
    "qwen3": LINEAR,
    "llama": LINEAR,
    "mistral": LINEAR,
    "gpt2": LINEAR,
    "bert": {"pooling": "cls", "head_activation": "tanh", "head_width": 8},
    "roberta": {"pooling": "cls", "head_activation": "tanh", "head_width": 7},
    "electra": {"pooling": "cls", "head_activation": "gelu", "head_width": 8},
    "deberta-v2": {"pooling": "cls", "head_activation": "gelu", "head_width": 8},
    "distilbert": {"pooling": "cls", "head": "shared"},
}


def export(model: Path, to: str, out: Path, *words: object) -> dict[str, Any]:
    done = run("reward-model", "export", model, "--to", to, "--out", out, *words, "--json", "-")
    assert done.code == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert result == json.loads((out / "export.json").read_text())
    return result


@pytest.mark.parametrize("kind", EXACT)
def test_an_exact_export_scores_as_the_model_does(kind: str, tmp_path: Path) -> None:
    model = save(tmp_path / "model", kind, **EXACT[kind])
    result = export(model, "sequence-classification", tmp_path / "out")
    assert result["parity"]["max_difference"] < 1e-4
    theirs: Any = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    assert type(theirs).__name__ == result["class"]
    assert type(theirs).__name__.endswith("ForSequenceClassification")
    assert theirs.config.problem_type == "regression"
    assert theirs.config.id2label[5] == "professionalism=0"
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    scorer = RewardScorer.from_pretrained(model)
    prompts, responses = ["Report 分析", "x"], ["Margins rose. 毛利率上升。" * 3, "short"]
    encoded = [scorer.encode(p, r) for p, r in zip(prompts, responses, strict=True)]
    with torch.no_grad():
        logits = theirs(**collate(encoded, tokenizer.pad_token_id)).logits
    shares = logits.view(2, 3, 5).softmax(-1).numpy()
    for score, rows in zip(scorer.score_batch(prompts, responses), shares, strict=True):
        for name, chances in zip(RUBRIC.names, rows, strict=True):
            assert chances == pytest.approx(score.probabilities[name], abs=1e-5)
    levels = logits.view(2, 3, 5).argmax(-1)
    assert levels.unique().numel() > 1, "heads that all say the same would prove nothing"


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("bert", {}, "mean pooling on a bert backbone, which has no exact export"),
        ("bert", {"pooling": "cls"}, 'train with head_activation = "tanh"'),
        ("bert", {"pooling": "cls", "head_activation": "tanh"}, "train with head_width = 8"),
        ("bert", {"pooling": "cls", "head_type": "linear"}, "linear heads on cls pooling"),
        ("qwen2", {"pooling": "last"}, "heads of two layers on a qwen2 backbone"),
        ("modernbert", {"pooling": "cls", "head_activation": "gelu"}, "on a modernbert backbone"),
    ],
)
def test_what_is_not_exact_is_refused_with_the_way_out(
    kind: str, settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    model = save(tmp_path / "model", kind, **settings)
    words = ("--to", "sequence-classification", "--out", tmp_path / "out")
    done = run("reward-model", "export", model, *words)
    assert done.code == 2
    assert message in done.stderr
    assert "--to scalar --data SCORED" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]


def test_an_export_that_differs_is_not_kept(tmp_path: Path) -> None:
    model = save(tmp_path / "model", "qwen2", **LINEAR)
    weights = load_file(model / "model.safetensors")
    weights["heads.0.out.weight"][0, 0] = float("nan")
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    words = ("--to", "sequence-classification", "--out", tmp_path / "out")
    done = run("reward-model", "export", model, *words)
    assert done.code == 1
    assert "not equal" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]


def test_padding_is_never_what_texts_end_with(tmp_path: Path) -> None:
    """Peers' models gave both sides of a pair one score: padding was the end-of-text token."""
    equal = save(tmp_path / "equal", "qwen2", **LINEAR)
    result = export(equal, "sequence-classification", tmp_path / "a")
    assert result["padding"] not in {"<eos>", None}
    apart = save(tmp_path / "apart", "qwen2", eos_is_pad=False, **LINEAR)
    assert export(apart, "sequence-classification", tmp_path / "b")["padding"] == "<pad>"
    # Nothing else to take: the vocabulary and the embeddings grow by one.
    full = byte_tokenizer(["<eos>"], pad_token="<eos>", eos_token="<eos>")
    made = AutoModelForSequenceClassification.from_config(
        AutoConfig.for_model("qwen2", vocab_size=len(full), **SIZES)
    )
    assert safe_padding(full, made, [0]) == "<|reward_pad|>"
    assert made.get_input_embeddings().num_embeddings == len(full) == 258
    assert made.config.pad_token_id == full.pad_token_id == 257


def test_an_adapter_is_merged_first(tmp_path: Path) -> None:
    base = tmp_path / "base"
    model = save(tmp_path / "best", "qwen2", **LINEAR)
    bundle = load_bundle(model)
    bundle.model.backbone.save_pretrained(base)
    config = TrainConfig(scored=Path("x"), lora_rank=2)
    adapted = add_lora(bundle.model, config, str(base))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    adapted.eval()
    save_adapter(adapted, bundle.tokenizer, tmp_path / "adapter")
    result = export(tmp_path / "adapter", "sequence-classification", tmp_path / "out")
    assert result["model"]["merged"]
    theirs: Any = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    batch = collate(bundle.builder.build(["p"], ["Margins rose."]), 0)
    with torch.no_grad():
        ours = adapted(**batch).logits.flatten(1)
        before = load_bundle(model).model(**batch).logits.flatten(1)
        torch.testing.assert_close(theirs(**batch).logits, ours, atol=1e-4, rtol=1e-4)
    assert float((ours - before).abs().max()) > 1e-2


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return some_texts(tmp_path_factory.mktemp("texts"))


def some_texts(folder: Path) -> Path:
    """Six responses to each of sixty prompts."""
    words = ["rose", "fell", "毛利率", "下降", "driven by volume", "as expected", "12.3%", "库存"]
    draw = np.random.default_rng(0)
    path = folder / "c.jsonl"
    rows = [
        {
            "prompt": f"Report {i}",
            "completions": [" ".join(draw.choice(words, 1 + j)) for j in range(6)],
        }
        for i in range(60)
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return path


@pytest.mark.parametrize("kind", ["bert", "modernbert", "qwen2"])
def test_a_scalar_follows_the_reward(kind: str, texts: Path, tmp_path: Path) -> None:
    settings = {"pooling": "last"} if kind == "qwen2" else {"pooling": "cls"}
    model = save(tmp_path / "model", kind, **settings)
    out = tmp_path / "out"
    result = export(model, "scalar", out, "--data", texts)
    theirs: Any = AutoModelForSequenceClassification.from_pretrained(out).eval()
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert theirs.config.num_labels == 1
    assert theirs.config.problem_type == "regression"
    assert theirs.config.pad_token_id == tokenizer.pad_token_id
    assert result["fidelity"]["trained"]["spearman"] > 0.7
    # Fresh texts, which neither fit nor measurement saw.
    scorer = RewardScorer.from_pretrained(model)
    fresh = [f"{w} {i}" for i in range(20) for w in ("rose", "毛利率 fell", "driven by volume")]
    encoded = [scorer.encode("Report new", text) for text in fresh]
    with torch.no_grad():
        found = theirs(**collate(encoded, tokenizer.pad_token_id)).logits[:, 0].numpy()
    rewards = np.array([s.reward for s in scorer.score_batch(["Report new"] * len(fresh), fresh)])
    assert (fidelity(found, rewards)["spearman"] or 0) > 0.6
    # The same again gives the same.
    again = export(model, "scalar", tmp_path / "again", "--data", texts)
    assert again["fidelity"] == result["fidelity"]


def test_a_scalar_is_measured_in_every_layout_and_its_weakness_said(
    texts: Path, tmp_path: Path
) -> None:
    model = save(tmp_path / "model", "qwen2", pooling="last")
    words = ("--to", "scalar", "--out", tmp_path / "out", "--data", texts, "--sample", "60")
    done = run("reward-model", "export", model, *words)
    assert done.code == 0
    result = json.loads((tmp_path / "out" / "export.json").read_text())
    assert set(result["fidelity"]) == {"trained", "text"}
    assert result["poor"]
    assert "poor fidelity" in done.stderr
    assert "**Careful**: poor fidelity" in (tmp_path / "out" / "README.md").read_text()
    # Fitted on what is sent, it follows that better than what it was fitted on before.
    other = export(model, "scalar", tmp_path / "text", *words[4:], "--layout", "text")
    assert other["fidelity"]["text"]["r2"] > result["fidelity"]["text"]["r2"]
    assert "the classifier reads" not in done.stderr
    mean = save(tmp_path / "mean", "bert")
    done = run("reward-model", "export", mean, *words)
    assert "reads the first token, the model was trained on the mean" in done.stderr
    few = tmp_path / "few.jsonl"
    few.write_text('{"prompt": "p", "response": "r"}\n')
    done = run("reward-model", "export", model, *words[:4], "--data", few)
    assert done.code == 2
    assert "1 texts of 1 prompts" in done.stderr


def test_windows_have_no_graph(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    model = save_encoder(tmp_path / "model", window=64)
    done = run("reward-model", "export", model, "--to", "onnx", "--out", tmp_path / "out")
    assert done.code == 2
    assert "windows of 64 tokens" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--to", "gguf", "--out", "{out}"), "one of sequence-classification, scalar, onnx"),
        (("--to", "scalar", "--out", "{out}"), "--to scalar without --data"),
        (("--to", "onnx"), "no --out"),
        (("--to", "onnx", "--out", "{out}", "--layout", "text"), "--layout with --to onnx"),
        (("--to", "onnx", "--out", "{model}"), "the model itself"),
        (("--to", "onnx", "--out", "{full}"), "a folder with other things in it"),
        (("--to", "onnx", "--out", "{out}", "--data", "{out}"), "no such file"),
    ],
)
def test_wrong_use_is_told(words: tuple[str, ...], message: str, tmp_path: Path) -> None:
    model, full = save_encoder(tmp_path / "model"), tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("keep")
    named = [w.format(out=tmp_path / "out", model=model, full=full) for w in words]
    done = run("reward-model", "export", model, *named)
    assert done.code == 2
    assert message in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["full", "model"]
    assert (full / "mine.txt").read_text() == "keep"


def test_a_link_as_a_place_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "empty")
    words = ("--to", "onnx", "--out", tmp_path / "out")
    done = run("reward-model", "export", tmp_path / "model", *words)
    assert done.code == 2
    assert "a link as --out" in done.stderr


def test_an_earlier_export_is_replaced_whole(tmp_path: Path) -> None:
    model = save(tmp_path / "model", "qwen2", **LINEAR)
    export(model, "sequence-classification", tmp_path / "out")
    (tmp_path / "out" / "left.over").write_text("")
    export(model, "sequence-classification", tmp_path / "out")
    assert not (tmp_path / "out" / "left.over").exists()
    shutil.rmtree(model)
    done = run(
        *("reward-model", "export", model, "--to", "onnx", "--out", tmp_path / "out"),
    )
    assert done.code == 2
    assert (tmp_path / "out" / "model.safetensors").exists()


def test_the_sample_is_drawn_by_seed(texts: Path) -> None:
    first, second = sample_texts(texts, 20, 0), sample_texts(texts, 20, 1)
    assert first == sample_texts(texts, 20, 0) != second
    assert len(sample_texts(texts, 1000, 0)) == 360
    assert {one.prompt for one in BUILT_IN} != {one.response for one in BUILT_IN}


def test_fidelity_is_that_of_the_textbook() -> None:
    rewards = np.array([0.1, 0.4, 0.35, 0.8])
    perfect = fidelity(rewards, rewards)
    assert perfect == {"r2": 1.0, "spearman": pytest.approx(1.0)}
    found = fidelity(np.array([0.2, 0.3, 0.4, 0.9]), rewards)
    assert found["r2"] == pytest.approx(1 - (0.01 + 0.01 + 0.0025 + 0.01) / 0.25187500)
    assert found["spearman"] == pytest.approx(1 - 6 * 2 / 60)
    for same in (np.ones(4), np.array([0.7] * 3 + [0.7 + 1e-16 * 3]), np.ones(1)):
        assert fidelity(rewards[: len(same)], same) == {"r2": None, "spearman": None}


@pytest.mark.parametrize("form", ["pair", "plain", "chat"])
def test_the_code_of_the_card_makes_the_tokens_of_the_model(form: str, tmp_path: Path) -> None:
    save_as = save_encoder if form == "pair" else save_decoder
    model = save_as(tmp_path / "model")
    if form == "chat":
        template = "{% for m in messages %}<eos>{{ m['role'] }}: {{ m['content'] }}{% endfor %}"
        (model / "chat_template.jinja").write_text(template)
        config = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps(config | {"input_format": "chat"}))
    bundle, _ = open_model(model)
    assert bundle.builder.input_format == form
    prompt, response = "Report 分析", "Margins <eos> [SEP] rose."
    lines = _encode(_input(bundle))
    known = {"tokenizer": bundle.tokenizer, "prompt": prompt, "response": response}
    exec("\n".join(lines), known)
    own = bundle.builder.one(prompt, response)
    assert known["batch"]["input_ids"].tolist() == [own.input_ids]
    assert known["batch"]["attention_mask"].tolist() == [[1] * len(own.input_ids)]
    if own.token_type_ids:
        assert known["batch"]["token_type_ids"].tolist() == [own.token_type_ids]


def test_the_card_tells_the_length_that_the_export_reads(tmp_path: Path) -> None:
    bundle, _ = open_model(save_encoder(tmp_path / "model", window=64))
    assert "- At most 64 tokens; of longer ones keep the response." in _inputs(_input(bundle))
