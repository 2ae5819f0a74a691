"""Each fault put into a clean set is found and named; a clean set is not accused."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scored_sets import DIMENSIONS, RUBRIC, scored_set, write

from judge.validate.measures.shortcuts import CHANCE, LEAK, paired_auc
from judge.validate.measures.stats import gap, verdict
from judge.validate.report import Finding, Report
from judge.validate.run import Settings, compute, exit_code
from judge.validate.table import read_table

Rows = list[dict[str, Any]]


@pytest.fixture
def validated(tmp_path: Path) -> Callable[..., Report]:
    def validate(rows: Rows, **settings: Any) -> Report:
        table = read_table(write(tmp_path / "scored.jsonl", rows), RUBRIC)
        return compute(table, Settings(**settings))

    return validate


def accusations(report: Report) -> dict[str, Finding]:
    return {f.code: f for f in report.findings if f.level != "note"}


def degraded(rows: Rows) -> Rows:
    return [row for row in rows if row["metadata"]["kind"] == "degraded"]


def of(rows: Rows, name: str) -> Rows:
    return [r for r in rows if r["metadata"]["defect_metadata"]["degradation_type"] == name]


@pytest.mark.slow
def test_clean_sets_are_not_accused(validated: Callable[..., Report]) -> None:
    accused = [
        seed
        for seed in range(20)
        if accusations(validated(scored_set(groups=12 + seed % 9, seed=seed), seed=seed))
    ]
    assert len(accused) <= 1


def test_few_pairs_do_not_make_a_leak_by_chance() -> None:
    """With a dozen pairs an AUC above the line is common; only the swaps keep it from a verdict."""
    above = accused = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(12, 3))
        auc, p = paired_auc(x @ x.T, np.arange(12), 1.0, seed)
        above += auc > LEAK
        accused += auc > LEAK and p <= CHANCE
    assert above > 0.1 * 300
    assert accused <= 0.02 * 300


def test_clean_set_passes(validated: Callable[..., Report]) -> None:
    report = validated(scored_set())
    assert not accusations(report)
    assert exit_code(report) == 0
    assert report.verdict.grade == "good"
    assert {part.result for part in report.shortcuts} == {"clean"}


def longer(row: dict[str, Any], rng: random.Random) -> None:
    row["chosen"] += "\n" + "\n".join(row["rejected"].split("\n")[:3])


def phrase(row: dict[str, Any], rng: random.Random) -> None:
    lines = row["rejected"].split("\n")
    lines.insert(rng.randrange(len(lines)), "总体而言，公司表现值得期待。")
    row["rejected"] = "\n".join(lines)


def temperature(row: dict[str, Any], rng: random.Random) -> None:
    row["metadata"]["defect_metadata"]["temperature"] = 0.5


def generator(row: dict[str, Any], rng: random.Random) -> None:
    row["metadata"]["defect_metadata"]["model"] = "gamma:other"


def bold(row: dict[str, Any], rng: random.Random) -> None:
    row["chosen"] = row["chosen"].replace("亿元", "**亿元**")


@pytest.mark.parametrize(
    ("leak", "code", "named"),
    [
        (longer, "length_leak", "characters"),
        (phrase, "phrases_leak", "总体而言，公司表现值得期待。"),
        (temperature, "generator_leak", "temperature 0.5: chosen 0%, rejected 100%"),
        (generator, "generator_leak", "model gamma:other: chosen 0%, rejected 100%"),
        (bold, "style_leak", "bold"),
    ],
)
def test_leak_is_caught_and_named(
    leak: Callable[..., None], code: str, named: str, validated: Callable[..., Report]
) -> None:
    for seed in range(3):
        rows = scored_set(groups=24, seed=seed)
        rng = random.Random(seed)
        for row in degraded(rows):
            leak(row, rng)
        found = accusations(validated(rows, seed=seed))
        assert code in found
        assert named in found[code].message
        assert found[code].advice


def test_stock_phrase_in_a_third_of_the_texts_is_named(validated: Callable[..., Report]) -> None:
    rows = scored_set(groups=60)
    rng = random.Random(0)
    for row in degraded(rows):
        if rng.random() < 0.33:
            phrase(row, rng)
    found = accusations(validated(rows))
    assert "总体而言，公司表现值得期待。" in found["phrases_leak"].message


def test_few_prompts_are_not_enough_to_tell(validated: Callable[..., Report]) -> None:
    rows = scored_set(groups=6)
    for row in degraded(rows):
        longer(row, random.Random(0))
    report = validated(rows)
    assert "length_leak" not in accusations(report)
    part = report.shortcuts[0]
    assert (part.name, part.result, part.auc) == ("length", "cannot tell", None)
    assert "6 groups" in part.reason


def test_dead_degradation(validated: Callable[..., Report]) -> None:
    rows = scored_set()
    for row in of(rows, "generic_wording"):
        row["scores"]["rejected"] = dict(row["scores"]["chosen"])
    found = accusations(validated(rows))
    finding = found["dead_degradation"]
    assert finding.cell == {"degradation": "generic_wording", "dimension": "professionalism"}
    assert finding.numbers["mean_gap"] == 0
    assert "does not lower professionalism" in finding.message


def test_off_target_degradation(validated: Callable[..., Report]) -> None:
    rows = scored_set()
    for row in of(rows, "shallow_depth"):
        scores = row["scores"]
        scores["rejected"]["accuracy"] = max(0, scores["chosen"]["accuracy"] - 3)
        scores["rejected"]["depth"] = scores["chosen"]["depth"] - 1
    found = accusations(validated(rows))
    assert "accuracy 3.00" in found["off_target_damage"].message
    assert found["target_not_largest"].cell["dimension"] == "accuracy"
    assert "severity_flat" in found


def test_severity_that_does_less_harm(validated: Callable[..., Report]) -> None:
    rows = scored_set(groups=60)
    for row in of(rows, "one_sided_coverage"):
        if row["metadata"]["defect_metadata"]["severity"] == 4:
            row["scores"]["rejected"]["depth"] = row["scores"]["chosen"]["depth"] - 1
    found = accusations(validated(rows))
    assert "severity 4 does less harm than severity 3" in found["severity_not_monotone"].message


def test_halo(validated: Callable[..., Report]) -> None:
    rng = random.Random(0)
    rows = scored_set()
    for row in rows:
        for side, low in (("chosen", 2), ("rejected", 0)):
            impression = rng.randint(low, low + 2)
            row["scores"][side] = dict.fromkeys(DIMENSIONS, impression)
    found = accusations(validated(rows))
    assert "mean correlation 1.00" in found["halo"].message
    assert "one dimension a call" in found["halo"].advice


def test_judge_that_always_says_three(validated: Callable[..., Report]) -> None:
    rows = scored_set()
    for row in rows:
        for side in ("chosen", "rejected"):
            row["scores"][side] = dict.fromkeys(DIMENSIONS, 3)
    report = validated(rows)
    clusters = [f for f in report.findings if f.code == "clustering"]
    assert [f.cell["dimension"] for f in clusters] == list(DIMENSIONS)
    assert "100% of all levels are 3" in clusters[0].message
    assert report.verdict.grade == "poor"
    assert exit_code(report) == 1


def test_swapped_sides(validated: Callable[..., Report]) -> None:
    rows = scored_set()
    for row in degraded(rows):
        row["chosen"], row["rejected"] = row["rejected"], row["chosen"]
        scores = row["scores"]
        scores["chosen"], scores["rejected"] = scores["rejected"], scores["chosen"]
    report = validated(rows)
    found = accusations(report)
    assert found["swapped_sides"].level == "error"
    assert "chosen and rejected look swapped" in found["swapped_sides"].message
    assert exit_code(report) == 1


def test_swapped_sides_of_one_degradation(validated: Callable[..., Report]) -> None:
    rows = scored_set()
    for row in of(rows, "vague_precision"):
        scores = row["scores"]
        scores["chosen"], scores["rejected"] = scores["rejected"], scores["chosen"]
    found = accusations(validated(rows))
    assert found["swapped_sides"].cell == {"degradation": "vague_precision"}


def test_missing_scores(validated: Callable[..., Report]) -> None:
    rows = scored_set()
    rng = random.Random(0)
    for row in rows:
        if rng.random() < 0.1:
            del row["scores"]
            continue
        failures: dict[str, Any] = {}
        for side in ("chosen", "rejected"):
            for name in DIMENSIONS:
                if rng.random() < 0.11:
                    row["scores"][side][name] = None
                    failures.setdefault(side, {})[name] = {"truncated": 3}
        row["scores"]["judge"]["failures"] = failures
    report = validated(rows)
    finding = accusations(report)["missing_levels"]
    assert finding.level == "error"
    assert 0.15 < (report.missing.share or 0) < 0.25
    assert f"{report.missing.share:.0%} of all levels are missing" in finding.message
    assert set(report.missing.by_cause) == {"no scores", "truncated"}
    assert report.missing.by_cause["no scores"] == 6 * report.missing.unscored
    assert "truncated" in finding.message
    assert report.problems.by_reason["unscored"] == report.missing.unscored
    assert report.problems.by_reason["missing_level"] == report.missing.incomplete


def test_nothing_scored(validated: Callable[..., Report]) -> None:
    rows = scored_set(groups=3)
    for row in rows:
        del row["scores"]
    report = validated(rows)
    assert report.verdict.grade is None
    assert "nothing_to_judge" in accusations(report)
    assert exit_code(report) == 1


def test_noise_floor_raises_the_bar(validated: Callable[..., Report]) -> None:
    """A judge that takes a level off whatever was edited makes a drop of one mean nothing."""
    rows = scored_set(severities=(1,))
    for row in rows:
        for name in DIMENSIONS:
            row["scores"]["rejected"][name] = max(0, row["scores"]["chosen"][name] - 1)
    report = validated(rows)
    assert report.noise_floor.mean_gap == 1
    assert "noisy_controls" in accusations(report)


def test_related_judge(validated: Callable[..., Report]) -> None:
    rows = scored_set(groups=12)
    for row in rows:
        row["scores"]["judge"]["model"] = "dashscope:qwen-max + openai:gpt-9"
        for key in ("gold_metadata", "defect_metadata"):
            row["metadata"][key]["model"] = "qwen-plus"
    finding = accusations(validated(rows))["related_judge"]
    assert "dashscope:qwen-max" in finding.message
    assert "(qwen)" in finding.message


def test_duplicates_and_conflicts(validated: Callable[..., Report]) -> None:
    rows = scored_set(groups=12)
    again = {**rows[0], "id": "again", "scores": rows[1]["scores"]}
    same = {**rows[2], "id": "same", "rejected": rows[2]["chosen"] + " "}
    report = validated([*rows, again, same])
    assert report.duplicates.pairs == 1
    assert report.duplicates.same_sides == 1
    assert report.duplicates.conflicting >= 1
    assert {"duplicate_pairs", "same_sides", "conflicting_levels"} <= set(accusations(report))


def test_company_under_two_names(validated: Callable[..., Report]) -> None:
    rows = scored_set(groups=12)
    for row in rows:
        if row["metadata"]["prompt_id"] == "公司003":
            row["metadata"]["prompt_id"] = "公司007 bis"
            row["prompt"] = "换一种写法。\n" + rows[0]["prompt"]
    report = validated(rows)
    assert report.duplicates.linked_prompts == [["公司000", "公司007 bis"]]
    assert report.duplicates.independent_groups == 11


def test_same_report_under_two_companies(validated: Callable[..., Report]) -> None:
    rows = scored_set(groups=12)
    rows[-2]["chosen"] = rows[0]["chosen"].replace(
        rows[0]["chosen"].split("\n")[0], "另起一句开头。"
    )
    report = validated(rows)
    assert report.duplicates.linked_texts == [["公司000", "公司011"]]
    assert "linked_texts" in accusations(report)


def test_planted_errors_missed_are_listed_with_their_place(
    validated: Callable[..., Report],
) -> None:
    rows = scored_set(groups=20)
    for i, row in enumerate(of(rows, "simplified_calculation")):
        now = row["rejected"][3:6]
        row["metadata"]["defect_metadata"]["planted"] = [
            {"where": [3, 6], "was": "1.2", "now": now, "error": ("unit", "sign")[i % 2]}
        ]
        if i in {1, 3, 5}:
            row["scores"]["rejected"]["accuracy"] = row["scores"]["chosen"]["accuracy"]
    report = validated(rows)
    assert (report.planted.pairs, report.planted.found) == (20, 17)
    assert report.planted.by_error == {"sign": (7, 10), "unit": (10, 10)}
    assert [m.where for m in report.planted.missed] == [(3, 6)] * 3
    assert report.planted.missed[0].line == rows.index(of(rows, "simplified_calculation")[1]) + 1
    assert "least seen: sign (7 of 10)" in accusations(report)["missed_errors"].message


def test_thresholds_follow_the_scale() -> None:
    three = gap(np.full(20, 3.0))
    assert verdict(three, 9).grade == "good"
    assert verdict(three, 4).grade == "excellent"


def test_same_input_and_seed_give_the_same_report(validated: Callable[..., Report]) -> None:
    rows = scored_set(groups=15)
    assert validated(rows, seed=4) == validated(rows, seed=4)
