"""Heads of what describes a text read how long it is; those of what praises it do not."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy
from tiny_models import save_encoder

from reward_model import RewardScorer
from reward_model.data.dataset import MultiDimRewardDataset
from reward_model.data.tokens.inputs import InputBuilder
from reward_model.data.tokens.store import encode
from reward_model.model.batches import collate
from reward_model.model.folder import load_bundle
from reward_model.model.forward import Forward
from reward_model.records import UserError
from reward_model.rubrics import load_rubric
from reward_model.score.export.run import ExportOptions, run_export
from reward_model.train.config import TrainConfig, resolve
from reward_model.train.prepare import prepare
from reward_model.train.run import train

WORDS = [
    "margins",
    "rose",
    "as",
    "costs",
    "fell",
    "and",
    "sales",
    "grew",
    "in",
    "the",
    "second",
    "quarter",
    "of",
    "the",
    "year",
]


@pytest.fixture(scope="module")
def rated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Responses of the same words, rated for verbosity by their length, prompts of any length."""
    rng = random.Random(0)
    path = tmp_path_factory.mktemp("rated") / "rated.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for i in range(90):
            level = i % 5
            row = {
                "prompt": f"{i} " + " ".join(rng.choices(WORDS, k=rng.randrange(3, 60))),
                "response": " ".join(rng.choices(WORDS, k=6 * 2**level + rng.randrange(3))),
                "verbosity": level,
                "helpfulness": rng.randrange(5),
            }
            file.write(json.dumps(row) + "\n")
    return path


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundle = load_bundle(save_encoder(tmp_path_factory.mktemp("whole") / "encoder"))
    folder = tmp_path_factory.mktemp("base") / "encoder"
    bundle.model.backbone.save_pretrained(folder)
    bundle.tokenizer.save_pretrained(folder)
    return folder


def config(rated: Path, out: Path, base: Path, **flags: Any) -> TrainConfig:
    still = {"max_steps": 1, "learning_rate": 1e-30, "rubric": "helpsteer", "batch_size": 8}
    shares = {"eval_share": 0.2, "test_share": 0.1, "split_seed": 1, "max_length": 250}
    return resolve(rated, out, None, {**still, **shares, "base_model": str(base), **flags})


