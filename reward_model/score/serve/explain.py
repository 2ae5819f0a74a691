"""What the checks found in one response, for the page that shows it.

The same account that the model reads before it judges, with the claims it sums up.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from reward_model.records import as_text
from reward_model.records.chat.turns import judged
from reward_model.records.texts import as_words
from reward_model.score.serve.batching import Item
from reward_model.score.serve.errors import ApiError
from reward_model.score.serve.scorers import members

if TYPE_CHECKING:
    from reward_model.score.serve.scorers import Scorer

MOST_BYTES = 200_000
SECONDS = 10.0
"""Longest that is waited for one text."""
MOST_CLAIMS = 100
MOST_WAITING = 8
"""Texts that may wait for the one thread that explains."""


class Explainer:
    """Checks texts one at a time, beside the scoring."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "explain")
        self._waiting = 0

    async def evidence(self, scorer: Scorer, item: Item) -> dict[str, Any] | None:
        """What the model read of one text; None where it reads no evidence.

        Raises:
            ApiError: the text is longer than a person would look at.
        """
        if all(member.builder.evidence == "none" for member in members(scorer)):
            return None
        if item.bytes > MOST_BYTES:
            raise ApiError(413, "too_large", f"explain takes texts up to {MOST_BYTES:,} bytes")
        if self._waiting >= MOST_WAITING:
            raise ApiError(503, "overloaded", "too many texts wait to be explained", retry_after=1)
        work = asyncio.get_running_loop().run_in_executor(self._thread, _evidence, item)
        self._waiting += 1
        work.add_done_callback(self._done)
        try:
            return await asyncio.wait_for(asyncio.shield(work), SECONDS)
        except TimeoutError:
            work.cancel()
            raise ApiError(504, "timeout", f"no evidence within {SECONDS:g} s") from None

    def _done(self, work: asyncio.Future[dict[str, Any]]) -> None:
        self._waiting -= 1
        if not work.cancelled():
            work.exception()  # one that nobody waits for any more


def _evidence(item: Item) -> dict[str, Any]:
    from reward_model.checks import evidence, read_facts, summarize, verify

    asked = judged(as_words(item.prompt, "prompt"), as_words(item.response, "response"))
    report = asked.answer
    facts = read_facts(as_text(asked.prompt))
    verdicts = verify(facts, report)
    counts = summarize(verdicts)
    telling = sorted(verdicts, key=lambda v: ("wrong", "verified", "unverifiable").index(v.status))
    return {
        "text": evidence(facts, report),
        "verified": counts.verified,
        "wrong": counts.wrong,
        "unverifiable": counts.unverifiable,
        "claims": [
            {"text": v.claim.text, "status": v.status, "reason": v.reason}
            for v in telling[:MOST_CLAIMS]
        ],
    }
