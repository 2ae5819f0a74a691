"""Work on many items at once, with a bound, and nothing lost when the work has to stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

from reward_model.records import Stopped, UserError

T = TypeVar("T")
R = TypeVar("R")


async def bounded(
    work: Callable[[T], Awaitable[R]], items: Iterable[T], limit: int
) -> AsyncIterator[tuple[T, R]]:
    """Run `work` over `items`, at most `limit` at once, yielding results as they finish.

    Items are taken from the iterable only when there is room, so it may be endless. When one item
    raises `Stopped` or `UserError`, no more are taken, those under way are finished and yielded
    (they are paid for), and then it is raised; any other exception cancels the rest at once.
    """
    source = iter(items)
    finished: asyncio.Queue[asyncio.Future[R]] = asyncio.Queue()
    running: dict[asyncio.Future[R], T] = {}
    stop: Stopped | UserError | None = None
    exhausted = False
    try:
        while True:
            while stop is None and not exhausted and len(running) < limit:
                try:
                    item = next(source)
                except StopIteration:
                    exhausted = True
                    break
                task: asyncio.Future[R] = asyncio.ensure_future(work(item))
                running[task] = item
                task.add_done_callback(finished.put_nowait)
            if not running:
                break
            done = await finished.get()
            item = running.pop(done)
            try:
                result = done.result()
            except (Stopped, UserError) as error:
                stop = stop or error
                continue
            yield item, result
    finally:
        for left in running:
            left.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    if stop is not None:
        raise stop
