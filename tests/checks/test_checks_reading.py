"""Numbers, periods, items, tables and facts: what is read, in both languages."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_model.checks import Period, find_item, items, parse_period, read_facts
from reward_model.checks.flatten import flatten
from reward_model.checks.formulas import evaluate, names_in
from reward_model.checks.numbers import find_numbers, format_digits, parse_number
from reward_model.checks.tables import read_tables
from reward_model.checks.units import scale_in

ZH = """# 某公司

单位：万元

| 项目 | 2021年 | 2020年 | 2019年 |
|---|---:|---:|---:|
| 一、营业收入 | 1,200.50 | 1,000.00 | 900.00 |
| 减：营业成本 | 800.00 | 700.00 | 600.00 |
| 净利润 | (120.50) | 100.00 | 90.00 |
| 基本每股收益（元） | 0.27 | 0.39 | - |
| 流动资产合计 | 1,000 | 800 | |
| 非流动资产合计 | 500 | 400 | |
| 流动负债合计 | 700 | 500 | |
| 非流动负债合计 | 100 | 100 | |
"""
EN = """Unit: CNY million

| Item | FY2021 | FY2020 |
|---|---|---|
| Net sales | $ 1,452.4 | $ 1,146.2 |
| Cost of sales | 1,000.0 | 900.0 |
| Net income (loss) | (12.5) | 10.0 |
| Widgets segment | 44.1 | 56.7 |
"""
MONTHS = """# 报表

## 营业收入（本期发生数）

| 金额 | 环比 | 同比 | 期间编码 |
|------|------|------|----------|
| 100.00 | - | - | 202403 |
| 80.00 | - | - | 202502 |
| 120.00 | +50.00% | +20.00% | 202503 |

## 营业收入（本年累计数）

| 金额 | 环比 | 同比 | 期间编码 |
|------|------|------|----------|
| 300.00 | +66.67% | -10.00% | 202503 |

## 存货（期末数）

| 金额 | 环比 | 同比 | 期间编码 |
|------|------|------|----------|
| 50.00 | - | - | 202503 |

## 存货（年初数）

| 金额 | 环比 | 同比 | 期间编码 |
|------|------|------|----------|
| 40.00 | - | - | 202503 |

# 预算数据

