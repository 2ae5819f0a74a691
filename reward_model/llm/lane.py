"""What a caller knows about one model at one address: gate, speed, tokens, cost, failures."""

from __future__ import annotations

import time
from typing import Any

from reward_model.llm.base import LLM, FatalError, Reply, Request, Usage
from reward_model.llm.prices import asked_tokens
from reward_model.llm.rate import Gate, Ticket

KNOWN_AFTER = 20
"""Answers before the slowest of them says how long to wait for one."""
SHORTEST_TIMEOUT_S = 30.0
"""However quick the model is: a call cut off is paid for and asked again, so a pause of the server
that is shorter than this is cheaper to sit out."""


class Lane:
    """Running totals of the calls to one model."""

    def __init__(self, llm: LLM, gate: Gate) -> None:
        self.llm = llm
        self.gate = gate
        self.name = llm.name
        self.base_url = llm.base_url
        self.fatal: FatalError | None = None
        self.given_up = 0
        """Requests given up since the last answer."""
        self.cost_usd = 0.0
        self.unpriced = False
        self.usage = Usage()
        self.returned: set[str] = set()
        """Names of the model that the server returned."""
        self._answers = 0
        self._priced = 0
        self._slowest_s = 0.0
        self._heard = time.monotonic()

    def answered(self, ticket: Ticket, reply: Reply) -> None:
        """Take in the answer to a call that was let through the gate."""
        used = reply.usage
        # No count is no correction: taken for 0 tokens, it would let too many calls out.
        self.gate.answered(ticket, used.prompt_tokens + used.completion_tokens or None)
        self.given_up = 0
        self._slowest_s = max(self._slowest_s, reply.latency_s)
        self._heard = time.monotonic()
        self.count(reply)

    def count(self, reply: Reply) -> None:
        """Add up what a reply used."""
        used = reply.usage
        self._answers += 1
        self.returned.add(reply.model)
        self.usage = Usage(
            prompt_tokens=self.usage.prompt_tokens + used.prompt_tokens,
            completion_tokens=self.usage.completion_tokens + used.completion_tokens,
            reasoning_tokens=self.usage.reasoning_tokens + used.reasoning_tokens,
            cached_tokens=self.usage.cached_tokens + used.cached_tokens,
            estimated=self.usage.estimated or used.estimated,
        )

    def charge(self, cost: float | None) -> None:
        """Add the cost of a call; None is an unknown one."""
        if cost is None:
            self.unpriced = True
        else:
            self.cost_usd += cost
            self._priced += 1

    def mean_cost(self) -> float | None:
        """Mean cost of a call so far; None before there was one."""
        return self.cost_usd / self._priced if self._priced else None

    def silent_s(self) -> float:
        """Seconds since the last answer, or since the start."""
        return time.monotonic() - self._heard

    def timeout_s(self, longest: float, tries: int) -> float:
        """How long to wait for an answer at this try."""
        if self._answers < KNOWN_AFTER:
            return longest
        # Three times the slowest so far: lengths of replies have a long tail, and the slowest of
        # twenty answers is far from the slowest of ten thousand. Doubled at each try, since what
        # was cut off may have been a long reply, which no second try of the same length gets.
        usual = max(SHORTEST_TIMEOUT_S, 3.0 * self._slowest_s)
        return float(min(longest, usual * 2**tries))

    def expected_tokens(self, request: Request) -> float:
        """Tokens that a call will probably use, asked and answered; 0 where nobody counts them."""
        if not self.gate.window.counts_tokens:
            return 0.0
        asked = asked_tokens(request)
        if self._answers:
            return asked + self.usage.completion_tokens / self._answers
        return asked + (request.max_tokens or 1000)

    def as_dict(self) -> dict[str, Any]:
        """For a manifest."""
        return {
            "model": self.name,
            "base_url": self.base_url,
            "returned": sorted(self.returned),
            "calls": self._answers,
            "usage": self.usage.model_dump(),
            "cost_usd": None if self.unpriced else round(self.cost_usd, 6),
            "concurrency": int(self.gate.window.limit),
        }
