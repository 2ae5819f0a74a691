"""Texts that share most of their lines, found in one pass with a little memory a text.

`Linker.add(text, group)` keeps a bottom-k sketch of the lines and ties the text to the first one
seen that shares at least half of them; `linked_groups()` says which groups are tied that way.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

KEEP = 128
"""Lines kept a text: shares are exact up to this many lines, and within some 5% above."""
INDEXED, VOTES = 12, 2
"""Lines a text can be found by, and how many of them must agree before two texts are compared: one
that shares half of its lines is missed once in some 300."""
CROWD = 40
"""A line in more distinct texts than this is a phrase of the trade and finds nothing."""
FEW = 5
"""Texts of fewer lines are too short to say that they share most of them."""

_FIGURE = re.compile(r"\d[\d,.]{2,}")
_ENDS = ("。", "！", "？", ". ", "! ", "? ")


def figure_lines(prompt: str) -> list[str]:
    """Lines of a prompt that carry figures: what makes two prompts speak of the same company.

    >>> figure_lines("Be precise.\\n| Revenue | 1,204.5 |\\n1. Profit")
    ['| Revenue | 1,204.5 |']
    """
    return [line.strip() for line in prompt.split("\n") if _FIGURE.search(line)]


def sentences(text: str) -> list[str]:
    """Sentences and lines of a text that are long enough to be somebody's own words."""
    for end in _ENDS:  # several times faster than one regular expression
        text = text.replace(end, "\n")
    return [part for piece in text.split("\n") if len(part := piece.strip()) >= 8]


def sketch(lines: Iterable[str]) -> NDArray[np.uint32]:
    """The `KEEP` smallest hashes of the distinct lines, in order."""
    sums = np.fromiter((zlib.crc32(line.encode()) for line in lines), np.uint32)
    # A checksum is not spread evenly over its range; an odd factor and a shift make it so.
    mixed = (sums ^ (sums >> np.uint32(15))) * np.uint32(0x9E3779B1)
    return np.unique(mixed)[:KEEP]


def shared(a: NDArray[np.uint32], b: NDArray[np.uint32]) -> float:
    """Share of lines two sketched texts have in common (Jaccard).

    >>> shared(sketch(["a", "b", "c"]), sketch(["b", "c", "d"]))
    0.5
    """
    union = np.union1d(a, b)[: max(len(a), len(b))] if max(len(a), len(b)) >= KEEP else None
    both = np.intersect1d(a, b, assume_unique=True)
    if union is None:
        total = len(a) + len(b) - len(both)
        return len(both) / total if total else 0.0
    return int(np.isin(both, union, assume_unique=True).sum()) / len(union)


class Linker:
    """Ties texts that share most of their lines, whatever group they are said to be in."""

    def __init__(self, split: Callable[[str], list[str]], least: float) -> None:
        self.split, self.least = split, least
        """Share of lines from which on two texts are tied."""
        self._seen: dict[int, tuple[int, float]] = {}
        self._index: dict[int, list[int]] = {}
        self._first: list[NDArray[np.uint32]] = []
        self._groups: list[dict[int, float]] = []

    def add(self, text: str, group: int) -> None:
        """Take in one text of a group; the same text again costs nothing but a look-up."""
        known = self._seen.get(key := hash(text))
        if known is not None:
            cluster, share = known
            if cluster >= 0:
                self._groups[cluster].setdefault(group, share)
            return
        own = sketch(self.split(text))
        if len(own) < FEW:
            self._seen[key] = (-1, 0.0)
            return
        cluster, share = self._nearest(own)
        if cluster < 0:
            cluster, share = len(self._first), 1.0
            self._first.append(own)
            self._groups.append({})
            for value in own[:INDEXED].tolist():
                places = self._index.setdefault(value, [])
                if len(places) <= CROWD:
                    places.append(cluster)
        self._seen[key] = (cluster, share)
        self._groups[cluster].setdefault(group, share)

    def _nearest(self, own: NDArray[np.uint32]) -> tuple[int, float]:
        votes: Counter[int] = Counter()
        for value in own[:INDEXED].tolist():
            places = self._index.get(value, ())
            if len(places) <= CROWD:
                votes.update(places)
        best, most = -1, 0.0
        for candidate, count in votes.most_common(4):
            if count < VOTES:
                break
            share = shared(own, self._first[candidate])
            if share > most:
                best, most = candidate, share
        return (best, most) if most >= self.least else (-1, 0.0)

    def linked_groups(self) -> list[dict[int, float]]:
        """Clusters that hold several groups: group -> share of lines it has with the first."""
        return [groups for groups in self._groups if len(groups) > 1]
