"""Reviews by people: out to a sheet, blind, and back with every cell checked."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from commands import run
from hypothesis import given
from hypothesis import strategies as st

from judge.review.export import LONGEST_CELL, code_of, safe_cell, sides_of
from reward_model.records import read_pairs

NAMES = ("depth", "professionalism", "accuracy")
COLUMNS = [f"{letter} {name}" for name in NAMES for letter in "AB"]


def _scored(path: Path, count: int = 12) -> Path:
    rows = []
    for i in range(count):
        made = {"degradation_type": ("shallow", "vague", "wrong")[i % 3], "severity": 1}
        levels = {"chosen": dict.fromkeys(NAMES, 4), "rejected": dict.fromkeys(NAMES, i % 4)}
        spread = {"rejected": {"depth": 0.5 if i % 2 else 0.0}}
        rows.append(
            {
                "id": f"pair-{i}-golden",
                "prompt": f"=HYPERLINK(1)\nprompt {i}",
                "chosen": f'- good, {i}\n"quoted"\x07',
                "rejected": f"@bad; {i}",
                "metadata": {"prompt_id": f"p{i}", "kind": "degraded", "defect_metadata": made},
                "scores": {**levels, "judge": {"model": "offline", "spread": spread}},
            }
        )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def _sheet(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8-sig"), newline="")))


def _fill(
    path: Path, answers: list[dict[str, str]], delimiter: str = ",", bom: bool = True
) -> Path:
    rows = _sheet(path)
    for row, answer in zip(rows, answers, strict=False):
        row |= answer
    text = io.StringIO()
    lines = csv.DictWriter(text, list(rows[0]), delimiter=delimiter, lineterminator="\r\n")
    lines.writeheader()
    lines.writerows(rows)
    out = path.with_name("filled.csv")
    out.write_text(text.getvalue(), "utf-8-sig" if bom else "utf-8", newline="")
    return out


def _export(tmp_path: Path, *flags: object) -> tuple[Path, Path]:
    scored, out = _scored(tmp_path / "scored.jsonl"), tmp_path / "review.csv"
    done = run("judge", "export-review", scored, "--out", out, *flags)
    assert done.code == 0, done.stderr
    return scored, out


def test_the_sheet_is_blind_and_safe_to_open(tmp_path: Path) -> None:
    _, out = _export(tmp_path)
    assert out.read_bytes().startswith(b"\xef\xbb\xbf")
    rows = _sheet(out)
    assert len(rows) == 12
    assert list(rows[0]) == ["id", "prompt", "text A", "text B", *COLUMNS, "comment"]
    text = out.read_text("utf-8")
    for word in ("golden", "chosen", "rejected", "shallow", "offline", "pair-"):
        assert word not in text
    assert Counter(row["text A"][:3] == "'@b" for row in rows).keys() == {True, False}
    for row in rows:
        assert not any(cell[:1] in set("=+-@\t\r") for cell in row.values() if cell)
        assert "\x07" not in row["text A"] + row["text B"]
        assert all(row[column] == "" for column in COLUMNS)
    guide = out.with_name("review.csv.guide.md").read_text("utf-8")
    assert "## depth" in guide
    config = json.loads(out.with_name("review.csv.config.json").read_text())
    assert config["settings"]["n"] == 60


def test_the_sample_is_spread_over_degradations_and_disagreement(tmp_path: Path) -> None:
    _, out = _export(tmp_path, "--n", 6, "--seed", 3)
    by_code = {code_of(f"pair-{i}-golden"): i for i in range(12)}
    taken = [by_code[row["id"]] for row in _sheet(out)]
    assert Counter(i % 3 for i in taken) == {0: 2, 1: 2, 2: 2}
    assert Counter(i % 2 for i in taken) == {0: 3, 1: 3}
    first = out.read_bytes()
    out.unlink()
    assert run("judge", "export-review", tmp_path / "scored.jsonl", "--out", out, "--n", 6,
               "--seed", 3).code == 0  # fmt: skip
    assert out.read_bytes() == first


def test_answers_are_never_overwritten(tmp_path: Path) -> None:
    scored, out = _export(tmp_path)
    before = out.read_bytes()
    done = run("judge", "export-review", scored, "--out", out)
    assert (done.code, "may hold answers" in done.stderr) == (2, True)
    assert out.read_bytes() == before


@pytest.mark.parametrize(("delimiter", "bom"), [(",", True), (";", True), ("\t", False)])
def test_answers_come_back_on_their_sides(tmp_path: Path, delimiter: str, bom: bool) -> None:
    scored, out = _export(tmp_path, "--show-levels")
    rows = _sheet(out)
    assert {row["judge A depth"] for row in rows} | {"4"} == {"0", "1", "2", "3", "4"}
    # A person who agrees with the judge, but says nothing of one row and one cell.
    answers = [{c: row[f"judge {c}"] for c in COLUMNS} for row in rows]
    answers[3] = {}
    answers[4]["A accuracy"] = " "
    answers[5]["comment"] = "=cmd, odd"
    human = tmp_path / "human.jsonl"
    filled = _fill(out, answers, delimiter, bom)
    done = run("judge", "import-review", scored, filled, "--out", human)
    assert done.code == 0, done.stderr
    assert "11 of 12 rows" in done.stderr
    known = {pair.id: pair for pair in read_pairs(scored)}
    missing = 0
    comments = set()
    for pair in read_pairs(human):
        judge = known[pair.id].scores
        assert pair.scores is not None
        assert judge is not None
        assert pair.prompt == known[pair.id].prompt
        assert pair.scores.judge is not None
        assert pair.scores.judge.model == "human"
        comments.add(pair.scores.overall_assessment)
        for side in ("chosen", "rejected"):
            for name, level in pair.scores.side(side).items():  # type: ignore[arg-type]
                missing += level is None
                assert level in (None, judge.side(side)[name])  # type: ignore[arg-type]
    assert missing == 1
    assert comments == {None, "=cmd, odd"}
    agreed = run("judge", "agree", scored, human, "--json", "-")
    assert agreed.code == 0, agreed.stderr
    depth = json.loads(agreed.stdout)["dimensions"]["depth"]
    assert depth["pairs"][0]["exact"]["value"] == 1.0
    assert depth["pairs"][0]["units"] == 22


def test_every_mistake_is_named_by_row_and_column(tmp_path: Path) -> None:
    scored, out = _export(tmp_path)
    rows = _sheet(out)
    answers: list[dict[str, str]] = [
        {"A depth": "5"},
        {"B accuracy": "3.5"},
        {"A depth": "３", "B depth": "-1"},
        {"id": "r0", "A depth": "1"},
        {"id": rows[0]["id"]},
        {"B professionalism": "good"},
    ]
    human = tmp_path / "human.jsonl"
    done = run("judge", "import-review", scored, _fill(out, answers), "--out", human)
    assert done.code == 2
    assert not human.exists()
    message = " ".join(done.stderr.split())
    for words in (
        "row 2, column A depth: '5'",
        "row 3, column B accuracy: '3.5'",
        "row 4, column A depth: '３'",
        "row 4, column B depth: '-1'",
        "row 5, column id: 'r0' is not in the scored file",
        f"row 6, column id: {rows[0]['id']} stands in row 2 too",
        "row 7, column B professionalism: 'good'",
        "filled.csv",
        "from 0 to 4",
    ):
        assert words in message, words


def test_files_that_are_no_review_are_refused(tmp_path: Path) -> None:
    scored, out = _export(tmp_path)
    human = tmp_path / "human.jsonl"

    def refused(content: bytes, *flags: object) -> str:
        path = tmp_path / "bad"
        path.write_bytes(content)
        done = run("judge", "import-review", scored, path, "--out", human, *flags)
        assert done.code == 2, done.stderr
        assert "Traceback" not in done.stderr
        assert not human.exists()
        return " ".join(done.stderr.split())

    assert "empty file" in refused(b"")
    assert "no column id" in refused(b"a,b\n1,2\n")
    assert 'save the sheet as "CSV UTF-8"' in refused("id,报告\n".encode("gb18030"))
    assert "broken table" in refused(out.read_bytes() + b'r1,"never closed')
    assert "no answer" in refused(out.read_bytes())
    header = out.read_text("utf-8-sig").partition("\n")[0].strip()
    assert "A depth twice" in refused(f"{header},A depth\n".encode())
    assert "broken JSON" in refused(b"[{", "--format", "argilla")
    assert "--user without --format argilla" in refused(b"x", "--user", "ann")
    assert "no list of records" in refused(b"{}", "--format", "argilla")
    done = run("judge", "import-review", scored, out, "--out", scored)
    assert (done.code, "another file" in done.stderr) == (2, True)
    assert run("judge", "import-review", scored, tmp_path / "none", "--out", human).code == 2


def _respond(path: Path, users: list[str]) -> None:
    """What Argilla's own export would hold after people have answered."""
    records: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))
    for record in records:
        shown = {name: s["value"] for name, s in record["suggestions"].items()}
        record["responses"] = {
            name: [{"value": value, "user_id": user} for user in users]
            for name, value in shown.items()
        }
        record["responses"]["other_question"] = [{"value": "x", "user_id": "someone"}]
    path.write_text(json.dumps(records), "utf-8")


