"""Statements: those that ship, invented ones, and one's own files."""

from __future__ import annotations

import csv
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen import own, synthetic
from datagen.companies import markdown, shipped
from datagen.fields import FIELDS, data_folder, field_name, framework
from datagen.own.sheet import Numbers
from reward_model.checks import Period, read_facts
from reward_model.records import UserError


def test_shipped_companies_cover_the_fields() -> None:
    companies = shipped()
    counts = Counter(c.field for c in companies)
    assert len(companies) >= 60
    assert set(counts) == set(FIELDS)
    assert min(counts.values()) >= 8
    assert all(len(c.periods()) == 3 for c in companies)
    assert len({c.id for c in companies}) == len(companies)


def test_shipped_figures_are_those_of_the_source(real_data: Path) -> None:
    with (real_data / "astock_statements.csv").open(encoding="utf-8") as file:
        source = {(r["股票代码"], r["报告年份"]): r for r in csv.DictReader(file)}
    for company in shipped():
        if company.id == "603323":  # collected in thousands
            continue
        for year in company.periods():
            row = source[company.id, year]
            assert company.statements[0]["net_profit"][year] == float(row["净利润"])
            cash = row["期末现金及现金等价物余额"]
            assert company.statements[2]["closing_cash"].get(year) == (
                float(cash) if cash else None
            )


@given(
    field=st.sampled_from(list(FIELDS)),
    number=st.integers(1, 9999),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=150, deadline=None)
def test_invented_statements_tie_out_exactly(field: str, number: int, seed: int) -> None:
    company = synthetic.company(field, number, seed=seed)
    income, balance, flows = company.statements

    def value(figures: dict[str, dict[str, float]], item: str, year: str) -> int:
        return round(figures.get(item, {}).get(year, 0.0))

    years = company.periods()
    assert len(years) == 3
    for year in years:
        i = {item: value(income, item, year) for item in income}
        b = {item: value(balance, item, year) for item in balance}
        f = {item: value(flows, item, year) for item in flows}
        assert b["total_assets"] == b["total_liabilities"] + b["equity"]
        assert i["profit_before_tax"] - i["income_tax"] == i["net_profit"]
        assert (
            i["operating_profit"] + i["nonoperating_income"] - i["nonoperating_expense"]
            == i["profit_before_tax"]
        )
        assert f["opening_cash"] + f["net_change_in_cash"] == f["closing_cash"]
        moved = f["operating_cash_flow"] + f["investing_cash_flow"] + f["financing_cash_flow"]
        assert moved == f["net_change_in_cash"]
        if field != "金融业":
            assert b["current_assets"] + b["noncurrent_assets"] == b["total_assets"]
            assert b["current_liabilities"] + b["noncurrent_liabilities"] == b["total_liabilities"]
            assert b["cash"] == f["closing_cash"]
        assert i["revenue"] > 0
        assert f["closing_cash"] > 0
    for later, earlier in pairwise(years):
        assert flows["opening_cash"][later] == flows["closing_cash"][earlier]


def test_invented_companies_say_so() -> None:
    companies = synthetic.companies(10, seed=1, fields=list(FIELDS))
    assert all(
        c.synthetic and "虚构" in c.name["zh"] and "Invented" in c.name["en"] for c in companies
    )
    assert len({c.id for c in companies}) == 10


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("unit", [0, 1])
def test_tables_are_read_back(language: str, unit: int) -> None:
    company = shipped()[0]
    facts = read_facts(markdown(company, language, unit))
    for item in ("revenue", "net_profit"):
        value = facts.value(item, Period.of_year(2021))
        assert value == pytest.approx(company.statements[0][item]["2021"], rel=1e-4)
    assert facts.value("closing_cash", Period.of_year(2019)) == pytest.approx(
        company.statements[2]["closing_cash"]["2019"], rel=1e-4
    )


def test_frameworks_ship_for_every_field_in_both_languages() -> None:
    for field in FIELDS:
        for language in ("zh", "en"):
            text = framework(field, language)
            views = "## 视角" if language == "zh" else "## Perspective"
            assert text.count(views) >= 3
    assert (data_folder() / "statements" / "companies.csv").exists()


