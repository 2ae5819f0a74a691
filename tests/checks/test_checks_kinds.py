"""One number in one small document: the verdict that is right, kind by kind of what misleads.

The cases of the data set are joined by two more of each kind, in other words and other tables.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reward_model.checks import verify

US = """Unit: USD million

| Line | 2022 | 2021 | 2020 |
|---|---|---|---|
| Net sales | 250 | 200 | 160 |
| Cost of sales | 150 | 130 | 100 |
| Operating income | 45 | 30 | 24 |
| Net income | 30 | 24 | 20 |
| Footwear | 90 | 75 | 60 |
"""
ZH = """单位：万元

| 项目 | 2022年 | 2021年 | 2020年 |
|---|---|---|---|
| 营业收入 | 3,000 | 2,400 | 2,000 |
| 营业成本 | 1,800 | 1,560 | 1,200 |
| 净利润 | 450 | 300 | 250 |
| 西南 | 700 | 560 | 500 |
"""
BARE = "| Line | 2022 | 2021 |\n|---|---|---|\n| Net sales | 2,410.7 | 2,200.1 |\n"
BARE_ZH = "| 项目 | 2022年 | 2021年 |\n|---|---|---|\n| 净利润 | 310.7 | 200.1 |\n"
COSTS = """Unit: USD million

| Line | 2022 | 2021 |
|---|---|---|
| Net sales | 250 | 200 |
| Cost of sales | (150) | (130) |
| Selling expenses | (20) | (16) |
"""
FEES = """(in thousands)

| | 2022 | 2021 |
|---|---|---|
| First auditor | | |
| Audit fees | 2,000 | 1,600 |
| Second auditor | | |
| Audit fees | 300 | 400 |
"""
TWO = """单位：亿元

## 东海股份

| 项目 | 2022年 |
|---|---|
| 净利润 | 15.0 |

## 北山股份

| 项目 | 2022年 |
|---|---|
| 净利润 | 9.0 |
"""
TWO_EN = """Unit: USD million

### Alder Corp

| Line | 2022 |
|---|---|
| Revenue | 310 |

### Birch Inc

| Line | 2022 |
|---|---|
| Revenue | 190 |
"""
REGIONS = """单位：元

| 分产品 | 营业收入 | 毛利率 |
|---|---|---|
| 空调 | 219,376,769.77 | 38.48% |
| 冰箱 | 94,123,382.13 | 33.03% |

报告期：2022年
"""
REGIONS_EN = """Year ended December 31, 2022 (in millions)

| Region | Revenue | Operating margin |
|---|---|---|
| Europe | 120.4 | 12.1% |
| Asia | 80.2 | 9.4% |
"""
CUT = """## 2022年度财务报表

单位：元

