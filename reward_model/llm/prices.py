"""What calls cost: the price table, the cost of a reply, the most that a request can cost.

`Prices.load()` reads the table that ships; `Prices.load(Path("mine.toml"))` puts a file of the
same format over it. A model that is not in the table has an unknown cost, never a guessed one.
"""

from __future__ import annotations

import math
import re
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, RootModel, model_validator

from reward_model.llm.base import Request, Usage
from reward_model.records import read_text
from reward_model.records.settings import parse_settings, parse_toml

_DATE = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8}|\d{4}|latest)$")
LONGEST_REPLY = 8192
"""Tokens of a reply to reckon with where neither the request nor the table limits it."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tier(_Strict):
    """Prices per million tokens for requests up to a length."""

    up_to: int | None = Field(default=None, gt=0)
    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached: float | None = Field(default=None, ge=0)


class Price(_Strict):
    """Prices of one model."""

    tiers: tuple[Tier, ...] = Field(min_length=1)
    max_output: int | None = Field(default=None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _one_tier(cls, value: Any) -> Any:
        if not isinstance(value, dict) or "tiers" in value:
            return value
        flat = {k: v for k, v in value.items() if k in {"input", "output", "cached"}}
        rest = {k: v for k, v in value.items() if k not in flat}
        return {**rest, "tiers": [flat]}

    def cost(self, usage: Usage) -> float:
        """Dollars for what was used.

        >>> price = Price.model_validate({"input": 2.0, "cached": 0.5, "output": 8.0})
        >>> price.cost(Usage(prompt_tokens=1000, cached_tokens=400, completion_tokens=500))
        0.0054
        """
        tier = next(
            (t for t in self.tiers if t.up_to is None or usage.prompt_tokens <= t.up_to),
            self.tiers[-1],
        )
        cached = min(usage.cached_tokens, usage.prompt_tokens)
        at_cached = tier.input if tier.cached is None else tier.cached
        dollars = (
            (usage.prompt_tokens - cached) * tier.input
            + cached * at_cached
            + usage.completion_tokens * tier.output
        )
        return round(dollars / 1e6, 9)

    def most(self, request: Request) -> float:
        """The most that a request can cost, in dollars."""
        reply = request.max_tokens or self.max_output or LONGEST_REPLY
        return self.cost(Usage(prompt_tokens=most_tokens(request), completion_tokens=reply))


class Prices:
    """Prices by model name."""

    def __init__(self, models: dict[str, Price], as_of: str) -> None:
        self.models = models
        self.as_of = as_of
        self.own: set[str] = set()
        """Models of a person's own file: these prices hold for servers of their own, too."""

    @classmethod
    def load(cls, path: Path | None = None) -> Prices:
        """The table that ships, with a file of one's own over it.

        Raises:
            UserError: the file cannot be read or has a mistake; all mistakes are named at once.
        """
        table = _read(files("reward_model.llm").joinpath("prices.toml").read_text("utf-8"), None)
        if path is not None:
            own = _read(read_text(path), path)
            table.models.update(own.models)
            table.own = {name.lower() for name in own.models}
            table.as_of = own.as_of or table.as_of
        return table

    @cached_property
    def _lower(self) -> dict[str, Price]:
        return {name.lower(): price for name, price in self.models.items()}

    def find(self, *names: str, own: bool = False) -> Price | None:
        """Price under the first of these names that is known, with or without a date at its end.

        Args:
            own: look only at the person's own file.

        >>> prices = Prices.load()
        >>> prices.find("gpt-4o-mini-2024-07-18") is prices.find("gpt-4o-mini")
        True
        >>> prices.find("my-own-model") is None
        True
        """
        for name in names:
            low = name.lower()
            for form in (low, _DATE.sub("", low)):
                found = self._lower.get(form)
                if found is not None and (not own or form in self.own):
                    return found
        return None


class _Table(RootModel[dict[str, Price]]):
    pass


def _read(text: str, path: Path | None) -> Prices:
    raw = parse_toml(text, path)
    as_of = str(raw.pop("as_of", ""))
    what = 'for each ["model"] its input and output in dollars per million tokens'
    return Prices(parse_settings(raw, _Table, what, path=path).root, as_of)


def likely_tokens(text: str) -> float:
    """A fair guess of the tokens in a text: 0.7 a Chinese character, 1 for 3.5 others.

    Providers say 1.5 to 1.8 Chinese (Alibaba) and about 4 English characters (OpenAI) a token; a
    little more is reckoned here, since reports are full of figures.

    >>> round(likely_tokens("营业收入")), round(likely_tokens("revenue rose by a tenth"))
    (3, 7)
    """
    wide = _wide(text)
    return wide * 0.7 + (len(text) - wide) / 3.5


def asked_tokens(request: Request) -> int:
    """A fair guess of the tokens that a request asks with."""
    return math.ceil(sum(likely_tokens(message.content) for message in request.messages))


def counted(usage: Usage, asked: int, text: str) -> Usage:
    """Tokens as the provider counted them; what it did not count is estimated, never nothing.

    >>> counted(Usage(prompt_tokens=7), 5, "revenue rose by a tenth").completion_tokens
    7
    """
    estimate: dict[str, Any] = {}
    if not usage.prompt_tokens and asked:
        estimate["prompt_tokens"] = asked
    if not usage.completion_tokens and text:
        estimate["completion_tokens"] = math.ceil(likely_tokens(text))
    return usage.model_copy(update={**estimate, "estimated": True}) if estimate else usage


def most_tokens(request: Request) -> int:
    """An upper bound of the tokens asked: digits are a token each in many vocabularies.

    >>> from reward_model.llm.base import ChatMessage
    >>> most_tokens(Request(messages=(ChatMessage(role="user", content="2024 营收"),)))
    28
    """
    total = 0.0
    for message in request.messages:
        wide = _wide(message.content)
        # Nothing in ASCII is more than a token a character. Chinese characters are one, rare ones
        # up to their three bytes; a text that is rare ones alone is not written.
        total += (len(message.content) - wide) + 1.5 * wide + 20  # the chat template's own
    if request.json_schema is not None:
        total += len(str(request.json_schema)) + 20
    return int(total)


def _wide(text: str) -> float:
    """Number of characters outside ASCII, quickly: they take two more bytes in UTF-8."""
    return 0.0 if text.isascii() else (len(text.encode("utf-8", "replace")) - len(text)) / 2
