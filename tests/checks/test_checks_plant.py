"""Planted errors: recorded exactly, wrong for sure, and nothing else touched."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest

from reward_model.checks import ERROR_KINDS, Planted, plant, read_facts, verify
from reward_model.checks.lexicon import leftover

PROMPT = """单位：万元

| 项目 | 2021年 | 2020年 |
|---|---|---|
| 营业收入 | 12,340.00 | 10,250.00 |
| 营业成本 | 9,120.00 | 8,130.00 |
| 净利润 | 812.00 | 655.00 |
| 流动资产合计 | 6,480.00 | 5,230.00 |
| 非流动资产合计 | 4,170.00 | 4,390.00 |
| 流动负债合计 | 3,150.00 | 4,260.00 |
| 非流动负债合计 | 1,070.00 | 1,180.00 |
"""
REPORT = """# 2021年财务分析

2021年营业收入为12,340.00万元，同比增长20.4%；净利润为812.00万元，同比增长24.0%。
毛利率为26.1%，较上年提升5.4个百分点。资产负债率为39.6%，总资产为10,650.00万元。
"""
ENGLISH_PROMPT = """Unit: CNY million

| Item | FY2021 | FY2020 |
|---|---|---|
| Revenue | 123.4 | 102.5 |
| Cost of sales | 91.2 | 81.3 |
| Net profit | 8.12 | 6.55 |
| Total current assets | 64.8 | 52.3 |
| Total non-current assets | 41.7 | 43.9 |
| Total current liabilities | 31.5 | 42.6 |
"""
ENGLISH_REPORT = """# Financial analysis, FY2021

Revenue rose 20.4% to CNY 123.4 million in FY2021. Net profit was CNY 8.12 million, up 24.0%.
Gross margin was 26.1%, up 5.4 percentage points from FY2020. Total assets were CNY 106.5 million.
"""
BOTH = [(PROMPT, REPORT), (ENGLISH_PROMPT, ENGLISH_REPORT)]


def test_both_reports_are_right_to_begin_with() -> None:
    for prompt, report in BOTH:
        assert {v.status for v in verify(prompt, report)} == {"verified"}


@pytest.mark.parametrize("kind", ERROR_KINDS)
@pytest.mark.parametrize(("prompt", "report"), BOTH, ids=["zh", "en"])
def test_every_kind_is_recorded_exactly_and_found(kind: str, prompt: str, report: str) -> None:
    facts = read_facts(prompt)
    for seed in range(4):
        done = plant(facts, report, kind, random.Random(seed))
        assert done is not None
        text, error = done
        start, end = error.where
        assert text[start:end] == error.now
        tail = len(text) - end
        assert report[:start] == text[:start]
        assert report[len(report) - tail :] == text[end:]
        assert report[start : len(report) - tail] == error.was
        wrong = [v for v in verify(facts, text) if v.status == "wrong"]
        assert 1 <= len(wrong) <= (2 if kind == "swap" else 1)


def test_the_same_seed_plants_the_same_error() -> None:
    once = plant(PROMPT, REPORT, "transposition", random.Random(7))
    assert once == plant(PROMPT, REPORT, "transposition", random.Random(7))


def test_what_a_text_does_not_offer_is_not_planted() -> None:
    assert plant(PROMPT, "无数字可言。", "magnitude", random.Random(0)) is None
    assert plant(PROMPT, "2021年毛利率为26.1%。", "unit", random.Random(0)) is None
    assert plant("没有表格", REPORT, "sign", random.Random(0)) is None


def test_an_unknown_kind_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'typo' is unknown; the kinds are transposition, swap"):
        plant(PROMPT, REPORT, "typo", random.Random(0))


def test_the_record_as_json() -> None:
    record = Planted((1, 3), "a", "bc", "sign").as_dict()
    assert json.loads(json.dumps(record)) == {
        "where": [1, 3],
        "was": "a",
        "now": "bc",
        "error": "sign",
    }


def test_unknown_words_make_a_link_doubtful() -> None:
    assert leftover("同比大幅下降") == ""
    assert leftover("华东地区") != ""
    [verdict] = verify(PROMPT, "2021年华东营业收入为99.00万元。")
    assert verdict.status == "unverifiable"


def test_errors_on_real_reports_are_found(real_data: Path) -> None:
    lines = (real_data / "finreport_pairs_0to4.jsonl").read_text(encoding="utf-8").splitlines()
    planted = found = 0
    for row in map(json.loads, lines[:4]):
        facts = read_facts(row["prompt"])
        for kind in ERROR_KINDS:
            done = plant(facts, row["chosen"], kind, random.Random(3))
            if done is None:
                continue
            text, error = done
            start, end = error.where
            assert text[start:end] == error.now
            near = [v for v in verify(facts, text) if start - 1 <= v.claim.start <= end + 12]
            planted += 1
            found += any(v.status == "wrong" for v in near)
    assert planted >= 30
    assert found >= 0.9 * planted


def test_real_statements_raise_no_false_alarm(real_data: Path) -> None:
    """Sentences worked out from annual statements of listed companies verify, every one."""
    with (real_data / "astock_statements.csv").open(encoding="utf-8-sig", newline="") as handle:
        rows = [r for r in csv.DictReader(handle) if r["营业成本"] and r["营业收入"]][:200]
    for row in rows:
        year, revenue, cost = row["报告年份"], float(row["营业收入"]), float(row["营业成本"])
        prompt = f"| 项目 | {year}年 |\n|---|---|\n| 营业收入 | {revenue:.2f} |\n"
        prompt += f"| 营业成本 | {cost:.2f} |"
        text = f"{year}年营业收入为{revenue / 1e8:.2f}亿元，毛利率为{1 - cost / revenue:.1%}。"
        assert {v.status for v in verify(prompt, text)} == {"verified"}, text
