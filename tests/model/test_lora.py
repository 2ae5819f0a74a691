"""LoRA and QLoRA for real, tiny: nothing is lost between training, adapter and merged model."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from safetensors.torch import load_file, save_file
from tiny_models import save_decoder, save_encoder
from transformers import GPT2Config, ModernBertConfig, Qwen3Config

from reward_model.model.adapter import load_adapter, merge, save_adapter
from reward_model.model.folder import load_bundle, save_bundle
from reward_model.model.network import MultiDimRewardConfig, MultiDimRewardModel
from reward_model.records import UserError
from reward_model.rubrics import load_rubric
from reward_model.score.scorer import RewardScorer
from reward_model.train.config import TrainConfig, resolve, usual_rate
from reward_model.train.lora import add_lora
from reward_model.train.prepare import prepare
from reward_model.train.progress import TrainingBar
from reward_model.train.run import make_trainer, train

RUBRIC = load_rubric("financial_report")
TEXTS = torch.arange(3, 67).view(2, 32)
CLOSE = 1e-5
QUICK: dict[str, Any] = {
    "max_length": 96,
    "max_prompt_length": 0,
    "epochs": 2,
    "batch_size": 8,
    "learning_rate": 5e-3,
    "lora_rank": 4,
    "eval_share": 0.2,
    "test_share": 0.1,
    "split_seed": 1,
}


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.write(tmp_path_factory.mktemp("toy") / "scored.jsonl", toy.pairs(RUBRIC, 24))


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Plain backbones, as one would download them."""
    out = {}
    for name, save in (("encoder", save_encoder), ("decoder", save_decoder)):
        folder = tmp_path_factory.mktemp(name)
        bundle = load_bundle(save(folder / "whole"))
        bundle.model.backbone.save_pretrained(folder / "base")
        bundle.tokenizer.save_pretrained(folder / "base")
        out[name] = folder / "base"
    return out


