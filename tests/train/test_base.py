"""Base models that bring code of their own: it runs only where that was asked for."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from commands import run
from safetensors.torch import load_file, save_file
from tiny_models import save_encoder
from tiny_policies import save_policy
from transformers import CONFIG_MAPPING, AutoConfig, AutoModel, BertConfig, BertModel

from reward_model.model.folder import load_bundle
from reward_model.records import UserError
from reward_model.rubrics import load_rubric
from reward_model.score.scorer import RewardScorer
from reward_model.train.base import find_base
from reward_model.train.config import TrainConfig, resolve
from reward_model.train.run import train

CODE = """
from pathlib import Path
from transformers import BertConfig, BertModel

Path({ran!r}).touch()

class OwnConfig(BertConfig):
    model_type = "own_bert"

class OwnModel(BertModel):
    config_class = OwnConfig
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A base model with a file of code that leaves a trace when it runs."""
    bundle = load_bundle(save_encoder(tmp_path / "whole"))
    folder = tmp_path / "own"
    bundle.model.backbone.save_pretrained(folder)
    bundle.tokenizer.save_pretrained(folder)
    (folder / "modeling_own.py").write_text(CODE.format(ran=str(tmp_path / "ran")))
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "own_bert",
        "auto_map": {"AutoConfig": "modeling_own.OwnConfig", "AutoModel": "modeling_own.OwnModel"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def config(own: Path, **flags: Any) -> TrainConfig:
    rows = toy.pairs(load_rubric("financial_report"), 16)
    scored = toy.write(own.parent / "scored.jsonl", rows)
    settings = {"base_model": str(own), "max_length": 64, "max_steps": 1, **flags}
    return resolve(scored, own.parent / "out", None, settings)


def test_code_of_a_base_model_does_not_run_unasked(own: Path) -> None:
    with pytest.raises(UserError, match=r"code of its own.*set trust_remote_code = true"):
        train(config(own))
    assert not (own.parent / "ran").exists()
    assert not (own.parent / "out").exists()


def test_code_of_a_base_model_is_not_kept(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    best = train(config(own, trust_remote_code=True))
    said = " ".join(capsys.readouterr().err.split())
    assert "its classes have to be named to transformers" in said
    (own.parent / "ran").unlink()
    assert "auto_map" not in (best / "config.json").read_text()
    assert not list(best.glob("*.py"))
    with pytest.raises(UserError, match=r"a backbone of type own_bert.*AutoConfig\.register"):
        load_bundle(best)
    assert not (own.parent / "ran").exists()

    class OwnConfig(BertConfig):  # type: ignore[misc]
        model_type = "own_bert"

    class OwnModel(BertModel):  # type: ignore[misc]
        config_class = OwnConfig

    AutoConfig.register("own_bert", OwnConfig)
    AutoModel.register(OwnConfig, OwnModel)
    try:
        assert load_bundle(best).model.config.backbone_config.model_type == "own_bert"
    finally:
        CONFIG_MAPPING._extra_content.pop("own_bert")


def broken(
    tmp_path: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
) -> Path:
    """A plain encoder whose file of weights was changed."""
    bundle = load_bundle(save_encoder(tmp_path / "whole"))
    folder = tmp_path / "own"
    bundle.model.backbone.save_pretrained(folder)
    bundle.tokenizer.save_pretrained(folder)
    file = folder / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda state: {f"_orig_mod.{name}": weight for name, weight in state.items()},
            r"without any of its weights \(embeddings\..* its files hold _orig_mod\.embeddings",
        ),
        (
            lambda state: {n: w for n, w in state.items() if ".layer.1." not in n},
            r"without 16 of its weights \(encoder\.layer\.1\..* and 13 more\), which would be",
        ),
        (
            lambda state: {n: w for n, w in state.items() if n != "embeddings.LayerNorm.bias"},
            r"without 1 of its weights \(embeddings\.LayerNorm\.bias\)",
        ),
    ],
    ids=["saved from a wrapper", "a layer is missing", "a bias is missing"],
)
def test_weights_that_are_not_there_are_named_instead_of_drawn(
    tmp_path: Path, change: Any, words: str
) -> None:
    own = broken(tmp_path, change)
    with pytest.raises(UserError, match=words) as error:
        train(config(own))
    assert error.value.path == own
    assert not (tmp_path / "out").exists()


def test_pointers_of_git_lfs_are_named(tmp_path: Path) -> None:
    own = broken(tmp_path, dict)
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1340\n"
    (own / "model.safetensors").write_text(pointer)
    with pytest.raises(UserError, match=r"git-lfs instead of model\.safetensors.*lfs pull"):
        train(config(own))
    (tmp_path / "whole" / "tokenizer.json").write_text(pointer)
    with pytest.raises(UserError, match=r"pointers of git-lfs instead of tokenizer\.json"):
        load_bundle(tmp_path / "whole")
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_with_more_tokens_than_the_model_is_said(tmp_path: Path) -> None:
    own = broken(tmp_path, dict)
    tokenizer = load_bundle(tmp_path / "whole").tokenizer
    tokenizer.add_tokens(["because"])
    tokenizer.save_pretrained(own)
    size = len(tokenizer)
    words = rf"token {size - 1} \('because'\).*embeddings of {size - 1} tokens.*resize_token_emb"
    with pytest.raises(UserError, match=words):
        train(config(own))
    assert not (tmp_path / "out").exists()


def test_a_base_that_knows_one_kind_of_token_trains(tmp_path: Path) -> None:
    """Its tokenizer marks prompt and response, and its table of kinds has one row."""
    own = broken(tmp_path, lambda state: {
        name: weight[:1] if "token_type" in name else weight for name, weight in state.items()
    })  # fmt: skip
    settings = json.loads((own / "config.json").read_text())
    (own / "config.json").write_text(json.dumps(settings | {"type_vocab_size": 1}))
    best = train(config(own))
    assert RewardScorer.from_pretrained(best).score("a prompt", "because").reward is not None


@pytest.mark.skipif(find_spec("sentencepiece") is not None, reason="sentencepiece is installed")
def test_sentencepiece_is_named_where_it_is_missing(tmp_path: Path) -> None:
    """As DeBERTa-v3 comes: `spm.model`, and no `tokenizer.json`."""
    own = broken(tmp_path, dict)
    (own / "tokenizer.json").unlink()
    (own / "spm.model").write_bytes(b"\x0a\x0e\x0a\x05<unk>\x15\x00\x00\x00\x00\x18\x02")
    (own / "tokenizer_config.json").write_text('{"tokenizer_class": "DebertaV2Tokenizer"}')
    settings = json.loads((own / "config.json").read_text())
    (own / "config.json").write_text(json.dumps(settings | {"model_type": "deberta-v2"}))
    with pytest.raises(UserError, match=r"only sentencepiece reads.*pip install sentencepiece"):
        train(config(own))


def test_a_base_with_a_head_or_a_pooler_of_its_own_is_fine(tmp_path: Path) -> None:
    """As most checkpoints of encoders come: what is not used lies beside the backbone."""
    own = broken(tmp_path, lambda state: {
        **{f"bert.{name}": weight for name, weight in state.items()},
        "bert.pooler.dense.weight": torch.zeros(32, 32),
        "cls.predictions.bias": torch.zeros(8),
    })  # fmt: skip
    before = load_file(own / "model.safetensors")["bert.embeddings.word_embeddings.weight"]
    best = train(config(own, learning_rate=1e-30))
    after = load_file(best / "model.safetensors")["backbone.embeddings.word_embeddings.weight"]
    assert torch.equal(before, after)


def test_a_base_that_is_nowhere_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    data = tmp_path / "pairs.jsonl"
    data.write_text(json.dumps({"prompt": "p", "chosen": "a", "rejected": "b"}) + "\n")
    for args in (
        ("policy", "train", data, "--base-model", "nowhere/at-all", "--method", "sft"),
        ("policy", "sample", "nowhere/at-all", data, "--out", tmp_path / "out.jsonl"),
    ):
        done = run("reward-model", *args)
        assert done.code == 2
        assert done.stderr.startswith("error: found no folder nowhere/at-all here")
        assert done.stderr.count("\n") == 1
    with (
        pytest.raises(UserError, match="no folder nowhere/at-all here"),
        find_base(TrainConfig(scored=data, base_model="nowhere/at-all"), []),
    ):
        pass


def test_a_base_without_its_tokenizer_is_refused(tmp_path: Path) -> None:
    """transformers makes one of the special tokens alone, to which every text is the same."""
    folder = tmp_path / "bert"
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(vocab_size=99, intermediate_size=16, **size)).save_pretrained(folder)
    with (
        pytest.raises(UserError, match=r"no tokenizer in .*bert"),
        find_base(TrainConfig(scored=tmp_path, base_model=str(folder)), []),
    ):
        pass


def test_a_policy_without_its_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = save_policy(tmp_path / "policy")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    done = run("reward-model", "policy", "chat", folder, "--prompt", "Hi")
    assert (done.code, "no tokenizer in" in done.stderr) == (2, True)
    (folder / "config.json").write_text("{")
    done = run("reward-model", "policy", "chat", folder, "--prompt", "Hi")
    assert (done.code, "names no kind of model" in done.stderr) == (2, True)


def test_a_scalar_model_that_is_torn_is_said(tmp_path: Path) -> None:
    folder = save_policy(tmp_path / "torn")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    data = tmp_path / "pairs.jsonl"
    data.write_text(json.dumps({"prompt": "p", "chosen": "a", "rejected": "b"}) + "\n")
    done = run("reward-model", "bench", folder, "--data", data)
    assert (done.code, "a model that cannot be loaded" in done.stderr) == (2, True)


def test_a_tiny_base_reads_phrases_where_texts_have_any(tmp_path: Path) -> None:
    from reward_model.train.tiny import train_tokenizer

    rng = random.Random(0)
    names = ["".join(rng.choices("bcdfgaeiou", k=6)) for _ in range(250)]
    texts = [
        f"{rng.choice(names)} fell because of weak demand, {rng.choice(names)}." for _ in names
    ]
    words = train_tokenizer(texts * 2, 3000, 64)
    told = words.tokenize("Margins fell because of weak demand.")
    assert any("because of weak" in token for token in told)
    assert words.tokenize("demand weak of because fell") != told
    few = train_tokenizer(["fell because of weak demand, up"] * 50, 3000, 64)
    assert few.tokenize("because of") == ["because", "of"]
