"""How well the numeric checks do on real reports, by kind of error, and how fast they are.

uv run python benchmarks/checks.py [--seeds 3] [--json FILE]
The reports are read from $REWARD_TEST_DATA, else from ../shared/data beside the repository.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reward_model.checks import ERROR_KINDS, Facts, find_item, plant, read_facts, verify

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("REWARD_TEST_DATA", ROOT.parent / "shared" / "data"))
ADJUDICATED = ROOT / "tests" / "test_checks_adjudicated.json"


def reports() -> list[tuple[str, str]]:
    """Prompt and golden report of every pair."""
    path = DATA / "finreport_pairs_0to4.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(row["prompt"], row["chosen"]) for row in rows]


def precision(pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Of the claims called wrong in golden text, how many are (by the adjudicated list)."""
    judged = json.loads(ADJUDICATED.read_text(encoding="utf-8"))["reports"]
    count: Counter[str] = Counter()
    status: Counter[str] = Counter()
    for prompt, report in pairs:
        known = judged.get(hashlib.blake2b(report.encode(), digest_size=8).hexdigest(), {})
        for verdict in verify(prompt, report):
            status[verdict.status] += 1
            if verdict.status == "wrong":
                count[known.get(str(verdict.claim.start), "not adjudicated")] += 1
    answered = count["wrong"] + count["arguable"]
    return {
        "claims": dict(status),
        "called wrong": dict(count),
        "precision of wrong": count["wrong"] / answered if answered else None,
    }


def found(facts: Facts, text: str, where: tuple[int, int]) -> bool:
    """Whether a number at, or right after, the planted place is called wrong."""
    start, end = where
    near = [v for v in verify(facts, text) if start - 1 <= v.claim.start <= end + 12]
    return any(v.status == "wrong" for v in near)


def recall(pairs: list[tuple[str, str]], seeds: int, *, certain: bool) -> dict[str, Any]:
    """Planted errors that are called wrong, by kind."""
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for prompt, report in pairs:
        facts = read_facts(prompt)
        for kind in ERROR_KINDS:
            for seed in range(seeds):
                done = plant(facts, report, kind, random.Random(seed), certain=certain)
                if done is None:
                    table[kind]["impossible"] += 1
                    continue
                text, error = done
                assert text[error.where[0] : error.where[1]] == error.now
                table[kind]["found" if found(facts, text, error.where) else "missed"] += 1
    total = sum(table.values(), Counter())
    return {
        "recall": total["found"] / (total["found"] + total["missed"]),
        "by kind": {
            kind: {**row, "recall": row["found"] / max(1, row["found"] + row["missed"])}
            for kind, row in table.items()
        },
    }


def statements(limit: int) -> Iterator[tuple[str, str]]:
    """Prompt and correct short report, in both languages, from real annual statements."""
    path = DATA / "astock_statements.csv"
    with path.open(encoding="utf-8-sig", newline="") as handle:
        rows = list(csv.DictReader(handle))
    companies: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        companies[row["股票代码"]].append(row)
    for years in list(companies.values())[:limit]:
        years.sort(key=lambda row: row["报告年份"], reverse=True)
        for language in ("zh", "en"):
            prompt = statement_prompt(years, language)
            yield prompt, correct_report(read_facts(prompt), language)


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


def correct_report(facts: Facts, language: str) -> str:
    """Sentences that are right by construction."""
    now, zh = facts.periods()[-1], language == "zh"
    before = now.year_ago()
    said = []
    for key in ("revenue", "net_profit", "operating_profit", "total_assets", "selling_expense"):
        value, change, item = (
            facts.value(key, now),
            facts.change(key, now, before),
            find_item_of(key),
        )
        if value is None or change is None:
            continue
        if zh:
            verb = "增长" if change > 0 else "下降"
            said.append(
                f"{now.label()}{item}为{value / 1e4:,.2f}万元，同比{verb}{abs(change):.1%}。"
            )
        else:
            name = find_item_of(key, "en")
            verb = "rose" if change > 0 else "fell"
            amount = f"CNY {value / 1e6:,.1f} million"
            said.append(f"{name} {verb} {abs(change):.1%} to {amount} in {now.label('en')}.")
    for key in ("gross_margin", "net_margin", "debt_ratio", "roe"):
        value, change = facts.value(key, now), facts.change(key, now, before)
        if value is None or change is None:
            continue
        points = f"{abs(change) * 100:.1f}"
        if zh:
            verb = "提升" if change > 0 else "下降"
            said.append(f"{find_item_of(key)}为{value:.1%}，较上年{verb}{points}个百分点。")
        else:
            verb = "up" if change > 0 else "down"
            name, year = find_item_of(key, "en"), before.label("en")
            said.append(f"{name} was {value:.1%}, {verb} {points} percentage points from {year}.")
    title = f"# {now.label()}财务分析" if zh else f"# Financial analysis, {now.label('en')}"
    return title + "\n\n" + "\n".join(said)


def find_item_of(key: str, language: str = "zh") -> str:
    """The display name of an item."""
    from reward_model.checks import items

    return items()[key].name(language)


def speed(pairs: list[tuple[str, str]]) -> dict[str, float]:
    """Seconds for 100 reports, each with a prompt of its own of 100,000 characters."""
    from reward_model.checks import facts as cache
    from reward_model.checks import reader

    chosen = [pairs[i % len(pairs)] for i in range(100)]
    jobs = [(f"{i}\n{prompt}"[:100_000], report) for i, (prompt, report) in enumerate(chosen)]
    result = {"characters a prompt": sum(len(p) for p, _ in jobs) / len(jobs)}
    for name, cold in (
        ("100 reports, tables repeat", False),
        ("100 reports, all tables new", True),
    ):
        cache._CACHE.clear()
        reader._BLOCKS.clear()
        wall, cpu = time.perf_counter(), time.process_time()
        for prompt, report in jobs:
            if cold:
                reader._BLOCKS.clear()
            verify(prompt, report)
        result[f"{name}, seconds"] = time.perf_counter() - wall
        result[f"{name}, CPU seconds"] = time.process_time() - cpu
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--companies", type=int, default=60)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not (DATA / "finreport_pairs_0to4.jsonl").is_file():
        sys.exit(f"no reports under {DATA}: set REWARD_TEST_DATA to the folder that holds them")
    pairs = reports()
    right = list(statements(options.companies))
    alarms = Counter(v.status for prompt, text in right for v in verify(prompt, text))
    result = {
        "golden reports": precision(pairs),
        "planted, certain claims": recall(pairs, options.seeds, certain=True),
        "planted, any verified claim": recall(pairs, options.seeds, certain=False),
        "correct text on annual statements": dict(alarms),
        "planted in it": recall(right[:: max(1, len(right) // 20)], 1, certain=False),
        "speed": speed(pairs),
    }
    print(json.dumps(result, ensure_ascii=False, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, ensure_ascii=False, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
