"""Toy scored pairs whose levels follow from words in the text: a tiny model can learn them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from reward_model.rubrics import Rubric

GOOD = ["because", "therefore", "driven", "risk", "margin", "因此", "驱动"]
FLAT = ["maybe", "some", "thing", "good", "很多", "不错", "大概"]


def text(levels: dict[str, int], scale: int, rng: random.Random) -> str:
    """Words whose kind says the level: the n-th dimension uses the n-th pair of words."""
    words = []
    for n, level in enumerate(levels.values()):
        high, low = GOOD[n % len(GOOD)], FLAT[n % len(FLAT)]
        words += [high if rng.random() * scale < level else low for _ in range(12)]
    rng.shuffle(words)
    return " ".join(words) + f". {rng.randint(100, 999)}"


def pairs(rubric: Rubric, count: int = 40, seed: int = 0, groups: int = 10) -> list[dict[str, Any]]:
    """Pairs whose chosen side has the higher levels."""
    rng = random.Random(f"toy:{seed}")
    top = rubric.scale
    rows = []
    for i in range(count):
        high = {name: rng.randint((top + 1) // 2, top) for name in rubric.names}
        low = {name: rng.randint(0, top // 2) for name in rubric.names}
        rows.append(
            {
                "id": f"toy-{i}",
                "prompt": f"Statements of company {i % groups}: revenue {1000 + i % groups * 7}",
                "chosen": text(high, top, rng),
                "rejected": text(low, top, rng),
                "metadata": {"prompt_id": f"c{i % groups}", "field": "制造业", "language": "en"},
                "scores": {"chosen": high, "rejected": low},
            }
        )
    return rows


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as JSON Lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path
