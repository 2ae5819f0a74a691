"""The one way to call a model: ledger first, then the provider, with retries and rate control.

async with Caller(ledger=Path("calls.jsonl")) as caller:
    answer = await caller.complete(llm, request)
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

from reward_model.llm.base import LLM, RefusedError, Reply, Request, RetryableError
from reward_model.llm.ledger import Ledger

T = TypeVar("T")
R = TypeVar("R")


class Answer(NamedTuple):
    """A reply and the key under which the ledger keeps it."""

    reply: Reply
    call: str
    cached: bool


class UnansweredError(Exception):
    """This call has no answer: final (`refused`) or owed to the next run (`failed`)."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Caller:
    """Calls models; counts calls, tokens, cost and failures.

    Args:
        ledger: file that keeps every reply; None keeps them in memory.
        attempts: tries before a call is given up and owed to the next run.
    """

    def __init__(self, *, ledger: Path | None = None, attempts: int = 6) -> None:
        self.ledger = Ledger(ledger)
        self.attempts = attempts
        self.counts: Counter[str] = Counter()
        """`calls`, `cached`, and failures by reason."""
        self.cost_usd = 0.0

    async def complete(self, llm: LLM, request: Request) -> Answer:
        """Answer a request, from the ledger if it was answered before.

        Raises:
            UnansweredError: no answer for this request.
            FatalError: no call to this model can work.
            Stopped: the budget is used up.
        """
        key = request.key(llm.name, llm.base_url)
        known = self.ledger.get(key)
        if known is not None:
            self.counts["cached"] += 1
            return Answer(known, key, True)
        problem = ""
        for attempt in range(self.attempts):
            try:
                started = time.perf_counter()
                reply = await llm.complete(request)
            except RefusedError as error:
                self.counts["refused"] += 1
                raise UnansweredError("refused", str(error)) from None
            except RetryableError as error:
                problem = str(error)
                await asyncio.sleep(error.retry_after_s or min(8.0, 0.5 * 2**attempt))
                continue
            reply = reply.model_copy(update={"latency_s": time.perf_counter() - started})
            self.ledger.add(key, reply)
            self.counts["calls"] += 1
            return Answer(reply, key, False)
        self.counts["failed"] += 1
        raise UnansweredError("failed", problem)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.ledger.close()


async def bounded(
    work: Callable[[T], Awaitable[R]], items: Iterable[T], limit: int
) -> AsyncIterator[tuple[T, R]]:
    """Run `work` over `items`, at most `limit` at once, yielding results as they finish.

    Items are taken from the iterable only when there is room, so it may be endless.
    """
    source = iter(items)
    running: dict[asyncio.Future[R], T] = {}
    try:
        while True:
            while len(running) < limit:
                try:
                    item = next(source)
                except StopIteration:
                    break
                running[asyncio.ensure_future(work(item))] = item
            if not running:
                return
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield running.pop(task), task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
