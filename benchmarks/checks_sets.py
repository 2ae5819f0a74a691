"""The sets that `benchmarks/checks.py` measures on: sentences with a truth, and copies.

A row has `prompt`, `sentence`, `where` ([start, end) of the number under test) and `truth`.
"""

from __future__ import annotations

import csv
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reward_model.checks import Facts, Period, find_item, items, read_facts, verify

Row = dict[str, Any]

_LEVEL = (
    "{now}{name}为{value}。",
    "{now}，公司实现{name}{value}。",
    "{now}{name}达到{value}，经营稳健。",
    "截至{now}末，{name}余额为{value}。",
)
_CHANGE = (
    "{now}{name}同比{verb}{value}。",
    "{now}{name}较{then}{verb}{value}。",
    "与{then}相比，{now}{name}{verb}{value}。",
    "{now}{name}为{level}，同比{verb}{value}。",
    "{name}由{then}的{before}{verb}至{now}的{level}，{verb}{value}。",
)
_POINTS = ("{now}{name}为{level}，较上年{verb}{value}。", "{now}{name}同比{verb}{value}。")
_FLOWS = ("revenue", "cost_of_sales", "net_profit", "operating_profit", "selling_expense")
_STOCKS = ("total_assets", "total_liabilities", "current_assets")
_RATIOS = ("gross_margin", "net_margin", "debt_ratio")


def companies(data: Path) -> list[list[dict[str, str]]]:
    """The statements of each company, the latest year first."""
    with (data / "astock_statements.csv").open(encoding="utf-8-sig", newline="") as handle:
        found: dict[str, list[dict[str, str]]] = defaultdict(list)
        for row in csv.DictReader(handle):
            found[row["股票代码"]].append(row)
    return [sorted(r, key=lambda x: x["报告年份"], reverse=True) for r in found.values()]


def statement_prompt(years: list[dict[str, str]], language: str) -> str:
    """The statements of one company as a Markdown table."""
    zh = language == "zh"
    head = [row["报告年份"] + "年" if zh else "FY" + row["报告年份"] for row in years]
    lines = [
        f"| {'项目' if zh else 'Item'} | {' | '.join(head)} |",
        "|---" * (len(years) + 1) + "|",
    ]
    for name in years[0]:
        item = find_item(name)
        if item is None:
            continue
        scale = 1.0 if item.unit == "per_share" else 1e4 if zh else 1e6
        cells = [f"{float(row[name]) / scale:,.2f}" if row[name] else "-" for row in years]
        lines.append(f"| {name if zh else item.en[0]} | {' | '.join(cells)} |")
    return ("单位：万元\n\n" if zh else "Unit: CNY million\n\n") + "\n".join(lines)


def annual_sentences(data: Path, limit: int) -> Iterator[Row]:
    """Chinese sentences of annual reports, true and with a changed number."""
    rng = random.Random(11)
    for years in companies(data)[:limit]:
        prompt = statement_prompt(years, "zh")
        facts = read_facts(prompt)
        now = facts.periods()[-1]
        for key in (*_FLOWS, *_STOCKS, *_RATIOS):
            yield from _sentences(facts, prompt, key, now, rng)


def _sentences(
    facts: Facts, prompt: str, key: str, now: Period, rng: random.Random
) -> Iterator[Row]:
    then = now.year_ago()
    value, before = facts.value(key, now), facts.value(key, then)
    if value is None or before is None or value <= 0 or before <= 0 or value == before:
        return
    ratio = items()[key].unit == "percent"

    def show(x: float) -> str:
        return f"{x:.1%}" if ratio else f"{x / 1e4:,.2f}万元"

    words = {
        "now": now.label(),
        "then": then.label(),
        "name": items()[key].zh[0],
        "verb": "增长" if value > before else "下降",
        "level": show(value),
        "before": show(before),
    }
    change = (
        f"{abs(value - before) * 100:.1f}个百分点" if ratio else f"{abs(value / before - 1):.1%}"
    )
    level = _LEVEL[rng.randrange(3 if key not in _STOCKS else 4)]
    for kind, template, shown in (
        ("level", level, show(value)),
        ("change", rng.choice(_POINTS if ratio else _CHANGE), change),
    ):
        for truth in (True, False):
            number = shown if truth else _changed(shown, rng)
            if number is None:
                continue
            head, _, tail = template.partition("{value}")
            start = head.format(**words)
            yield {
                "prompt": prompt,
                "sentence": start + number + tail.format(**words),
                "where": [len(start), len(start) + len(number)],
                "truth": truth,
                "kind": kind,
            }


def _changed(shown: str, rng: random.Random) -> str | None:
    """The number with one leading digit turned into another."""
    places = [i for i, c in enumerate(shown) if c.isdigit()][:2]
    i = rng.choice(places)
    digit = rng.choice([d for d in "123456789" if abs(int(d) - int(shown[i])) > 1])
    return shown[:i] + digit + shown[i + 1 :]


def jsonl(path: Path, *, prompt: str = "prompt") -> list[Row]:
    """The rows of a file of sentences; `prompt`: which field is the prompt."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{**row, "prompt": row[prompt]} for row in rows]


def status_at(row: Row) -> tuple[str, str]:
    """The verdict on the number under test, and its reason."""
    start, end = row["where"]
    for verdict in verify(row["prompt"], row["sentence"]):
        if verdict.claim.start < end and start < verdict.claim.end:
            return verdict.status, verdict.reason
    return "unverifiable", "no claim"


def tables_of_tatqa(data: Path) -> Iterator[str]:
    """Each table of TAT-QA with its paragraphs."""
    for row in json.loads((data / "tatqa_dev.json").read_text(encoding="utf-8")):
        cells = row["table"]["table"]
        lines = ["| " + " | ".join(c.replace("\n", " ") for c in r) + " |" for r in cells]
        text = "\n\n".join(p["text"] for p in row["paragraphs"])
        yield text + "\n\n" + "\n".join(lines)


def copied(documents: Iterator[str] | list[str]) -> Counter[str]:
    """Verdicts on the table cells of documents that are checked against themselves."""
    count: Counter[str] = Counter()
    for document in documents:
        count.update(v.status for v in verify(document, document) if v.claim.cell)
    return count
