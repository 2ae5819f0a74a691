"""The command: filters that copy byte for byte, JSON by its schema, exit codes, wrong input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scored_sets import scored_set, write

from judge.cli import app
from judge.validate.report import Report
from reward_model.records.terminal import run

Judge = Callable[..., tuple[int, str]]


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Judge:
    """`judge validate ARGS`: exit code and what a person reads."""

    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["judge", "validate", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            run(app)
        return int(stop.value.code or 0), capsys.readouterr().err

    return call


@pytest.fixture
def scored(tmp_path: Path) -> Path:
    return write(tmp_path / "scored.jsonl", scored_set(groups=12))


def gap(row: dict[str, Any]) -> float:
    scores = row["scores"]
    return sum(scores["chosen"][n] - scores["rejected"][n] for n in scores["chosen"]) / 3


def test_json_is_a_report(judge: Judge, scored: Path, tmp_path: Path) -> None:
    code, words = judge(scored, "--json", tmp_path / "report.json")
    assert code == 0
    assert "verdict good" in words
    assert words.index("ready to train on: ") < words.index("next: ") < words.index("verdict good")
    value = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert value["schema"] == "judge.validate/1"
    report = Report.model_validate({"schema_": value.pop("schema"), **value})
    assert report.source.pairs == 72
    assert set(value) == set(Report.model_fields) - {"schema_"}


def test_json_to_stdout(
    scored: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["judge", "validate", str(scored), "--json", "-"])
    with pytest.raises(SystemExit):
        run(app)
    assert json.loads(capsys.readouterr().out)["schema"] == "judge.validate/1"


def test_kept_lines_are_copied_byte_for_byte(judge: Judge, tmp_path: Path) -> None:
    """Odd spacing, key order, escapes, a BOM, blank lines, CRLF and no last newline all survive."""
    rows = scored_set(groups=12)
    lines = [
        json.dumps(row, ensure_ascii=bool(i % 2), separators=(",", " :  ")).encode()
        + (b"\r\n" if i % 3 else b"\n")
        for i, row in enumerate(rows)
    ]
    lines[-1] = lines[-1].rstrip()
    path = tmp_path / "odd.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\n".join(lines))
    code, words = judge(path, tmp_path / "kept.jsonl", "--min-gap", 1)
    assert code == 0
    neutral = [row["metadata"]["kind"] == "neutral" for row in rows]
    wanted = [
        line
        for line, row, control in zip(lines, rows, neutral, strict=True)
        if control or gap(row) >= 1
    ]
    kept = (tmp_path / "kept.jsonl").read_bytes().removeprefix(b"\xef\xbb\xbf")
    assert kept == b"".join(wanted)
    assert f"kept {len(wanted)} of 72 pairs" in words
    assert f"gap_below_minimum {72 - len(wanted)}" in words
    config = json.loads((tmp_path / "kept.jsonl.config.json").read_text("utf-8"))
    assert config["min_gap"] == 1


def test_the_verdict_of_what_is_kept_is_that_of_the_kept_file(
    judge: Judge, scored: Path, tmp_path: Path
) -> None:
    told, again = tmp_path / "told.json", tmp_path / "again.json"
    _, words = judge(scored, tmp_path / "kept.jsonl", "--min-gap", 1.5, "--json", told)
    judge(tmp_path / "kept.jsonl", "--json", again)
    stays = json.loads(told.read_text("utf-8"))["filtered"]["verdict"]
    assert stays == json.loads(again.read_text("utf-8"))["verdict"]
    assert stays != json.loads(told.read_text("utf-8"))["verdict"]
    assert f"of these: {stays['grade']}, mean gap {stays['mean_gap']:.2f}" in words


def test_without_a_filter_the_output_is_a_copy(judge: Judge, scored: Path, tmp_path: Path) -> None:
    judge(scored, tmp_path / "kept.jsonl")
    assert (tmp_path / "kept.jsonl").read_bytes() == scored.read_bytes()


def test_every_filter_counts_what_it_drops(judge: Judge, tmp_path: Path) -> None:
    rows = scored_set(groups=12)
    rows[0]["scores"]["chosen"]["depth"] = None
    del rows[1]["scores"]
    rows.append({**rows[2], "id": "again"})
    rows[3]["rejected"] = rows[3]["chosen"]
    rows[4]["chosen"] = rows[4]["chosen"] * 9
    path = write(tmp_path / "scored.jsonl", rows)
    judge(
        path, tmp_path / "kept.jsonl", "--json", tmp_path / "r.json", "--drop-neutral",
        "--drop-duplicates", "--drop-incomplete", "--require-target", "--max-length-ratio", 5,
        "--max-per-prompt", 3,
    )  # fmt: skip
    filtered = json.loads((tmp_path / "r.json").read_text("utf-8"))["filtered"]
    assert filtered["dropped"] == {
        "neutral": 12,
        "duplicate": 1,
        "same_sides": 1,
        "unscored": 1,
        "missing_level": 1,
        "length_ratio": 1,
        "over_max_per_prompt": 22,
    }
    kept = [json.loads(line) for line in (tmp_path / "kept.jsonl").open("rb")]
    assert len(kept) == filtered["kept"] == 73 - 39
    companies = [row["metadata"]["company"] for row in kept]
    assert max(map(companies.count, companies)) <= 3


def test_require_target(judge: Judge, tmp_path: Path) -> None:
    rows = [row for row in scored_set(groups=12) if row["metadata"]["kind"] == "degraded"]
    rows[0]["scores"]["rejected"]["depth"] = rows[0]["scores"]["chosen"]["depth"]
    rows[1]["metadata"]["defect_metadata"] = {"degradation_type": "something of mine"}
    _, words = judge(write(tmp_path / "s.jsonl", rows), tmp_path / "kept.jsonl", "--require-target")
    assert "no_known_target 1, target_not_lowered 1" in words
    assert "the rubric does not know something of mine" in words


def test_poor_verdict_is_exit_code_1(judge: Judge, tmp_path: Path) -> None:
    rows = scored_set(groups=12)
    for row in rows:
        row["scores"]["rejected"] = row["scores"]["chosen"]
    code, words = judge(write(tmp_path / "s.jsonl", rows), tmp_path / "kept.jsonl")
    assert code == 1
    assert "verdict poor" in words
    assert "the mean gap is 0.00 and should be 0.50" in words
    assert "the weakest targeted cells: " in words
    assert (tmp_path / "kept.jsonl").exists()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda row: row["scores"]["chosen"].update(depth=5), "found level 5 in scores.chosen"),
        (lambda row: row["scores"]["chosen"].update(depth="high"), "'high' in scores.chosen.depth"),
        (lambda row: row["scores"]["chosen"].update(wit=3), "unknown dimension 'wit'"),
        (lambda row: row.update(promt=row.pop("prompt")), "unknown key promt"),
        (lambda row: row.pop("rejected"), "no key rejected"),
        (
            lambda row: row["metadata"]["defect_metadata"].update(targets=["wit"]),
            "unknown dimension 'wit' in metadata.defect_metadata.targets",
        ),
    ],
)
def test_wrong_rows(
    damage: Callable[[dict[str, Any]], object], words: str, judge: Judge, tmp_path: Path
) -> None:
    rows = scored_set(groups=2)
    damage(rows[6])
    path = write(tmp_path / "scored.jsonl", rows)
    code, said = judge(path, tmp_path / "kept.jsonl", "--json", tmp_path / "r.json")
    assert code == 2
    assert f"{path}, line 7: " in said
    assert words in said
    assert {p.name for p in tmp_path.iterdir()} == {"scored.jsonl"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "an empty file"),
        (b'{"chosen": "a", "rejected": "b"}\n{"chosen": \n', "line 2: found broken JSON"),
        ("收入".encode("gb18030"), "bytes that are not UTF-8"),
        (b"[1]\n", "a JSON array"),
    ],
)
def test_wrong_files(content: bytes, words: str, judge: Judge, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    code, said = judge(path)
    assert (code, words in said) == (2, True)


def test_wrong_use(judge: Judge, scored: Path, tmp_path: Path) -> None:
    for arguments, words in (
        ((tmp_path / "none.jsonl",), "no such file or folder"),
        ((tmp_path,), "found a folder"),
        ((scored, scored), "the input itself as FILTERED"),
        ((scored, "--rubric", "nonsense"), "unknown rubric 'nonsense'"),
        ((scored, "--max-length-ratio", 0.5), "1 or more"),
        ((scored, "--rubric", "helpsteer"), "unknown dimension 'depth'"),
    ):
        code, said = judge(*arguments)
        assert (code, words in said) == (2, True), said


def test_levels_are_not_needed_to_be_whole(judge: Judge, tmp_path: Path) -> None:
    """Unscored rows, null levels and strange failure notes are counted, not refused."""
    rows = scored_set(groups=12)
    rows[0]["scores"]["rejected"] = {}
    rows[1]["scores"]["judge"]["failures"] = {"chosen": {"depth": "odd"}, "rejected": 3}
    del rows[2]["scores"]
    code, words = judge(write(tmp_path / "s.jsonl", rows))
    assert code == 0
    assert "unscored 1" in words


def test_pairs_without_prompt_id_or_metadata(judge: Judge, tmp_path: Path) -> None:
    rows = [
        {
            "chosen": [{"role": "assistant", "content": f"好 {i}"}],
            "rejected": f"差 {i}",
            "meta": {"bias_type": ("性别偏见", "region")[i % 2]},
            "scores": {
                "chosen": {"fairness": 4, "inclusiveness": 3, "evidence": 3},
                "rejected": {"fairness": 1, "inclusiveness": 2, "evidence": 3},
            },
        }
        for i in range(12)
    ]
    path = write(tmp_path / "bias.jsonl", rows)
    judge(path, "--rubric", "education_bias", "--json", tmp_path / "r.json")
    value = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert [row["name"] for row in value["specificity"]] == ["gender", "region"]
    assert value["specificity"][0]["targets"] == ["fairness"]
