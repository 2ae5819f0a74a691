"""Bodies that the loopback server sends: replies of both protocols, and files of the Batch API."""

from __future__ import annotations

from typing import Any

Message = dict[str, str]


def chat_reply(text: str, body: dict[str, Any], messages: list[Message]) -> dict[str, Any]:
    choice: dict[str, Any] = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": text},
    }
    if body.get("logprobs"):
        top = [{"token": text[:1], "logprob": -0.1}, {"token": "?", "logprob": -2.5}]
        choice["logprobs"] = {
            "content": [{"token": text[:1], "logprob": -0.1, "top_logprobs": top}]
        }
    asked = sum(len(m["content"]) for m in messages)
    usage = {"prompt_tokens": asked, "completion_tokens": len(text)}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": f"{body['model']}-2026-01-31",
        "choices": [choice],
        "usage": {**usage, "total_tokens": sum(usage.values())},
    }


def chat_pieces(reply: dict[str, Any], *, usage: bool, thought: str = "") -> list[dict[str, Any]]:
    """A reply as OpenAI streams it: the role, a thought, the text in pieces, its end, the usage."""
    (choice,) = reply["choices"]
    text = choice["message"]["content"]
    head = {k: reply[k] for k in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": None, "reasoning_content": thought}] if thought else []
    deltas += [{"content": text[i : i + 7]} for i in range(0, len(text), 7)]
    pieces = [
        {**head, "choices": [{"index": 0, "delta": d, "finish_reason": None}]} for d in deltas
    ]
    if choice.get("logprobs"):
        pieces[-1]["choices"][0]["logprobs"] = choice["logprobs"]
    pieces.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if usage:
        pieces.append({**head, "choices": [], "usage": reply["usage"]})
    return pieces


def native_pieces(reply: dict[str, Any], thought: str = "") -> list[dict[str, Any]]:
    """The same as DashScope's own protocol streams it, by increments."""
    text = reply["output"]["choices"][0]["message"]["content"]
    said = [{"content": "", "reasoning_content": thought}] if thought else []
    said += [{"content": text[i : i + 7]} for i in range(0, len(text), 7)] or [{"content": ""}]
    ends = ["null"] * (len(said) - 1) + ["stop"]
    return [
        {
            **reply,
            "output": {
                "choices": [{"finish_reason": end, "message": {"role": "assistant", **one}}]
            },
        }
        for one, end in zip(said, ends, strict=True)
    ]


def native_reply(text: str, messages: list[Message]) -> dict[str, Any]:
    asked = sum(len(m["content"]) for m in messages)
    return {
        "output": {
            "choices": [
                {"finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            ]
        },
        "usage": {"input_tokens": asked, "output_tokens": len(text)},
        "request_id": "r",
    }


def form_file(data: bytes, content_type: str) -> bytes:
    boundary = b"--" + content_type.partition("boundary=")[2].strip('"').encode()
    for part in data.split(boundary):
        head, _, body = part.partition(b"\r\n\r\n")
        if b'name="file"' in head:
            return body.removesuffix(b"\r\n")
    raise ValueError("no file in the form")


def file_object(name: str, data: bytes) -> dict[str, Any]:
    file = {"id": name, "object": "file", "bytes": len(data), "created_at": 0}
    return {**file, "filename": "batch.jsonl", "purpose": "batch", "status": "processed"}
