"""The second pass: the texts of a few pairs, chosen by group and by seed."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from judge.validate.table import Table
from reward_model.records import Pair, as_text, explain_os_error, parse_json
from reward_model.records.rows import parse_pair


class SampledTexts(NamedTuple):
    """Texts of sampled preference pairs, in the order of `rows`."""

    rows: NDArray[np.int64]
    chosen: list[str]
    rejected: list[str]


def sample_groups(table: Table, most: int, seed: int) -> NDArray[np.int64]:
    """Rows of whole groups, drawn at random, up to about `most` preference pairs."""
    rows = np.flatnonzero(table.preference)
    if len(rows) <= most:
        return rows
    members: dict[int, list[int]] = {}
    for row in rows.tolist():
        members.setdefault(int(table.group[row]), []).append(row)
    order = sorted(members)
    random.Random(f"{seed}:audit").shuffle(order)
    taken: list[int] = []
    for group in order:
        if len(taken) >= most:
            break
        taken += members[group][: most - len(taken)]
    return np.array(sorted(taken), np.int64)


def read_rows(table: Table, rows: Iterable[int]) -> dict[int, Pair]:
    """Read some rows of the file again; only their lines are parsed."""
    wanted = {int(table.lines[row]): int(row) for row in rows}
    found: dict[int, Pair] = {}
    try:
        with Path(table.path).open("rb") as file:
            for number, raw in enumerate(file, 1):
                if number in wanted:
                    value = parse_json(raw.removeprefix(b"\xef\xbb\xbf"))
                    found[wanted[number]] = parse_pair(value)
                    if len(found) == len(wanted):
                        break
    except OSError as error:
        raise explain_os_error(error, table.path) from None
    return found


def read_texts(table: Table, rows: NDArray[np.int64]) -> SampledTexts:
    """Both texts of each row."""
    pairs = read_rows(table, rows.tolist())
    return SampledTexts(
        rows,
        [as_text(pairs[row].chosen) for row in rows.tolist()],
        [as_text(pairs[row].rejected) for row in rows.tolist()],
    )
