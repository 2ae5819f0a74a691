"""Reading what servers send back: replies, token counts, log-probabilities, error bodies.

Nothing here trusts a server: a 200 may hold an error, no choices, half a JSON or a filtered text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from reward_model.llm.base import RefusedError, Reply, Request, RetryableError, Token, Usage, whole
from reward_model.llm.failures import Where, failure, page_words
from reward_model.llm.streams import body_of_stream, is_stream
from reward_model.records.chat.marks import answer_of

_CUT = {
    "length", "maxlength", "maxtokens", "modellength", "maxoutputtokens", "tokenlimit",
    "modelcontextwindowexceeded", "contextlength", "maxtokensreached",
}  # fmt: skip
_INTERRUPTED = {
    "insufficientsystemresource", "null", "error", "abort", "aborted", "cancelled", "canceled",
    "networkerror", "timeout", "interrupted", "overloaded", "engineoverloaded", "servererror",
    "malformedfunctioncall", "other", "internalerror",
}  # fmt: skip
_FILTERED = {
    "contentfilter", "contentfiltered", "sensitive", "safety", "recitation", "prohibitedcontent",
    "blocklist", "spii", "refusal", "moderation", "guardrailintervened", "datainspectionfailed",
    "inappropriatecontent", "risk", "language",
}  # fmt: skip
_CALLED = {"toolcalls", "toolcall", "functioncall", "tooluse"}
"""Why a reply ended, in the words of OpenAI, Azure, Alibaba, DeepSeek, Zhipu, Mistral, Anthropic,
Google, vLLM and SGLang, letters only."""


IMPOSSIBLE = -9999.0


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
    details = body.get("detail")
    if isinstance(details, list) and details and isinstance(details[0], dict):
        # How FastAPI says that it does not take a field.
        place = [part for part in details[0].get("loc") or () if isinstance(part, str)]
        kind = str(details[0].get("type") or "")
        return kind, str(details[0].get("msg") or ""), ".".join(place).removeprefix("body.")
    code = next((body[k] for k in ("code", "type") if isinstance(body.get(k), str) and body[k]), "")
    message = body.get("message") or body.get("detail") or ""
    return code, message if isinstance(message, str) else str(message), str(body.get("param") or "")


def read_reply(data: bytes, where: Where, request: Request) -> Reply:
    """Read the body of a 200.

    Raises:
        RetryableError, RefusedError, FatalError: it holds no reply.
    """
    if is_stream(data):
        return read_body(body_of_stream(data), where, request)
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        page = page_words(data)
        words = f"{page} instead of a reply; is this the base URL of an API?" if page else ""
        raise RetryableError(words or "a reply that is no JSON", billed=True) from None
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
    return read_choice(
        choices[0], str(body.get("model") or where.model), read_usage(body.get("usage"))
    )


def read_choice(choice: dict[str, Any], model: str, usage: Usage) -> Reply:
    """Read one choice of a reply, of either protocol; raises as `read_reply` does."""
    said = choice.get("message")
    said = said if isinstance(said, dict) else {}
    reason = str(choice.get("finish_reason") or "stop")
    flat = re.sub(r"[^a-z]", "", reason.lower())
    if flat in _FILTERED:
        raise RefusedError(f"content refused by the provider ({whole(reason)})")
    if flat in _INTERRUPTED:
        raise RetryableError(f"a reply broken off by the provider ({whole(reason)})", billed=True)
    written = _text(said.get("content"))
    text = answer_of(written)
    if flat in _CUT or text is None:
        reason = "length"
    if not text and said.get("refusal"):
        raise RefusedError("the model declined to answer")
    if not text and flat in _CALLED:
        raise RefusedError("the model called a tool instead of answering", content=False)
    if not text and reason != "length":
        raise RetryableError(_empty(said), billed=True)
    return Reply(
        text=text or "",
        model=whole(model),
        finish_reason=whole(reason),
        usage=usage,
        tokens=read_tokens(choice.get("logprobs")),
    )


def _empty(said: dict[str, Any]) -> str:
    thought = said.get("reasoning_content") or said.get("reasoning")
    if isinstance(thought, str) and thought.strip():
        return "an empty reply beside a thought (reasoning_content), which is never the answer"
    return "an empty reply"


def _text(content: Any) -> str:
    """Text of a message, in one piece or in parts."""
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict))
        content = "".join(part for part in parts if isinstance(part, str))
    return whole(content) if isinstance(content, str) else ""


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
                logprob=_log(one["logprob"]),
                top=tuple(
                    (whole(t["token"]), _log(t["logprob"])) for t in one.get("top_logprobs") or ()
                ),
            )
            for one in content
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _log(value: Any) -> float:
    """A log-probability as it came; that of something impossible as OpenAI writes it.

    Raises:
        ValueError: it is none, such as a text or NaN.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("no number")
    return max(float(value), IMPOSSIBLE) if value == value else _log(None)