| 编制组织 | 预算期间 | 项目 | 1月 | 2月 | 3月 | 合计 |
| --- | --- | --- | --- | --- | --- | --- |
| 100 | 2025年1月－12月 | 一、营业收入 | 90 | 95 | 150 | 1800 |
"""
Y21, Y20 = Period.of_year(2021), Period.of_year(2020)


def test_a_chinese_statement_in_wan() -> None:
    facts = read_facts(ZH)
    assert facts.value("revenue", Y21) == pytest.approx(12_005_000)
    assert facts.value("net_profit", Y21) == pytest.approx(-1_205_000)
    assert facts.value("eps", Y21) == pytest.approx(0.27), "per-share items know no scale"
    assert facts.value("eps", Period.of_year(2019)) is None
    assert [p.label() for p in facts.periods()] == ["2019年", "2020年", "2021年"]
    assert facts.currency == "CNY"


def test_lines_that_are_not_shown_follow_from_others() -> None:
    facts = read_facts(ZH)
    assert facts.value("total_assets", Y21) == pytest.approx(15_000_000)
    assert facts.value("equity", Y21) == pytest.approx(7_000_000)
    assert facts.derive("debt_ratio", Y21) == pytest.approx(8 / 15)
    assert facts.derive("roe", Y21) == pytest.approx(-120.5 / 650), "on average equity"
    assert facts.derive("dso", Y21) is None


def test_changes_are_relative_for_amounts_and_points_for_margins() -> None:
    facts = read_facts(ZH)
    assert facts.change("revenue", Y21, Y20) == pytest.approx(0.2005)
    assert facts.change("net_profit", Y21, Y20) == pytest.approx(-2.205)
    assert facts.change("gross_margin", Y21, Y20) == pytest.approx(400.5 / 1200.5 - 0.3)


def test_an_english_statement_with_dollars_and_brackets() -> None:
    facts = read_facts(EN)
    assert facts.value("revenue", Y21) == pytest.approx(1_452.4e6)
    assert facts.value("net_profit", Y21) == pytest.approx(-12.5e6)
    [now, before] = facts.labelled("Widgets segment")
    assert (now.item, now.value, before.value) == (
        None,
        pytest.approx(44.1e6),
        pytest.approx(56.7e6),
    )


def test_months_scopes_and_budgets_are_kept_apart() -> None:
    facts = read_facts(MONTHS)
    march = Period.of_month(2025, 3)
    assert facts.value("revenue", march) == 120
    assert facts.value("revenue", march, "ytd") == 300
    assert facts.value("revenue", Period.of_ytd(2025, 3)) == 300
    assert facts.value("revenue", Period.of_quarter(2025, 1)) == 300
    assert facts.value("inventory", march) == 50
    assert facts.opening("inventory", march) == 40
    budget = [f.value for f in facts.stated["revenue"] if f.scope == "budget" and f.period == march]
    assert budget == [150]
    assert facts.main_period == march


def test_html_and_csv_are_tables_too() -> None:
    html = (
        "<h2>Income (in millions)</h2><table><tr><th rowspan=2>Item</th>"
        "<th colspan='2'>Years ended December 31,</th></tr>\n<tr><th>2019</th><th>2018</th></tr>"
        "<tr><td>Net sales</td>\n<td><b>$ 1,452.4</b></td><td>(12.5)</td></tr></table>"
    )
    facts = read_facts(html)
    assert facts.value("revenue", Period.of_year(2019)) == pytest.approx(1_452.4e6)
    assert facts.value("revenue", Period.of_year(2018)) == pytest.approx(-12.5e6)
    facts = read_facts("报告年份,营业收入,净利润\n2019,319.5,91\n2020,452.5,137\n")
    assert facts.value("net_profit", Y20) == 137


def test_a_fenced_table_among_others_is_a_sample() -> None:
    sample = "```markdown\n| 指标 | 2023年 |\n|---|---|\n| 营业收入 | 9,999 |\n```\n"
    assert [p.label() for p in read_facts(sample + ZH).periods()][-1] == "2021年"
    assert read_facts(sample).value("revenue", Period.of_year(2023)) == 9999


def test_the_unit_of_one_section_is_not_that_of_the_next() -> None:
    text = "## 概览（单位：亿元）\n| 项目 | 2020年 |\n|---|---|\n| 净利润 | 2 |\n## 资产\n| 项目 | 2020年 |\n|---|---|\n| 存货 | 3.5 |\n"  # noqa: E501
    facts = read_facts(text)
    assert facts.value("net_profit", Y20) == pytest.approx(2e8)
    assert facts.value("inventory", Y20) == 3.5


@pytest.mark.parametrize(
    ("text", "scale"),
    [("单位：亿元", 1e8), ("(in thousands)", 1e3), ("US$ in millions", 1e6), ("毛利率（%）", None)],
)
def test_scales(text: str, scale: float | None) -> None:
    assert scale_in(text) == scale


@pytest.mark.parametrize(
    ("text", "period"),
    [
        ("202503", Period.of_month(2025, 3)),
        ("2025Q1", Period.of_quarter(2025, 1)),
        ("FY2024", Period.of_year(2024)),
        ("2021年", Y21),
        ("2025年3月", Period.of_month(2025, 3)),
        ("2025年1-3月累计", Period.of_ytd(2025, 3)),
        ("2021年12月31日", Y21),
        ("March 2025", Period.of_month(2025, 3)),
        ("first half of 2024", Period.of_half(2024, 1)),
        ("H2 2024", Period.of_half(2024, 2)),
        ("2024H2", Period.of_half(2024, 2)),
        ("THIRD QUARTER of FY2024", Period.of_quarter(2024, 3)),
        ("2024年第三季度", Period.of_quarter(2024, 3)),
        ("2024年前三季度", Period.of_ytd(2024, 9)),
        ("2024年前5个月", Period.of_ytd(2024, 5)),
        ("2024/12/31", Period.of_year(2024)),
        ("DECEMBER 31, 2024", Period.of_year(2024)),
        ("30 Jun 2024", Period.of_month(2024, 6)),
        ("fy24", Period.of_year(2024)),
        ("fiscal year 2024", Period.of_year(2024)),
        ("2021年上半年", Period.of_half(2021, 1)),
        ("共2021家", None),
        ("12,021.5", None),
    ],
)
def test_periods_in_their_many_dresses(text: str, period: Period | None) -> None:
    assert parse_period(text) == period


periods = st.builds(
    lambda year, kind, n: {
        "year": Period.of_year(year),
        "half": Period.of_half(year, n % 2 + 1),
        "quarter": Period.of_quarter(year, n % 4 + 1),
        "month": Period.of_month(year, n % 12 + 1),
    }[kind],
    st.integers(1990, 2090),
    st.sampled_from(["year", "half", "quarter", "month"]),
    st.integers(0, 11),
)


@given(periods, st.sampled_from(["zh", "en"]))
def test_a_label_reads_back_as_its_period(period: Period, language: str) -> None:
    assert parse_period(period.label(language)) == period


@given(periods)
def test_previous_and_year_ago_step_back(period: Period) -> None:
    assert period.previous() < period
    assert period.year_ago().year == period.year - 1
    steps = {"year": 1, "half": 2, "quarter": 4, "month": 12}[period.kind]
    back = period
    for _ in range(steps):
        back = back.previous()
    assert back == period.year_ago()


UNITS = ["万元", "亿元", "元", "%", "个百分点", "倍", "天", " million", " billion", " percent", ""]


@given(
    st.integers(0, 10**12),
    st.integers(0, 4),
    st.booleans(),
    st.booleans(),
    st.sampled_from(UNITS),
    st.sampled_from(["营业收入为", "Revenue was ", "约", ""]),
)
def test_a_number_written_out_reads_back(
    digits: int, decimals: int, grouped: bool, negative: bool, unit: str, before: str
) -> None:
    value = digits / 10**decimals * (-1 if negative and digits else 1)
    shown = format_digits(value, decimals, 1.0, grouped)
    text = f"{before}{shown}{unit}。"
    [number] = find_numbers(text)
    assert text[number.start : number.end] == shown + unit
    assert number.value == pytest.approx(value * number.scale, abs=1e-9)
    assert number.decimals == decimals


def test_a_dash_is_a_sign_only_where_it_is_one() -> None:
    shown = {"- 5.5%": 0.055, "下降-5.5%": -0.055, "20-30%": 20, "为-1,594万元": -15_940_000}
    assert {text: find_numbers(text)[0].value for text in shown} == pytest.approx(shown)
    assert find_numbers("20-30%")[1].value == pytest.approx(0.3)


@given(st.decimals(min_value=0, max_value=10**9, places=2), st.sampled_from(["", "$", "¥"]))
def test_brackets_are_negative_in_cells(value: object, currency: str) -> None:
    number = parse_number(f"({currency}{value:,})")
    assert number is not None
    assert number.value == pytest.approx(-float(str(value)))


@given(st.text(alphabet="<>/tdrh|ab1 .%（）\n营收pbl=\"'&;", max_size=200))
def test_flattening_keeps_every_place(text: str) -> None:
    flat = flatten(text)
    assert len(flat) == len(text)
    for table in read_tables(text):
        for row in table.rows:
            for cell in row:
                assert flat[cell.start : cell.end] == cell.text


def test_every_formula_names_known_items_and_evaluates() -> None:
    for item in items().values():
        for formula in item.formula:
            assert names_in(formula) <= set(items()), formula
            assert evaluate(formula, lambda key, average: 2.0) is not None


def test_every_name_finds_its_item_or_an_earlier_one_with_the_same_name() -> None:
    for item in items().values():
        for name in (*item.zh, *item.en):
            found = find_item(name)
            assert found is not None
            assert name.casefold() in {n.casefold() for n in (*found.zh, *found.en)}


def test_the_examples_of_the_docs_page_hold() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "checks.md"
    done = doctest.testfile(str(page), module_relative=False)
    assert done.attempted > 5
    assert done.failed == 0


def test_importing_is_light() -> None:
    code = "import sys, reward_model.checks; print([m in sys.modules for m in ('torch', 'numpy')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[False, False]"
