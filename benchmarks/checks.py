"""How well the numeric checks do: on sentences with a known truth, on real reports, on copies.

uv run python benchmarks/checks.py [--data DIR] [--seeds 3] [--json FILE] [--quick]
The data are read from DIR, else from $REWARD_TEST_DATA, else from ../shared/data beside the
repository; any `checks/*.jsonl` there with `prompt`, `sentence`, `where` and `truth` is a set.
"""

from __future__ import annotations

import argparse
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

from checks_sets import (
    Row,
    annual_sentences,
    companies,
    copied,
    jsonl,
    statement_prompt,
    status_at,
    tables_of_tatqa,
)

from reward_model.checks import ERROR_KINDS, Facts, items, plant, read_facts, verify

ROOT = Path(__file__).resolve().parent.parent
ADJUDICATED = ROOT / "tests" / "checks" / "test_checks_adjudicated.json"


def default_data() -> Path:
    """Where the data are unless told."""
    return Path(os.environ.get("REWARD_TEST_DATA", ROOT.parent / "shared" / "data"))


def measured(rows: list[Row]) -> dict[str, Any]:
    """Verdicts of true and of false sentences, and what follows from them, by kind."""
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    reasons: Counter[str] = Counter()
    for row in rows:
        status, reason = status_at(row)
        for kind in ("all", str(row.get("kind", ""))):
            seen[kind][f"{'true' if row['truth'] else 'false'} {status}"] += 1
        if status == "unverifiable":
            reasons[reason.split("(")[0].strip()] += 1
    result = {kind: _figures(count) for kind, count in sorted(seen.items()) if kind}
    return {**result, "why unverifiable": dict(reasons.most_common(8))}


def _figures(count: Counter[str]) -> dict[str, Any]:
    called = count["true wrong"] + count["false wrong"]
    false = sum(n for name, n in count.items() if name.startswith("false"))
    decided = sum(n for name, n in count.items() if not name.endswith("unverifiable"))
    return {
        **dict(sorted(count.items())),
        "precision of wrong": round(count["false wrong"] / called, 4) if called else None,
        "recall": round(count["false wrong"] / false, 4) if false else None,
        "share of false verified": round(count["false verified"] / false, 4) if false else None,
        "coverage": round(decided / sum(count.values()), 4),
    }


def minimal(path: Path) -> dict[str, Any]:
    """Cases with the verdict that is right (`not wrong`, `not verified` where several are)."""
    missed = []
    rows = jsonl(path)
    for row in rows:
        status, right = status_at(row)[0], row["right"]
        if status == right.removeprefix("not ") if right.startswith("not ") else status != right:
            missed.append(f"{row['kind']}: {status}, {right} is right")
    return {"cases": len(rows), "right": len(rows) - len(missed), "missed": missed}


def reports(data: Path) -> list[tuple[str, str]]:
    """Prompt and golden report of every pair."""
    path = data / "finreport_pairs_0to4.jsonl"
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


def statements(data: Path, limit: int) -> Iterator[tuple[str, str]]:
    """Prompt and correct short report, in both languages, from real annual statements."""
    for years in companies(data)[:limit]:
        for language in ("zh", "en"):
            prompt = statement_prompt(years, language)
            yield prompt, correct_report(read_facts(prompt), language)


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


def sets(data: Path, limit: int) -> dict[str, Any]:
    """Every set of sentences under `data`, and copies of documents."""
    result: dict[str, Any] = {}
    for path in sorted((data / "checks").glob("*.jsonl")):
        rows = jsonl(path)
        if "right" in rows[0]:
            result[path.stem] = minimal(path)
            continue
        result[path.stem] = measured(rows)
        if "prompt_table" in rows[0]:
            alone = jsonl(path, prompt="prompt_table")
            result[f"{path.stem}, the table alone"] = measured(alone)
    result["Chinese annual-report sentences"] = measured(list(annual_sentences(data, limit)))
    for name, documents in (
        ("TAT-QA", tables_of_tatqa(data)),
        ("prompts of reports", iter([p for p, _ in reports(data)[:4]])),
    ):
        count = copied(documents)
        decided = count["verified"] + count["wrong"]
        share = round(count["wrong"] / decided, 5) if decided else None
        result[f"copies, cells: {name}"] = {**count, "wrong of decided": share}
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=default_data())
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--companies", type=int, default=60)
    parser.add_argument("--quick", action="store_true", help="the sets alone")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    data = options.data
    if not (data / "finreport_pairs_0to4.jsonl").is_file():
        sys.exit(f"no reports under {data}: pass --data with the folder that holds them")
    result = sets(data, options.companies)
    if not options.quick:
        pairs = reports(data)
        right = list(statements(data, options.companies))
        alarms = Counter(v.status for prompt, text in right for v in verify(prompt, text))
        result |= {
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
