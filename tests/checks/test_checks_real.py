"""How far a verdict can be believed, on sentences over the tables of real annual reports."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from reward_model.checks import verify


def counted(path: Path) -> Counter[tuple[bool, str]]:
    """Truth and verdict of each sentence of a file."""
    count: Counter[tuple[bool, str]] = Counter()
    for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        start, end = row["where"]
        near = (
            v.status
            for v in verify(row["prompt"], row["sentence"])
            if v.claim.start < end and start < v.claim.end
        )
        count[row["truth"], next(near, "unverifiable")] += 1
    return count


@pytest.mark.parametrize("name", ["tatqa_values", "tatqa_report_style"])
def test_wrong_can_be_believed_on_tables_nobody_made_for_it(real_data: Path, name: str) -> None:
    path = real_data / "checks" / f"{name}.jsonl"
    if not path.exists():
        pytest.skip(f"no {path.name} in {path.parent}")
    count = counted(path)
    false = sum(n for (truth, _), n in count.items() if not truth)
    hits, alarms = count[False, "wrong"], count[True, "wrong"]
    assert hits / (hits + alarms) >= 0.97, count
    assert hits / false >= 0.55, count
    assert count[False, "verified"] <= 0.01 * false, count


NOTE = """# Fiscal 2023 review

Net sales reached $1.0 billion in 2023, up 11.1% from $900 million in 2022. Products rose 7.7% to
$700 million while Services grew 20.0% to $300 million. Gross margin was 45.0%, compared with 42.2%
in 2022. Organic net sales increased 9%. European net sales were $410 million, of which $120 million
came from Services. Fourth quarter net sales were $280 million. Revenue per employee was $0.5
million.

### Outdoor

- Net sales: $41 million (+6% YoY)
"""
NOTE_TABLE = """(in millions)

| | 2023 | 2022 |
|---|---|---|
| Products | 700 | 650 |
| Services | 300 | 250 |
| Net sales | 1,000 | 900 |
| Cost of sales | (550) | (520) |
"""
ZH_NOTE = """# 2023年财务分析

2023年，公司实现营业收入12.00亿元，较上年增加2.00亿元，增长20.0%。研发费用8,400万元，同比增长40.0%，
占营业收入的7.0%，较上年提升1个百分点。子公司天枢软件营业收入3.20亿元，净利润0.60亿元。第四季度营业收入4.10亿元，
同比增长25.3%。营业收入每增加1亿元，净利润增加约1,250万元。总资产同比增长11.1%至20.00亿元。
"""
ZH_TABLE = """单位：万元

| 项目 | 2023年 | 2022年 |
|---|---|---|
| 营业收入 | 120,000 | 100,000 |
| 研发费用 | 8,400 | 6,000 |
| 净利润 | 15,000 | 9,600 |
| 资产总计 | 200,000 | 180,000 |
"""


@pytest.mark.parametrize(
    ("prompt", "note"), [(NOTE_TABLE, NOTE), (ZH_TABLE, ZH_NOTE)], ids=["en", "zh"]
)
def test_a_true_note_is_never_wrong(prompt: str, note: str) -> None:
    count = Counter(v.status for v in verify(prompt, note))
    assert count["wrong"] == 0, verify(prompt, note)
    assert count["verified"] >= 6