| 存货 | 184,043,167.70 | 150,043,167.70 |
| 商誉 | 27,466,851.51 | 27,466,851.51 |
"""

CASES: list[tuple[str, str, str, str, str]] = [
    ("year with comma", US, "In 2021, net sales increased by 25% from 2020.", "25%", "verified"),
    ("year with comma", US, "For 2020, net income was $20 million.", "$20 million", "verified"),
    ("year with comma", US, "In 2021, net sales increased by 35% from 2020.", "35%", "wrong"),
    (
        "unit unknown",
        BARE,
        "Net sales were $2,410.7 million in 2022.",
        "$2,410.7 million",
        "verified",
    ),
    (
        "unit unknown",
        BARE,
        "Net sales were $2,910.7 million in 2022.",
        "$2,910.7 million",
        "not wrong",
    ),
    ("unit unknown", BARE_ZH, "2022年净利润为310.7亿元。", "310.7亿元", "not wrong"),
    (
        "unit in a long caption",
        "The table below sets out our net sales, by line of business and for each of the years "
        "that the accompanying statements cover, together with what changed (in thousands, except "
        "per share data):\n\n" + BARE,
        "Net sales were $2.4107 million in 2022.",
        "$2.4107 million",
        "verified",
    ),
    (
        "unit in a long caption",
        "The table below sets out our net sales, by line of business and for each of the years "
        "that the accompanying statements cover (dollars in millions):\n\n" + BARE,
        "Net sales were $2,910.7 million in 2022.",
        "$2,910.7 million",
        "wrong",
    ),
    (
        "unit wording",
        "（本附注金额均以人民币千元列示）\n\n" + BARE_ZH,
        "2022年净利润为31.07万元。",
        "31.07万元",
        "verified",
    ),
    (
        "unit wording",
        "（人民币亿元）\n\n" + BARE_ZH,
        "2022年净利润为310.7亿元。",
        "310.7亿元",
        "verified",
    ),
    (
        "unit in a header cell",
        "| | Years ended | |\n|---|---|---|\n| (€ in thousands) | 2022 | 2021 |\n"
        "| Packaging | 412.5 | 398.0 |\n",
        "Packaging was €412.5 thousand in 2022.",
        "€412.5 thousand",
        "verified",
    ),
    (
        "unit in a header cell",
        "| RMB'000 | 2022 | 2021 |\n|---|---|---|\n| Rental deposits | 8,412 | 7,398 |\n",
        "Rental deposits were RMB 8,912 thousand in 2022.",
        "RMB 8,912 thousand",
        "wrong",
    ),
    (
        "row of a region in a table",
        ZH,
        "# 2022年经营分析\n\n单位：万元\n\n| 地区 | 2022年 |\n|---|---|\n| 西南 | 700 |\n",
        "700",
        "verified",
    ),
    (
        "row of a region in a table",
        "(in millions)\n\n| | 2022 | 2021 |\n|---|---|---|\n| Prepaid rent | 4,424 | 3,449 |\n",
        "| | 2022 | 2021 |\n|---|---|---|\n| Prepaid rent | 4,424 | 3,449 |\n",
        "4,424",
        "verified",
    ),
    (
        "change noun before the label",
        US,
        "The increase in net sales from 2021 to 2022 was $50 million.",
        "$50 million",
        "verified",
    ),
    (
        "change noun before the label",
        US,
        "The change in operating income from 2020 to 2021 was $6 million.",
        "$6 million",
        "verified",
    ),
    (
        "change noun before the label",
        US,
        "The change in operating income from 2020 to 2021 was $9 million.",
        "$9 million",
        "wrong",
    ),
    ("from to", US, "Net income increased 20% from 2020 to 2021.", "20%", "verified"),
    ("from to", US, "Footwear grew by $15 million from 2020 to 2021.", "$15 million", "verified"),
    ("between", US, "Net income rose 20% between 2020 and 2021.", "20%", "verified"),
    ("between", US, "Cost of sales increased 50% between 2020 and 2022.", "50%", "verified"),
    ("several years", ZH, "2020—2022年净利润累计增长80.0%。", "80.0%", "verified"),
    ("several years", ZH, "2020年至2022年营业收入增长50.0%。", "50.0%", "verified"),
    (
        "several years",
        US,
        "Net sales growth of 56% over the two-year period.",
        "56%",
        "not wrong",
    ),
    ("bracket is no minus", US, "Net sales growth (25%) was strong in 2022.", "25%", "verified"),
    ("bracket is no minus", ZH, "2022年毛利率 (40.0%) 好于上年。", "40.0%", "verified"),
    ("list mark is no minus", US, " - 25% growth in net income (FY2022)", "25%", "verified"),
    ("list mark is no minus", ZH, "- 25.0%：2022年营业收入增速", "25.0%", "not wrong"),
    (
        "segment heading",
        US,
        "# 2022 in review\n\n### Footwear\n\n- Net sales: $90 million (+20% YoY)\n",
        "$90 million",
        "not wrong",
    ),
    (
        "segment heading",
        US,
        "# 2022 in review\n\n**Outdoor**\n\n- Net sales: $41 million\n",
        "$41 million",
        "not wrong",
    ),
    (
        "segment heading",
        ZH,
        "# 2022年回顾\n\n### 海外\n\n- 营业收入：410万元\n",
        "410万元",
        "not wrong",
    ),
    (
        "label after of",
        US,
        "### Kids (12% of 2022 net sales, $30 million)\n",
        "$30 million",
        "not wrong",
    ),
    (
        "label after of",
        US,
        "Kids made up 12% of net sales in 2022, or $30 million.",
        "$30 million",
        "not wrong",
    ),
    (
        "part",
        US,
        "Net sales were $250 million in 2022, of which $90 million came from Footwear.",
        "$90 million",
        "not wrong",
    ),
    ("part", ZH, "2022年营业收入3,000万元，其中西南700万元。", "700万元", "not wrong"),
    (
        "number before its label",
        US,
        "2022 saw 25% net sales growth and 15% cost growth.",
        "15%",
        "not wrong",
    ),
    (
        "number before its label",
        US,
        "$250 million in net sales and $30 million in net income in 2022.",
        "$30 million",
        "verified",
    ),
    (
        "period in brackets",
        US,
        "Net sales improved from $200 million (2021) to $250 million (2022).",
        "$250 million",
        "verified",
    ),
    (
        "period in brackets",
        US,
        "Net sales improved from $210 million (2021) to $250 million (2022).",
        "$210 million",
        "wrong",
    ),
    ("period in brackets", ZH, "毛利率由35.0%（2021年）升至40.0%（2022年）。", "40.0%", "verified"),
    (
        "base in brackets",
        ZH,
        "2022年净利润（450万元）较2021年（300万元）增长50.0%。",
        "300万元",
        "verified",
    ),
    (
        "base in brackets",
        ZH,
        "2022年净利润（450万元）较2021年（300万元）增长40.0%。",
        "40.0%",
        "wrong",
    ),
    (
        "year ended",
        US,
        "Net income was $30 million for the year ended December 31, 2022, as compared to "
        "$24 million for the year ended December 31, 2021.",
        "$24 million",
        "verified",
    ),
    (
        "year ended",
        US,
        "For the year ended December 31, 2021, net sales were $200 million.",
        "$200 million",
        "verified",
    ),
    ("costs in brackets", COSTS, "Gross margin was 40.0% in 2022.", "40.0%", "verified"),
    (
        "costs in brackets",
        COSTS,
        "Selling expenses were 8.0% of net sales in 2022.",
        "8.0%",
        "verified",
    ),
    (
        "costs in brackets",
        COSTS,
        "Cost of sales increased by $20 million in 2022.",
        "$20 million",
        "verified",
    ),
    ("costs in brackets", COSTS, "Selling expenses fell 25.0% in 2022.", "25.0%", "wrong"),
    (
        "share column is no growth",
        "| Brand | Revenue | % of Total |\n|---|---|---|\n| Sun | $6.0B | 60% |\n"
        "| Moon | $4.0B | 40% |\n",
        "Sun revenue grew 9.4%.",
        "9.4%",
        "not wrong",
    ),
    (
        "share column is no growth",
        "| 地区 | 收入 | 占比 |\n|---|---|---|\n"
        "| 华北 | 6.0亿元 | 60% |\n| 华中 | 4.0亿元 | 40% |\n",
        "华北收入增长9.4%。",
        "9.4%",
        "not wrong",
    ),
    (
        "stated change of another period",
        "| Brand | FY2023 revenue | YoY growth |\n|---|---|---|\n| Cloud | $8.4B | +31% |\n",
        "# FY2023\n\n## Q3 2023\n\n- **Cloud:** $2.2B (+27% YoY)\n",
        "+27%",
        "not wrong",
    ),
    (
        "stated change of another period",
        "| 业务 | 2022年收入 | 同比增长 |\n|---|---|---|\n| 云服务 | 8.4亿元 | +31% |\n",
        "2022年第三季度云服务收入同比增长27%。",
        "27%",
        "not wrong",
    ),
    (
        "aggregate",
        US,
        "The average Footwear sales in 2021 and 2022 were $82.5 million.",
        "$82.5 million",
        "not wrong",
    ),
    (
        "aggregate",
        US,
        "The total Footwear in 2021 and 2022 is $165 million.",
        "$165 million",
        "not wrong",
    ),
    (
        "aggregate",
        US,
        "The average net income for 2021 and 2022 was $27 million.",
        "$27 million",
        "verified",
    ),
    (
        "aggregate",
        US,
        "The average net income for 2021 and 2022 was $37 million.",
        "$37 million",
        "wrong",
    ),
    (
        "difference of two rows",
        "| | 2022 |\n|---|---|\n| North | $408 |\n| South | $158 |\n",
        "The difference in operating income in 2022 between North and South was $250.",
        "$250",
        "not wrong",
    ),
    (
        "difference of two rows",
        ZH,
        "2022年营业收入与营业成本之差为1,200万元。",
        "1,200万元",
        "not wrong",
    ),
    (
        "share of a row",
        "Unit: USD million\n\n| | 2022 |\n|---|---|\n| North | 318 |\n"
        "| Support revenue | 1,060 |\n",
        "In 2022 North was 30.0% of Support revenue.",
        "30.0%",
        "verified",
    ),
    (
        "share of a row",
        "Unit: USD million\n\n| | 2022 |\n|---|---|\n| North | 318 |\n"
        "| Support revenue | 1,060 |\n",
        "In 2022 North was 45.0% of Support revenue.",
        "45.0%",
        "wrong",
    ),
    (
        "same label twice",
        FEES,
        "Audit fees decreased by 25.0% in 2022 compared to 2021.",
        "25.0%",
        "verified",
    ),
    (
        "same label twice",
        FEES,
        "Audit fees increased by 25.0% in 2022 compared to 2021.",
        "25.0%",
        "verified",
    ),
    (
        "name inside a longer name",
        "Unit: USD million\n\n| | 2022 | 2021 |\n|---|---|---|\n"
        "| Trade receivables | 76.8 | 96.2 |\n"
        "| Contract assets and trade receivables | 178.0 | 204.9 |\n",
        "Contract assets and trade receivables were $178.0 million in 2022.",
        "$178.0 million",
        "verified",
    ),
    (
        "name inside a longer name",
        "单位：万元\n\n| 项目 | 2022年 |\n|---|---|\n"
        "| 应收账款 | 760 |\n| 应收账款及合同资产 | 1,780 |\n",
        "2022年应收账款及合同资产为1,780万元。",
        "1,780万元",
        "verified",
    ),
    ("cut by a page", CUT, "2022年末存货为15,004.32万元。", "15,004.32万元", "not wrong"),
    ("cut by a page", CUT, "2022年末存货为18,404.32万元。", "18,404.32万元", "not wrong"),
    ("scientific notation", ZH, "2022年营业收入为3.0×10^7元。", "3.0", "not wrong"),
    ("scientific notation", US, "Net sales were 2.5 x 10^8 dollars in 2022.", "2.5", "not wrong"),
    (
        "plain billions",
        "| Line | 2022 | 2021 |\n|---|---|---|\n| Revenue (billion yen) | 31.7 | 29.2 |\n",
        "Revenue in 2021 was 29.2.",
        "29.2",
        "not wrong",
    ),
    ("plain billions", US, "Net sales in 2022 were 250.0.", "250.0", "not wrong"),
    ("two companies", TWO, "北山股份2022年净利润为15.0亿元。", "15.0亿元", "not verified"),
    ("two companies", TWO, "北山股份2022年净利润为9.0亿元。", "9.0亿元", "verified"),
    (
        "two companies",
        TWO_EN,
        "Birch's revenue was $310 million in 2022.",
        "$310 million",
        "not verified",
    ),
    ("two companies", TWO_EN, "Revenue was $310 million in 2022.", "$310 million", "not verified"),
    ("row of a region", REGIONS, "2022年营业收入为2.19亿元。", "2.19亿元", "not verified"),
    (
        "row of a region",
        REGIONS_EN,
        "Revenue was $120.4 million in 2022.",
        "$120.4 million",
        "not verified",
    ),
]


def found(prompt: str, text: str, where: tuple[int, int]) -> str:
    """The verdict on the number at a place; a number that is no claim is not verified either."""
    for verdict in verify(prompt, text):
        if verdict.claim.start < where[1] and where[0] < verdict.claim.end:
            return verdict.status
    return "unverifiable"


def fits(status: str, right: str) -> bool:
    return status != right.removeprefix("not ") if right.startswith("not ") else status == right


@pytest.mark.parametrize(
    ("prompt", "text", "number", "right"),
    [pytest.param(*case[1:], id=f"{case[0]}: {case[2][:40]}") for case in CASES],
)
def test_a_number_is_judged_by_all_that_is_said_of_it(
    prompt: str, text: str, number: str, right: str
) -> None:
    start = text.rindex(number)
    status = found(prompt, text, (start, start + len(number)))
    assert fits(status, right), verify(prompt, text)


def test_the_minimal_cases(real_data: Path) -> None:
    path = real_data / "checks" / "minimal_failures.jsonl"
    if not path.exists():
        pytest.skip(f"no {path.name} in {path.parent}")
    missed = []
    for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        status = found(row["prompt"], row["sentence"], tuple(row["where"]))
        if not fits(status, row["right"]):
            missed.append((row["kind"], row["sentence"], status, row["right"]))
    assert missed == []
