"""Calibration on known truth: a keen judge, a blind one, one that accuses, one that wavers."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from commands import run
from hypothesis import given
from hypothesis import strategies as st
from test_judge_score import GOOD, Judge, _levels, _pairs

from judge.calibrate.controls import make_case, reformatted
from judge.calibrate.run import calibrate_file
from judge.settings import ScoreSettings
from judge.texts import read_texts
from reward_model.checks import ERROR_KINDS, read_facts, verify
from reward_model.llm import Request
from reward_model.records import UserError
from reward_model.stats.shares import share, wilson


def _calibrate(path: Path, judge: Judge, **settings: Any) -> dict[str, Any]:
    evidence = settings.pop("evidence", "none")
    options = ScoreSettings(**{"samples": 2, **settings})
    return calibrate_file(path, options, evidence=evidence, judges=[judge])


def _clean(text: str) -> bool:
    return GOOD in text.replace("__", "").replace("\n\n\n", "\n\n")


def test_every_kind_is_planted_once_and_the_text_is_otherwise_the_same(tmp_path: Path) -> None:
    [report] = read_texts(_pairs(tmp_path / "p", 1), "chosen", limit=1, seed=0)
    case = make_case(report, 0)
    assert case.wrong == 0
    assert {"transposition", "sign", "magnitude", "percent_point"} <= set(case.planted)
    facts = read_facts(report.prompt)
    for kind, text in case.planted.items():
        assert text != report.text, kind
        assert any(v.status == "wrong" for v in verify(facts, text)), kind
    assert case == make_case(report, 0)


def test_a_judge_that_reads_figures_finds_all_and_accuses_nobody(tmp_path: Path) -> None:
    judge = Judge(lambda r, parts: _levels(4 if _clean(parts["report"]) else 2)(r, parts))
    run = _calibrate(_pairs(tmp_path / "pairs.jsonl", 3), judge)["runs"]["none"]
    assert run["recall"]["share"] == 1.0
    assert run["kinds"]["sign"]["mean_fall"] == 2.0
    assert run["kinds"]["sign"]["count"] + run["kinds"]["sign"]["no_place"] == 3
    assert run["below_top"] == share(0, 3)
    assert run["same_again"] == share(3, 3)
    assert run["swap_consistent"]["count"] == 0
    # Only the dimension of figures is asked about.
    assert {r.messages[-1].content.count("accuracy:") > 0 for r in judge.requests} == {True}


def test_a_judge_that_always_says_three_finds_nothing_and_accuses_everybody(
    tmp_path: Path,
) -> None:
    run = _calibrate(_pairs(tmp_path / "pairs.jsonl", 3), Judge(_levels(3)))["runs"]["none"]
    assert run["recall"]["share"] == 0.0
    assert run["below_top"]["share"] == 1.0
    assert run["lower_again"]["share"] == 0.0


def test_a_text_with_a_wrong_figure_is_no_clean_text(tmp_path: Path) -> None:
    pairs = _pairs(tmp_path / "pairs.jsonl", 2)
    rows = [json.loads(line) for line in pairs.read_text("utf-8").splitlines()]
    rows[0]["chosen"] = rows[0]["chosen"].replace("净利润为15元", "净利润为17元")
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    result = _calibrate(pairs, Judge(_levels(3)))
    assert (result["reports"], result["clean_reports"]) == (2, 1)
    assert result["runs"]["none"]["below_top"] == share(1, 1)


def test_a_judge_that_wavers_finds_errors_by_chance(tmp_path: Path) -> None:
    judge = Judge(lambda r, parts: _levels(4 - r.sample)(r, parts))
    run = _calibrate(_pairs(tmp_path / "pairs.jsonl", 3), judge, samples=3)["runs"]["none"]
    assert run["lower_again"] == share(9, 9)
    assert run["same_again"]["share"] == 0.0
    assert run["mean_difference_again"] == pytest.approx(4 / 3, abs=1e-4)


def test_evidence_helps_a_judge_that_cannot_calculate(tmp_path: Path) -> None:
    def reader(request: Request, parts: dict[str, str]) -> str:
        return _levels(1 if "wrong:" in parts.get("evidence", "") else 4)(request, parts)

    pairs = _pairs(tmp_path / "pairs.jsonl", 2)
    result = _calibrate(pairs, Judge(reader), evidence="both")
    assert result["runs"]["none"]["recall"]["share"] == 0.0
    assert result["runs"]["checks"]["recall"]["share"] == 1.0
    assert result["runs"]["checks"]["below_top"]["hits"] == 0


def test_pairwise_a_judge_that_likes_the_first_place_is_exposed(tmp_path: Path) -> None:
    def first(_: Request, parts: dict[str, str]) -> str:
        return json.dumps({"levels": {"A": {"accuracy": 4}, "B": {"accuracy": 2}}})

    pairs = _pairs(tmp_path / "pairs.jsonl", 2)
    run = _calibrate(pairs, Judge(first), mode="pairwise")["runs"]["none"]
    assert run["swap_consistent"]["share"] == 0.0
    assert run["place_matters"]["share"] == 1.0
    assert run["recall"]["share"] == 0.0


def test_a_lost_level_is_missing_and_no_miss(tmp_path: Path) -> None:
    judge = Judge(lambda r, parts: _levels(4)(r, parts) if _clean(parts["report"]) else "hm")
    result = _calibrate(_pairs(tmp_path / "pairs.jsonl", 1), judge)
    found = result["runs"]["none"]
    assert found["recall"]["share"] is None
    assert found["kinds"]["sign"]["missing"] == 1
    assert set(result["missing"]) == {"parse"}


def test_the_command_on_embedded_reports(tmp_path: Path) -> None:
    pairs, out = tmp_path / "pairs.jsonl", tmp_path / "calibration.json"
    assert run("datagen", "pairs", "--out", pairs, "--pairs", "4", "--language", "both").code == 0
    flags = ("--max-reports", "2", "--evidence", "both", "--json")
    done = run("judge", "calibrate", pairs, *flags, out)
    assert done.code == 0, done.stderr
    assert "with evidence" in done.stderr
    result = json.loads(out.read_text("utf-8"))
    for found in result["runs"].values():
        assert found["recall"]["share"] > 0.8
        assert set(found["kinds"]) == set(ERROR_KINDS)
    again = run("judge", "calibrate", pairs, *flags, "-")
    assert json.loads(again.stdout) == result


def test_reports_without_figures_and_rubrics_without_accuracy_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "reports.jsonl"
    path.write_text('{"prompt": "Write.", "response": "Sales rose."}\n', "utf-8")
    done = run("judge", "calibrate", path)
    assert (done.code, "tables" in done.stderr) == (2, True)
    rubric = tmp_path / "r.toml"
    rubric.write_text(
        'name = "r"\nscale = 4\n[[dimensions]]\nname = "depth"\ntitle = "D"\nanchors = ["a"]\n'
    )
    done = run("judge", "calibrate", _pairs(tmp_path / "p", 1), "--rubric", rubric)
    assert done.code == 2
    with pytest.raises(UserError, match="no such file"):
        calibrate_file(tmp_path / "none", ScoreSettings(), judges=[Judge(_levels(1))])


def test_the_draws_of_a_settings_file_count(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("samples = 3\n")
    pairs = _pairs(tmp_path / "pairs.jsonl", 1)
    for flags, draws in ((["--config", config], 3), ([], 2), (["--samples", 4], 4)):
        done = run("judge", "calibrate", pairs, "--json", "-", *flags)
        pairs_of_draws = draws * (draws - 1) // 2
        result = json.loads(done.stdout)
        assert result["runs"]["none"]["same_again"]["count"] == pairs_of_draws


@given(st.lists(st.sampled_from("ab-* \n") | st.sampled_from(["**bold**", "- x\n"]), max_size=30))
def test_a_reformatted_text_has_the_same_words(parts: list[str]) -> None:
    text = "".join(parts)
    changed = reformatted(text)
    assert changed is None or changed != text
    words = [c for c in (changed or text) if c in "abx"]
    assert words == [c for c in text if c in "abx"]


def test_intervals_are_wilsons() -> None:
    from scipy.stats import binomtest

    rng = random.Random(0)
    for _ in range(50):
        count = rng.randint(1, 60)
        hits = rng.randint(0, count)
        known = binomtest(hits, count).proportion_ci(method="wilson")
        assert wilson(hits, count) == pytest.approx((known.low, known.high), abs=1e-9)