def test_argilla_there_and_back(tmp_path: Path) -> None:
    scored, human = _scored(tmp_path / "scored.jsonl"), tmp_path / "human.jsonl"
    out = tmp_path / "records.json"
    flags = ("--format", "argilla")
    done = run("judge", "export-review", scored, "--out", out, *flags, "--show-levels")
    assert done.code == 0, done.stderr
    records = json.loads(out.read_text("utf-8"))
    settings = json.loads(out.with_name("records.json.settings.json").read_text("utf-8"))
    questions = {q["name"]: q for q in settings["questions"]}
    assert set(records[0]["fields"]) == {field["name"] for field in settings["fields"]}
    assert questions["a_depth"]["settings"]["options"] == [{"value": i} for i in range(5)]
    for record in records:
        assert set(record["suggestions"]) <= set(questions)
        assert record["suggestions"]["a_depth"]["agent"] == "offline"
        first, _ = sides_of(record["id"])
        assert ("good" in record["fields"]["text_a"]) == (first == "chosen")
    _respond(out, ["ann", "bob"])
    many = run("judge", "import-review", scored, out, "--out", human, *flags)
    assert (many.code, "ann, bob" in many.stderr) == (2, True)
    done = run("judge", "import-review", scored, out, "--out", human, *flags, "--user", "ann")
    assert done.code == 0, done.stderr
    agreed = json.loads(run("judge", "agree", scored, human, "--json", "-").stdout)
    assert agreed["dimensions"]["accuracy"]["pairs"][0]["exact"]["value"] == 1.0


