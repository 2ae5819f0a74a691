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

_UNSUPPORTED = re.compile(
    r"support|unrecogni|unknown|unexpected|extra|not permitted|not allowed|only the default"
    r"|deprecated|not available|cannot|restricted|must be|不支持",
    re.I,
)


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
    thinking: Literal["switch", "always", "none"] = "none"
    """`switch`: sent explicitly; `always`: cannot be turned off; `none`: no such parameter."""
    learned: list[str] = field(default_factory=list)
    """What the server taught, in words."""

    def learn(self, sent: Mapping[str, Any], param: str, message: str) -> None:
        """Take in an error answer to a request that carried the parameters `sent`."""
        text = f"{param} {message}".lower()
        unsupported = bool(_UNSUPPORTED.search(text))
        if "max_tokens" in sent and "max_completion_tokens" in text:
            self._set("token_limit", "max_completion_tokens")
        elif "max_completion_tokens" in sent and "max_completion_tokens" in text and unsupported:
            self._set("token_limit", "max_tokens")
        elif "temperature" in sent and "temperature" in text and unsupported:
            self._set("temperature", False)
        elif "top_logprobs" in sent and "logprobs" in text:
            self._set("logprobs", False)
        elif "seed" in sent and re.search(r"\bseed\b", text):
            self._set("seed", False)
        elif "enable_thinking" in sent and re.search(r"thinking|chat_template", text):
            must = re.search(r"(restricted|must be|set) (to )?true", text)
            self._set("thinking", "always" if must else "none")
        elif "response_format" in sent and re.search(r"response_format|json|schema|guided", text):
            kind = sent["response_format"]["type"]
            self._set("json", "json_object" if kind == "json_schema" else "prompt")

    def _set(self, name: str, value: Any) -> None:
        if getattr(self, name) != value:
            setattr(self, name, value)
            self.learned.append(f"{name}: {value}")

    def ask_json(self, request: Request) -> tuple[dict[str, Any] | None, tuple[ChatMessage, ...]]:
        """`response_format` and messages that ask for the schema of a request this way.

        Where the server cannot enforce the schema, it stands in the last message (which also puts
        the word JSON there, as `json_object` requires).
        """
        schema, messages = request.json_schema, request.messages
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

    def without(self) -> tuple[str, ...]:
        """Parameters that this model never gets."""
        return tuple(
            name for name in ("temperature", "seed", "logprobs") if not getattr(self, name)
        )

    def as_dict(self) -> dict[str, Any]:
        """For a manifest."""
        return asdict(self)


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
