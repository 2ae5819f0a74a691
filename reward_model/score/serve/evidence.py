"""What the checks found in each response, worked out beside the model, in processes of its own.

A text of which the checks take long holds up neither the model nor other texts: it has a process
to itself, and after a while that process is ended, and the text has no opinion.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from anyio import BrokenWorkerProcess, CapacityLimiter, move_on_after, to_process

from reward_model.records import as_text
from reward_model.records.chat.turns import judged
from reward_model.records.texts import as_words
from reward_model.score.serve.batching import Item
from reward_model.score.serve.errors import ApiError
from reward_model.score.serve.findings import account, claims
from reward_model.score.serve.scorers import members

if TYPE_CHECKING:
    from reward_model.score.serve.scorers import Scorer

MOST_BYTES = 2_000_000
"""Longest text that is checked; a hundred times what a model reads."""
MOST_SHOWN_BYTES = 200_000
"""Longest text whose findings are listed for a person."""
PROCESSES = min(4, max(2, os.cpu_count() or 2))
"""Two at least, so that a slow text leaves one to the others."""

Found = TypeVar("Found")


class Checks:
    """Checks texts, each in a process and within a time.

    Args:
        seconds: longest for one text.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._free = asyncio.Semaphore(PROCESSES)
        self._limit = CapacityLimiter(PROCESSES)  # anyio's own would be the number of cores
        self.waiting = 0
        """Texts that are being checked, or wait for it."""

    async def read(self, scorer: Scorer, items: Sequence[Item]) -> list[Item]:
        """The texts with the account that the model reads of each, or why there is none.

        Raises:
            ApiError: the checks failed on a text.
        """
        if not reads_evidence(scorer):
            return [*items]
        return [*await asyncio.gather(*(self._read(item) for item in items))]

    async def _read(self, item: Item) -> Item:
        if item.bytes > MOST_BYTES:
            return item._replace(reason=f"its figures are not checked: above {MOST_BYTES:,} bytes")
        found = await self._run(account, item)
        if found is None:
            slow = f"its figures were not checked within {self._seconds:g} s"
            return item._replace(reason=slow)
        return item._replace(evidence=found)

    async def show(self, scorer: Scorer, item: Item) -> dict[str, Any] | None:
        """What the checks found in one text, claim by claim; None where no model reads it.

        Raises:
            ApiError: the text is longer than a person would look at, or takes too long.
        """
        if not reads_evidence(scorer):
            return None
        if item.bytes > MOST_SHOWN_BYTES:
            most = f"explain takes texts up to {MOST_SHOWN_BYTES:,} bytes"
            raise ApiError(413, "too_large", most)
        found = await self._run(claims, item)
        if found is None:
            raise ApiError(504, "timeout", f"no evidence within {self._seconds:g} s")
        return found

    async def warm_up(self) -> None:
        """Have the processes ready before the first texts come."""
        item = Item("", "1", 1)
        with contextlib.suppress(ApiError):
            await asyncio.gather(*(self._run(account, item) for _ in range(PROCESSES)))

    async def _run(self, work: Callable[[str, str], Found], item: Item) -> Found | None:
        """What `work` returns; None where it took too long."""
        asked = judged(as_words(item.prompt, "prompt"), as_words(item.response, "response"))
        prompt, report = as_text(asked.prompt), as_text(asked.answer)
        self.waiting += 1
        try:
            async with self._free:
                for _ in range(2):  # one that was ended from outside is no fault of the text
                    try:
                        with move_on_after(self._seconds):
                            return await to_process.run_sync(
                                work, prompt, report, cancellable=True, limiter=self._limit
                            )
                        return None
                    except BrokenWorkerProcess:
                        continue
                    except Exception:
                        break
        finally:
            self.waiting -= 1
        raise ApiError(500, "scoring", "the checks failed on a text")


def reads_evidence(scorer: Scorer) -> bool:
    """Whether a model reads what the checks found."""
    return any(member.builder.evidence != "none" for member in members(scorer))
