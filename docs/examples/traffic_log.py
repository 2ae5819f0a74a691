"""An ASGI middleware that logs the answers of an OpenAI-compatible server for `traffic`.

    TRAFFIC_LOG=log.jsonl vllm serve outputs/policies/…/best --middleware traffic_log.TrafficLog

The user comes from the request's `user`, the arm from the header `x-arm` or `TRAFFIC_ARM`. The id
of a row is the answer's own, so the page that shows it can send a thumb for it.
"""

import json
import os
import time
from pathlib import Path
from typing import Any


def said(body: bytes) -> tuple[str | None, str]:
    """Id and text of an answer, whole or streamed."""
    if not body.startswith(b"data:"):
        value = json.loads(body)
        return value.get("id"), value["choices"][0]["message"]["content"] or ""
    lines = [line[5:].strip() for line in body.split(b"\n") if line.startswith(b"data:")]
    parts = [json.loads(line) for line in lines if line and line != b"[DONE]"]
    texts = [c["delta"].get("content") or "" for part in parts for c in part.get("choices", [])[:1]]
    return next((part.get("id") for part in parts), None), "".join(texts)


class TrafficLog:
    def __init__(self, app: Any) -> None:
        self.app, self.path = app, Path(os.environ.get("TRAFFIC_LOG", "log.jsonl"))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not scope["path"].endswith("/chat/completions"):
            await self.app(scope, receive, send)
            return
        asked, answered, status, start = bytearray(), bytearray(), [0], time.time()

        async def hear() -> Any:
            message = await receive()
            asked.extend(message.get("body", b""))
            return message

        async def tell(message: Any) -> None:
            status[0] = message.get("status", status[0])
            answered.extend(message.get("body", b""))
            await send(message)

        await self.app(scope, hear, tell)
        if status[0] == 200:
            self.log(scope, bytes(asked), bytes(answered), start)

    def log(self, scope: Any, asked: bytes, answered: bytes, start: float) -> None:
        request, (own, text) = json.loads(asked), said(answered)
        row = {
            "id": own,
            "time": start,
            "user": request.get("user"),
            "arm": dict(scope["headers"]).get(b"x-arm", b"").decode()
            or os.environ.get("TRAFFIC_ARM"),
            "model": request.get("model"),
            "prompt": request["messages"],
            "response": text,
            "latency_ms": round(1000 * (time.time() - start), 1),
        }
        with self.path.open("ab", buffering=0) as log:  # one write a row: rows never mix
            log.write(json.dumps(row).encode() + b"\n")
