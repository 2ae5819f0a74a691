"""The table of docs/checks.md says what is understood: made by asking, never by hand."""

from __future__ import annotations

from pathlib import Path

from reward_model.checks import verify

ROOT = Path(__file__).resolve().parent.parent.parent
BEGIN, END = "<!-- what is understood: begin -->", "<!-- what is understood: end -->"
ZH = """单位：万元

| 项目 | 2021年 | 2020年 |
|---|---|---|
| 营业收入 | 12,000 | 10,000 |
| 营业成本 | 9,000 | 8,000 |
| 华东 | 5,000 | 4,000 |
"""
EN = """Unit: USD million

| Line | 2021 | 2020 | 2019 |
|---|---|---|---|
| Revenue | 120 | 100 | 80 |
| Cost of sales | 90 | 80 | 70 |
| Net income | 12 | 10 | 9 |
| Footwear | 44 | 40 | 36 |
"""
BARE = "| Line | 2021 | 2020 |\n|---|---|---|\n| Revenue | 120.5 | 100.2 |\n"
TWO = (
    "Unit: USD million\n\n### Alder Corp\n\n| Line | 2021 |\n|---|---|\n| Revenue | 120 |\n\n"
    "### Birch Inc\n\n| Line | 2021 |\n|---|---|\n| Revenue | 80 |\n"
)
EXAMPLES: tuple[tuple[str, str, str, str, str], ...] = (
    ("a level", EN, "Revenue was {} in 2021.", "$120 million", "$140 million"),
    ("a level", ZH, "2021年营业收入为{}。", "1.2亿元", "1.4亿元"),
    (
        "a series of years",
        EN,
        "Net income was $12 million in 2021 and {} in 2020.",
        "$10 million",
        "$18 million",
    ),
    ("a change in percent", EN, "In 2020, revenue increased by {} from 2019.", "25%", "35%"),
    ("a change in percent", ZH, "2021年营业收入同比增长{}。", "20.0%", "25.0%"),
    ("a change in amount", EN, "Footwear rose {} from 2020 to 2021.", "$4 million", "$9 million"),
    (
        "a change before its label",
        EN,
        "The increase in revenue from 2020 to 2021 was {}.",
        "$20 million",
        "$50 million",
    ),
    (
        "from one level to another",
        EN,
        "Revenue grew from $100 million (2020) to {} (2021).",
        "$120 million",
        "$150 million",
    ),
    (
        "from one level to another",
        ZH,
        "毛利率由20.0%（2020年）升至{}（2021年）。",
        "25.0%",
        "28.0%",
    ),
    ("points of a ratio", ZH, "2021年毛利率为25.0%，较上年提升{}。", "5.0个百分点", "7.0个百分点"),
    ("a ratio by formula", EN, "Gross margin was {} in 2021.", "25.0%", "31.0%"),
    ("a share of another line", EN, "Cost of sales was {} of revenue in 2021.", "75.0%", "65.0%"),
    (
        "an average of years",
        EN,
        "The average Footwear for 2020 and 2021 was {}.",
        "$42 million",
        "$47 million",
    ),
    ("a row that is no known line", ZH, "2021年华东为{}。", "5,000万元", "7,000万元"),
    ("about, nearly, 约, 近", EN, "Revenue was about {} in 2021.", "$118 million", "$190 million"),
    ("a table without a unit", BARE, "Revenue was {} in 2021.", "$120.5 million", "$150.5 million"),
    ("the same, in percent", BARE, "Revenue rose {} in 2021.", "20.3%", "30.3%"),
    (
        "one of several companies",
        TWO,
        "Birch's revenue was {} in 2021.",
        "$80 million",
        "$120 million",
    ),
    (
        "several companies, none named",
        TWO,
        "Revenue was {} in 2021.",
        "$120 million",
        "$190 million",
    ),
    (
        "another word about the line",
        EN,
        "Organic revenue was {} in 2021.",
        "$120 million",
        "$140 million",
    ),
    (
        "a part",
        EN,
        "Revenue was $120 million in 2021, of which {} was Footwear.",
        "$44 million",
        "$64 million",
    ),
    (
        "under a heading of a segment",
        EN,
        "# 2021\n\n### Outdoor\n\n- Revenue: {}",
        "$120 million",
        "$140 million",
    ),
    ("a target or forecast", ZH, "预计2021年营业收入达到{}。", "1.2亿元", "1.4亿元"),
    (
        "growth over several years",
        EN,
        "Revenue has grown {} over the two-year period.",
        "50%",
        "70%",
    ),
    ("an annual rate (CAGR)", EN, "Revenue grew at a CAGR of {} since 2019.", "22.5%", "32.5%"),
    ("number words, 成, 翻番", ZH, "2021年营业收入增长{}。", "两成", "三成"),
    ("powers of ten", ZH, "2021年营业收入为{}元。", "1.2×10^8", "1.4×10^8"),
    ("ranges", EN, "Revenue was {} in 2021.", "$110-120 million", "$140-150 million"),
)


def verdict(prompt: str, template: str, number: str) -> str:
    """What is said of the number put into the sentence."""
    start = template.index("{}")
    for found in verify(prompt, template.replace("{}", number)):
        if found.claim.start < start + len(number) and start < found.claim.end:
            return found.status
    return "unverifiable"


def table() -> str:
    lines = ["| what | example | right number | other number |", "|---|---|---|---|"]
    for what, prompt, template, right, other in EXAMPLES:
        shown = (
            template.replace("{}", f"**{right}**").replace("\n\n", " / ").replace("#", "").strip()
        )
        told = (verdict(prompt, template, n) for n in (right, other))
        lines.append(f"| {what} | {shown} ({other}) | {' | '.join(told)} |")
    return "\n".join(lines)


def test_the_table_of_the_page_is_what_the_checks_say() -> None:
    page = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
    shown = page.split(BEGIN)[1].split(END)[0].strip()
    assert shown == table(), f"put this between the marks in docs/checks.md:\n{table()}"


def test_what_is_not_understood_is_never_wrong() -> None:
    told = {
        (what, verdict(prompt, template, right)) for what, prompt, template, right, _ in EXAMPLES
    }
    assert "wrong" not in {status for _, status in told}
