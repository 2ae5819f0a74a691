"""A run that is killed again and again ends in the very file of one that was not."""

from __future__ import annotations

import json
import multiprocessing
import random
import time
from pathlib import Path

import pytest
from pyarrow import parquet
from tiny_models import save_encoder
from warm import FORKS

from reward_model.records import read_jsonl
from reward_model.score.files.run import score_file

ROWS = 500


def _kill_often(model: Path, texts: Path, places: list[tuple[Path, Path, int]]) -> None:
    """In a process without threads, so that every run is a fork that has all modules loaded."""
    import torch

    torch.set_num_threads(1)
    fork = multiprocessing.get_context("fork")
    rng = random.Random(0)
    for out, growing, kills in places:
        score_file(model, texts, out.with_name("whole" + out.suffix))
        sizes = set()
        for kill in range(kills):
            run = fork.Process(target=score_file, args=(model, texts, out))
            size = growing.stat().st_size if growing.exists() else 0
            # Now while it starts or reads, now when it has written some more.
            limit = time.monotonic() + (rng.uniform(0, 0.5) if kill % 4 == 0 else 60)
            enough = size + rng.randint(1, 16_000)
            run.start()
            while run.is_alive() and time.monotonic() < limit:
                if growing.exists() and growing.stat().st_size > enough:
                    break
                time.sleep(0.001)
            assert run.is_alive(), f"finished before kill {kill}"
            run.kill()
            run.join()
            sizes.add(growing.stat().st_size if growing.exists() else 0)
        assert len(sizes) > kills / 2
        score_file(model, texts, out)


@pytest.mark.slow
def test_twenty_kills(tmp_path: Path) -> None:
    model, texts = save_encoder(tmp_path / "model"), tmp_path / "in.jsonl"
    rows = [{"id": i, "prompt": "问题", "response": f"{i} " + "利润 " * 40} for i in range(ROWS)]
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines, table = tmp_path / "out.jsonl", tmp_path / "out.parquet"
    places = [(lines, lines, 20), (table, table.with_name("out.parquet.scores.jsonl"), 4)]
    process = FORKS.Process(target=_kill_often, args=(model, texts, places))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert lines.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert [line.value["id"] for line in read_jsonl(lines)] == list(range(ROWS))
    assert table.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert parquet.read_table(table).column("id").to_pylist() == list(range(ROWS))
