"""A loopback server that speaks OpenAI's and DashScope's protocols and fails as it is told to.

with LLMServer(latency_s=0.05, faults={"429": 0.1}) as server: open_llm("openai:m", server.url)
python tests/helpers/llm_server.py --latency 2 --at-once 64   # serves until killed
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from llm_bodies import (
    Message,
    chat_pieces,
    chat_reply,
    file_object,
    form_file,
    native_pieces,
    native_reply,
)

from reward_model.llm import LLM, ChatMessage, RefusedError, Request
from reward_model.llm.offline import OfflineLLM

NATIVE = "/api/v1/services/aigc/text-generation/generation"


@dataclass
class Fault:
    """One failure: an error answer, or a way to break the connection."""

    kind: str = "error"
    """`error`, `hang`, `drop` (before an answer), `garbage`, `truncated`, or `body` (as given)."""
    status: int = 500
    code: str = "internal_error"
    message: str = "something broke"
    param: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None


NAMED = {
    "429": Fault(status=429, code="rate_limit_exceeded", message="too many requests"),
    "500": Fault(status=500),
    "hang": Fault("hang"),
    "drop": Fault("drop"),
    "429 wait": Fault(
        status=429, code="rate_limit_exceeded", message="wait", headers={"retry-after": "0.2"}
    ),
    "garbage": Fault("garbage"),
    "truncated": Fault("truncated"),
}
NATIVE_CODES = {"rate_limit_exceeded": "Throttling.RateQuota", "internal_error": "InternalError"}


class LLMServer:
    """The server, in a thread of its own."""

    def __init__(
        self,
        *,
        latency_s: float = 0.0,
        at_once: int | None = None,
        faults: dict[str, float] | None = None,
        script: list[Fault | None] | None = None,
        rule: Callable[[dict[str, Any]], Fault | None] | None = None,
        answer: Callable[[list[Message]], str] | None = None,
        model: LLM | None = None,
        key: str | None = None,
        seed: int = 0,
        retry_after: str | None = None,
        port: int = 0,
        thought: str = "",
    ) -> None:
        self.latency_s, self.at_once, self.faults = latency_s, at_once, faults or {}
        self.script = script or []
        """Faults of the first requests, in order; None answers."""
        self.rule = rule
        """A fault for a request body, or None."""
        self.answer = answer or (lambda messages: f"reply to {len(messages[-1]['content'])}")
        self.model = model
        """Answers instead of `answer`, as a model behind a server would."""
        self.key = key
        self.retry_after = retry_after
        self.thought = thought
        """What stands in `reasoning_content` beside every answer."""
        self.random = random.Random(seed)
        self.requests = 0
        self.paid = 0
        """Requests for which the work was done, whether or not the answer arrived."""
        self.in_flight = self.most_in_flight = 0
        self.statuses: Counter[int] = Counter()
        self.prompts: Counter[str] = Counter()
        """Last message of each paid request."""
        self.bodies: list[dict[str, Any]] = []
        """The first hundred requests; one that asks for a stream has `stream` in both protocols."""
        self.headers: list[dict[str, str]] = []
        """Of every request, files and batches included."""
        self.done_at: list[float] = []
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.batch_ready = True
        self._port = port
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    # -- life ---------------------------------------------------------------------------------

    def __enter__(self) -> LLMServer:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(
            self._connection, "127.0.0.1", self._port, limit=2**26, backlog=1024
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._over.wait()
        server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    @property
    def url(self) -> str:
        """Base URL of the OpenAI protocol."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def native_url(self) -> str:
        """Base URL of DashScope's own protocol."""
        return f"http://127.0.0.1:{self.port}/api/v1"

    # -- HTTP ---------------------------------------------------------------------------------

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while await self._exchange(reader, writer):
                    pass
        except asyncio.CancelledError:
            pass
        finally:
            self._connections.discard(task)
            with contextlib.suppress(Exception):
                writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, path, _ = first.split(" ")
        headers = {k.strip().lower(): v.strip() for k, _, v in (x.partition(":") for x in lines)}
        if headers.get("transfer-encoding") == "chunked":
            parts = []
            while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
                parts.append(await reader.readexactly(size))
                await reader.readexactly(2)
            await reader.readexactly(2)
            data = b"".join(parts)
        else:
            data = await reader.readexactly(int(headers.get("content-length", 0)))
        self.headers = [*self.headers[-99:], headers]
        path = path.partition("?")[0]
        if self.key and headers.get("authorization") != f"Bearer {self.key}":
            fault = Fault(status=401, code="invalid_api_key", message="Incorrect key: sk-****word")
            return await self._error(writer, fault, native=path == NATIVE)
        if path == "/v1/chat/completions" or path == NATIVE:
            body = json.loads(data)
            if headers.get("x-dashscope-sse") == "enable":
                body["stream"] = True
            return await self._generate(writer, body, native=path == NATIVE)
        if path == "/stats":
            return await self._send(writer, 200, self.stats())
        if path.startswith(("/v1/files", "/v1/batches")):
            return await self._batch(writer, method, path, data, headers)
        return await self._error(writer, Fault(status=404, code="not_found", message="no route"))

    async def _send(
        self,
        writer: asyncio.StreamWriter,
        status: int,
        body: Any,
        headers: dict[str, str] | None = None,
    ) -> bool:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        more = "".join(f"{k}: {v}\r\n" for k, v in (headers or {}).items())
        kind = "application/json"
        writer.write(
            f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(data)}\r\n"
            f"{more}\r\n".encode()
            + data
        )
        self.statuses[status] += 1
        await writer.drain()
        return True

    async def _error(
        self, writer: asyncio.StreamWriter, fault: Fault, *, native: bool = False
    ) -> bool:
        body: Any
        if native:
            code = NATIVE_CODES.get(fault.code, fault.code)
            body = {"code": code, "message": fault.message, "request_id": "r"}
        else:
            error = {"message": fault.message, "type": fault.code, "code": fault.code}
            body = {"error": {**error, "param": fault.param}}
        headers = dict(fault.headers)
        if fault.status == 429 and self.retry_after:
            headers["retry-after"] = self.retry_after
        return await self._send(writer, fault.status, body, headers)

    # -- generation ---------------------------------------------------------------------------

    async def _generate(
        self, writer: asyncio.StreamWriter, body: dict[str, Any], *, native: bool
    ) -> bool:
        self.requests += 1
        if len(self.bodies) < 100:
            self.bodies.append(body)
        self.in_flight += 1
        try:
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            fault = self._fault(body)
            if fault is None and self.at_once is not None and self.in_flight > self.at_once:
                fault = NAMED["429"]
            if fault is not None and fault.kind == "error":
                return await self._error(writer, fault, native=native)
            if fault is not None and fault.kind == "drop":
                writer.transport.abort()
                return False
            messages = body["input"]["messages"] if native else body["messages"]
            self.paid += 1
            self.prompts[messages[-1]["content"]] += 1
            if fault is not None and fault.kind == "hang":
                await asyncio.sleep(3600)
            if self.latency_s:
                await asyncio.sleep(self.latency_s)
            if fault is not None and fault.kind == "body":
                return await self._send(writer, fault.status, fault.body, fault.headers)
            if fault is not None and fault.kind == "garbage":
                return await self._send(writer, 200, b"<html>Bad gateway</html>")
            try:
                text = await self._text(body, messages)
            except RefusedError as refused:
                refusal = Fault(status=400, code="content_filter", message=str(refused))
                return await self._error(writer, refusal, native=native)
            reply = native_reply(text, messages) if native else chat_reply(text, body, messages)
            if body.get("stream"):
                return await self._stream(writer, body, reply, native, cut=fault is not None)
            if self.thought:
                said = (reply["output"] if native else reply)["choices"][0]["message"]
                said["reasoning_content"] = self.thought
            data = json.dumps(reply)
            if fault is not None:  # truncated: half of what the header promised
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                    b"content-length: %d\r\n\r\n" % len(data) + data[: len(data) // 2].encode()
                )
                await writer.drain()
                writer.transport.close()
                return False
            self.done_at.append(time.monotonic())
            return await self._send(writer, 200, data.encode())
        finally:
            self.in_flight -= 1

    async def _stream(
        self,
        writer: asyncio.StreamWriter,
        body: dict[str, Any],
        reply: dict[str, Any],
        native: bool,
        *,
        cut: bool,
    ) -> bool:
        """Events, one a piece; a stream that is cut ends without a word."""
        if native:
            pieces = native_pieces(reply, self.thought)
            head = "event:result\n:HTTP_STATUS/200\n"
        else:
            usage = bool((body.get("stream_options") or {}).get("include_usage"))
            pieces, head = chat_pieces(reply, usage=usage, thought=self.thought), ": ping\n\n"
        events = [f"{head}data: {json.dumps(piece)}\n\n" for piece in pieces]
        if not native:
            events.append("data: [DONE]\n\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        for event in events[: len(events) // 2] if cut else events:
            data = event.encode()
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        self.statuses[200] += 1
        self.done_at.append(time.monotonic())
        await writer.drain()
        return True

    def _fault(self, body: dict[str, Any]) -> Fault | None:
        if self.script:
            return self.script.pop(0)
        if self.rule is not None and (fault := self.rule(body)) is not None:
            return fault
        draw = self.random.random()
        for name, share in self.faults.items():
            if draw < share:
                return NAMED[name]
            draw -= share
        return None

    async def _text(self, body: dict[str, Any], messages: list[Message]) -> str:
        if self.model is None:
            return self.answer(messages)
        said = body.get("parameters", body)
        chat = tuple(ChatMessage.model_validate(message) for message in messages)
        known = {name: said.get(name) for name in ("temperature", "max_tokens", "seed")}
        return (await self.model.complete(Request(messages=chat, **known))).text

    def stats(self) -> dict[str, Any]:
        """What happened so far."""
        return {
            "requests": self.requests,
            "paid": self.paid,
            "most_in_flight": self.most_in_flight,
            "statuses": dict(self.statuses),
            "done_at": self.done_at,
            "now": time.monotonic(),
        }

    # -- files and batches --------------------------------------------------------------------

    async def _batch(
        self,
        writer: asyncio.StreamWriter,
        method: str,
        path: str,
        data: bytes,
        headers: dict[str, str],
    ) -> bool:
        parts = path.removeprefix("/v1/").split("/")
        if parts == ["files"] and method == "POST":
            name = f"file-{len(self.files)}"
            self.files[name] = form_file(data, headers["content-type"])
            return await self._send(writer, 200, file_object(name, self.files[name]))
        if parts[0] == "files" and parts[-1] == "content":
            return await self._send(writer, 200, self.files[parts[1]])
        if parts == ["batches"] and method == "POST":
            asked = json.loads(data)
            name = f"batch-{len(self.batches)}"
            batch = {**asked, "id": name, "object": "batch", "status": "validating"}
            self.batches[name] = {**batch, "created_at": 0, "errors": None}
            return await self._send(writer, 200, self.batches[name])
        if parts == ["batches"]:
            rows = list(self.batches.values())
            page = {"object": "list", "data": rows, "has_more": False}
            return await self._send(writer, 200, page)
        if parts[1] not in self.batches:
            return await self._error(
                writer, Fault(status=404, code="not_found", message="no batch")
            )
        batch = self.batches[parts[1]]
        if self.batch_ready and batch["status"] == "validating":
            await self._run_batch(batch)
        return await self._send(writer, 200, batch)

    async def _run_batch(self, batch: dict[str, Any]) -> None:
        good, bad = [], []
        for line in self.files[batch["input_file_id"]].splitlines():
            row = json.loads(line)
            fault = self._fault(row["body"])
            if fault is not None and fault.kind == "body":
                response = {"status_code": fault.status, "body": fault.body}
                good.append({"custom_id": row["custom_id"], "response": response, "error": None})
                continue
            if fault is not None:
                error = {"error": {"code": fault.code, "message": fault.message}}
                response = {"status_code": fault.status, "body": error}
                bad.append({"custom_id": row["custom_id"], "response": response, "error": None})
                continue
            self.paid += 1
            self.prompts[row["body"]["messages"][-1]["content"]] += 1
            messages = row["body"]["messages"]
            body = chat_reply(await self._text(row["body"], messages), row["body"], messages)
            response = {"status_code": 200, "body": body}
            good.append({"custom_id": row["custom_id"], "response": response, "error": None})
        for name, rows in (("output_file_id", good), ("error_file_id", bad)):
            batch[name] = None
            if rows:
                batch[name] = f"file-{len(self.files)}"
                text = "".join(json.dumps(row) + "\n" for row in reversed(rows))
                self.files[batch[name]] = text.encode()
        batch["status"] = "completed"


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--at-once", type=int)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--offline", action="store_true", help="the embedded model answers")
    options = parser.parse_args()
    with LLMServer(
        latency_s=options.latency,
        at_once=options.at_once,
        port=options.port,
        model=OfflineLLM() if options.offline else None,
    ) as server:
        print(server.port, flush=True)  # noqa: T201 - how the parent learns the address
        threading.Event().wait()


if __name__ == "__main__":
    main()
