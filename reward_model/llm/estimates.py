"""What calls will probably cost, before any is made: the lines of a dry run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from reward_model.llm.addresses import OPENAI_URL, split_address
from reward_model.llm.base import Usage
from reward_model.llm.batch import PRICE_SHARE
from reward_model.llm.budget import private
from reward_model.llm.prices import Prices


class Work(NamedTuple):
    """Calls to one model."""

    name: str
    """As on the command line, with its address where it has one."""
    calls: int
    tokens_in: float
    """Of all calls together."""
    tokens_out: float


def estimate(
    works: Sequence[Work], prices: Prices, *, base_url: str | None = None, batch: bool = False
) -> tuple[list[str], float]:
    """A line for each model and one for their sum, and the dollars of those that have a price."""
    lines: list[str] = []
    dollars: list[float] = []
    for work in works:
        name, own, _ = split_address(work.name)
        provider, _, model = name.partition(":")
        address = own or base_url or (os.environ.get(OPENAI_URL) if provider == "openai" else None)
        price = prices.find(name, model, own=private(address) if address else False)
        if name == "offline":
            cost = "no cost"
        elif price is None:
            cost = "price unknown: give a table with --prices"
        else:
            calls = max(1, work.calls)
            each = Usage(
                prompt_tokens=int(work.tokens_in / calls),
                completion_tokens=int(work.tokens_out / calls),
            )
            dollars.append(price.cost(each) * work.calls * (PRICE_SHARE if batch else 1.0))
            cost = f"about {_money(dollars[-1])}"
        lines.append(
            f"{name}: {work.calls:,} calls, about {_many(work.tokens_in)} tokens in and "
            f"{_many(work.tokens_out)} out, {cost}"
        )
    if len(dollars) > 1:
        lines.append(f"in all about {_money(sum(dollars))}")
    return lines, sum(dollars)


def _money(dollars: float) -> str:
    return f"${dollars:,.2f}" if dollars >= 1 else f"${dollars:.4f}"


def _many(tokens: float) -> str:
    return f"{tokens / 1e6:,.2f} M" if tokens >= 1e5 else f"{tokens:,.0f}"