def test_unknown_field_names_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"unknown field 'mining'; expected one of 制造业 \(manu"):
        field_name("mining")


def test_own_csv_in_chinese_with_units(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(
        "company,field,period,unit,营业收入,营业成本,净利润\n"
        '甲公司,制造业,2021,万元,1200,900,\n甲公司,制造业,2020,万元,"1,000",800,50\n',
        encoding="utf-8",
    )
    [company] = own.read_companies(path)
    assert company.statements[0]["revenue"] == {"2021": 1.2e7, "2020": 1e7}
    assert company.statements[0]["net_profit"] == {"2020": 5e5}


def test_own_markdown_and_jsonl(tmp_path: Path) -> None:
    table = "单位：万元\n| 项目 | 2021年 | 2020年 |\n|---|---|---|\n| 营业收入 | 12 | 10 |"
    (tmp_path / "a.md").write_text(f"# 甲公司 | 科技业\n\n{table}\n", encoding="utf-8")
    [company] = own.read_companies(tmp_path / "a.md")
    assert (company.field, company.language, company.tables) == ("科技业", "zh", table)
    (tmp_path / "a.jsonl").write_text('{"company": "B", "field": "finance", "prompt": "Write."}\n')
    [company] = own.read_companies(tmp_path / "a.jsonl")
    assert (company.field, company.language, company.prompt) == ("金融业", "en", "Write.")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "", "line 1: found an empty file"),
        ("a.csv", "company,period,volume\n", "line 1: found unknown column 'volume'"),
        ("a.csv", "company,revenue\nA,1\n", "no column period"),
        ("a.csv", "company,field,period,revenue\nA,制造业,2021,ten\n", "line 2: found 'ten'"),
        ("a.csv", "company,field,period,revenue\nA,矿业,2021,1\n", "line 2: found unknown field"),
        ("a.csv", "company,field,period,unit,revenue\nA,制造业,2021,斤,1\n", "unit '斤'"),
        ("a.md", "# 甲 | 制造业\nno table\n", "no table under '甲'"),
        ("a.md", "nothing\n", "no company"),
        (
            "a.jsonl",
            '{"company": "A", "field": "制造业"}\n',
            "line 1: found no company or no tables",
        ),
        ("a.jsonl", "{broken\n", "line 1: found broken JSON"),
        ("a.xlsx", "x", "a file ending in '.xlsx'"),
    ],
)
def test_own_file_mistakes_are_named(tmp_path: Path, name: str, content: str, words: str) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError) as error:
        own.read_companies(path)
    assert words in str(error.value)
    assert name in str(error.value)


HEAD = "company;field;period;营业收入;净利润\n"


@pytest.mark.parametrize(
    ("content", "revenue", "profit"),
    [
        (HEAD + "甲;制造业;2021;1234,5;-12,25\n", 1234.5, -12.25),
        (HEAD + "甲;制造业;2021;1.234.567,5;1.250\n", 1234567.5, 1250.0),
        (HEAD + "甲;制造业;2021;1,234,567.5;1,250\n", 1234567.5, 1250.0),
        ("sep=;\r\n" + HEAD + "甲;制造业;2021;1 234 567;(1250)\r\n", 1234567.0, -1250.0),
        (HEAD.replace(";", "\t") + "甲\t制造业\t2021\t１２３４\t−5\n", 1234.0, -5.0),
        (HEAD.replace(";", ",") + '甲,制造业,2021,"1,234","12,34,567"\n', 1234.0, 1234567.0),
        (HEAD.replace(";", ",") + "甲,制造业,2021,1e3,NaN\n", 1000.0, None),
        ("\ufeff" + HEAD.replace(";", ",") + "\n甲,制造业,2021,12.345,n/a,,\n,,,,\n", 12.345, None),
        (HEAD.replace(";", ",") + '"甲",制造业,2021年,.5,-\n', 0.5, None),
    ],
)
def test_own_csv_as_spreadsheets_write_it(
    tmp_path: Path, content: str, revenue: float, profit: float | None
) -> None:
    path = tmp_path / "own.csv"
    path.write_text(content, encoding="utf-8", newline="")
    [company] = own.read_companies(path)
    assert company.statements[0]["revenue"] == {"2021": revenue}
    assert company.statements[0]["net_profit"].get("2021") == profit


