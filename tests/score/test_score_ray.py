"""Blocks of a table scored by themselves, and by two workers of a local Ray cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import ray_cluster
from pyarrow import parquet
from ray_cluster import TEXTS
from tiny_models import save_encoder

from reward_model import RewardScorer
from reward_model.records import UserError
from reward_model.score.files.ray import ScoreBlocks
from reward_model.score.files.run import score_file


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("ray") / "model")


def test_a_block_gets_the_column_that_the_command_writes(model: Path, tmp_path: Path) -> None:
    table = pa.table({"prompt": ["q"] * 3, "response": ["a", " ", "报告"], "n": [1, 2, 3]})
    parquet.write_table(table, tmp_path / "in.parquet")
    score_file(model, tmp_path / "in.parquet", tmp_path / "out.parquet")
    scored = ScoreBlocks(str(model))(table)
    assert scored.equals(parquet.read_table(tmp_path / "out.parquet"))
    assert ScoreBlocks(model)(scored).equals(scored)
    pairs = pa.table({"chosen": ["good", None], "rejected": ["bad", None], "response": [None, "x"]})
    with pytest.raises(UserError, match="pairs and single responses in one table"):
        ScoreBlocks(model)(pairs)
    careful = ScoreBlocks([model, model], how="minimum", risk=1.0)(table)
    expected = RewardScorer.from_pretrained(model, risk=1.0).score("q", "a").reward
    first = careful.column("reward_model").to_pylist()[0]
    assert (first["reward"], first["spread"]) == (pytest.approx(expected, abs=1e-5), 0.0)


@pytest.mark.slow
def test_two_workers_of_a_cluster(model: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra ray is not installed")
    script, out = Path(ray_cluster.__file__), tmp_path / "rows.json"
    done = subprocess.run(
        [sys.executable, str(script), str(model), str(out)],
        # Under `uv run`, Ray would build the environment of every worker anew.
        env={**os.environ, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(out.read_text("utf-8"))
    assert [row["id"] for row in rows] == list(range(64))
    alone = RewardScorer.from_pretrained(model).score_batch(["q"] * 64, TEXTS)
    for row, text, score in zip(rows, TEXTS, alone, strict=True):
        assert row["response"] == text
        assert row["reward_model"]["reward"] == pytest.approx(score.reward, abs=1e-5)
        assert row["reward_model"]["levels"] == pytest.approx(score.levels, abs=1e-5)
