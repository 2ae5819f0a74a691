"""Blocks of a table scored by themselves, and by two workers of a local Ray cluster."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet
from tiny_models import save_encoder

from reward_model import RewardScorer
from reward_model.records import UserError
from reward_model.score_file import score_file
from reward_model.score_ray import ScoreBlocks


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
@pytest.mark.timeout(300)
def test_two_workers_of_a_cluster(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Under `uv run`, Ray would build the environment of every worker anew.
    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    ray = pytest.importorskip("ray", reason="the extra ray is not installed")
    texts = [f"report {i} " + "margin " * (i % 5) for i in range(64)]
    table = pa.table({"id": range(64), "prompt": ["q"] * 64, "response": texts})
    ray.init(num_cpus=4, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        data = ray.data.from_arrow([table.slice(start, 8) for start in range(0, 64, 8)])
        scored = data.map_batches(
            ScoreBlocks,
            fn_constructor_args=(str(model),),
            batch_format="pyarrow",
            batch_size=8,
            concurrency=2,
        )
        rows = sorted(scored.take_all(), key=lambda row: row["id"])
    finally:
        ray.shutdown()
    assert [row["id"] for row in rows] == list(range(64))
    alone = RewardScorer.from_pretrained(model).score_batch(["q"] * 64, texts)
    for row, score in zip(rows, alone, strict=True):
        assert row["response"] == texts[row["id"]]
        assert row["reward_model"]["reward"] == pytest.approx(score.reward, abs=1e-5)
        assert row["reward_model"]["levels"] == pytest.approx(score.levels, abs=1e-5)
