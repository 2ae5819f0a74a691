"""What a model accepts, learned from the server's own error answers.

A provider builds each request from its `Capabilities`; when a server answers 400 and names a
parameter, `learn` changes them and the request is built again. Commands record the result.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from reward_model.llm.base import LLM, ChatMessage, Reply, Request

_NAMES = {
    "token_limit": "max_tokens|max_completion_tokens",
    "temperature": "temperature",
    "logprobs": "top_logprobs|logprobs",
    "seed": "seed",
    "effort": "reasoning_effort|thinking_budget",
    "stream_usage": "stream_options|include_usage",
    "thinking": "enable_thinking|chat_template_kwargs|thinking",
    "json": "response_format|json_schema|json_object|guided_json|json mode|structured outputs?",
}
"""What may be learned, and the parameters whose refusal teaches it."""
_NAMED = {what: re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.I) for what, words in _NAMES.items()}
_REFUSED = re.compile(
    r"not (?:be )?(?:support|permit|allow|available|recogni|accept|implement|valid)|unsupported"
    r"|unrecogni|unknown|unexpected|extra (?:inputs|fields?|parameter)|only the default|deprecated"
    r"|unavailable|does(?:n't| not) (?:support|accept|take)|cannot be (?:used|set|combined)"
    r"|restricted to|must be (?:set to )?(?:true|false)"
    r"|invalid (?:parameter|argument|grammar|schema)"
    r"|不支持|不可用",
    re.I,
)
_TOO_MUCH = re.compile(
    r"too (?:large|long|big|high|many|small|low)|at (?:most|least)|exceed|maximum|minimum|reduce"
    r"|between|range|(?:less|greater) than",
    re.I,
)
_MUST_THINK = re.compile(r"(?:restricted to|must be|set to) (?:set to )?true", re.I)
_JSON = ("json_schema", "json_object", "prompt")
_NO_SYSTEM = re.compile(
    r"system['\"]? (?:role|messages?|prompts?|instructions?)\b[^.]{0,60}?"
    r"(?:n[o']t (?:be )?(?:support|allow|permit|accept|enabl)|unsupported)"
    r"|(?:n[o']t (?:support|accept|allow|permit)\w*|unsupported|unexpected|unknown|invalid)"
    r"[^.]{0,60}['\"]?system['\"]?(?: role| messages?| prompts?|['\"])"
    r"|developer instructions? (?:is|are) not enabled"
    r"|roles must alternate"
    r"|only[^.]{0,40}user['\"]? and ['\"]?assistant['\"]? roles"
    r"|should be 'user'(?:,| or) 'assistant'",
    re.I,
)
"""How servers say that they take no system role."""
_STREAM_ONLY = re.compile(
    r"only supports? (?:the )?stream|non-?stream\w*[^.]{0,40}(?:not|unsupported)"
    r"|(?:not|false) (?:support\w* )?(?:for |in )?non-?stream"
    r"|(?:enable|requires?|use|set) (?:the )?['\"`]?stream(?:ing)?\b"
    r"|['\"`]?\bstream(?:ing)?['\"`]? (?:must|has to|needs to) be (?:set to |enabled)?"
    r"|stream(?:ing)? (?:mode )?is required|仅支持流式|只支持流式|not support http call",
    re.I,
)
"""How servers say that a model answers as a stream only."""
BUDGETS = {"low": 1024, "medium": 4096, "high": 16384}
"""Tokens of thought that Alibaba's models are given for an effort."""


