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

MOST_BYTES = 1_000_000
MOST_CLAIMS = 100


class Explainer:
    """Checks texts one at a time, beside the scoring."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "explain")

    async def evidence(self, scorer: Scorer, item: Item) -> dict[str, Any] | None:
        """What the model read of one text; None where it reads no evidence.

        Raises:
            ApiError: the text is longer than a person would look at.
        """
        if all(member.builder.evidence == "none" for member in members(scorer)):
            return None
        if item.bytes > MOST_BYTES:
            raise ApiError(413, "too_large", f"explain takes texts up to {MOST_BYTES:,} bytes")
        return await asyncio.get_running_loop().run_in_executor(self._thread, _evidence, item)


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
