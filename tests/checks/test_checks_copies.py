"""A document checked against itself, and texts that only a program writes."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reward_model.checks import items, verify
from reward_model.checks.facts import read_facts

MOST = 0.005
"""The share of decided cells of a copy that may be called wrong."""
UNITS = ("", "Unit: CNY million", "(in thousands, except per share data)", "单位：万元", "单位：元")
HEADS = (
    ("Item", "FY2022", "FY2021"),
    ("", "December 31, 2022", "December 31, 2021"),
    ("", "Three months ended March 31, 2022", "Three months ended March 31, 2021"),
    ("项目", "2022年", "2021年"),
    ("项目", "期末余额", "期初余额"),
    ("项目", "2022年", "同比"),
    ("Region", "Revenue", "% of total"),
)
labels = st.one_of(
    st.sampled_from([name for item in items().values() for name in (item.zh[0], item.en[0])]),
    st.sampled_from(
        ["Americas", "Other", "Total", "Tax Fees", "华东", "其他", "Shares (in thousands)", "Net"]
    ),
)
cells = st.one_of(
    st.integers(-99_999_999, 99_999_999).map(lambda n: f"{n:,}"),
    st.integers(1, 9_999_999).map(lambda n: f"({n:,})"),
    st.integers(1, 9_999_999).map(lambda n: f"$ {n / 100:,.2f}"),
    st.integers(-999, 9_999).map(lambda n: f"{n / 10:.1f}%"),
    st.sampled_from(["-", "—", "", "n/a", "0", "1.2亿元", "$3.4 million"]),
)
tables = st.builds(
    lambda unit, head, rows: f"{unit}\n\n" + _table(head, rows),
    st.sampled_from(UNITS),
    st.sampled_from(HEADS),
    st.lists(st.tuples(labels, cells, cells), min_size=2, max_size=10),
)


def _table(head: tuple[str, ...], rows: list[tuple[str, str, str]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def copied(documents: list[str]) -> Counter[str]:
    """Verdicts on the cells of documents against themselves."""
    return Counter(v.status for d in documents for v in verify(d, d) if v.claim.cell)


@settings(max_examples=150)
@given(st.lists(tables, min_size=1, max_size=3))
def test_no_cell_of_a_copy_is_wrong(parts: list[str]) -> None:
    document = "\n\n".join(f"## Part {i}\n\n{part}" for i, part in enumerate(parts))
    assert copied([document])["wrong"] == 0


def test_copies_of_real_documents(real_data: Path) -> None:
    rows = json.loads((real_data / "tatqa_dev.json").read_text(encoding="utf-8"))[:120]
    documents = []
    for row in rows:
        lines = (" | ".join(c.replace("\n", " ") for c in r) for r in row["table"]["table"])
        text = "\n\n".join(p["text"] for p in row["paragraphs"])
        documents.append(text + "\n\n" + "\n".join(f"| {line} |" for line in lines))
    reports = (real_data / "finreport_pairs_0to4.jsonl").read_text(encoding="utf-8").splitlines()
    for found in (copied(documents), copied([json.loads(reports[0])["prompt"]])):
        assert found["verified"] > 500
        assert found["wrong"] <= MOST * (found["verified"] + found["wrong"])


PROMPT = (
    "Unit: CNY million\n\n| Item | FY2021 | FY2020 |\n|---|---|---|\n| Revenue | 120 | 100 |\n"
    "| Widgets | 12 | 10 |\n"
)


def _rows(count: int) -> str:
    body = "".join(f"| Line {i} | {i}.5 | {i}.7 |\n" for i in range(count))
    return "Unit: CNY million\n\n| Item | FY2021 | FY2020 |\n|---|---|---|\n" + body


TEXTS: dict[str, Callable[[int], tuple[str, str]]] = {
    "numbers": lambda n: (PROMPT, " ".join(f"{i}.5" for i in range(n))),
    "percentages": lambda n: (PROMPT, "Revenue " + ", ".join(f"{i}.5%" for i in range(n))),
    "amounts": lambda n: (PROMPT, "，".join(f"2021年营业收入{i}.5万元" for i in range(n))),
    "brackets": lambda n: (PROMPT, "Revenue " + "".join(f"({i}.5%) " for i in range(n))),
    "table rows": lambda n: (PROMPT, _rows(n)),
    "prompt rows": lambda n: (_rows(n), "Revenue was 1.5 million in FY2021."),
    "rows of one name": lambda n: (
        PROMPT + "".join(f"| Widgets | {i}.5 | {i}.7 |\n" for i in range(n)),
        "Widgets grew 7% in FY2021. Widgets grew by $9 million in FY2021.",
    ),
    "open comments": lambda n: (PROMPT, "<table><tr><td>" + "<!-- 1.5%" * n),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_twice_the_text_takes_twice_the_time(kind: str) -> None:
    def seconds(count: int, enough: float = 0.0) -> float:
        """The fastest of three, or the first that is fast enough."""
        # A prompt of its own every time, so that nothing is remembered.
        prompt, report = TEXTS[kind](count)
        best = 1e9
        for i in range(3):
            start = time.process_time()
            verify(read_facts(f"{prompt}\n{count} {i}"), report)
            best = min(best, time.process_time() - start)
            if best < enough:
                break
        return best

    seconds(50)
    small = seconds(600)
    most = 2.3**2 * small + 0.05  # twice doubled
    large = seconds(2400, enough=most)
    assert large < most, (small, large)


def test_a_thousand_numbers_in_a_sentence_are_read_in_a_moment() -> None:
    report = "Revenue was " + ", ".join(f"${i}.5 million" for i in range(2000)) + "."
    start = time.process_time()
    verdicts = verify(PROMPT, report)
    assert time.process_time() - start < 5
    assert len(verdicts) > 1900
    assert "wrong" not in {v.status for v in verdicts}
