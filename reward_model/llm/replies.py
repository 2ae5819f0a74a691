"""Reading what servers send back: replies, token counts, log-probabilities, error bodies.

Nothing here trusts a server: a 200 may hold an error, no choices, half a JSON or a filtered text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from reward_model.llm.base import RefusedError, Reply, Request, RetryableError, Token, Usage
from reward_model.llm.failures import Where, failure

_SURROGATE = re.compile("[\ud800-\udfff]")
_THOUGHT = re.compile(r"\A\s*<think>.*?</think>\s*", re.S)


def error_fields(body: Any) -> tuple[str, str, str]:
    """Code, message and parameter of an error body in any of the forms servers use.

    >>> error_fields({"error": {"code": None, "type": "invalid_request_error", "message": "no"}})
    ('invalid_request_error', 'no', '')
    >>> error_fields({"object": "error", "message": "too long", "code": 400})
    ('', 'too long', '')
    """
    if isinstance(body, dict) and body.get("error"):
        body = body["error"]
    if isinstance(body, str):
        return "", body, ""
    if not isinstance(body, Mapping):
        return "", "", ""
    code = next((body[k] for k in ("code", "type") if isinstance(body.get(k), str) and body[k]), "")
    message = body.get("message") or body.get("detail") or ""
    return code, message if isinstance(message, str) else str(message), str(body.get("param") or "")


def read_reply(data: bytes, where: Where, request: Request) -> Reply:
    """Read the body of a 200.

    Raises:
        RetryableError, RefusedError, FatalError: it holds no reply.
    """
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        raise RetryableError("a reply that is no JSON", billed=True) from None
    return read_body(body, where, request)


def read_body(body: Any, where: Where, request: Request | None = None) -> Reply:
    """Read the parsed body of a 200; raises as `read_reply` does."""
    if not isinstance(body, dict):
        raise RetryableError("a reply that is no JSON object", billed=True)
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        code, message, _ = error_fields(body)
        if not (code or message) or ("choices" in body and not body.get("error")):
            raise RetryableError("a reply without choices", billed=True)
        number = body["error"].get("code") if isinstance(body.get("error"), dict) else None
        status = number if isinstance(number, int) and 400 <= number < 600 else 500
        raise failure(status, code, message, where, request)
    choice = choices[0]
    said = choice.get("message")
    said = said if isinstance(said, dict) else {}
    text = _text(said.get("content"))
    reason = str(choice.get("finish_reason") or "stop")
    if reason == "content_filter":
        raise RefusedError("content refused by the provider (content_filter)")
    if not text and said.get("refusal"):
        raise RefusedError("the model declined to answer")
    if not text and reason != "length":
        raise RetryableError("an empty reply", billed=True)
    return Reply(
        text=text,
        model=whole(str(body.get("model") or where.model)),
        finish_reason=reason,
        usage=read_usage(body.get("usage")),
        tokens=read_tokens(choice.get("logprobs")),
    )


def _text(content: Any) -> str:
    """Text of a message, without thoughts that a server left in it."""
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        content = "".join(part for part in parts if isinstance(part, str))
    return whole(_THOUGHT.sub("", content)) if isinstance(content, str) else ""


def whole(text: str) -> str:
    """Text without the half of a character that a cut may leave, which UTF-8 cannot hold.

    >>> whole("up \\ud83d")
    'up \ufffd'
    """
    return _SURROGATE.sub("\ufffd", text)


def read_usage(usage: Any) -> Usage:
    """Token counts under OpenAI's names; what is missing is 0."""

    def number(where: Any, *names: str) -> int:
        for name in names:
            value = where.get(name) if isinstance(where, dict) else None
            if isinstance(value, int) and value > 0:
                return value
        return 0

    if not isinstance(usage, dict):
        return Usage()
    completion = usage.get("completion_tokens_details") or usage.get("output_tokens_details")
    prompt = usage.get("prompt_tokens_details")
    return Usage(
        prompt_tokens=number(usage, "prompt_tokens", "input_tokens"),
        completion_tokens=number(usage, "completion_tokens", "output_tokens"),
        reasoning_tokens=number(completion, "reasoning_tokens"),
        cached_tokens=number(prompt, "cached_tokens"),
    )


def read_tokens(logprobs: Any) -> tuple[Token, ...] | None:
    """Log-probabilities, if there are any and they are whole."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list) or not content:
        return None
    try:
        return tuple(
            Token(
                text=whole(one["token"]),
                logprob=one["logprob"],
                top=tuple((whole(t["token"]), t["logprob"]) for t in one.get("top_logprobs") or ()),
            )
            for one in content
        )
    except (KeyError, TypeError, ValueError):
        return None