@pytest.fixture(scope="module")
def trained(scored: Path, bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    train(config(scored, bases["encoder"], out, epochs=8))
    return out


def config(scored: Path, base: Path, out: Path, **flags: Any) -> TrainConfig:
    return resolve(scored, out, None, {**QUICK, "base_model": str(base), **flags})


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model.eval()(input_ids=TEXTS.to(next(model.parameters()).device)).logits
    return found.cpu()


@pytest.mark.parametrize(
    ("kind", "flags"),
    [
        ("encoder", {}),
        ("decoder", {"lora_targets": ["q_proj", "v_proj"], "gradient_checkpointing": True}),
        ("encoder", {"load_in_4bit": True}),
        ("decoder", {"load_in_4bit": True, "lora_targets": ["q_proj"], "precision": "fp32"}),
    ],
    ids=["lora-encoder", "lora-decoder", "qlora-encoder", "qlora-decoder"],
)
def test_trained_loaded_and_merged_score_the_same(
    scored: Path, bases: dict[str, Path], tmp_path: Path, kind: str, flags: dict[str, Any]
) -> None:
    run = prepare(config(scored, bases[kind], tmp_path / "out", **flags))
    fresh = logits(run.model)
    make_trainer(run, TrainingBar()).train()
    adapted: Any = run.model
    before = logits(adapted)
    assert (before - fresh).abs().max() > 1e-3
    moved = [p for n, p in adapted.named_parameters() if "lora_B" in n]
    assert moved
    assert all(p.abs().max() > 0 for p in moved)

    save_adapter(adapted, run.tokenizer, tmp_path / "adapter")
    loaded = load_adapter(tmp_path / "adapter")
    torch.testing.assert_close(logits(loaded), before, atol=CLOSE, rtol=0)
    torch.testing.assert_close(logits(merge(loaded)), before, atol=CLOSE, rtol=0)

    save_bundle(merge(adapted), run.tokenizer, run.rubric, tmp_path / "model")
    again = load_bundle(tmp_path / "model").model
    torch.testing.assert_close(logits(again), before, atol=CLOSE, rtol=0)
    assert "quantization_config" not in (tmp_path / "model" / "config.json").read_text("utf-8")
    torch.testing.assert_close(logits(adapted), before, atol=0, rtol=0)  # merging left it alone
    if "load_in_4bit" not in flags:  # peft's own merge rounds to 4 bits
        torch.testing.assert_close(logits(adapted.merge_and_unload()), before, atol=CLOSE, rtol=0)


SMALL = {"vocab_size": 80, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
BACKBONES = [
    ModernBertConfig(**SMALL, intermediate_size=48, pad_token_id=0, cls_token_id=1, sep_token_id=2),
    Qwen3Config(**SMALL, intermediate_size=48, num_key_value_heads=1, head_dim=16),
    GPT2Config(vocab_size=80, n_embd=32, n_layer=2, n_head=2, n_positions=64),  # transposed weights
]


@pytest.mark.parametrize("backbone", BACKBONES, ids=lambda config: config.model_type)
def test_any_backbone_merges(scored: Path, tmp_path: Path, backbone: Any) -> None:
    torch.manual_seed(0)
    heads = MultiDimRewardConfig.for_rubric(RUBRIC, backbone_config=backbone)
    adapted: Any = add_lora(MultiDimRewardModel(heads), config(scored, Path("b"), tmp_path), "b")
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    before = logits(adapted)
    with adapted.disable_adapter():
        assert (logits(adapted) - before).abs().max() > 1e-3
    torch.testing.assert_close(logits(merge(adapted)), before, atol=CLOSE, rtol=0)


def test_a_run_leaves_a_whole_model_and_an_adapter(trained: Path, bases: dict[str, Path]) -> None:
    kept = {file.name for file in (trained / "adapter").iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "config.json"} <= kept
    settings = json.loads((trained / "adapter" / "adapter_config.json").read_text("utf-8"))
    assert settings["base_model_name_or_path"] == str(bases["encoder"])
    whole = logits(load_bundle(trained / "best").model)
    parts = logits(load_adapter(trained / "adapter"))
    torch.testing.assert_close(whole, parts, atol=CLOSE, rtol=0)
    files = [*(trained / "best").rglob("*"), *(trained / "adapter").rglob("*")]
    assert not [f for f in files if f.suffix in {".bin", ".pt", ".pth", ".pkl"}]


def learns(out: Path) -> bool:
    """The loss on the training texts falls."""
    losses = [entry["loss"] for entry in json.loads((out / "metrics.json").read_text())["loss"]]
    return len(losses) > 1 and losses[-1] < losses[0]


def test_it_learns_and_leaves_the_backbone_alone(trained: Path, bases: dict[str, Path]) -> None:
    assert learns(trained)
    base = load_file(bases["encoder"] / "model.safetensors")
    best = load_file(trained / "best" / "model.safetensors")
    assert best.keys() >= {f"backbone.{name}" for name in base}
    frozen = [n for n in base if torch.equal(base[n], best[f"backbone.{n}"])]
    adapted = [n for n in base if n not in frozen]
    assert "embeddings.word_embeddings.weight" in frozen
    assert adapted
    assert all(n.endswith("weight") and base[n].ndim == 2 for n in adapted)


def test_checkpoints_hold_only_what_was_trained(trained: Path) -> None:
    for folder in (trained / "checkpoints").iterdir():
        assert not (folder / "model.safetensors").exists()
        weights = load_file(folder / "adapter_model.safetensors")
        assert any(".heads.2.out.weight" in name for name in weights)
        assert all(".heads." in name or ".lora_" in name for name in weights)


def test_a_killed_run_goes_on_to_the_same_weights(
    trained: Path, scored: Path, bases: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    settings = config(scored, bases["encoder"], out, epochs=8)
    train(settings)
    steps = sorted((out / "checkpoints").iterdir(), key=lambda p: int(p.name.split("-")[1]))
    # What a kill after the first of them would have left.
    shutil.rmtree(steps[-1])
    shutil.rmtree(out / "best")
    shutil.rmtree(out / "adapter")
    (out / "metrics.json").unlink()
    train(settings)
    whole = load_file(trained / "best" / "model.safetensors")
    resumed = load_file(out / "best" / "model.safetensors")
    assert whole.keys() == resumed.keys()
    for name, weight in whole.items():
        torch.testing.assert_close(resumed[name], weight, atol=1e-6, rtol=0)


def missing(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    """As on a machine that does not have it."""
    for name in [library, *sys.modules]:
        if name.split(".")[0] == library:
            monkeypatch.setitem(sys.modules, name, None)


def test_a_merged_model_needs_no_peft(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing(monkeypatch, "peft")
    reward = RewardScorer.from_pretrained(trained / "best").score("", "because driven").reward
    assert reward is not None
    assert 0 <= reward <= 1
    with pytest.raises(UserError, match=r"pip install 'multidim-reward\[lora\]'"):
        load_adapter(trained / "adapter")


def test_wrong_use_is_said_before_anything_is_written(
    scored: Path, bases: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    cases: list[tuple[dict[str, Any], str]] = [
        ({"lora_targets": ["q_proj"]}, r"lora_targets 'q_proj'.*dense, key, query, value"),
        ({"base_model": "tiny"}, "without linear layers.*leave out --lora-rank"),
        ({"load_in_4bit": True, "lora_rank": 0}, "load_in_4bit without lora_rank"),
    ]
    for flags, words in cases:
        with pytest.raises(UserError, match=words):
            train(config(scored, bases["encoder"], out, **flags))
        assert not out.exists()


def test_what_is_not_installed_is_named(
    scored: Path, bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = bases["encoder"]
    missing(monkeypatch, "bitsandbytes")
    for flags, words in (
        ({"load_in_4bit": True}, r"no bitsandbytes, which .*multidim-reward\[qlora\]"),
        ({"optimizer": "adamw_8bit"}, r"which 8-bit AdamW needs.*multidim-reward\[qlora\]"),
    ):
        with pytest.raises(UserError, match=words):
            train(config(scored, base, tmp_path / "out", **flags))
    missing(monkeypatch, "peft")
    with pytest.raises(UserError, match=r"pip install 'multidim-reward\[lora\]'"):
        train(config(scored, base, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_folders_that_are_no_adapter_or_no_model(
    trained: Path, bases: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"an adapter without its base model.*`best` beside"):
        load_bundle(trained / "adapter")
    with pytest.raises(UserError, match="no adapter; expected the folder `adapter`"):
        load_adapter(trained / "best")
    for base, words in (
        (bases["decoder"], "a qwen2 model in .*which this adapter was not trained on"),
        (tmp_path / "gone", r"an adapter that does not fit .*pass base=\.\.\."),
    ):
        with pytest.raises(UserError, match=words):
            load_adapter(trained / "adapter", base=base)


def test_a_base_that_moved_can_be_named(
    trained: Path, bases: dict[str, Path], tmp_path: Path
) -> None:
    moved = shutil.copytree(bases["encoder"], tmp_path / "moved")
    here = load_adapter(trained / "adapter")
    there = load_adapter(trained / "adapter", base=moved)
    assert torch.equal(logits(here), logits(there))


def test_a_base_with_other_weights_is_refused(
    trained: Path, bases: dict[str, Path], tmp_path: Path
) -> None:
    """Of the same shapes, so that it would load and score something."""
    torch.manual_seed(5)
    other = shutil.copytree(bases["encoder"], tmp_path / "other")
    state = load_file(other / "model.safetensors")
    state["encoder.layer.0.output.dense.weight"] *= 1.5
    save_file(state, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"other weights in .*expected the bert model"):
        load_adapter(trained / "adapter", base=other)
    # The same numbers in other files are the same base.
    names = sorted(load_file(bases["encoder"] / "model.safetensors"))
    apart = shutil.copytree(bases["encoder"], tmp_path / "apart")
    state = load_file(apart / "model.safetensors")
    (apart / "model.safetensors").unlink()
    where = {name: f"model-{i % 2 + 1:05}-of-00002.safetensors" for i, name in enumerate(names)}
    for file in set(where.values()):
        part = {name: state[name] for name in names if where[name] == file}
        save_file(part, apart / file, metadata={"format": "pt"})
    (apart / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": 1}, "weight_map": where})
    )
    here = logits(load_adapter(trained / "adapter"))
    assert torch.equal(here, logits(load_adapter(trained / "adapter", base=apart)))


def test_an_adapter_without_a_part_of_its_weights_is_refused(trained: Path, tmp_path: Path) -> None:
    cut = shutil.copytree(trained / "adapter", tmp_path / "cut")
    state = load_file(cut / "adapter_model.safetensors")
    kept = {name: weight for name, weight in state.items() if "layer.1.output" not in name}
    save_file(kept, cut / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"an adapter without the weights of .*layer\.1\.output"):
        load_adapter(cut)


def test_8_bit_adam_trains_where_it_can(
    scored: Path, bases: dict[str, Path], tmp_path: Path
) -> None:
    settings = {"optimizer": "adamw_8bit", "lora_rank": 0, "epochs": 8}
    train(config(scored, bases["encoder"], tmp_path / "out", **settings))
    assert learns(tmp_path / "out")


def test_lora_has_a_learning_rate_of_its_own(scored: Path) -> None:
    usual = usual_rate(resolve(scored, None, None, {}), 300_000_000)
    lora = resolve(scored, None, None, {"lora_rank": 8})
    assert usual_rate(lora, 300_000_000) == usual_rate(lora, 8 * 10**9) > 3 * usual
    given = resolve(scored, None, None, {"lora_rank": 8, "learning_rate": 1e-5})
    assert given.learning_rate == 1e-5


def test_a_rate_that_nobody_gave_is_that_of_the_size(
    scored: Path, bases: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    flags = {"learning_rate": None, "lora_rank": 0, "epochs": 1, "max_steps": 2}
    settings = config(scored, bases["encoder"], out, **flags)
    train(settings)
    card = json.loads((out / "best" / "card" / "training.json").read_bytes())
    assert card["settings"]["learning_rate"] == 1e-4
    written = (out / "metrics.json").stat().st_mtime_ns
    train(settings)  # the same run, which is finished
    assert (out / "metrics.json").stat().st_mtime_ns == written
    with pytest.raises(UserError, match=r"learning_rate \(not set, now 0\.001\)"):
        train(settings.model_copy(update={"learning_rate": 1e-3}))
