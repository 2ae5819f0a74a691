"""What a ledger holds already, looked at without writing: for a dry run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from reward_model.llm.base import LLM, Request
from reward_model.llm.caller import Answer, UnansweredError
from reward_model.llm.ledger import Ledger
from reward_model.llm.prices import likely_tokens


class Known:
    """Stands where a `Caller` would: answers from a ledger, and counts what is not there.

    Args:
        ledger: an existing file; it is neither locked nor written.

    Raises:
        UserError: the file is no ledger.
    """

    def __init__(self, ledger: Path) -> None:
        self._ledger = Ledger(ledger, read_only=True)
        self.answered = Counter[str]()
        """Requests by model that the ledger has an answer to, or a refusal."""
        self.lacking = Counter[str]()
        """Requests by model that would be sent."""
        self.tokens = Counter[str]()
        """Tokens of those, likely."""

    @property
    def spent_usd(self) -> float:
        """What the calls of the ledger cost."""
        return self._ledger.cost_usd

    async def complete(self, llm: LLM, request: Request) -> Answer:
        """The reply from the ledger.

        Raises:
            UnansweredError: the request was refused, or (`waiting`) would be sent.
        """
        key = request.key(llm.name, llm.base_url)
        entry = self._ledger.get(key)
        if entry is None:
            self.lacking[llm.name] += 1
            self.tokens[llm.name] += round(sum(likely_tokens(m.content) for m in request.messages))
            raise UnansweredError("waiting", "would be sent")
        self.answered[llm.name] += 1
        if entry.reply is None:
            raise UnansweredError("refused", entry.refused)
        return Answer(entry.reply, key, True)

    def close(self) -> None:
        """Close the file."""
        self._ledger.close()
