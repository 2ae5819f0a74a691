"""What calls brought and cost: counts, tokens, money and failures, by model and in all."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reward_model.llm.base import LLM, Reply, Request
from reward_model.llm.budget import Budget
from reward_model.llm.capabilities import capabilities
from reward_model.llm.lane import Lane
from reward_model.llm.ledger import Ledger
from reward_model.llm.prices import Prices
from reward_model.llm.rate import Gate, Window
from reward_model.llm.reasons import Reasons


class Account:
    """The books of a run; a `Caller` writes them."""

    def __init__(
        self,
        *,
        ledger: Path | None,
        prices: Prices | None,
        budget_usd: float | None,
        max_concurrency: int,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        keep_prompts: bool,
        backoff_s: float,
    ) -> None:
        self.ledger = Ledger(ledger)
        self.prices = prices if prices is not None else Prices.load()
        self.budget = Budget(budget_usd, self.prices, self.ledger)
        self.max_concurrency = max_concurrency
        self.counts: Counter[str] = Counter()
        """`calls`, `cached`, `retries`, `rate_limited`, `lost`, and `refused` and `failed`."""
        self.reasons = Reasons()
        """Why calls were refused or given up."""
        self._limits = (requests_per_minute, tokens_per_minute)
        self._keep_prompts = keep_prompts
        self._backoff_s = backoff_s
        self._lanes: dict[tuple[str, str], Lane] = {}

    def lane(self, llm: LLM) -> Lane:
        """What is known of a model at its address."""
        where = (llm.name, llm.base_url)
        if where not in self._lanes:
            window = Window(
                most=self.max_concurrency,
                requests_per_minute=self._limits[0],
                tokens_per_minute=self._limits[1],
                pause_s=self._backoff_s,
            )
            self._lanes[where] = Lane(llm, Gate(window))
        return self._lanes[where]

    def lose(self, lane: Lane, request: Request, key: str, why: str, about: dict[str, Any]) -> None:
        """Book a call that the provider may charge for although its answer never came."""
        self.counts["lost"] += 1
        likely = lane.mean_cost()
        if likely is None:
            likely = self.budget.likely(lane.llm, request)
        if likely != 0.0:
            self.ledger.lose(key, why, likely, about)
            lane.charge(likely)

    def keep(self, llm: LLM, key: str, sample: int, reply: Reply, share: float) -> None:
        """Take in a reply that came another way than through `complete`, as from a batch.

        Args:
            share: part of the usual price that it cost.
        """
        cost = self.budget.cost(llm, reply)
        cost = None if cost is None else cost * share
        self.ledger.add(key, reply, cost, self.about(llm, sample))
        self.counts["calls"] += 1
        lane = self.lane(llm)
        lane.count(reply)
        lane.charge(cost)

    def refuse(self, llm: LLM, key: str, sample: int, why: str) -> None:
        """Take in a refusal that came another way than through `complete`."""
        self.ledger.refuse(key, why, self.about(llm, sample))
        self.counts["refused"] += 1
        self.reasons.add("refused", why)

    def about(self, llm: LLM, sample: int, request: Request | None = None) -> dict[str, Any]:
        """What identifies a call to a person."""
        about: dict[str, Any] = {
            "model": llm.name,
            "base_url": llm.base_url,
            "sample": sample,
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        if self._keep_prompts and request is not None:
            about["request"] = request.model_dump(mode="json")
        return about

    @property
    def cost_usd(self) -> float:
        """Known cost of this run."""
        return sum(lane.cost_usd for lane in self._lanes.values())

    @property
    def spent_usd(self) -> float:
        """Known cost of everything in the ledger, earlier runs included."""
        return self.ledger.cost_usd

    @property
    def unpriced(self) -> list[str]:
        """Models that were called and have no price in the table."""
        return sorted({lane.name for lane in self._lanes.values() if lane.unpriced})

    @property
    def in_flight(self) -> int:
        """Calls out now."""
        return sum(lane.gate.window.in_flight for lane in self._lanes.values())

    def note(self) -> str:
        """One phrase for a progress bar: failures, refusals and cost so far."""
        parts = [f"{self.in_flight} out"]
        parts += [
            f"{self.counts[name]} {name}" for name in ("failed", "refused") if self.counts[name]
        ]
        cost = f"${self.cost_usd:,.2f}"
        if self.unpriced:
            cost += " + unknown price" if self.cost_usd else ", unknown price"
        return ", ".join([*parts, cost])

    def report(self) -> dict[str, Any]:
        """For a manifest: counts, and for each model its tokens, cost and what it accepts."""
        return {
            "counts": dict(sorted(self.counts.items())),
            "reasons": self.reasons.commonest(),
            "cost_usd": None if self.unpriced else round(self.cost_usd, 6),
            "ledger_cost_usd": round(self.spent_usd, 6),
            "prices_as_of": self.prices.as_of,
            "models": [
                {**lane.as_dict(), "capabilities": capabilities(lane.llm)}
                for lane in self._lanes.values()
            ],
        }
