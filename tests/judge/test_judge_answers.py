"""`judge` on what is no plain pair: single answers, completions, conversations, own columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from commands import run

TABLE = (
    "单位：元\n\n| 项目 | 2020 | 2021 |\n|---|---|---|\n"
    "| 营业收入 | 100 | 120 |\n| 净利润 | 10 | 15 |\n"
)
GOOD = (
    "营业收入由2020年的100元增至2021年的120元，同比增长20%，主要因为产能利用率提高带动销量。"
    "净利润为15元，但应收账款周转放缓，若回款再推迟，现金流将承压，预计明年风险上升。"
)
BAD = "公司赚钱了，挺好的。总体情况不错。"


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def _lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


ASKED = [{"role": "user", "content": TABLE}]
ANSWERS = [
    {"prompt": TABLE, "response": GOOD, "source": {"web": [1]}, "n": 2},
    {"prompt": TABLE, "completion": f"<think>hm</think>{BAD}", "id": 7},
    {"messages": [*ASKED, {"role": "assistant", "content": GOOD}], "mine": None},
    {"prompt": TABLE, "completions": [GOOD, BAD, "<think>cut"], "metadata": {"prompt_id": "p"}},
    {"prompt": TABLE, "chosen": GOOD, "rejected": BAD, "mine": 1},
]
"""What policies sample and people have lying about, in every shape."""


def test_single_answers_are_judged_like_sides_of_pairs(tmp_path: Path) -> None:
    rows, out = _lines(tmp_path / "a.jsonl", ANSWERS), tmp_path / "out.jsonl"
    done = run("judge", "score", rows, "--out", out, "--samples", "2")
    assert done.code == 0, done.stderr
    assert "1 pairs, 6 responses in 4 rows" in done.stderr
    found = _rows(out)
    added = ("scores", "judge")
    assert [{k: v for k, v in row.items() if k not in added} for row in found] == ANSWERS
    pair = found[4]["scores"]
    good, bad = pair["chosen"], pair["rejected"]
    nothing = dict.fromkeys(good)
    assert [row["scores"] for row in found[:4]] == [good, bad, good, [good, bad, nothing]]
    assert found[0]["judge"]["reasons"] == pair["reasoning"]["chosen"]
    assert found[3]["judge"]["reasons"][:2] == [
        pair["reasoning"][s] for s in ("chosen", "rejected")
    ]
    assert found[3]["judge"]["failures"][2]["depth"] == {"no_answer": 2}
    assert found[0]["judge"]["levels"] == {"offline": {n: [good[n]] * 2 for n in good}}
    first = out.read_bytes()
    again = run("judge", "score", rows, "--out", out, "--samples", "2")
    report = json.loads((tmp_path / "out.jsonl.report.json").read_text())
    assert (again.code, out.read_bytes()) == (0, first)
    assert report["counts"] == {"cached": 3 * 2 * 7}
    inside, beside = run("judge", "agree", out), run("judge", "agree", out, out)
    assert (inside.code, beside.code) == (0, 0)
    assert "8 units (sides of pairs, answers) in 2 groups" in inside.stderr
    assert "offline #2" in inside.stderr
    pairwise = run("judge", "score", rows, "--out", tmp_path / "p", "--mode", "pairwise")
    assert (pairwise.code, "line 1: found no pair" in pairwise.stderr) == (2, True)


def test_several_judged_answers_to_a_prompt_become_preferences(tmp_path: Path) -> None:
    """The sampling way of AI feedback: answers of a policy, judged, best against worst."""
    rows = [
        {"prompt": TABLE, "completions": [BAD, GOOD, "<think>cut"]},
        {"prompt": TABLE, "response": "好。", "run": 3},
        {"prompt": "only one", "response": GOOD},
        {"prompt": "all alike", "completions": [BAD, f"{BAD}！"]},
    ]
    judged, out = tmp_path / "judged.jsonl", tmp_path / "prefs"
    source = _lines(tmp_path / "a.jsonl", rows)
    assert run("judge", "score", source, "--out", judged).code == 0
    done = run("reward-model", "prefer", judged, "--out", out)
    assert done.code == 0, done.stderr
    (pair,) = _rows(out / "train.jsonl")
    assert (pair["prompt"], pair["chosen"]) == (TABLE, GOOD)
    assert pair["margin"] > 0
    config = json.loads((out / "config.json").read_text())
    assert config["rubric"].startswith("financial_report@")
    assert config["counts"]["dropped_completions"] == {"a level is missing": 1}
    assert config["counts"]["dropped_pairs"] == {
        "a tie": 1,
        "fewer than two completions to compare": 1,
    }
    card = (out / "README.md").read_text()
    assert "levels that a judge gave to every completion" in card
    broken = _rows(judged)
    del broken[1]["scores"]
    lost = run("reward-model", "prefer", _lines(judged, broken), "--out", tmp_path / "o")
    assert (lost.code, "line 2: found no scores of an answer" in lost.stderr) == (2, True)


def test_other_commands_take_pairs_with_columns_of_ones_own(tmp_path: Path) -> None:
    own = [
        {"prompt": f"公司{i}\n{TABLE}", "chosen": f"{GOOD}（{i}）", "rejected": f"{BAD}（{i}）",
         "source": "web", "turns": 3}
        for i in range(8)
    ]  # fmt: skip
    scored = tmp_path / "scored"
    assert run("judge", "score", _lines(tmp_path / "p", own), "--out", scored).code == 0
    kept = tmp_path / "kept"
    done = run("judge", "validate", scored, kept)
    assert done.code in {0, 1}, done.stderr
    assert all(row["source"] == "web" for row in _rows(kept))
    assert run("judge", "agree", scored, scored).code == 0
    sheet = tmp_path / "review.csv"
    assert run("judge", "export-review", scored, "--out", sheet, "--n", 4).code == 0
    text = sheet.read_text("utf-8-sig").splitlines()
    assert len(text) > 4
    assert "web" not in text[0]
    assert run("judge", "redteam", scored, "--max-reports", 1).code in {0, 1}
    assert run("judge", "calibrate", scored, "--max-reports", 1).code == 0


def test_two_responses_of_public_forms_are_both_judged(tmp_path: Path) -> None:
    """LMSYS's and HelpSteer's rows, ShareGPT's conversations, pairs whose prompt is a question."""
    rows = [
        {"question": TABLE, "response_a": BAD, "response_b": GOOD, "winner": "model_a"},
        {"prompt": TABLE, "completion_a": GOOD, "completion_b": BAD, "preference": None},
        {"conversations": [{"from": "human", "value": TABLE}, {"from": "gpt", "value": GOOD}]},
        {"question": TABLE, "chosen": GOOD, "rejected": BAD, "scores": [1, 2]},
    ]
    source, out = _lines(tmp_path / "rows", rows), tmp_path / "out"
    done = run("judge", "score", source, "--out", out)
    assert (done.code, "line 4: found scores already" in done.stderr) == (2, True)
    del rows[3]["scores"]
    assert run("judge", "score", _lines(source, rows), "--out", out).code == 0
    pair = (found := _rows(out))[3]["scores"]
    good, bad = pair["chosen"], pair["rejected"]
    assert good != bad
    assert found[0]["scores"] == {"response_a": bad, "response_b": good}
    assert found[1]["scores"] == {"completion_a": good, "completion_b": bad}
    assert found[2]["scores"] == good
    assert found[0]["judge"]["reasons"]["response_b"] == pair["reasoning"]["chosen"]
    prefs = tmp_path / "prefs"
    judged = _lines(tmp_path / "judged", found[:2])
    assert run("reward-model", "prefer", judged, "--out", prefs).code == 0
    (one,) = _rows(prefs / "train.jsonl")
    assert (one["chosen"], one["rejected"]) == (GOOD, BAD)
    unknown = run("judge", "score", _lines(source, [{"prompt": "p", "text": "t"}]), "--out", "x")
    assert (unknown.code, "rename the column" in unknown.stderr) == (2, True)


def test_nothing_is_asked_about_an_answer_that_is_empty(tmp_path: Path) -> None:
    asked = [{"role": "user", "content": "Why?"}]
    rows = [
        {"prompt": "p", "response": " \n"},
        {"messages": asked},
        {"prompt": "p", "completions": ["", GOOD]},
    ]
    out = tmp_path / "out"
    done = run("judge", "score", _lines(tmp_path / "rows", rows), "--out", out)
    assert (done.code, "3 calls made" in done.stderr) == (0, True)
    assert "draws without a level: 9 no_answer" in done.stderr
    nothing = {"depth": None, "professionalism": None, "accuracy": None}
    empty, silent, several = (row["scores"] for row in _rows(out))
    assert (empty, silent, several[0]) == (nothing, nothing, nothing)
    assert several[1]["depth"] is not None
