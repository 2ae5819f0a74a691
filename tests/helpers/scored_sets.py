"""Scored sets made to order: exchangeable texts, a judge without faults, and one fault if asked.

The two sides of a clean set are drawn alike, so nothing but their levels tells them apart.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from reward_model.rubrics import load_rubric

RUBRIC = load_rubric("financial_report")
DIMENSIONS = RUBRIC.names
_ITEMS = [
    "营业收入",
    "净利润",
    "毛利率",
    "存货",
    "应收账款",
    "经营现金流",
    "研发费用",
    "资产负债率",
    "周转天数",
    "净利率",
]
_CAUSES = [
    "渠道扩张",
    "原料降价",
    "产能爬坡",
    "结算放缓",
    "费用压缩",
    "客户流失",
    "汇率变化",
    "政策补贴",
    "订单前移",
]
_SHAPES = (
    "{item}为{number}亿元，同比变化{rate}%，主因是{cause}。",
    "受{cause}影响，{item}录得{number}亿元。",
    "{item}变动{rate}%，与{cause}有关，后续仍需观察。",
    "从{cause}看，{item}的变化是{rate}%，口径为合并报表。",
)


def sentence(rng: random.Random) -> str:
    return rng.choice(_SHAPES).format(
        item=rng.choice(_ITEMS),
        cause=rng.choice(_CAUSES),
        number=f"{rng.uniform(1, 900):.2f}",
        rate=f"{rng.uniform(-40, 60):.1f}",
    )


def report(rng: random.Random, size: int | None = None) -> list[str]:
    return [sentence(rng) for _ in range(size or rng.randint(8, 16))]


def prompt(rng: random.Random, company: str) -> str:
    rows = [
        f"| {item} | {rng.uniform(1, 900):.2f} | {rng.uniform(1, 900):.2f} |" for item in _ITEMS
    ]
    return "\n".join([f"请分析{company}的财务状况，写明原因。", "| 项目 | 2023 | 2022 |", *rows])


def scored_set(
    *,
    groups: int = 40,
    seed: int = 0,
    severities: tuple[int, ...] = (1, 2, 3, 4),
    neutral: bool = True,
) -> list[dict[str, Any]]:
    """Every degradation once a group, a severity drawn each, and one neutral pair a group."""
    rng = random.Random(f"set:{seed}")
    rows: list[dict[str, Any]] = []
    for g in range(groups):
        company = f"公司{g:03d}"
        text = prompt(rng, company)
        for degradation in RUBRIC.degradations:
            severity = rng.choice(severities)
            chosen, rejected = {}, {}
            for name in DIMENSIONS:
                chosen[name] = rng.choice((3, 4, 4))
                drop = severity if name in degradation.targets else rng.choice((0, 0, 0, 1))
                rejected[name] = max(0, chosen[name] - drop)
            rows.append(
                _pair(rng, text, company, chosen, rejected, len(rows), {
                    "degradation_type": degradation.name,
                    "severity": severity,
                    "targets": list(degradation.targets),
                })
            )  # fmt: skip
        if neutral:
            levels = {name: rng.choice((3, 4)) for name in DIMENSIONS}
            again = {
                n: min(4, max(0, v + rng.choice((0,) * 8 + (1, -1)))) for n, v in levels.items()
            }
            row = _pair(rng, text, company, levels, again, len(rows), {"degradation_type": None})
            row["metadata"]["kind"] = "neutral"
            rows.append(row)
    return rows


def _pair(
    rng: random.Random,
    text: str,
    company: str,
    chosen: dict[str, int],
    rejected: dict[str, int],
    number: int,
    defect: dict[str, Any],
) -> dict[str, Any]:
    settings = {"model": "alpha:writer", "temperature": 0.3}
    return {
        "id": f"p{number}",
        "prompt": text,
        "chosen": "\n".join(report(rng)),
        "rejected": "\n".join(report(rng)),
        "metadata": {
            "language": "zh",
            "company": company,
            "prompt_id": company,
            "kind": "degraded",
            "gold_metadata": dict(settings),
            "defect_metadata": {**defect, **settings},
        },
        "scores": {
            "chosen": chosen,
            "rejected": rejected,
            "reasoning": {s: {n: f"{s} {n}" for n in DIMENSIONS} for s in ("chosen", "rejected")},
            "judge": {"model": "beta:judge"},
        },
    }


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows), "utf-8")
    return path