def test_argilla_without_levels_has_no_suggestions(tmp_path: Path) -> None:
    scored, out = _scored(tmp_path / "scored.jsonl", 3), tmp_path / "records.json"
    done = run("judge", "export-review", scored, "--out", out, "--format", "argilla")
    assert done.code == 0, done.stderr
    assert all(record["suggestions"] == {} for record in json.loads(out.read_text("utf-8")))
    assert "golden" not in out.read_text("utf-8")


def test_a_text_too_long_for_a_cell_stands_in_a_file(tmp_path: Path) -> None:
    scored, out = _scored(tmp_path / "scored.jsonl", 2), tmp_path / "review.csv"
    rows = [json.loads(line) for line in scored.read_text("utf-8").splitlines()]
    rows[0]["prompt"] = "table\n" * 20_000
    scored.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    done = run("judge", "export-review", scored, "--out", out)
    assert "review.csv.texts" in done.stderr
    [long] = (tmp_path / "review.csv.texts").iterdir()
    assert long.read_text("utf-8") == rows[0]["prompt"]
    cells = {row["id"]: row["prompt"] for row in _sheet(out)}
    assert "left out" in cells[long.name.partition(".")[0]]


@given(st.text(max_size=60) | st.text("=+-@＝ \t\r\n'1x", max_size=8))
def test_no_cell_starts_a_formula(text: str) -> None:
    cell = safe_cell(text)
    assert cell.lstrip()[:1] not in set("=+-@＝＋－＠") or not cell.strip()
    assert cell[:1] not in {"\t", "\r"}


def test_a_cell_fits_a_spreadsheet() -> None:
    cell = safe_cell("x" * 200_000)
    assert len(cell) < 32_767
    assert f"{200_000 - LONGEST_CELL} characters left out" in cell
