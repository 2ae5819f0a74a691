"""What a language model is here: one request in, one reply or one classified failure out."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from reward_model.records import UserError, digest

_SURROGATE = re.compile("[\ud800-\udfff]")


def whole(text: Any) -> Any:
    """Text without the half of a character that a cut may leave, which UTF-8 cannot hold.

    >>> whole("up \\ud83d")
    'up \ufffd'
    """
    return _SURROGATE.sub("\ufffd", text) if isinstance(text, str) else text


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ChatMessage(_Record):
    """One message of a request."""

    role: Literal["system", "user", "assistant"]
    content: Annotated[str, BeforeValidator(whole)]
    """Half of a character, which no request can carry, becomes a mark of its own."""


class Request(_Record):
    """Everything that decides what a model answers; its digest is the key of the ledger."""

    messages: tuple[ChatMessage, ...]
    temperature: float | None = None
    """None leaves the provider's default."""
    max_tokens: int | None = None
    seed: int | None = None
    """Sent to providers that take one; part of the key everywhere."""
    json_schema: dict[str, Any] | None = None
    """Ask for a JSON object of this schema, as strictly as the provider can."""
    top_logprobs: int | None = None
    """Ask for the alternatives of each token, where the provider has them."""
    thinking: bool = False
    """Let a model that can think do so; sent only to models that have the switch."""
    effort: Literal["none", "low", "medium", "high"] | None = None
    """How long to think, in the provider's own terms; `none`: not at all, said in so many words.
    None leaves it to the provider."""
    extra: dict[str, Any] = {}
    """Further fields of the body; a text `$NAME` stands for a variable of the environment."""
    sample: int = 0
    """Number of this draw; the same request with another number is another call."""

    def key(self, model: str, base_url: str = "") -> str:
        """Fingerprint of the call: this request, to this model, at this address."""
        fields = self.model_dump(mode="json")
        for name in _LATER:  # as if they were not there: ledgers of before know nothing of them
            if not fields[name]:
                del fields[name]
        return digest([model, base_url, fields], 24)


_LATER = ("effort", "extra")
"""Fields that came after the first ledgers."""


class Usage(_Record):
    """Tokens as the provider counts them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    """Includes reasoning tokens."""
    reasoning_tokens: int = 0
    cached_tokens: int = 0
    estimated: bool = False
    """The provider gave no count, or half of one: the rest follows from the length of the texts."""


LogProb = Annotated[float, Field(le=1e-3, allow_inf_nan=False)]
"""A logarithm of a probability; rounding may put it a trace above 0."""


class Token(_Record):
    """One token of the reply and the alternatives it was drawn from."""

    text: str
    logprob: LogProb
    top: tuple[tuple[str, LogProb], ...] = ()


class Reply(_Record):
    """What came back."""

    text: str
    model: str
    """The name the server returned."""
    finish_reason: str = "stop"
    """`stop`, or `length` when the token limit cut the text or it never got out of a thought."""
    usage: Usage = Usage()
    latency_s: float = 0.0
    tokens: tuple[Token, ...] | None = None
    without: tuple[str, ...] = ()
    """Parameters that are not sent to this model because it refuses them, such as `temperature`."""

    def sent(self, temperature: float | None) -> float | None:
        """The temperature that was really sent, where this one was asked for."""
        return None if "temperature" in self.without else temperature


class LLMError(Exception):
    """A call that gave no reply; the message never holds a key, a prompt or a reply."""


class RetryableError(LLMError):
    """May work later: rate limit, overload, time-out, dropped connection, garbage."""

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None = None,
        rate: bool = False,
        billed: bool = False,
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        """What the server asked for."""
        self.rate = rate
        """It was a rate limit: slow down."""
        self.billed = billed
        """The provider may have done the work and charge for it: time-out, drop, garbage."""


class RefusedError(LLMError):
    """The provider will not answer this request; final for this record."""

    def __init__(self, message: str, *, content: bool = True) -> None:
        super().__init__(message)
        self.content = content
        """It is about the content, so asking again is useless: the ledger keeps it. Otherwise the
        request does not fit the server (too long, a parameter), which a new setting may mend."""


class FatalError(UserError, LLMError):
    """No call can work: wrong key, no money, unknown model. Stop at once (exit code 2)."""


class LLM(Protocol):
    """A model behind an API, or one that stands in its place."""

    @property
    def name(self) -> str:
        """`provider:model`, as given on the command line."""

    @property
    def base_url(self) -> str:
        """Where calls go; empty for a model without a network."""

    async def complete(self, request: Request) -> Reply:
        """Answer once, without retrying.

        Raises:
            RetryableError, RefusedError, FatalError: as they say.
        """

    async def close(self) -> None:
        """Let go of connections."""


def split_model(name: str) -> tuple[str, str]:
    """`provider:model` in two.

    >>> split_model("dashscope:qwen-plus"), split_model("offline")
    (('dashscope', 'qwen-plus'), ('offline', ''))

    Raises:
        UserError: the provider is not known.
    """
    provider, _, model = name.partition(":")
    if provider not in {"openai", "dashscope", "offline", "scripted"}:
        raise UserError(
            f"unknown model {name!r}",
            expected="offline, openai:MODEL or dashscope:MODEL",
        )
    if provider in {"openai", "dashscope"} and not model:
        raise UserError(f"no model name in {name!r}", expected=f"{provider}:MODEL")
    if provider == "scripted" and not model:
        raise UserError(f"no file in {name!r}", expected="scripted:FILE.jsonl")
    return provider, model
