"""Deal groups to parts like cards: by size, spread over strata, every level in every part.

`deal(samples, [0.8, 0.2], seed)` gives the groups of each part; `reward_model.data.split` uses it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from reward_model.data.sample import Sample
from reward_model.data.samples import label_array
from reward_model.records import IGNORE

Bools = NDArray[np.bool_]
TRIES = 64
"""Groups looked at on either side of an exchange; enough where a level is rare, and quick."""


def deal(
    samples: Sequence[Sample],
    shares: Sequence[float],
    seed: int,
    marks: Bools | None = None,
    lots: Mapping[str, str] | None = None,
) -> list[list[str]]:
    """Sorted group names of each part; there have to be as many groups as parts.

    The same samples and seed give the same parts whatever the order of the rows.

    Args:
        samples: the texts.
        shares: of the texts, for each part.
        seed: of the order of the groups.
        marks: [text, mark] what else should be in every part, like a level.
        lots: group -> the lot it is dealt with, where not every group is one by itself.
    """
    lot_of = dict(lots or {})
    strata = _facets(samples, lot_of)
    names = sorted(strata)
    place = {name: i for i, name in enumerate(names)}
    of_row = np.array([place[lot_of.get(s.group, s.group)] for s in samples], dtype=np.int64)
    sizes = np.bincount(of_row, minlength=len(names))
    labels = label_array(samples)
    thirds = _thirds(labels, of_row, len(names))
    order = list(range(len(names)))
    random.Random(f"{seed}:split").shuffle(order)
    order.sort(key=lambda g: (*strata[names[g]], int(thirds[g])))
    part_of = _by_size(order, sizes, shares)
    there = _levels_there(labels, of_row, len(names))
    if marks is not None:
        marked = np.zeros((len(names), marks.shape[1]), np.bool_)
        np.logical_or.at(marked, of_row, marks)
        there = np.hstack([there, marked])
    _spread_levels(part_of, there, sizes, order)
    groups = sorted({sample.group for sample in samples})
    parts = [int(part_of[place[lot_of.get(group, group)]]) for group in groups]
    return [
        [group for group, at in zip(groups, parts, strict=True) if at == part]
        for part in range(len(shares))
    ]


def _facets(samples: Sequence[Sample], lot_of: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Field, language and degradation of every group that has only one of it."""
    seen: dict[str, list[str | None]] = {}
    for sample in samples:
        values = (sample.field or "", sample.language or "", sample.degradation or "")
        known = seen.setdefault(lot_of.get(sample.group, sample.group), list(values))
        for i, value in enumerate(values):
            if known[i] != value:
                known[i] = None
    return {group: tuple(value or "" for value in values) for group, values in seen.items()}


def _thirds(labels: NDArray[np.int8], of_row: NDArray[np.int64], groups: int) -> NDArray[np.int64]:
    """The worst, the middle or the best third by mean level; 0 for a group without any."""
    given = labels != IGNORE
    total = np.bincount(of_row, np.where(given, labels, 0).sum(axis=1), minlength=groups)
    count = np.bincount(of_row, given.sum(axis=1), minlength=groups)
    there = count > 0
    if not there.any():
        return np.zeros(groups, np.int64)
    mean = np.divide(total, count, out=np.zeros(groups), where=there)
    bounds = np.quantile(mean[there], [1 / 3, 2 / 3], method="lower")
    return np.where(there, 1 + np.searchsorted(bounds, mean, side="left"), 0)


def _by_size(
    order: Sequence[int], sizes: NDArray[np.int64], shares: Sequence[float]
) -> NDArray[np.int64]:
    """Each group to the part that is furthest behind its share of the texts."""
    # `sum` rounds otherwise from Python 3.12 on, and the same seed shall give the same split.
    total, seen = math.fsum(shares), 0
    dealt, groups = [0] * len(shares), [0] * len(shares)
    part_of = np.zeros(len(order), np.int64)
    for left, group in zip(range(len(order), 0, -1), order, strict=True):
        size = int(sizes[group])
        seen += size
        behind = [share / total * seen - have for share, have in zip(shares, dealt, strict=True)]
        # The last groups go to the parts that would otherwise stay empty.
        empty = [part for part, n in enumerate(groups) if not n]
        part = max(empty if left <= len(empty) else range(len(shares)), key=behind.__getitem__)
        part_of[group] = part
        dealt[part] += size
        groups[part] += 1
    return part_of


def _levels_there(labels: NDArray[np.int8], of_row: NDArray[np.int64], groups: int) -> Bools:
    """[group, dimension and level]: some text of the group has it."""
    levels = int(labels.max(initial=0)) + 1
    there = np.zeros((groups, labels.shape[1] * levels), np.bool_)
    for d in range(labels.shape[1]):
        given = labels[:, d] != IGNORE
        there[of_row[given], d * levels + labels[given, d]] = True
    return there


def _spread_levels(
    part_of: NDArray[np.int64], there: Bools, sizes: NDArray[np.int64], order: Sequence[int]
) -> None:
    """Exchange groups of like size between parts while that brings a level to where it lacks."""
    parts = range(int(part_of.max()) + 1)
    counts = np.array([there[part_of == part].sum(axis=0) for part in parts])
    possible = counts.sum(axis=0) > 0
    place = np.argsort(np.asarray(order))  # ties are broken by the shuffled order
    moved = True
    while moved:  # an exchange may cost another part a level; each one gains, so this ends
        moved = False
        for part in parts:
            for level in np.flatnonzero((counts[part] == 0) & possible).tolist():
                if counts[part, level]:
                    continue  # an earlier exchange brought it
                pair = _best_exchange(part_of, there, sizes, place, counts, part, level)
                if pair is not None:
                    giver, taker = pair
                    counts = _exchanged(counts, there, part_of, giver, taker)
                    part_of[giver], part_of[taker] = part_of[taker], part_of[giver]
                    moved = True


def _best_exchange(
    part_of: NDArray[np.int64],
    there: Bools,
    sizes: NDArray[np.int64],
    place: NDArray[np.int64],
    counts: NDArray[np.int64],
    part: int,
    level: int,
) -> tuple[int, int] | None:
    """Giver of `level` and taker of `part` that gain most, of like size; None if none gain."""
    best: tuple[int, int, int, int] | None = None
    givers = np.flatnonzero(there[:, level] & (part_of != part))
    for giver in sorted(givers.tolist(), key=place.__getitem__)[:TRIES]:
        own = np.flatnonzero(part_of == part)
        near = np.argsort(np.abs(sizes[own] - sizes[giver]), kind="stable")[:TRIES]
        for taker in own[near].tolist():
            gain = _gain(counts, there, part_of, giver, taker)
            off = abs(int(sizes[giver]) - int(sizes[taker]))
            if gain > 0 and (best is None or (gain, -off) > (best[0], -best[1])):
                best = (gain, off, giver, taker)
    return None if best is None else best[2:]


def _exchanged(
    counts: NDArray[np.int64], there: Bools, part_of: NDArray[np.int64], a: int, b: int
) -> NDArray[np.int64]:
    after = counts.copy()
    change = there[b].astype(np.int64) - there[a]
    after[part_of[a]] += change
    after[part_of[b]] -= change
    return after


def _gain(
    counts: NDArray[np.int64], there: Bools, part_of: NDArray[np.int64], a: int, b: int
) -> int:
    """How many more (part, level) there are once the two groups changed places."""
    after = _exchanged(counts, there, part_of, a, b)
    return int((after > 0).sum()) - int((counts > 0).sum())