@dataclass
class Capabilities:
    """How a model takes each thing that may be asked of it."""

    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """Name of the parameter that limits the reply."""
    json: Literal["json_schema", "json_object", "prompt"] = "json_schema"
    """How a JSON reply is asked for; `prompt`: in words only."""
    temperature: bool = True
    seed: bool = True
    logprobs: bool = True
    thinking: Literal["switch", "asked", "always", "none"] = "none"
    """`switch`: sent explicitly; `asked`: sent where somebody asks for it; `always`: cannot be
    turned off; `none`: no such parameter."""
    effort: Literal["any", "minimal", "none"] = "any"
    """`minimal`: thinking cannot be turned off, only that short; `none`: no such parameter."""
    system: bool = True
    """Takes the system role; else its words begin the user's turn."""
    stream: bool = False
    """Answers as a stream only."""
    stream_usage: bool = True
    """Takes the request to count tokens in a stream."""
    learned: list[str] = field(default_factory=list)
    """What the server taught, in words."""

    def learn(self, sent: Mapping[str, Any], param: str, message: str) -> None:
        """Take in an error answer to a request that carried the parameters `sent`.

        Only the parameter that the answer refuses teaches, by its field `param` or by the name in
        the refusing sentence; a lesson is never taken back.

        >>> model = Capabilities()
        >>> model.learn({"seed": 1, "temperature": 0}, "", "seed is too large. temperature: 0")
        >>> model.learn({"seed": 1, "temperature": 0}, "", "Unknown parameter: 'seed'")
        >>> model.learned
        ['seed: False']
        """
        what = refused(param, message)
        if self.system and _has_system(sent) and _NO_SYSTEM.search(message):
            self._set("system", False)
        elif not self.stream and "stream" not in sent and _STREAM_ONLY.search(message):
            self._set("stream", True)
        elif what == "token_limit":
            self._rename_limit(sent)
        elif what == "json":
            kind = (sent.get("response_format") or {}).get("type")
            if kind in _JSON:
                lower = _JSON[_JSON.index(kind) + 1]
                if _JSON.index(lower) > _JSON.index(self.json):
                    self._set("json", lower)
        elif what == "thinking":
            if "enable_thinking" in sent and self.thinking in {"switch", "asked"}:
                self._set("thinking", "always" if _MUST_THINK.search(message) else "none")
        elif what == "effort":
            shortest = sent.get("reasoning_effort") == "none" and "minimal" in message
            if not sent.keys().isdisjoint({"reasoning_effort", "thinking_budget"}):
                self._set("effort", "minimal" if shortest else "none")
        elif what == "stream_usage":
            self._set("stream_usage", "stream_options" not in sent)
        elif what is not None and (what in sent or (what == "logprobs" and "top_logprobs" in sent)):
            self._set(what, False)

    def _rename_limit(self, sent: Mapping[str, Any]) -> None:
        if any(one.startswith("token_limit") for one in self.learned):
            return
        own, other = "max_tokens", "max_completion_tokens"
        if self.token_limit == other:
            own, other = other, own
        if own in sent:
            self._set("token_limit", other)

    def _set(self, name: str, value: Any) -> None:
        if getattr(self, name) != value:
            setattr(self, name, value)
            self.learned.append(f"{name}: {value}")

    def taught(self) -> dict[str, Any]:
        """What the server taught, to be remembered for another process."""
        names = dict.fromkeys(one.partition(":")[0] for one in self.learned)
        return {name: getattr(self, name) for name in names}

    def remember(self, taught: Mapping[str, Any]) -> None:
        """Take in what another process was taught."""
        for name, value in taught.items():
            if name in _NAMES or name in {"system", "stream"}:
                self._set(name, value)

    def ask_json(self, request: Request) -> tuple[dict[str, Any] | None, tuple[ChatMessage, ...]]:
        """`response_format` and messages that ask for the schema of a request this way.

        Where the server cannot enforce the schema, it stands in the last message (which also puts
        the word JSON there, as `json_object` requires).
        """
        schema, messages = request.json_schema, self._fit(request.messages)
        if schema is None:
            return None, messages
        if self.json == "json_schema":
            # Strict mode is refused for schemas that leave room for other keys.
            strict = schema.get("additionalProperties") is False
            described = {"name": "answer", "schema": schema, "strict": strict}
            return {"type": "json_schema", "json_schema": described}, messages
        last = messages[-1]
        words = f"{last.content}\n\nJSON Schema: {json.dumps(schema, ensure_ascii=False)}"
        messages = (*messages[:-1], ChatMessage(role=last.role, content=words))
        return ({"type": "json_object"} if self.json == "json_object" else None), messages

    def _fit(self, messages: tuple[ChatMessage, ...]) -> tuple[ChatMessage, ...]:
        """Messages in roles that the model takes."""
        words = [m.content for m in messages if m.role == "system"]
        rest = [m for m in messages if m.role != "system"]
        if self.system or not words:
            return messages
        if not rest or rest[0].role != "user":
            return (ChatMessage(role="user", content="\n\n".join(words)), *rest)
        first = ChatMessage(role="user", content="\n\n".join([*words, rest[0].content]))
        return (first, *rest[1:])

    def ask_thinking(
        self, request: Request, dialect: Literal["openai", "alibaba", "other"]
    ) -> dict[str, Any]:
        """Fields that say whether and how long to think.

        OpenAI has an effort alone; Alibaba a switch and a budget of tokens; other servers are told
        by OpenAI's effort and, as vLLM and SGLang hand it to the chat template, by the switch.

        >>> from reward_model.llm.base import ChatMessage
        >>> asked = Request(messages=(ChatMessage(role="user", content="?"),), effort="low")
        >>> Capabilities().ask_thinking(asked, "openai")
        {'reasoning_effort': 'low'}
        """
        told: dict[str, Any] = {}
        on = request.thinking or self.thinking == "always"
        asked = self.thinking == "asked" and (request.thinking or request.effort is not None)
        if asked or self.thinking in {"switch", "always"}:
            told["enable_thinking"] = on
            if dialect == "other":
                told["chat_template_kwargs"] = {"enable_thinking": on}
        if request.effort is None or self.effort == "none":
            return told
        if dialect == "alibaba":
            return told | ({"thinking_budget": BUDGETS[request.effort]} if request.thinking else {})
        if request.effort != "none":
            return told | {"reasoning_effort": request.effort}
        if dialect == "openai":
            told["reasoning_effort"] = "none" if self.effort == "any" else "minimal"
        return told

    def without(self) -> tuple[str, ...]:
        """Parameters that this model never gets."""
        left = [name for name in ("temperature", "seed", "logprobs") if not getattr(self, name)]
        return (*left, "reasoning_effort") if self.effort == "none" else tuple(left)

    def as_dict(self) -> dict[str, Any]:
        """For a manifest."""
        return asdict(self)


