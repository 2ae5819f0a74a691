"""Where each key stands in a file, for millions of keys in little memory.

An open-addressing table of two flat arrays: 16 bytes a slot, no Python object a key. A key is
kept as an 8-byte fingerprint, so whoever reads the place found checks the key that stands there.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator


def _fingerprint(key: str) -> int:
    # 0 marks an empty slot.
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little") or 1


class OffsetIndex:
    """Offsets by key; a key may have been added more than once.

    >>> index = OffsetIndex()
    >>> index.add("a", 0); index.add("b", 120)
    >>> list(index.find("b")), list(index.find("c")), len(index)
    ([120], [], 2)
    """

    def __init__(self) -> None:
        self._marks = array("Q", bytes(8 * 1024))
        self._offsets = array("Q", bytes(8 * 1024))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, key: str, offset: int) -> None:
        """Remember where `key` stands."""
        # Linear probing looks at 2 slots for a hit and 5 for a miss at two thirds full, at 5.5 and
        # 50 at nine tenths (Knuth, TAOCP 6.4).
        if self._count * 3 >= len(self._marks) * 2:
            self._grow()
        self._put(_fingerprint(key), offset)
        self._count += 1

    def find(self, key: str) -> Iterator[int]:
        """Places where `key` may stand, first added first."""
        mark, mask = _fingerprint(key), len(self._marks) - 1
        slot = mark & mask
        while self._marks[slot]:
            if self._marks[slot] == mark:
                yield self._offsets[slot]
            slot = (slot + 1) & mask

    def _put(self, mark: int, offset: int) -> None:
        mask = len(self._marks) - 1
        slot = mark & mask
        while self._marks[slot]:
            slot = (slot + 1) & mask
        self._marks[slot], self._offsets[slot] = mark, offset

    def _grow(self) -> None:
        marks, offsets = self._marks, self._offsets
        self._marks = array("Q", bytes(16 * len(marks)))
        self._offsets = array("Q", bytes(16 * len(marks)))
        for mark, offset in zip(marks, offsets, strict=True):
            if mark:
                self._put(mark, offset)