ROWS = "company,field,period,营业收入,净利润\n甲,制造业,2021,1,2\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            HEAD + "甲;制造业;2021;1,234;5\n",
            "line 2: found '1,234' in column 营业收入, which may be",
        ),
        (
            HEAD + "甲;制造业;2021;1.234;5\n",
            "line 2: found '1.234' in column 营业收入, which may be",
        ),
        (
            HEAD + "甲;制造业;2021;1,5;5\n乙;制造业;2021;1.5;5\n",
            "line 3: found '1.5', whose decimal",
        ),
        (ROWS + "甲,制造业,2020,1e999,2\n", "line 3: found '1e999'"),
        (ROWS + "甲,制造业,2020,inf,2\n", "line 3: found 'inf'"),
        (ROWS + "甲,制造业,2020,1_000,2\n", "line 3: found '1_000'"),
        (ROWS + "甲,制造业,2020,12%,2\n", "line 3: found '12%'"),
        (ROWS + '甲,制造业,2020,"1,23,45",2\n', "line 3: found '1,23,45'"),
        (ROWS + "\n甲,制造业,2020,1\n", "line 4: found a row of 4 cells; expected 5"),
        (ROWS + "甲,制造业,2020,1,234,2\n", "line 3: found a row of 6 cells; expected 5"),
        (ROWS + '"甲\n乙",制造业,2020,1,2\n丙,制造业,2020,x,2\n', "line 5: found 'x'"),
        (ROWS + '甲,制造业,2020,"1,2\n丙,制造业,2020,1,2\n', "line 3: found a broken row"),
        (ROWS + "甲,制造业,2021年,3,4\n", "line 3: found 甲 in 2021 once more"),
        (ROWS + "甲,金融业,2020,3,4\n", "line 3: found field '金融业' of 甲; expected '制造业'"),
        (
            ROWS.replace("净利润", "Revenue"),
            "line 1: found columns 营业收入 and Revenue, which are one",
        ),
        (ROWS.replace("净利润", "营业收入"), "line 1: found column 营业收入 twice"),
        (ROWS.replace("净利润", "period"), "line 1: found column period twice"),
    ],
)
def test_own_csv_is_read_right_or_refused_with_its_line(
    tmp_path: Path, content: str, words: str
) -> None:
    path = tmp_path / "own.csv"
    path.write_text(content, encoding="utf-8", newline="")
    with pytest.raises(UserError) as error:
        own.read_companies(path)
    assert words in str(error.value)


def test_two_companies_never_share_an_id(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("company,field,period,revenue\n" + "".join(
        f"{name},制造业,2021,1\n" for name in ("A B", "A-B", "A/B", "C")
    ), encoding="utf-8")  # fmt: skip
    ids = [company.id for company in own.read_companies(path)]
    assert len(set(ids)) == 4
    assert ids[3] == "C"
    (tmp_path / "a.md").write_text("# 甲 | 制造业\n|项目|\n\n# 甲 | 制造业\n|项目|\n", "utf-8")
    with pytest.raises(UserError, match="line 4: found 甲 once more"):
        own.read_companies(tmp_path / "a.md")


@given(st.floats(allow_nan=False, allow_infinity=False, width=32), st.sampled_from([".", ","]))
def test_a_number_that_is_read_is_the_one_that_was_written(value: float, mark: str) -> None:
    numbers = Numbers([(1, f"0{mark}5")], Path("a.csv"), certain=False)
    grouped = f"{value:,.6f}"
    if mark == ",":
        grouped = grouped.replace(",", "_").replace(".", ",").replace("_", ".")
    assert numbers.read(grouped, "x", 1) == pytest.approx(value, abs=1e-6)
    assert numbers.read(f"{value:.6f}".replace(".", mark), "x", 1) == pytest.approx(value, abs=1e-6)


def test_own_file_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("company,period,营业收入\n".encode("gb18030"))
    with pytest.raises(UserError, match="not UTF-8"):
        own.read_companies(path)
    with pytest.raises(UserError, match="no such file"):
        own.read_companies(tmp_path / "none.csv")
