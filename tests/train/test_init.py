"""Training that goes on from a trained reward model of this package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from commands import run
from safetensors.torch import load_file

from reward_model.model.folder import load_bundle
from reward_model.records import UserError
from reward_model.rubrics import load_rubric
from reward_model.train.config import resolve
from reward_model.train.run import train

RUBRIC = load_rubric("financial_report")


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.write(tmp_path_factory.mktemp("toy") / "scored.jsonl", toy.pairs(RUBRIC, 24))


@pytest.fixture(scope="module")
def first(scored: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    flags: dict[str, Any] = {"base_model": "tiny", "max_length": 72, "epochs": 2, "batch_size": 8}
    return train(resolve(scored, tmp_path_factory.mktemp("first") / "out", None, flags))


def test_it_begins_with_backbone_heads_and_input_of_the_model(
    first: Path, scored: Path, tmp_path: Path
) -> None:
    flags = {"init": str(first), "max_steps": 1, "learning_rate": 1e-30}
    settings = resolve(scored, tmp_path / "out", None, flags)
    assert (settings.max_length, settings.max_prompt_length) == (72, 0)
    best = train(settings)
    before, after = (load_file(folder / "model.safetensors") for folder in (first, best))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    kept = json.loads((best / "card" / "training.json").read_text())["settings"]
    assert "init" not in kept  # a place on this disk
    done = run("reward-model", "train", scored, "--init", first, "--output-dir", tmp_path / "b")
    assert done.code == 0, done.stderr
    again = load_file(tmp_path / "b" / "best" / "model.safetensors")
    assert not torch.equal(before["heads.0.out.weight"], again["heads.0.out.weight"])


def test_dimensions_that_are_new_begin_at_random_and_are_told(first: Path, tmp_path: Path) -> None:
    shipped = Path(__file__).parents[2] / "reward_model" / "rubrics" / "financial_report.toml"
    rubric = tmp_path / "other.toml"
    rubric.write_text(shipped.read_text("utf-8").replace('"depth"', '"insight"'), "utf-8")
    rows = toy.pairs(RUBRIC, 24)
    for row in rows:
        for side in ("chosen", "rejected"):
            row["scores"][side]["insight"] = row["scores"][side].pop("depth")
    path = toy.write(tmp_path / "scored.jsonl", rows)
    flags = {"init": str(first), "max_steps": 1, "learning_rate": 1e-30, "rubric": str(rubric)}
    best = train(resolve(path, tmp_path / "out", None, flags))
    before, after = (load_file(folder / "model.safetensors") for folder in (first, best))
    assert torch.equal(before["heads.2.out.weight"], after["heads.2.out.weight"])
    assert not torch.equal(before["heads.0.out.weight"], after["heads.0.out.weight"])
    remarks = " ".join(json.loads((tmp_path / "out" / "metrics.json").read_text())["remarks"])
    assert "insight: " in remarks
    assert "so a new one begins at random" in remarks
    assert load_bundle(best).rubric.names[0] == "insight"


def test_what_cannot_be_gone_on_from_is_said(first: Path, scored: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for flags, words in (
        ({"init": str(first), "base_model": "tiny"}, "init and base_model"),
        ({"init": str(first), "lora_rank": 4}, "init and lora_rank"),
        ({"init": str(tmp_path / "none")}, "no such folder"),
        ({"init": str(first.parent)}, "no config.json of a model"),
        ({"init": str(first), "max_length": 99}, "has 72 positions"),
        ({"base_model": str(first)}, "go on from it with --init"),
    ):
        with pytest.raises(UserError, match=words):
            train(resolve(scored, out, None, flags))
        assert not out.exists()
