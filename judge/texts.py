"""Reports taken from a file to try a judge on: a side of the pairs, or reports by themselves.

`read_texts(Path("pairs.jsonl"), "rejected", limit=20, seed=0)` gives different texts, few of one
group before more of it.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any, NamedTuple

from reward_model.records import (
    SIDES,
    Side,
    UserError,
    as_text,
    digest,
)
from reward_model.records.chat.turns import judged
from reward_model.records.rows import parse_row
from reward_model.records.tables import is_table, read_rows, told_of, without_null


class Report(NamedTuple):
    """A prompt and a text written to it."""

    group: str
    prompt: str
    text: str


def read_texts(path: Path, side: Side, *, limit: int, seed: int) -> list[Report]:
    """Up to `limit` different texts of a file of pairs, or of lines with prompt and response.

    Neutral pairs are left out of the rejected side: theirs are no worse texts.

    Raises:
        UserError: the file cannot be read, or has no text of this kind.
    """
    groups: dict[str, list[Report]] = {}
    seen: set[str] = set()
    for line in read_rows(path):
        row = without_null(line.value) if is_table(path) else line.value
        with told_of(path, line.number):
            report = _report(row, side)
        if report is None:
            continue
        key = digest([report.prompt, report.text], 24)
        if key not in seen:
            seen.add(key)
            groups.setdefault(report.group, []).append(report)
    if not groups:
        raise UserError(
            f"no {side} text", expected="pairs, or lines with prompt and response", path=path
        )
    rng = random.Random(f"{seed}:texts")
    lots = [rng.sample(lot, len(lot)) for lot in groups.values()]
    rng.shuffle(lots)
    taken: list[Report] = []
    while lots and len(taken) < limit:
        taken += [lot.pop() for lot in lots]
        lots = [lot for lot in lots if lot]
    return taken[:limit]


def _report(value: dict[str, Any], side: Side) -> Report | None:
    row = parse_row(value, several=False)
    if len(row.completions) > 1 and row.pair is None:
        raise UserError(
            "several responses without a preference", expected="a pair, or prompt with response"
        )
    if side == "rejected" and row.neutral:
        return None
    written = row.completions[SIDES.index(side) if row.pair else 0]
    read = judged(row.prompt, written)
    if read.reason or not read.answer.strip():
        return None
    return Report(row.group, as_text(read.prompt), read.answer)
