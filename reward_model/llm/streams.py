"""Replies that come in pieces, put together: what a server streams is read like any other reply."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from reward_model.llm.base import RetryableError

_BEGINS = (b"data:", b"event:", b"id:", b"retry:", b":")


def is_stream(data: bytes) -> bool:
    """Whether a body is a stream of events; some servers stream although nobody asked.

    >>> is_stream(b'data: {"choices": []}'), is_stream(b'{"choices": []}')
    (True, False)
    """
    return data.lstrip().startswith(_BEGINS)


def body_of_stream(data: bytes) -> Any:
    """The body that the server would have sent in one piece.

    Raises:
        RetryableError: the stream broke off, or is none of JSON.
    """
    pieces: list[Any] = []
    ended = False
    for event in re.split(rb"\n\s*\n", data.replace(b"\r\n", b"\n")):
        found = [raw[5:].strip() for raw in event.split(b"\n") if raw.startswith(b"data:")]
        lines = [line for line in found if line and line != b"[DONE]"]
        ended = ended or b"[DONE]" in found
        try:
            pieces += _parsed(lines)
        except (ValueError, RecursionError):
            raise RetryableError("a stream that is no JSON", billed=True) from None
    broken = next((one for one in pieces if isinstance(one, dict) and one.get("error")), None)
    return broken or whole_body(pieces, ended=ended)


def _parsed(lines: list[bytes]) -> list[Any]:
    """What the lines of an event say: one object each, or one over several lines."""
    try:
        return [json.loads(line) for line in lines]
    except ValueError:
        return [json.loads(b"\n".join(lines))]


def whole_body(pieces: Iterable[Any], *, ended: bool = False) -> dict[str, Any]:
    """One body of many: texts joined, the last count of tokens, the reason why it ended.

    Args:
        ended: the server said so by a mark of its own.

    Raises:
        RetryableError: nothing says that the reply was at its end.
    """
    body: dict[str, Any] = {}
    message: dict[str, Any] = {"content": ""}
    choice: dict[str, Any] = {"message": message}
    tokens: list[Any] = []
    seen = False
    for piece in pieces:
        if not isinstance(piece, dict):
            continue
        body |= {name: piece[name] for name in ("model", "usage") if piece.get(name)}
        choices = piece.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            continue
        seen = True
        said = choices[0].get("delta") or choices[0].get("message") or {}
        for name in ("content", "refusal", "reasoning_content", "reasoning"):
            if text := _text(said.get(name) if isinstance(said, dict) else None):
                message[name] = message.get(name, "") + text
        probabilities = choices[0].get("logprobs")
        if isinstance(probabilities, dict):
            tokens += probabilities.get("content") or []
        reason = choices[0].get("finish_reason")
        if reason and reason != "null":
            choice["finish_reason"] = reason
    if not seen or not (ended or "finish_reason" in choice):
        raise RetryableError("a stream that ended before its reply", billed=True)
    if tokens:
        choice["logprobs"] = {"content": tokens}
    return {**body, "choices": [choice]}


def _text(value: Any) -> str:
    if isinstance(value, list):
        value = "".join(
            part["text"]
            for part in value
            if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    return value if isinstance(value, str) else ""
