"""Ctrl-C while calls are out: the first one stops taking work, the second one cuts off."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def on_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    """Within it, the first Ctrl-C calls `stop` in the running loop; the next does what it did
    before. Outside the main thread, and where Ctrl-C is ignored (a script's `command &`), it stays
    as it is."""
    before = signal.getsignal(signal.SIGINT)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or before in (signal.SIG_IGN, None):
        yield
        return
    loop = asyncio.get_running_loop()

    def first(*_: Any) -> None:
        signal.signal(signal.SIGINT, before)
        # A handler runs between any two instructions of the loop; `stop` has to wait for its turn.
        loop.call_soon_threadsafe(stop)

    signal.signal(signal.SIGINT, first)
    try:
        with _woken_by_signals(loop):
            yield
    finally:
        if signal.getsignal(signal.SIGINT) is first:
            signal.signal(signal.SIGINT, before)


@contextmanager
def _woken_by_signals(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """A signal that comes just before the loop falls asleep would wait for the next answer: its
    Python handler runs only when something else wakes the loop. So signals write to a socket."""
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        try:
            loop.add_reader(reader, lambda: reader.recv(4096))
        except NotImplementedError:  # Windows' own loop does this by itself
            yield
            return
        was = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(was)
            loop.remove_reader(reader)
