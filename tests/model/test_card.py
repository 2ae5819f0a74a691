"""The model card: every part that was measured is in it, and nothing else."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from commands import run
from huggingface_hub import ModelCard
from scored_sets import scored_set, write
from tiny_models import save_encoder

from reward_model.model.card import read_parts, record
from reward_model.model.card.text import card_text
from reward_model.train.config import TrainConfig
from reward_model.train.provenance import provenance, training_part

METRICS: dict[str, Any] = {
    "best_step": 3,
    "steps": 4,
    "validation": {"qwk": 0.61728, "loss": 1.25},
    "history": [{"step": 1}],
    "loss": [{"step": 1, "loss": 2.0}],
    "texts": {"train": 70, "validation": 16, "test": 14},
    "truncation": {"prompt": 0.5, "response": 0.0},
    "data": "0123456789ab",
    "rubric": "financial_report@abc",
    "remarks": ["depth: nobody gave level 0"],
}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_encoder(tmp_path / "best")


def training(tmp_path: Path) -> dict[str, Any]:
    scored = tmp_path / "secret.jsonl"
    config = TrainConfig(scored=scored, base_model="acme/encoder", learning_rate=3e-5)
    return training_part(config, METRICS)


def test_parts_are_kept_and_the_readme_is_written_from_them(model: Path, tmp_path: Path) -> None:
    record(model, "training", training(tmp_path))
    text = (model / "README.md").read_text("utf-8")
    assert "acme/encoder" in text
    assert "0.6173" in text
    assert "nobody gave level 0" in text
    assert "secret" not in (model / "card" / "training.json").read_text("utf-8")
    parts = read_parts(model)
    assert set(parts) == {"training"}
    assert parts["training"]["settings"]["learning_rate"] == 3e-5
    assert "history" not in parts["training"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with every part, each from its own command."""
    folder = save_encoder(tmp_path_factory.mktemp("whole") / "best")
    scored = write(folder.parent / "scored.jsonl", scored_set(groups=8))
    config = TrainConfig(scored=scored, base_model="acme/encoder")
    record(folder, "training", training_part(config, METRICS))
    for words in (
        ("calibrate", "--resamples", "100"),
        ("evaluate", "--resamples", "100"),
        ("audit", "--resamples", "100", "--sample", "8"),
    ):
        done = run("reward-model", words[0], folder, scored, *words[1:])
        assert done.code in (0, 1), done.stderr
    return folder


def section(text: str, title: str) -> str:
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


def test_every_part_is_in_the_card_with_its_own_figures(whole: Path) -> None:
    text = (whole / "README.md").read_text("utf-8")
    parts = read_parts(whole)
    assert set(parts) == {"training", "calibration", "evaluation", "audit"}
    metrics = parts["evaluation"]["metrics"]
    quality = section(text, "Quality")
    for name, found in metrics["model"]["dimensions"].items():
        kappa = found["kappa"]
        others = [metrics[o]["dimensions"][name]["kappa"]["value"] for o in metrics if o != "model"]
        cells = " | ".join(f"{value:.3f}" for value in others)
        interval = f"[{kappa['low']:.2f}, {kappa['high']:.2f}]"
        assert f"| {name} | QWK | {kappa['value']:.3f} {interval} | {cells} |" in quality
    for sentence in parts["evaluation"]["notes"]:
        assert sentence in quality
    for name, heat in parts["calibration"]["temperatures"].items():
        assert f"| {name} | {heat:.3f} |" in section(text, "Calibration")
    probes = section(text, "Probes")
    for name, found in parts["audit"]["probes"].items():
        assert f"| {name}" in probes
        change = found["reward"]["change"]
        if change["value"] is not None:
            assert f"{change['value']:+.3f}" in probes
    for finding in parts["audit"]["findings"]:
        assert finding["words"] in probes
    training = section(text, "Training")
    assert "labels by `beta:judge` (48)" in training
    assert "texts by `alpha:writer` (48)" in training
    assert "not of one family" in training
    assert str(whole.parent) not in text


