"""Explicit filters: each pair is kept or dropped for the first reason that applies.

Kept lines are copied byte for byte; without any filter every line is kept.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from judge.validate.table import MISSING, Table, mean_gap
from reward_model.records import UserError, explain_os_error, write_json, writing
from reward_model.records.files import Pathish


@dataclass(frozen=True)
class Filters:
    """What to leave out. Conditions on gaps do not apply to neutral pairs."""

    min_gap: float | None = None
    """Least mean gap, in levels of the rubric."""
    require_target: bool = False
    """Every dimension the degradation targets must drop; pairs that name no target are dropped."""
    drop_incomplete: bool = False
    """No level may be missing."""
    drop_neutral: bool = False
    drop_duplicates: bool = False
    """Pairs that repeat an earlier one, and pairs of two equal sides."""
    max_length_ratio: float | None = None
    """Longer side over shorter side, in characters."""
    max_per_prompt: int | None = None
    """The first so many pairs of each group that pass the rest."""

    def __post_init__(self) -> None:
        if self.min_gap is not None and not math.isfinite(self.min_gap):
            raise UserError(f"--min-gap {self.min_gap}", expected="a number of levels")
        if self.max_length_ratio is not None and not 1 <= self.max_length_ratio < math.inf:
            raise UserError(
                f"--max-length-ratio {self.max_length_ratio}",
                expected="1 or more: the longer side over the shorter",
            )
        if self.max_per_prompt is not None and self.max_per_prompt < 1:
            raise UserError(f"--max-per-prompt {self.max_per_prompt}", expected="1 or more")

    def options(self) -> dict[str, float | int | bool | None]:
        """Name -> value, for the report."""
        return asdict(self)


def repeats(table: Table) -> NDArray[np.bool_]:
    """(N,) pairs that repeat an earlier one, text for text."""
    _, first = np.unique(table.text_key, axis=0, return_index=True)
    again = np.ones(len(table.lines), bool)
    again[first] = False
    return again


def apply(table: Table, filters: Filters) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """(N,) which pairs stay, and how many went for which reason."""
    gaps = table.gaps
    means = mean_gap(gaps)
    preference = table.preference
    checks: list[tuple[str, NDArray[np.bool_]]] = []
    if filters.drop_neutral:
        checks.append(("neutral", table.neutral))
    if filters.drop_duplicates:
        checks += [("duplicate", repeats(table)), ("same_sides", table.same_sides)]
    if filters.drop_incomplete:
        checks += [
            ("unscored", ~table.scored),
            ("missing_level", (table.levels == MISSING).any(axis=(1, 2))),
        ]
    if filters.min_gap is not None:
        checks.append(("no_gap", preference & np.isnan(means)))
        checks.append(("gap_below_minimum", preference & (means < filters.min_gap)))
    if filters.require_target:
        checks.append(("no_known_target", preference & ~table.targets.any(axis=1)))
        unmoved = (table.targets & ~(gaps > 0)).any(axis=1)
        checks.append(("target_not_lowered", preference & unmoved))
    if filters.max_length_ratio is not None:
        longer, shorter = table.length.max(axis=1), np.maximum(table.length.min(axis=1), 1)
        checks.append(("length_ratio", longer > filters.max_length_ratio * shorter))
    keep = np.ones(len(table.lines), bool)
    dropped: dict[str, int] = {}
    for reason, bad in checks:
        now = keep & bad
        if now.any():
            dropped[reason] = int(now.sum())
            keep &= ~bad
    if filters.max_per_prompt is not None:
        count: Counter[int] = Counter()
        surplus = 0
        for row in np.flatnonzero(keep):
            group = int(table.group[row])
            count[group] += 1
            if count[group] > filters.max_per_prompt:
                keep[row] = False
                surplus += 1
        if surplus:
            dropped["over_max_per_prompt"] = surplus
    return keep, dropped


def write_kept(table: Table, keep: NDArray[np.bool_], out: Pathish, config: object) -> None:
    """Copy the kept lines to `out`, whole or not at all, and `config` beside it."""
    wanted = set(table.lines[keep].tolist())
    try:
        with writing(out) as target, Path(table.path).open("rb") as source:
            for number, raw in enumerate(source, 1):
                if number in wanted:
                    target.write(raw)
    except OSError as error:
        raise explain_os_error(error, table.path) from None
    write_json(f"{out}.config.json", config)
