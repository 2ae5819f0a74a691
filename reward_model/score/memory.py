"""What was said of a text, kept while it may be asked again: the newest first, no text itself.

`Memory(4096)` holds what is known by `fingerprint(prompt, response)`; no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, TypeVar

from reward_model.records import Text


class ForkLock:
    """A lock that a child made by fork finds open, whoever held it in the parent: threads that hold
    one are not there, and would be waited for for ever."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _LOCKS.add(self)

    def locked(self) -> bool:
        """Whether somebody holds it."""
        return self._lock.locked()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        if self.locked():  # it is another one where the holder itself forked
            self._lock.release()


_LOCKS: weakref.WeakSet[ForkLock] = weakref.WeakSet()


def _open_locks() -> None:
    for lock in list(_LOCKS):
        lock._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open_locks)

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
        self._lock = ForkLock()

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


def fingerprint(prompt: Text, response: Text, evidence: str | None = None) -> bytes:
    """Stands for two texts and what is known of them, so that no prompt of 100,000 characters is
    kept: what a scorer reads otherwise has another one.

    >>> halves = chr(0xD83D) + chr(0xDE00)  # of a character, that are none
    >>> fingerprint("", chr(0x1F600)) == fingerprint("", halves)
    False
    """
    parts = [
        text if isinstance(text, str) else [[m.role, m.content, repr(m.model_extra)] for m in text]
        for text in (prompt, response)
    ]
    whole = json.dumps([*parts, evidence], ensure_ascii=False).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(whole, digest_size=20).digest()