def test_figures_from_before_a_calibration_are_said_to_be(whole: Path) -> None:
    parts = read_parts(whole)
    words = "measured before the temperatures below were fitted"
    assert words not in card_text(parts, None)
    late = {**parts["calibration"], "temperatures": {"depth": 1.5}}
    text = card_text({**parts, "calibration": late}, None)
    assert words in text
    assert "temperatures above were fitted" not in card_text(parts, None)
    assert "temperatures above were fitted: audit again" in section(text, "Probes")


def test_the_header_is_what_a_hub_reads(whole: Path) -> None:
    card = ModelCard.load(whole / "README.md")
    assert card.data.base_model == "acme/encoder"
    assert card.data.pipeline_tag == "text-classification"
    assert card.data.language == ["zh"]
    assert "reward-model" in card.data.tags
    assert card.data.license is None


def test_the_lines_that_say_how_to_plug_it_in_run(whole: Path) -> None:
    text = (whole / "README.md").read_text("utf-8").replace("path/to/this/folder", str(whole))
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    space: dict[str, Any] = {"prompt": "问题", "response": "回答"}
    for block in blocks:
        exec(block, space)
    prompts, completions = ["问题", "q"], ["净利润上升", "profit rose"]
    rewards = space["reward"](prompts, completions, completion_ids=[[1], [2]], trainer_state=None)
    chat = [[{"role": "user", "content": prompt}] for prompt in prompts]
    said = [[{"role": "assistant", "content": text}] for text in completions]
    assert all(0 <= value <= 1 for value in rewards)
    assert len(space["reward"](chat, said)) == 2


def test_what_was_not_measured_is_named(model: Path, tmp_path: Path) -> None:
    record(model, "training", training(tmp_path))
    text = (model / "README.md").read_text("utf-8")
    assert "Not measured on held-out texts yet" in text
    assert "No temperatures fitted yet" in text
    assert "reward-model audit" in text
    assert "labels: where they come from is not known" in text


def test_a_local_base_model_is_named_without_its_place(tmp_path: Path) -> None:
    folder = tmp_path / "secret" / "my-encoder"
    folder.mkdir(parents=True)
    config = TrainConfig(
        scored=tmp_path / "s.jsonl",
        base_model=str(folder),
        cache_dir="/secret",
        rubric="/secret/of_a_client.toml",
    )
    part = training_part(config, METRICS)
    assert part["settings"]["base_model"] == "my-encoder"
    assert "secret" not in json.dumps(part)


def test_names_from_a_file_stay_names(tmp_path: Path) -> None:
    rows = scored_set(groups=1)
    for row in rows:
        row["scores"]["judge"] = {"model": "x`|<script>\n## Quality", "samples": 3}
        row["metadata"]["gold_metadata"] = {"model": "qwen-plus"}
        row["metadata"]["defect_metadata"]["model"] = "qwen3-max"
    found = provenance(write(tmp_path / "s.jsonl", rows))
    part = {**training(tmp_path), "labels_from": found}
    text = card_text({"training": part}, None)
    assert "<script>" not in text
    assert text.count("\n## Quality") == 1
    assert "draws a label: 3" in text
    related = provenance(
        write(
            tmp_path / "r.jsonl",
            [row | {"scores": row["scores"] | {"judge": {"model": "a+qwen-max"}}} for row in rows],
        )
    )
    assert related is not None
    assert related["related"] == ["qwen"]
    text = card_text({"training": {**part, "labels_from": related}}, None)
    assert "judge and writer are of one family (`qwen`)" in text


def test_a_broken_part_counts_as_absent(model: Path, tmp_path: Path) -> None:
    record(model, "training", training(tmp_path))
    (model / "card" / "audit.json").write_text("{", "utf-8")
    (model / "card" / "evaluation.json").write_text(json.dumps([1]), "utf-8")
    assert set(read_parts(model)) == {"training"}


def test_a_part_of_another_shape_is_a_warning(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (model / "card").mkdir()
    (model / "card" / "audit.json").write_text('{"x": 1}', "utf-8")
    record(model, "training", training(tmp_path))
    assert "a part of another shape" in " ".join(capsys.readouterr().err.split())


def test_a_place_that_cannot_be_written_is_a_warning(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (model / "card").write_text("in the way", "utf-8")
    before = sorted(os.listdir(model))
    record(model, "training", training(tmp_path))
    assert "warning: the model card was not written" in " ".join(capsys.readouterr().err.split())
    assert sorted(os.listdir(model)) == before
