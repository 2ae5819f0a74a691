"""Exports run elsewhere: TRL and RewardBench take a scalar, onnxruntime a graph on any batch."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_export import RUBRIC, SIZES, export, save, some_texts
from tiny_models import byte_tokenizer
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from upstream import unpacked

from reward_model import RewardScorer
from reward_model.model.batches import collate


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return some_texts(tmp_path_factory.mktemp("texts"))


@pytest.mark.slow
def test_trl_takes_a_scalar_by_its_path(texts: Path, tmp_path: Path) -> None:
    trl = pytest.importorskip("trl", reason="needs the extra rlhf")
    from datasets import Dataset
    from transformers import Qwen2Config, Qwen2ForCausalLM

    model = save(tmp_path / "model", "qwen2", pooling="last")
    export(model, "scalar", tmp_path / "scalar", "--data", texts)
    tokenizer = byte_tokenizer(["<pad>", "<eos>"], pad_token="<pad>", eos_token="<eos>")
    policy = Qwen2ForCausalLM(
        Qwen2Config(vocab_size=len(tokenizer), **SIZES, pad_token_id=0, eos_token_id=1)
    )
    trainer = trl.GRPOTrainer(
        policy,
        reward_funcs=str(tmp_path / "scalar"),
        args=trl.GRPOConfig(
            output_dir=str(tmp_path / "run"),
            per_device_train_batch_size=2,
            num_generations=2,
            max_completion_length=4,
            max_steps=1,
            logging_steps=1,
            report_to="none",
            save_strategy="no",
            use_cpu=True,
            bf16=False,
        ),
        train_dataset=Dataset.from_list([{"prompt": "Report 1"}, {"prompt": "Report 2"}]),
        processing_class=tokenizer,
    )
    trainer.train()
    rewards = [log["reward"] for log in trainer.state.log_history if "reward" in log]
    assert rewards
    assert all(np.isfinite(reward) for reward in rewards)


class _Here:
    """A tokenizer whose batches stay where they are: RewardBench sends every one to a GPU."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.bos_token = tokenizer.bos_token

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        class Batch(dict[str, torch.Tensor]):
            def to(self, device: str) -> Batch:
                return self

        return Batch(self.tokenizer(*args, **kwargs))


@pytest.mark.slow
def test_rewardbench_reads_a_scalar(texts: Path, tmp_path: Path) -> None:
    try:
        there = unpacked("rewardbench", tmp_path / "rewardbench")
    except LookupError as error:
        pytest.skip(str(error))
    # Its default for a sequence classifier; the package around it wants an older transformers.
    file = there / "rewardbench" / "models" / "pipeline.py"
    spec = importlib.util.spec_from_file_location("rewardbench_pipeline", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = save(tmp_path / "model", "qwen2", pooling="last")
    export(model, "scalar", tmp_path / "scalar", "--data", texts, "--layout", "text")
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path / "scalar", num_labels=1)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "scalar")
    pipe = module.RewardBenchPipeline("text-classification", loaded, _Here(tokenizer))
    said = ["Margins rose.", "x" * 40, "Revenue fell. " * 3, "毛利率上升。"]
    rewards = pipe(said, batch_size=4, truncation=True, padding=True, max_length=64)
    with torch.no_grad():
        alone = [float(loaded(**tokenizer(text, return_tensors="pt")).logits) for text in said]
    assert rewards.shape == (4, 1)
    assert rewards[:, 0].tolist() == pytest.approx(alone, abs=1e-5)
    assert np.ptp(alone) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "pooling"), [("bert", "mean"), ("bert", "rms"), ("qwen2", "last")]
)
def test_onnx_gives_the_same_on_any_batch(kind: str, pooling: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    # The exporter takes its time a layer.
    model = save(tmp_path / "model", kind, layers=1, pooling=pooling)
    if kind == "qwen2":  # what has no padding token is given one, for the code of the card
        settings_of = model / "tokenizer_config.json"
        kept = json.loads(settings_of.read_text())
        settings_of.write_text(json.dumps(kept | {"pad_token": None}))
    result = export(model, "onnx", tmp_path / "out")
    assert AutoTokenizer.from_pretrained(tmp_path / "out").pad_token is not None
    assert result["parity"]["max_difference"] < 1e-4
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "model.onnx"))
    names = [one.name for one in session.get_inputs()]
    scorer = RewardScorer.from_pretrained(model)
    responses = ["Margins rose. 毛利率上升。", "x", "Revenue fell. " * 9]
    scores = scorer.score_batch(["p"] * 3, responses)
    encoded = [scorer.encode("p", text) for text in responses]
    for rows in ([0], [1, 2], [0, 1, 2]):
        batch = {k: v.numpy() for k, v in collate([encoded[i] for i in rows], 0).items()}
        left = {}
        for name, values in batch.items():
            moved = [
                np.roll(row, int((1 - mask).sum()))
                for row, mask in zip(values, batch["attention_mask"], strict=True)
            ]
            left[name] = np.stack(moved)
        for side in (batch, left):
            (logits,) = session.run(None, {name: side[name] for name in names})
            assert logits.shape == (len(rows), 3, 5)
            shares = torch.from_numpy(logits).softmax(-1).numpy()
            for i, found in zip(rows, shares, strict=True):
                for name, chances in zip(RUBRIC.names, found, strict=True):
                    assert chances == pytest.approx(scores[i].probabilities[name], abs=1e-5)
