"""Claims and verdicts: what is said, whether it is so, and when nothing is said for sure."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_model.checks import (
    Claim,
    Period,
    evidence,
    extract_claims,
    findings,
    read_facts,
    summarize,
    verify,
)

PROMPT = """单位：万元

| 项目 | 2021年 | 2020年 |
|---|---|---|
| 营业收入 | 12,000.00 | 10,000.00 |
| 营业成本 | 9,000.00 | 8,000.00 |
| 研发费用 | 360.00 | 200.00 |
| 净利润 | -600.00 | -300.00 |
| 财务费用 | -20.00 | 30.00 |
| 经营活动产生的现金流量净额 | 1,500.00 | -500.00 |
| 流动资产合计 | 6,000.00 | 5,000.00 |
| 非流动资产合计 | 4,000.00 | 4,000.00 |
| 流动负债合计 | 3,000.00 | 4,000.00 |
| 非流动负债合计 | 1,000.00 | 1,000.00 |
"""
ENGLISH = """Unit: CNY million

| Item | FY2021 | FY2020 |
|---|---|---|
| Revenue | 120.0 | 100.0 |
| Cost of sales | 90.0 | 80.0 |
| R&D expenses | 3.6 | 2.0 |
| Net profit | (6.0) | (3.0) |
| Total current assets | 60.0 | 50.0 |
| Total current liabilities | 30.0 | 40.0 |
"""


def status(prompt: str, text: str) -> list[str]:
    return [v.status for v in verify(prompt, text)]


def one(text: str) -> Claim:
    [claim] = extract_claims(text)
    return claim


@pytest.mark.parametrize(
    "text",
    [
        "2021年营业收入为1.2亿元，同比增长20.0%。",
        "2021年，公司实现营业收入12,000万元。",
        "2021年营业收入由10,000万元增长至12,000万元。",
        "2021年毛利率为25.0%，较上年提升5.0个百分点。",
        "2021年毛利率25.0%，2020年为20.0%。",
        "2021年净亏损600万元，2020年净亏损300万元。",
        "2021年资产负债率为40.0%，流动比率2.00。",
        "2021年研发费用占营业收入的3.0%。",
        "2021年研发费用率 = 360.00 / 12,000.00 = **3.0%**",
        "| 指标 | 2021年 | 同比 |\n|---|---|---|\n| 营业收入（万元） | 12,000 | +20.0% |",
        "<table><tr><th>指标</th><th>2021年</th></tr><tr><td>毛利率</td><td>25.0%</td></tr></table>",
        "2021年营业收入约为1.21亿元。",
        "2021年经营现金流净额1,500万元，上年同期为-500万元。",
    ],
)
def test_true_sentences_in_chinese_verify(text: str) -> None:
    found = status(PROMPT, text)
    assert found
    assert set(found) == {"verified"}, verify(PROMPT, text)


@pytest.mark.parametrize(
    "text",
    [
        "Revenue rose 20.0% to CNY 120.0 million in FY2021.",
        "In FY2021, revenue was CNY 120 million, up 20% year-on-year.",
        "Revenue grew from CNY 100.0 million in FY2020 to CNY 0.12 billion in FY2021.",
        "Gross margin was 25.0% in FY2021, up 5.0 percentage points from FY2020.",
        "R&D expenses were 3.0% of revenue in FY2021.",
        "The current ratio stood at 2.00 in FY2021, against 1.25 in FY2020.",
        "Net loss was CNY 6.0 million in FY2021.",
        "| Item | FY2021 | FY2020 |\n|---|---|---|\n| Revenue (CNY million) | 120.0 | 100.0 |",
    ],
)
def test_true_sentences_in_english_verify(text: str) -> None:
    found = status(ENGLISH, text)
    assert found
    assert set(found) == {"verified"}, verify(ENGLISH, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2021年营业收入为1.3亿元。", 1.2e8),
        ("2021年营业收入同比下降20.0%。", 0.2),
        ("2021年毛利率提升5.0%。", 0.25),
        ("2021年毛利率为20.0%。", 0.25),
        ("2021年营业收入为12,000亿元。", 1.2e8),
        ("2021年净利润为600万元。", -6e6),
        ("2021年营业收入同比增长20.0个百分点。", None),
    ],
)
def test_what_the_tables_contradict_is_wrong(text: str, expected: float | None) -> None:
    [verdict] = verify(PROMPT, text)
    assert verdict.status == "wrong"
    assert verdict.expected == (expected if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    "text",
    [
        "2021年华东地区营业收入为1.3亿元。",
        "预计2022年营业收入达到1.5亿元。",
        "建议将毛利率提升至30.0%。",
        "建议将毛利率提升至25.0%。",
        "行业毛利率均值为35.0%。",
        "2021年客户满意度为93.5%。",
        "2021年商誉为3,000万元。",
        "2018年营业收入为8,000万元。",
    ],
)
def test_what_the_tables_do_not_settle_is_never_wrong(text: str) -> None:
    assert set(status(PROMPT, text)) <= {"unverifiable"}


@pytest.mark.parametrize("said", ["同比下降100.0%", "亏损同比扩大100.0%", "同比增长100.0%"])
def test_a_negative_base_has_several_conventions(said: str) -> None:
    assert "wrong" not in status(PROMPT, f"2021年净利润{said}。")


def test_down_and_minus_say_the_same_once() -> None:
    assert one("营业收入同比下降14.7%").value == pytest.approx(-0.147)
    assert one("营业收入同比下降-14.7%").value == pytest.approx(-0.147)
    assert one("Revenue fell 14.7%").value == pytest.approx(-0.147)


def test_rounding_by_the_decimals_shown() -> None:
    assert status(PROMPT, "2021年营业收入为1.20亿元。") == ["verified"]
    assert status(PROMPT, "2021年营业收入为1.22亿元。") == ["wrong"]
    assert status(PROMPT, "2021年营业收入约为1.22亿元。") == ["verified"]


def test_periods_are_inherited_and_named() -> None:
    first, second = extract_claims("# 2021年年报\n\n营业收入为1.2亿元。2020年为1亿元。")
    assert (first.period, first.source) == (Period.of_year(2021), "heading")
    assert (second.period, second.source) == (Period.of_year(2020), "clause")


def test_dates_counts_ranges_and_operands_are_no_claims() -> None:
    text = "1. 前5大客户，3个月内，2021年12月31日，5%-8%，≥8.5次，第2章；(12,000-9,000)/12,000"
    assert extract_claims(text) == []


ZH_PIECES = [
    "营业收入",
    "毛利率",
    "为",
    "同比",
    "下降",
    "去年同期",
    "2,380.79万元",
    "2021年",
    "14.7%",
]
EN_PIECES = ["Revenue", " rose ", "$5.2", " million", "in FY2021", " net profit "]
MARKS = ["（", "）", "，", "。", "|", "<td>", "</td>", "**", "= 1.2 / 3", "-3", "#", "\n", " "]


@given(st.lists(st.sampled_from([*ZH_PIECES, *EN_PIECES, *MARKS]), max_size=40))
def test_offsets_hold_in_any_text(pieces: list[str]) -> None:
    text = "".join(pieces)
    facts = read_facts(PROMPT)
    last = -1
    for verdict in verify(facts, text):
        claim = verdict.claim
        assert text[claim.start : claim.end] == claim.text
        assert claim.text.strip() == claim.text
        assert claim.start > last
        last = claim.start


@given(st.floats(-5e4, 5e4).map(lambda x: round(x, 2)))
def test_only_the_right_growth_verifies(percent: float) -> None:
    text = f"2021年营业收入同比{'增长' if percent >= 0 else '下降'}{abs(percent):.2f}%。"
    right = abs(percent - 20.0) <= 0.021
    assert status(PROMPT, text) == ["verified" if right else "wrong"] or abs(percent - 20) < 0.06


def test_evidence_is_deterministic_and_in_the_language_of_the_report() -> None:
    text = "2021年营业收入为1.3亿元，毛利率为25.0%。"
    assert evidence(PROMPT, text) == (
        "数字核对：1处属实，1处错误，0处表中无从判断。错误数字：少量；属实数字：少量。"
        "确定有误：营业收入 2021年 写作1.3亿元，表中为1.2亿元。属实：毛利率 2021年为25.0%。"
    )
    english = evidence(PROMPT, text, "en")
    assert english.startswith(
        "Checked figures: 1 verified, 1 wrong, 0 that the tables do not settle."
    )
    assert evidence(PROMPT, text).startswith("数字核对：")  # the other language is forgotten
    assert evidence("no tables", "nothing to check") == (
        "Checked figures: 0 verified, 0 wrong, 0 that the tables do not settle. "
        "Wrong figures: none; verified figures: none."
    )


def test_findings_are_what_is_certain() -> None:
    text = "2021年营业收入为1.3亿元，毛利率为25.0%。2021年华东营业收入为0.4亿元。"
    assert findings(PROMPT, text) == [
        "wrong: 1.3亿元 (营业收入 2021年: tables give 1.2亿元)",
        "verified: 25.0% (毛利率 2021年)",
    ]


def test_summary_counts() -> None:
    counts = summarize(verify(PROMPT, "2021年营业收入为1.3亿元，毛利率为25.0%。"))
    assert (counts.verified, counts.wrong, counts.wrong_share) == (1, 1, 0.5)


def test_wrong_on_real_golden_reports_is_what_was_adjudicated(real_data: Path) -> None:
    """No new alarm without a look at it, few arguable ones, and few lost."""
    path = Path(__file__).with_name("test_checks_adjudicated.json")
    judged = json.loads(path.read_text(encoding="utf-8"))["reports"]
    lines = (real_data / "finreport_pairs_0to4.jsonl").read_text(encoding="utf-8").splitlines()
    called, arguable, new = 0, 0, []
    for row in map(json.loads, lines):
        digest = hashlib.blake2b(row["chosen"].encode(), digest_size=8).hexdigest()
        known = judged.get(digest, {})
        for verdict in verify(row["prompt"], row["chosen"]):
            if verdict.status != "wrong":
                continue
            called += 1
            verdict_of_reader = known.get(str(verdict.claim.start))
            arguable += verdict_of_reader == "arguable"
            if verdict_of_reader is None:
                new.append((digest, verdict.claim.start, verdict.reason))
    assert not new
    assert arguable <= 0.05 * called
    assert called >= 0.9 * sum(map(len, judged.values()))


def test_a_year_before_opening_and_closing_is_a_year() -> None:
    prompt = (
        "单位：万元\n\n| 项目 | 2021年 | 2020年 | 2019年 |\n|---|---:|---:|---:|\n"
        "| 期末现金及现金等价物余额 | 100.00 | 90.00 | 70.00 |\n"
        "| 期初现金及现金等价物余额 | 90.00 | 70.00 | 60.00 |\n"
    )
    report = (
        "2021年期末现金及现金等价物余额为100.00万元，2020年为90.00万元。"
        "2021年期初现金及现金等价物余额为70.00万元。"
    )
    assert [v.status for v in verify(prompt, report)] == ["verified", "verified", "wrong"]


@pytest.mark.parametrize(
    ("text", "statuses"),
    [
        ("Gross margin fell from 40.0% to 35.0%.", ["unverifiable", "verified"]),
        ("Gross margin fell from 40.0% to 35.0% in FY2021.", ["verified", "verified"]),
        ("Gross margin rose from 35.0% to 40.0% in FY2021.", ["wrong", "wrong"]),
        ("In FY2021 it grew. Gross margin was 35.0%, down from 40.0% in FY2020.", ["verified"] * 2),
        ("Revenue rose from CNY 800 million to CNY 1,000 million in FY2021.", ["verified"] * 2),
        (
            "Revenue rose from CNY 700 million to CNY 1,000 million in FY2021.",
            ["wrong", "verified"],
        ),
        ("毛利率由40.0%下降至35.0%。", ["unverifiable", "verified"]),
        ("2021年毛利率由40.0%下降至35.0%。", ["verified", "verified"]),
    ],
)
def test_where_something_stood_before(text: str, statuses: list[str]) -> None:
    table = "| item | FY2021 | FY2020 |\n|---|---|---|\n| Revenue | 1,000 | 800 |\n"
    prompt = f"Unit: CNY million\n\n{table}| Cost of sales | 650 | 480 |\n"
    assert [verdict.status for verdict in verify(prompt, text)] == statuses
