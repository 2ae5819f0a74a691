"""Money: what calls cost, and a budget that holds back the worst case of calls under way.

A call goes out only when the ledger's total, the worst cases of all calls out and its own worst
case fit the budget together, so the budget is not passed whatever the replies cost.
"""

from __future__ import annotations

import asyncio
import ipaddress
from functools import lru_cache
from urllib.parse import urlsplit

from reward_model.llm.base import LLM, Reply, Request, Usage
from reward_model.llm.ledger import Ledger
from reward_model.llm.prices import Price, Prices, asked_tokens
from reward_model.records import UserError

LIKELY_REPLY = 1000
"""Tokens of a reply to reckon with before there was any. It decides no limit: only what a call is
booked with whose answer was lost."""


@lru_cache
def private(base_url: str) -> bool:
    """Whether an address is a machine of one's own, where a provider's prices mean nothing.

    >>> private("http://localhost:8000/v1"), private("https://api.openai.com/v1")
    (True, False)
    """
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return host == "localhost" or "." not in host or host.endswith((".local", ".internal"))


class Budget:
    """A limit in dollars for a ledger, earlier runs included; None is no limit."""

    def __init__(self, limit_usd: float | None, prices: Prices, ledger: Ledger) -> None:
        self.limit_usd = limit_usd
        self.open = 0
        """Calls whose worst case is held back now."""
        self._held = 0.0
        self._prices = prices
        self._ledger = ledger
        self._waiting: list[asyncio.Future[None]] = []

    def _price(self, llm: LLM, *returned: str) -> Price | None:
        plain = llm.name.rpartition("@")[0] if llm.base_url and "@" in llm.name else llm.name
        names = (*returned, plain.partition(":")[2], llm.name.partition(":")[2], llm.name)
        return self._prices.find(*names, own=private(llm.base_url))

    def cost(self, llm: LLM, reply: Reply) -> float | None:
        """Dollars for a reply; None where the price is unknown, 0 for models without a network."""
        price = self._price(llm, reply.model)
        if price is None:
            return None if llm.base_url else 0.0
        return price.cost(reply.usage)

    def likely(self, llm: LLM, request: Request) -> float | None:
        """Dollars that a request probably costs; None where the price is unknown."""
        price = self._price(llm)
        if price is None:
            return None if llm.base_url else 0.0
        reply = min(request.max_tokens or LIKELY_REPLY, LIKELY_REPLY)
        return price.cost(
            Usage(prompt_tokens=asked_tokens(request), completion_tokens=reply, estimated=True)
        )

    def most(self, llm: LLM, request: Request) -> float:
        """The most that a request can cost; 0 without a limit.

        Raises:
            UserError: there is a limit, and the model has no price.
        """
        if self.limit_usd is None:
            return 0.0
        price = self._price(llm)
        if price is None and llm.base_url:
            raise UserError(
                f"no price of {llm.name}, so a budget cannot be kept",
                expected=f'["{llm.name.partition(":")[2]}"] with input and output in a price table',
                mend="give your own price table, or leave the budget out",
            )
        return price.most(request) if price else 0.0

    def fits(self, dollars: float) -> bool:
        """Whether this much more can be spent."""
        if self.limit_usd is None:
            return True
        return self._ledger.cost_usd + self._held + dollars <= self.limit_usd

    def reserve(self, llm: LLM, request: Request) -> float | None:
        """Hold back the most that a request can cost; None when it does not fit now."""
        most = self.most(llm, request)
        if not self.fits(most):
            return None
        self._held += most
        self.open += 1
        return most

    def settle(self, reserved: float) -> None:
        """Let go of what was held back for a call; its real cost is in the ledger by now."""
        if self.limit_usd is None:
            return
        self.open -= 1
        # Set to zero at the end, or rounding would pile up over ten thousand calls.
        self._held = self._held - reserved if self.open else 0.0
        self.wake()

    def wake(self) -> None:
        """Let everybody who waits for money look again."""
        waiting, self._waiting = self._waiting, []
        for turn in waiting:
            if not turn.done():
                turn.set_result(None)

    async def settled(self) -> None:
        """Wait until a call under way has ended."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    def words(self) -> str:
        """Why it stops."""
        return (
            f"the next call could pass the budget of ${self.limit_usd:,.2f} "
            f"(${self._ledger.cost_usd:,.4f} spent); raise it to go on"
        )
