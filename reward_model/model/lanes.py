"""Pieces of work side by side on a CPU: a thread a piece, each computing on its share of the cores.

A matrix product spread over all cores ends with its slowest part, and whatever is too small to be
spread leaves all cores but one idle. Texts do not depend on each other, so each lane takes its own:
`lanes_for("cpu", 4096).map(work, pieces)`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

LEAST_TOKENS = 1024
"""Of a lane at a time: with fewer its matrix products are too small to be worth it."""
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Lanes:
    """How many threads work side by side, and how many cores each computes on."""

    count: int
    threads: int

    def map(self, work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        """`work` of every item, in their order; a single one has all cores, in this thread."""
        if self.count == 1 or len(items) == 1:
            yield from map(work, items)
            return
        futures = [self.submit(work, item) for item in items]
        try:
            for future in futures:
                yield future.result()
        finally:  # an error or Ctrl-C: what has not begun is not wanted any more
            for future in futures:
                future.cancel()

    def submit(self, work: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """`work` in the next lane that is free; first come, first served."""
        return _pool(self).submit(work, *arguments)


def lanes_for(device: torch.device | str, tokens: int) -> Lanes:
    """As many lanes as this thread has cores, if each gets a fair part of `tokens`.

    >>> lanes_for("cpu", 512).count, lanes_for("cuda", 65536).count
    (1, 1)
    """
    threads = torch.get_num_threads()
    if torch.device(device).type != "cpu":
        return Lanes(1, threads)
    count = max(1, min(threads, tokens // LEAST_TOKENS))
    return Lanes(count, threads // count)


_pools: dict[tuple[int, Lanes], ThreadPoolExecutor] = {}
_pools_lock = threading.Lock()


def _open_lock() -> None:
    global _pools_lock
    _pools_lock = threading.Lock()  # whoever held it is no thread of a forked child


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open_lock)


def _pool(lanes: Lanes) -> ThreadPoolExecutor:
    """The threads of this process for so many lanes, started at the first use and kept."""
    key = (os.getpid(), lanes)  # a forked child has none of its parent's threads
    with _pools_lock:
        if key not in _pools:
            _pools[key] = _started(lanes)
        return _pools[key]


def _started(lanes: Lanes) -> ThreadPoolExecutor:
    # Torch keeps the number of cores a thread; a new thread takes over what was set last anywhere.
    # So all lanes set theirs now, and this thread sets its own number again after them.
    mine = torch.get_num_threads()
    together = threading.Barrier(lanes.count + 1)

    def begin() -> None:
        torch.get_num_threads()  # what is taken over must not come after what is set
        torch.set_num_threads(lanes.threads)
        together.wait()

    pool = ThreadPoolExecutor(lanes.count, thread_name_prefix="lane")
    for _ in range(lanes.count):
        pool.submit(begin)
    together.wait()
    torch.set_num_threads(mine)
    return pool


__all__ = ["Lanes", "lanes_for"]
