"""What a round trains on: new pairs, those one began with, and those of the round before.

Groups are drawn whole, by seed, and never twice: a share that cannot be filled stays smaller.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reward_model.policy.rows import PolicyRow, read_rows
from reward_model.policy.sample import plain
from reward_model.records import write_jsonl


def mix(
    sources: Mapping[str, str], shares: Mapping[str, float], out: Path, *, seed: int
) -> dict[str, int]:
    """Write the mixture; how many pairs came from where.

    Args:
        sources: name (`new`, `original`, `previous`) -> file or folder of preferences.
        shares: name -> share wanted; a name without a source counts for nothing.
        out: JSON Lines file.
        seed: of the draw.

    Raises:
        UserError: a source that cannot be read.
    """
    rows = {name: read_rows(place, "pairs").rows for name, place in sources.items()}
    wanted = {name: shares.get(name, 0.0) for name in rows if shares.get(name, 0.0) > 0}
    # All that is there of the scarcest sets the size, so that the shares hold; new pairs are what
    # the round is for, and are never thrown away for want of the others.
    scale = len(rows["new"]) / wanted["new"] if wanted.get("new") else float("inf")
    if scale == float("inf"):
        scale = min(len(rows[name]) / share for name, share in wanted.items())
    counts: dict[str, int] = {}
    chosen: list[dict[str, Any]] = []
    for name, share in wanted.items():
        drawn = _drawn(rows[name], round(share * scale), f"{seed}:{name}")
        counts[name] = len(drawn)
        chosen += [
            {
                "prompt": plain(row.prompt),
                "chosen": row.chosen,
                "rejected": row.rejected,
                "metadata": {"prompt_id": row.group, "source": name},
            }
            for row in drawn
        ]
    write_jsonl(out, chosen)
    return counts


def _drawn(rows: Sequence[PolicyRow], count: int, seed: str) -> list[PolicyRow]:
    """Whole groups until there are `count` rows, in the order of the file."""
    groups = list(dict.fromkeys(row.group for row in rows))
    random.Random(seed).shuffle(groups)
    sizes: dict[str, int] = {}
    for row in rows:
        sizes[row.group] = sizes.get(row.group, 0) + 1
    kept: set[str] = set()
    have = 0
    for group in groups:
        if have >= count:
            break
        kept.add(group)
        have += sizes[group]
    return [row for row in rows if row.group in kept]
