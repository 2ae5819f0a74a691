"""What was said of a text, kept while it may be asked again: the newest first, no text itself.

`Memory(4096)` holds what is known by `fingerprint(prompt, response)`; no torch.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, TypeVar

from reward_model.records import Text

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Memory(Generic[K, V]):
    """The last `size` values asked for; safe to share between threads.

    >>> memory = Memory[str, int](2)
    >>> memory.keep({"a": 1, "b": 2})
    >>> memory.recall(["a", "z"])
    {'a': 1}
    >>> memory.keep({"c": 3})  # "b" was asked for least lately
    >>> memory.recall("abc")
    {'a': 1, 'c': 3}
    """

    def __init__(self, size: int) -> None:
        self.size = max(0, size)
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._lock = threading.Lock()

    def recall(self, keys: Iterable[K]) -> dict[K, V]:
        """What is known of `keys`."""
        with self._lock:
            found = {key: self._kept[key] for key in keys if key in self._kept}
            for key in found:
                self._kept.move_to_end(key)
        return found

    def keep(self, found: Mapping[K, V]) -> None:
        """Remember these, and forget what was asked for least lately."""
        with self._lock:
            for key, value in found.items():
                self._kept[key] = value
                self._kept.move_to_end(key)
            while len(self._kept) > self.size:
                self._kept.popitem(last=False)


def fingerprint(prompt: Text, response: Text) -> bytes:
    """Stands for the two texts, so that no prompt of 100,000 characters is kept."""
    parts = [
        text if isinstance(text, str) else [[m.role, m.content] for m in text]
        for text in (prompt, response)
    ]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=20).digest()
