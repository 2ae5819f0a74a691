"""The middleware of docs/examples before a real server: its rows are what `traffic` reads."""

from __future__ import annotations

import http.client
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from commands import run
from traffic_log import TrafficLog


async def chat(scope: Any, receive: Any, send: Any) -> None:
    """An OpenAI-compatible server in small: answers whole, streams, or refuses."""
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    request = json.loads(body)
    status = 200 if request["messages"] else 400
    await send({"type": "http.response.start", "status": status, "headers": []})
    number = request["messages"][0]["content"] if request["messages"] else ""
    if request.get("stream"):
        for piece in ("It ", "de", "pends.", None):
            delta = {} if piece is None else {"content": piece}
            value = {"id": f"chat-{number}", "choices": [{"delta": delta}]}
            data = b"data: " + json.dumps(value).encode() + b"\n\n"
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})
    else:
        answer = {
            "id": f"chat-{number}",
            "choices": [{"message": {"content": "答案：取决于成本。"}}],
        }
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


def test_answers_whole_and_streamed_become_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log.jsonl"
    monkeypatch.setenv("TRAFFIC_LOG", str(log))
    monkeypatch.setenv("TRAFFIC_ARM", "old")
    config = uvicorn.Config(TrafficLog(chat), port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]

    def ask(number: int, **more: Any) -> bytes:
        body = {"model": "policy-2", "messages": [{"role": "user", "content": str(number)}], **more}
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        headers = {"x-arm": "new"} if number % 2 else {}
        link.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        return link.getresponse().read()

    assert "取决于" in json.loads(ask(0, user="u1"))["choices"][0]["message"]["content"]
    assert ask(1, user="u2", stream=True).endswith(b"data: [DONE]\n\n")
    ask(2, messages=[])
    server.should_exit = True
    thread.join(30)
    rows = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    assert [(r["id"], r["user"], r["arm"], r["response"]) for r in rows] == [
        ("chat-0", "u1", "old", "答案：取决于成本。"),
        ("chat-1", "u2", "new", "It depends."),
    ]
    done = run("reward-model", "traffic", "monitor", log, "--json", "-")
    found = json.loads(done.stdout)
    assert (done.code, found["rows"], found["users"]) == (0, 2, 2)