def refused(param: str, message: str) -> str | None:
    """What an error answer refuses, of the things that may be learned; None where it is about
    something else, such as a value out of range.

    >>> refused("", "max_tokens or max_completion_tokens is too large: 9000") is None
    True
    >>> refused("", "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
    'token_limit'
    """
    if param and param not in {"null", "None"}:
        named = next((what for what, name in _NAMED.items() if name.search(param)), None)
        if named is None or (_TOO_MUCH.search(message) and not _REFUSED.search(message)):
            return None
        return named
    for sentence in re.split(r"(?<=[.!?。；])\s+|\n", message):
        if not _REFUSED.search(sentence):
            continue
        found = [(m.start(), what) for what, name in _NAMED.items() if (m := name.search(sentence))]
        if found:
            return min(found)[1]
    return None


def _has_system(sent: Mapping[str, Any]) -> bool:
    return any(m.get("role") == "system" for m in sent.get("messages") or ())


class Learning:
    """A model whose provider learns what it accepts."""

    accepts: Capabilities


def capabilities(llm: LLM) -> dict[str, Any]:
    """What is known about a model; empty for models that take everything (offline, scripted)."""
    return llm.accepts.as_dict() if isinstance(llm, Learning) else {}


PROBE = Request(
    messages=(ChatMessage(role="user", content='Answer with the JSON object {"ok": true}.'),),
    temperature=0.5,
    max_tokens=64,
    seed=1,
    top_logprobs=2,
    json_schema={
        "type": "object",
        "properties": {"ok": {"type": "boolean"}},
        "required": ["ok"],
        "additionalProperties": False,
    },
)
"""One small request that carries every parameter."""


def observe(reply: Reply) -> dict[str, Any]:
    """What came back on `PROBE`: was it JSON, with log-probabilities, with thinking?

    >>> observe(Reply(text='{"ok": true}', model="m"))
    {'model': 'm', 'json': True, 'logprobs': False, 'reasoning_tokens': 0}
    """
    try:
        is_json = isinstance(json.loads(reply.text), dict)
    except ValueError:
        is_json = False
    return {
        "model": reply.model,
        "json": is_json,
        "logprobs": bool(reply.tokens),
        "reasoning_tokens": reply.usage.reasoning_tokens,
    }
