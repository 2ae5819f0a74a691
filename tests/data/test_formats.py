"""Public formats and column maps: the same rows give the same samples, and nothing is guessed."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import toy
from commands import run
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from reward_model.data.columns import read_columns
from reward_model.data.dataset import Sample
from reward_model.data.formats import whole_number
from reward_model.data.reading import find_rubric, read_samples
from reward_model.records import IGNORE, UserError
from reward_model.rubrics import load_rubric

RUBRIC = load_rubric("financial_report")
MAP = """
rubric = "ultrafeedback"
prompt = "question"
chosen = "better"
rejected = "worse"
group = "source"
language = "lang"
offset = -1
missing = ["", "N/A"]
[chosen_levels]
honesty = "honest_a"
helpfulness = "help_a"
[rejected_levels]
honesty = "honest_b"
helpfulness = "help_b"
"""


def flat_rows() -> list[dict[str, Any]]:
    return [
        {
            "question": f"What, and why {i}?",
            "better": f'It "rose", because\ncosts fell {i}',
            "worse": f"营业收入很多，{i}",
            "source": f"s{i // 2}",
            "lang": "en",
            "honest_a": 5,
            "help_a": 4,
            "honest_b": 1 + i % 5,
            "help_b": None if i == 3 else 2,
        }
        for i in range(6)
    ]


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def plain(samples: Any) -> list[Sample]:
    return [
        Sample(s.prompt, s.response, s.labels, s.group, s.side, s.pair, s.neutral, s.metadata)
        for s in samples
    ]


def columns_file(tmp_path: Path, text: str = MAP) -> Path:
    path = tmp_path / "columns.toml"
    path.write_text(text, "utf-8")
    return path


def test_every_kind_of_file_gives_the_same_samples(tmp_path: Path) -> None:
    layout = read_columns(columns_file(tmp_path))
    rows = flat_rows()
    lines = toy.write(tmp_path / "a.jsonl", rows)
    write_csv(tmp_path / "a.csv", rows)
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    Dataset.from_list(rows).save_to_disk(str(tmp_path / "saved"))
    (tmp_path / "folder").mkdir()
    for name, part in (("1.parquet", rows[:4]), ("2.parquet", rows[4:])):
        parquet.write_table(pa.Table.from_pylist(part), tmp_path / "folder" / name)
    rubric = find_rubric(lines, columns=layout)
    expected = plain(read_samples(lines, rubric, columns=layout)[0])
    assert expected[0].labels == (IGNORE, 4, IGNORE, 3)
    assert expected[7].labels == (IGNORE, 3, IGNORE, IGNORE)
    assert [s.group for s in expected] == [f"s{i // 4}" for i in range(12)]
    assert expected[0].response == 'It "rose", because\ncosts fell 0'
    for name in ("a.csv", "a.parquet", "saved", "folder"):
        found, _ = read_samples(tmp_path / name, rubric, columns=layout)
        assert plain(found) == expected, name
        assert found[3].response == expected[3].response


def test_text_of_parquet_may_be_bytes(tmp_path: Path) -> None:
    rows = [{**row, "better": row["better"].encode()} for row in flat_rows()]
    layout = read_columns(columns_file(tmp_path))
    rubric = load_rubric("ultrafeedback")
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    found, _ = read_samples(tmp_path / "a.parquet", rubric, columns=layout)
    assert found[0].response == 'It "rose", because\ncosts fell 0'
    rows[1]["better"] = "报告".encode("gb18030")
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"not UTF-8.* in chosen; expected a text.* in row 2"):
        read_samples(tmp_path / "b.parquet", rubric, columns=layout)


def test_own_records_in_parquet_are_those_of_the_lines(tmp_path: Path) -> None:
    rows = toy.pairs(RUBRIC, 6)
    rows[2]["scores"]["chosen"]["depth"] = None
    rows[3]["metadata"] = {"prompt_id": "c3", "defect_metadata": {"degradation_type": "x"}}
    lines = toy.write(tmp_path / "a.jsonl", rows)
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    expected, found = (read_samples(tmp_path / n, RUBRIC)[0] for n in (lines, "a.parquet"))
    assert plain(found) == plain(expected)
    assert found[6].degradation == "x"


def test_helpsteer_rows_are_read_as_they_are(tmp_path: Path, real_data: Path) -> None:
    rows = [json.loads(x) for x in (real_data / "helpsteer_single.jsonl").open(encoding="utf-8")]
    raw = [
        {"prompt": row["prompt"], "response": row["response"], **row["scores"]} for row in rows[:50]
    ]
    path = toy.write(tmp_path / "raw.jsonl", raw)
    rubric = find_rubric(path)
    assert rubric.name == "helpsteer"
    found, _ = read_samples(path, rubric)
    known, _ = read_samples(real_data / "helpsteer_single.jsonl", rubric)
    assert [s.labels for s in found] == [s.labels for s in known[:50]]
    assert [s.response for s in found] == [s.response for s in known[:50]]
    assert find_rubric(write_csv(tmp_path / "raw.csv", raw)).name == "helpsteer"
    from_csv, _ = read_samples(tmp_path / "raw.csv", rubric)
    assert [s.labels for s in from_csv] == [s.labels for s in found]


def ultrafeedback(*ratings: Any) -> dict[str, Any]:
    aspects = ("helpfulness", "honesty", "instruction_following", "truthfulness")
    return {
        "source": "sharegpt",
        "instruction": "Why did revenue rise?",
        "models": ["m"],
        "completions": [
            {
                "model": f"model-{n}",
                "response": f"answer {n}",
                "annotations": {name: {"Rating": rating, "Rationale": "..."} for name in aspects},
                "overall_score": 10.0,
            }
            for n, rating in enumerate(ratings)
        ],
    }


def test_ultrafeedback_rows_are_read_as_they_are(tmp_path: Path) -> None:
    row = ultrafeedback("5", "1", 3)
    row["completions"][1]["annotations"]["honesty"]["Rating"] = "N/A"
    del row["completions"][2]["annotations"]["truthfulness"]
    path = toy.write(tmp_path / "u.jsonl", [row])
    rubric = find_rubric(path)
    assert rubric.names == ("instruction_following", "honesty", "truthfulness", "helpfulness")
    samples, _ = read_samples(path, rubric)
    assert [s.labels for s in samples] == [(4, 4, 4, 4), (0, IGNORE, 0, 0), (2, 2, IGNORE, 2)]
    assert [s.response for s in samples] == ["answer 0", "answer 1", "answer 2"]
    assert len({s.group for s in samples}) == 1
    assert samples[2].generator == "model-2"


@pytest.mark.parametrize("rating", ["10", "0", "4.5", 4.5, "five", True, "", [4]])
def test_a_rating_that_is_none_is_refused(tmp_path: Path, rating: Any) -> None:
    path = toy.write(tmp_path / "u.jsonl", [ultrafeedback("3"), ultrafeedback("3", rating)])
    with pytest.raises(UserError, match=r"completions\.1\.annotations.*a whole number from 1 to 5"):
        read_samples(path, load_rubric("ultrafeedback"))


def test_mean_ratings_alone_are_refused_with_the_way_out(tmp_path: Path) -> None:
    row = {"prompt": "p", "chosen": [], "chosen-rating": 4.75, "rejected": []}
    with pytest.raises(UserError, match="openbmb/UltraFeedback"):
        read_samples(toy.write(tmp_path / "b.jsonl", [row]), load_rubric("ultrafeedback"))


@given(st.one_of(st.integers(), st.floats(), st.text(), st.booleans(), st.none()))
def test_a_level_is_a_whole_number_in_range_or_none(raw: Any) -> None:
    try:
        found = whole_number(raw, "x", 1, 5, ("N/A",), {})
    except UserError:
        return
    assert found is None or (1 <= found <= 5 and float(raw) == found)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"honest_a": 6}, "6 in honest_a in row 2; expected a whole number from 1 to 5 or 'N/A'"),
        ({"honest_a": 2.5}, "2.5 in honest_a"),
        ({"better": None}, "None in chosen"),
    ],
)
def test_wrong_cells_are_named_by_row(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    rows = flat_rows()
    for row in rows:
        row["honest_a"] = float(row["honest_a"])
    rows[1].update(change)
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    layout = read_columns(columns_file(tmp_path))
    with pytest.raises(UserError) as error:
        read_samples(tmp_path / "a.parquet", load_rubric("ultrafeedback"), columns=layout)
    assert words.replace("6 in", "6.0 in") in str(error.value)
    assert str(error.value).startswith(f"{tmp_path / 'a.parquet'}: ")


@pytest.mark.parametrize(
    ("was", "now", "words"),
    [
        ("offset = -1", "ofset = -1", "unknown key ofset \\(do you mean offset"),
        ('chosen = "better"', "", "name the columns of response, or of chosen and rejected"),
        ("[chosen_levels]", "[levels]", r"pairs need \[chosen_levels\]"),
        ("offset = -1", "offset -1", "broken TOML"),
    ],
)
def test_a_wrong_map_is_told(tmp_path: Path, was: str, now: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        read_columns(columns_file(tmp_path, MAP.replace(was, now)))


def test_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    layout = read_columns(columns_file(tmp_path, MAP.replace('"help_b"', '"helb_b"')))
    path = toy.write(tmp_path / "a.jsonl", flat_rows())
    with pytest.raises(UserError, match=r"line 1: found no column helb_b.*question, better"):
        read_samples(path, load_rubric("ultrafeedback"), columns=layout)


def test_nested_columns_and_responses(tmp_path: Path) -> None:
    text = 'response = "out.text"\n[levels]\ndepth = "out.marks.depth"\n'
    layout = read_columns(columns_file(tmp_path, text))
    rows = [{"out": {"text": f"r{i}", "marks": {"depth": i}}} for i in range(5)]
    path = toy.write(tmp_path / "a.jsonl", rows)
    samples, _ = read_samples(path, RUBRIC, columns=layout)
    assert [s.labels[0] for s in samples] == [0, 1, 2, 3, 4]
    assert {s.side for s in samples} == {"single"}


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"prompt,response\n1,2,3\n", "another number of cells"),
        ("a.csv", b"prompt,response\n", "found no row"),
        ("a.csv", "prompt\n报告\n".encode("gb18030"), "not UTF-8"),
        ("a.csv", b'prompt,response\n"a\n', "broken CSV"),
        ("a.csv", b"prompt;response\na;b\n", "cells are divided by semicolons"),
        ("a.tsv", b"prompt,response\na,b\n", "cells are divided by commas"),
        ("a.csv", "prompt\n报告\n".encode("utf-16"), "UTF-16 text"),
        ("a.csv", b"prompt,response\na,b\n\0\0,b\n", "line 3: found a NUL byte"),
        ("a.parquet", b"PAR1 not really", "no readable Parquet"),
    ],
)
def test_broken_files_are_told(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words) as error:
        read_samples(tmp_path / name, RUBRIC)
    assert error.value.path == tmp_path / name


def test_a_data_set_of_the_hub_that_does_not_load_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for offline in ("huggingface_hub.constants.HF_HUB_OFFLINE", "datasets.config.HF_HUB_OFFLINE"):
        monkeypatch.setattr(offline, True)
    with pytest.raises(UserError, match="no data set of the hub that loads"):
        read_samples("nobody/nothing-of-this-name", RUBRIC)
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    # A folder that is there makes it a path, whoever may have a name like it on the hub.
    with pytest.raises(UserError, match="found no such file or folder; expected an existing one"):
        read_samples("mine/nothing-of-this-name", RUBRIC)


def test_labels_through_a_map(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", flat_rows())
    where = columns_file(tmp_path)
    done = run("reward-model", "labels", path, "--columns", where, "--json", "-")
    assert done.code == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["texts"], result["groups"]) == (12, 3)
    counts = result["labels"]["helpfulness"]["rejected"]
    assert (counts["1"], counts["missing"], sum(counts.values())) == (5, 1, 6)
    where.write_text("chosen = 1")
    assert run("reward-model", "labels", path, "--columns", where).code == 2
