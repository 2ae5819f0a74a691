"""Ctrl-C while calls are out: the first takes no more work, a second or SIGTERM cuts off."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast


@contextmanager
def on_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    """Within it, the first Ctrl-C calls `stop` in the running loop; the next does what it did
    before, and so does SIGTERM, but between two callbacks of the loop. Outside the main thread
    signals stay as they are, and so does a Ctrl-C that is ignored (a script's `command &`)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}

    def first(*_: Any) -> None:
        signal.signal(signal.SIGINT, before[signal.SIGINT])
        # A handler runs between any two instructions of the loop; `stop` has to wait for its turn.
        loop.call_soon_threadsafe(stop)

    def in_turn(*given: Any) -> None:
        # What it raises inside a task would be told as a fault of that task.
        loop.call_soon_threadsafe(cast("Callable[..., Any]", before[signal.SIGTERM]), *given)

    ours: dict[signal.Signals, Callable[..., None]] = {}
    if before[signal.SIGINT] not in (signal.SIG_IGN, None):
        ours[signal.SIGINT] = first
    if callable(before[signal.SIGTERM]):
        ours[signal.SIGTERM] = in_turn
    for one, handler in ours.items():
        signal.signal(one, handler)
    try:
        with _woken_by_signals(loop):
            yield
    finally:
        for one, handler in ours.items():
            if signal.getsignal(one) is handler:
                signal.signal(one, before[one])


@contextmanager
def _woken_by_signals(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """A signal that comes just before the loop falls asleep would wait for the next answer: its
    Python handler runs only when something else wakes the loop. So signals write to a socket."""
    reader, writer = socket.socketpair()

    def drain() -> None:
        with contextlib.suppress(BlockingIOError):  # another turn of the loop was faster
            reader.recv(4096)

    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        try:
            loop.add_reader(reader, drain)
        except NotImplementedError:  # Windows' own loop does this by itself
            yield
            return
        was = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(was)
            loop.remove_reader(reader)
