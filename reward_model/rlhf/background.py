"""What a client runs in a thread of its own: several requests at once, and an end for what is open.

`STARTED` holds the clients that have a thread; what nobody closed is closed where the program ends,
and what nobody holds any more is let go when it is collected.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import selectors
import weakref
from collections.abc import Coroutine, Iterator
from typing import Any, NamedTuple, Protocol, TypeVar

T = TypeVar("T")


class Closes(Protocol):
    """What can be closed, and opens again when it is used."""

    def close(self) -> None:
        """Close it."""


STARTED: weakref.WeakSet[Closes] = weakref.WeakSet()


class Opened(NamedTuple):
    """What a client has open."""

    loop: asyncio.AbstractEventLoop
    selector: selectors.BaseSelector
    session: Any


OPENED: dict[asyncio.AbstractEventLoop, Opened] = {}
"""By loop, until it is closed. A child made by fork keeps its parent's for ever, so that nothing
closes them."""


def _leave_to_parent() -> None:
    """In a child made by fork: the selector is shared with the parent, and what is taken from it
    when a connection is collected here would be gone there. So the child's end of it is exchanged
    for one of nothing."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for opened in OPENED.values():
        if not opened.loop.is_closed():
            os.dup2(nothing, opened.selector.fileno())  # type: ignore[attr-defined]
            opened.loop.set_exception_handler(lambda *_: None)
    os.close(nothing)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


@atexit.register
def _close_all() -> None:
    for client in list(STARTED):
        client.close()


def let_go(loop: asyncio.AbstractEventLoop, session: Any, pid: int) -> None:
    """Close the connections and end the thread of a client that was collected, without waiting: the
    collector may have come by in that very thread."""
    if loop.is_closed() or os.getpid() != pid:  # it was closed, or is another process's
        return

    async def end() -> None:
        await session.close()
        OPENED.pop(loop, None)
        loop.stop()

    asyncio.run_coroutine_threadsafe(end(), loop)


async def every(coroutines: Iterator[Coroutine[Any, Any, T]]) -> list[T]:
    """Results in order; the first failure ends the rest."""
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
