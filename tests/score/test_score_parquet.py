"""Parquet in and out: the columns stay what they are, whatever stops the run."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet
from tiny_models import save_encoder

from reward_model import RewardScorer
from reward_model.records import UserError, read_jsonl, write_jsonl
from reward_model.records.rows import KEY
from reward_model.records.tables import read_rows
from reward_model.score.files.rows import fingerprint, row_texts
from reward_model.score.files.run import score_file


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("parquet") / "model")


PAIRS = {
    "prompt": ["问", "q", "q"],
    "chosen": ["好的报告", "good", "fine"],
    "rejected": ["差", "bad", " "],
    "metadata": [{"company": "甲", "kind": None}, None, {"company": None, "kind": "degraded"}],
}


def test_columns_come_back_as_they_were(model: Path, tmp_path: Path) -> None:
    singles = pa.table(
        {
            "day": pa.array([date(2024, 1, 1)] * 70, pa.date32()),
            "response": [f"text {i}" if i else "" for i in range(70)],
            "note": pa.array([None, "x"] * 35, pa.dictionary(pa.int32(), pa.string())),
            "small": pa.array(range(70), pa.int16()),
        }
    )
    texts, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    parquet.write_table(singles, texts, row_group_size=16)
    summary = score_file(model, texts, out)
    scored = parquet.read_table(out)
    assert scored.drop_columns("reward_model").equals(singles)
    column = scored.column("reward_model").to_pylist()
    assert column[0]["reward"] is None
    assert column[0]["reason"] == "the response is empty"
    assert all(0 <= row["reward"] <= 1 and row["reason"] is None for row in column[1:])
    assert sum(column[1]["probabilities"]["depth"]) == pytest.approx(1, abs=1e-5)
    assert (summary.rows, summary.responses) == (70, 70)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "in.parquet",
        "out.parquet",
        "out.parquet.config.json",
    ]
    # The same rows by way of JSON Lines, and the scores of a scored file are made anew.
    lines = tmp_path / "out.jsonl"
    score_file(model, out, lines)
    again = [line.value for line in read_jsonl(lines)]
    assert [row["reward_model"]["reward"] for row in again] == [row["reward"] for row in column]
    assert again[1]["day"] == "2024-01-01"


def test_pairs_and_rows_of_json_lines(model: Path, tmp_path: Path) -> None:
    texts = tmp_path / "pairs.parquet"
    parquet.write_table(pa.table(PAIRS), texts)
    score_file(model, texts, tmp_path / "a.parquet")
    rows = [dict(zip(PAIRS, row, strict=True)) for row in zip(*PAIRS.values(), strict=True)]
    first = parquet.read_table(tmp_path / "a.parquet").column("reward_model").to_pylist()
    del rows[1]["metadata"]
    rows[0]["metadata"], rows[2]["metadata"] = {"company": "甲"}, {"kind": "degraded"}
    write_jsonl(tmp_path / "pairs.jsonl", rows)
    score_file(model, tmp_path / "pairs.jsonl", tmp_path / "b.parquet")
    other = parquet.read_table(tmp_path / "b.parquet")
    assert other.column("reward_model").to_pylist() == first
    assert other.column("metadata").to_pylist()[0] == {"company": "甲", "kind": None}
    assert first[2]["rejected"]["reason"] == "the response is empty"
    assert set(first[0]) == {"chosen", "rejected"}


@pytest.mark.parametrize("cut", [0, 1, 200, 5_000, 20_000, 10**9])
def test_stopped_anywhere_the_same_command_ends_in_the_same_file(
    model: Path, tmp_path: Path, cut: int
) -> None:
    texts, whole, out = (tmp_path / f"{name}.parquet" for name in ("in", "whole", "out"))
    parquet.write_table(pa.table({"response": [f"t {i}" for i in range(70)]}), texts)
    score_file(model, texts, whole)
    # What a killed run leaves: scores up to some byte, and no table yet.
    score_file(model, texts, tmp_path / "j.jsonl")
    journal = "".join(
        json.dumps({"row": fingerprint(line.value), KEY: line.value[KEY]}) + "\n"
        for line in read_jsonl(tmp_path / "j.jsonl")
    )
    (tmp_path / "out.parquet.scores.jsonl").write_text(journal[:cut])
    config = (tmp_path / "whole.parquet.config.json").read_bytes()
    (tmp_path / "out.parquet.config.json").write_bytes(config)
    score_file(model, texts, out)
    assert out.read_bytes() == whole.read_bytes()
    assert not (tmp_path / "out.parquet.scores.jsonl").exists()


def test_a_finished_file_is_left_alone_and_others_are_not_continued(
    model: Path, tmp_path: Path
) -> None:
    texts, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    parquet.write_table(pa.table({"response": ["a", "b"]}), texts)
    score_file(model, texts, out)
    before = (out.read_bytes(), out.stat().st_mtime_ns)
    assert score_file(model, texts, out).resumed == 2
    with pytest.raises(UserError, match="scores with another risk"):
        score_file(model, texts, out, risk=1.0)
    parquet.write_table(pa.table({"response": ["a", "c"]}), texts)
    with pytest.raises(UserError, match="scores with another input"):
        score_file(model, texts, out)
    assert (out.read_bytes(), out.stat().st_mtime_ns) == before
    (tmp_path / "mine.parquet").write_bytes(b"x")
    with pytest.raises(UserError, match="a file that this command did not write"):
        score_file(model, texts, tmp_path / "mine.parquet")


def test_what_does_not_fit_is_said_before_anything_is_written(model: Path, tmp_path: Path) -> None:
    def told(rows: Any, words: str, name: str) -> None:
        texts = tmp_path / name
        if name.endswith("parquet"):
            parquet.write_table(pa.table(rows), texts)
        else:
            write_jsonl(texts, rows)
        with pytest.raises(UserError) as raised:
            score_file(model, texts, tmp_path / "out.parquet")
        assert words in str(raised.value)
        assert not [path for path in tmp_path.iterdir() if path.name.startswith("out")]

    told([{"response": "a", "n": 1}, {"response": "b", "n": "x"}], "several types in n", "a.jsonl")
    messages = [{"role": "user", "content": "q"}]
    mixed = [{"prompt": "p", "response": "a"}, {"prompt": messages, "response": "b"}]
    told(mixed, "several types in prompt; expected one type a column", "b.jsonl")
    late = [{"response": "a", "n": 2**53 + 1}] * 64 + [{"response": "a", "n": 0.5}]
    told(late, "several types in n", "g.jsonl")
    told([{"response": "a", "n": {}}], "a column that Parquet cannot hold", "c.jsonl")
    told(
        {"text": ["a"]},
        "keys text in row 1; expected prompt with completions or response",
        "d.parquet",
    )
    told({"response": ["a", None]}, "in row 2", "e.parquet")
    told({"response": [b"a", b"\xff"]}, "'ff'} in response in row 2; expected a text", "h.parquet")
    (tmp_path / "f.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match="no readable Parquet"):
        score_file(model, tmp_path / "f.parquet", tmp_path / "out.jsonl")


def test_text_stored_as_bytes_is_that_text(model: Path, tmp_path: Path) -> None:
    texts = pa.table({"prompt": ["q", "q"], "response": ["毛利率上升。".encode(), b"ok"]})
    assert texts.schema.field("response").type == pa.binary()
    parquet.write_table(texts, tmp_path / "bytes.parquet")
    score_file(model, tmp_path / "bytes.parquet", tmp_path / "out.parquet")
    scored = parquet.read_table(tmp_path / "out.parquet")
    assert scored.drop_columns(KEY).equals(texts)
    reward = RewardScorer.from_pretrained(model).score("q", "毛利率上升。").reward
    assert scored.column(KEY)[0]["reward"].as_py() == pytest.approx(reward, abs=1e-5)


def test_a_row_group_holds_many_rows(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.parquet"

    def groups(name: str, most: int) -> list[int]:
        monkeypatch.setattr("reward_model.score.files.parquet." + name, most)
        out.unlink(missing_ok=True)
        score_file(model, tmp_path / "in.parquet", out)
        found = parquet.ParquetFile(out).metadata
        return [found.row_group(i).num_rows for i in range(found.num_row_groups)]

    parquet.write_table(pa.table({"response": ["same"] * 200}), tmp_path / "in.parquet")
    assert groups("GROUP_ROWS", 10_000) == [200]
    assert groups("GROUP_ROWS", 100) == [128, 72]
    assert groups("GROUP_BYTES", 1) == [64, 64, 64, 8]


def test_messages_in_parquet(tmp_path: Path) -> None:
    messages = [[{"role": "user", "content": "q"}]]
    parquet.write_table(pa.table({"prompt": messages, "completion": ["a"]}), tmp_path / "m.parquet")
    line = next(read_rows(tmp_path / "m.parquet"))
    (part,) = row_texts(line, tmp_path / "m.parquet")
    assert part.prompt[0].content == "q"  # type: ignore[union-attr]
