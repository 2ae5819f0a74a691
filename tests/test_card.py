"""The model card: every part that was measured is in it, and nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tiny_models import save_encoder

from reward_model.card import read_parts, record, training_part
from reward_model.train_config import TrainConfig

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
    config = TrainConfig(scored=tmp_path / "secret.jsonl", base_model="acme/encoder")
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


def test_a_broken_part_counts_as_absent(model: Path, tmp_path: Path) -> None:
    record(model, "training", training(tmp_path))
    (model / "card" / "audit.json").write_text("{", "utf-8")
    (model / "card" / "evaluation.json").write_text(json.dumps([1]), "utf-8")
    assert set(read_parts(model)) == {"training"}


def test_a_place_that_cannot_be_written_is_a_warning(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (model / "card").write_text("in the way", "utf-8")
    before = sorted(os.listdir(model))
    record(model, "training", training(tmp_path))
    assert "warning: the model card was not written" in " ".join(capsys.readouterr().err.split())
    assert sorted(os.listdir(model)) == before
