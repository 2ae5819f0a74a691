"""What `reward-model prefer` writes feeds TRL's own trainers, with no conversion."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from test_prefer import completions, prefer, write
from tiny_models import byte_tokenizer, save_encoder

TEMPLATE = (
    "{% for m in messages %}{{ '<' + m['role'] + '>' + m['content'] + '<eos>' }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("model") / "best")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    folder = tmp_path_factory.mktemp("policy")
    tokenizer = byte_tokenizer(["<pad>", "<eos>"], pad_token="<pad>", eos_token="<eos>")
    tokenizer.chat_template = TEMPLATE
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=32,
        pad_token_id=0,
        eos_token_id=1,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("to", "chat"),
    [(to, False) for to in ("dpo", "orpo", "cpo", "reward", "kto", "grpo")]
    + [(to, True) for to in ("dpo", "reward", "kto", "grpo")],
)
def test_trl_trains_on_the_folder_as_it_is(
    to: str, chat: bool, model: Path, policy: Path, tmp_path: Path
) -> None:
    pytest.importorskip("trl", reason="needs the extra rlhf")
    from datasets import load_dataset

    rows: list[dict[str, Any]] = completions(4)
    if chat:
        rows = [{**row, "prompt": [{"role": "user", "content": row["prompt"]}]} for row in rows]
    out = tmp_path / "prefs"
    prefer(model, write(tmp_path / "c.jsonl", rows), "--out", out, "--format", to)
    dataset = load_dataset(str(out), split="train", cache_dir=str(tmp_path / "cache"))
    trainer = _trainer(to, policy, dataset, tmp_path / "run")
    before = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.train()
    after = dict(trainer.model.named_parameters())
    assert any(not torch.equal(before[name], after[name]) for name in before)
    losses = [log["loss"] for log in trainer.state.log_history if "loss" in log]
    assert losses
    assert all(loss == loss for loss in losses)


def _trainer(to: str, policy: Path, dataset: Any, folder: Path) -> Any:
    import trl

    common: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 2,
        "max_steps": 2,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "report_to": "none",
        "save_strategy": "no",
        "use_cpu": True,
        "bf16": False,
        "seed": 0,
    }
    if to == "grpo":
        return trl.GRPOTrainer(
            str(policy),
            reward_funcs=lambda completions, **_: [float(i) for i in range(len(completions))],
            args=trl.GRPOConfig(**common, max_completion_length=4, num_generations=2),
            train_dataset=dataset,
        )
    if to in {"orpo", "cpo"}:
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from trl.experimental import cpo, orpo

        kind = orpo if to == "orpo" else cpo
        name = to.upper()
        args = getattr(kind, f"{name}Config")(**common)
        return getattr(kind, f"{name}Trainer")(
            AutoModelForCausalLM.from_pretrained(policy),
            args=args,
            train_dataset=dataset,
            processing_class=AutoTokenizer.from_pretrained(policy),
        )
    if to == "kto":
        return trl.KTOTrainer(str(policy), args=trl.KTOConfig(**common), train_dataset=dataset)
    if to == "reward":
        assert "margin" in dataset.column_names
        args = trl.RewardConfig(**common)
        return trl.RewardTrainer(str(policy), args=args, train_dataset=dataset)
    return trl.DPOTrainer(str(policy), args=trl.DPOConfig(**common), train_dataset=dataset)


@pytest.mark.slow
def test_the_example_learns_from_its_own_samples(tmp_path: Path) -> None:
    pytest.importorskip("trl", reason="needs the extra rlhf")
    before, after = importlib.import_module("dpo").main(tmp_path)
    assert after > before + 0.1