@pytest.fixture(scope="module")
def trained(rated: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(config(rated, tmp_path_factory.mktemp("trained") / "out", base))


def test_length_is_told_where_it_is_rated_and_only_there(
    trained: Path, rated: Path, base: Path, tmp_path: Path
) -> None:
    found = json.loads((trained.parent / "metrics.json").read_text())
    assert json.loads((trained / "config.json").read_text())["length_heads"] == ["verbosity"]
    assert found["validation"]["qwk_verbosity"] > 0.85

    without = train(config(rated, tmp_path / "out", base, length_heads=[]))
    blind = json.loads((without.parent / "metrics.json").read_text())
    assert blind["validation"]["qwk_verbosity"] < 0.6

    model = load_bundle(trained).model
    vectors = torch.randn(4, model.vector_size)
    longer = vectors + torch.eye(model.vector_size)[-1] * 3
    moved = (model.score_pooled(longer) - model.score_pooled(vectors)).abs().amax((0, 2))
    by_name = dict(zip(model.config.dimensions, moved.tolist(), strict=True))
    assert by_name.pop("verbosity") > 0.1
    assert set(by_name.values()) == {0.0}


def test_no_batch_no_row_and_no_store_changes_what_is_read(trained: Path, rated: Path) -> None:
    bundle = load_bundle(trained)
    dataset = MultiDimRewardDataset.from_file(rated, bundle.rubric, bundle.builder)
    assert dataset.encoded is not None
    texts = {i: dataset.encoded[i] for i in range(12)}
    forward = Forward(bundle.model, torch.device("cpu"), 0, 2000)
    packed = np.zeros((12, len(bundle.rubric.names), 5))
    for rows, chances in forward.batches(texts):
        packed[rows] = chances
    assert forward.padded(list(texts.values())) == pytest.approx(packed, abs=1e-5)
    for i, text in texts.items():
        assert forward.padded([text])[0] == pytest.approx(packed[i], abs=1e-5)
    kept = encode(dataset.samples, bundle.builder)
    direct = bundle.builder.build(
        [s.prompt for s in dataset.samples], [s.response for s in dataset.samples]
    )
    assert list(kept) == direct

    scorer = RewardScorer.from_pretrained(trained)
    first = dataset.samples[0]
    told = scorer.score(first.prompt, first.response).probabilities["verbosity"]
    assert told == pytest.approx(packed[0, bundle.rubric.names.index("verbosity")], abs=1e-5)


@pytest.mark.parametrize("evidence", ["none", "checks"])
def test_the_length_is_that_of_the_response_alone(evidence: Any, trained: Path) -> None:
    tokenizer = load_bundle(trained).tokenizer
    builder = InputBuilder(tokenizer, 400, evidence=evidence)
    answer = "Sales rose 12% to 5 million."
    count = len(tokenizer(answer, add_special_tokens=False)["input_ids"])
    table = "| | 2023 | 2024 |\n|---|---|---|\n| Sales | 4 | 5 |\n" * 4
    for prompt in ("", "What of sales?", table):
        assert builder.one(prompt, answer).answer_tokens == count
    assert InputBuilder(tokenizer, 100).one("", answer * 50).answer_tokens < 100


def test_a_model_that_is_not_told_the_length_says_so(trained: Path) -> None:
    bundle = load_bundle(trained)
    batch = collate(bundle.builder.build(["p"], ["Margins rose."]), 0)
    with pytest.raises(ValueError, match=r"answer_tokens \(B,\)"):
        bundle.model(**batch)


def test_wrong_names_are_refused_and_exports_say_what_they_cannot_say(
    trained: Path, rated: Path, base: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="length_heads with verbose"):
        train(config(rated, tmp_path / "out", base, length_heads=["verbose"]))
    with pytest.raises(UserError, match="one head for all dimensions"):
        train(config(rated, tmp_path / "out", base, length_heads=["verbosity"], head="shared"))
    with pytest.raises(UserError, match="heads that read the length of the response"):
        run_export(trained, tmp_path / "made", ExportOptions(to="sequence-classification"))


def test_the_graph_asks_for_lengths(trained: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    result = run_export(trained, tmp_path / "made", ExportOptions(to="onnx"))
    assert result["parity"]["equal"]
    tokenizer, prompt, response = load_bundle(trained).tokenizer, "What of margins?", "They rose."
    known: dict[str, Any] = {"np": np, "tokenizer": tokenizer}
    known |= {"prompt": prompt, "response": response}
    card = (tmp_path / "made" / "README.md").read_text()
    code = card.split("```python\n")[1].split("```")[0].replace("path/to/this/folder", "{}")
    exec(code.replace("{}", str(tmp_path / "made")), known)
    chances = torch.tensor(known["logits"]).double().softmax(-1)[0]
    told = RewardScorer.from_pretrained(trained).score(prompt, response).probabilities
    assert chances[4].tolist() == pytest.approx(told["verbosity"], abs=1e-5)


def test_what_goes_on_with_it_keeps_the_heads_that_are_still_there(
    trained: Path, rated: Path, tmp_path: Path
) -> None:
    flags = {"max_steps": 1, "batch_size": 8, "max_length": 250, "init": str(trained)}
    same = resolve(rated, tmp_path / "same", None, {**flags, "rubric": "helpsteer"})
    assert prepare(same).model.config.length_heads == ["verbosity"]
    rubric = load_rubric("financial_report")
    pairs = toy.write(tmp_path / "scored.jsonl", toy.pairs(rubric, 20))
    assert prepare(resolve(pairs, tmp_path / "other", None, flags)).model.config.length_heads == []
