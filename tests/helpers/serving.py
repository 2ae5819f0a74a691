"""A server as its users run it, in a process of its own, and one in a thread for quick faults."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import uvicorn
import warm

from reward_model.rubrics import load_rubric
from reward_model.score.scorer import Score
from reward_model.score.serve.app import create_app
from reward_model.score.serve.connection import BoundedConnection
from reward_model.score.serve.server import Server
from reward_model.score.serve.service import Service
from reward_model.score.serve.settings import Settings


class Answer(NamedTuple):
    status: int
    body: Any
    headers: dict[str, str]

    @property
    def error(self) -> str:
        return str(self.body["error"]["type"])


class Running:
    """Where a server is, and how to ask it."""

    def __init__(self, port: int, process: warm.Warm | None = None) -> None:
        self.port, self.process = port, process
        self.url = f"http://127.0.0.1:{port}"

    def ask(
        self,
        path: str,
        body: Any = None,
        *,
        method: str = "",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request; a body that is no bytes is sent as JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            link.request(
                method or ("GET" if data is None else "POST"),
                path,
                data,
                {"content-type": "application/json", **(headers or {})},
            )
            answer = link.getresponse()
            said = answer.read()
        finally:
            link.close()
        kind = answer.headers.get_content_type()
        parsed = json.loads(said) if said and kind == "application/json" else said.decode()
        return Answer(answer.status, parsed, {k.lower(): v for k, v in answer.getheaders()})

    def metric(self, name: str) -> float:
        """A number of /metrics, over all its labels."""
        lines = self.ask("/metrics").body.splitlines()
        return sum(float(x.split()[-1]) for x in lines if re.match(rf"{name}(\{{| )", x))

    def wait(self, reached: Callable[[], bool], seconds: float = 60) -> None:
        """Until something is so."""
        end = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < end, "it never came to that"
            time.sleep(0.02)


@contextlib.contextmanager
def server(model: Path, *flags: object, env: dict[str, str] | None = None) -> Iterator[Running]:
    """`reward-model serve MODEL`, ready to score; killed at the end if it still runs."""
    process = warm.start("reward-model", "serve", model, "--port", 0, *flags, env=env)
    try:
        lines = iter(process.stderr.readline, "")
        found = next(filter(None, (re.search(r"http://\S+:(\d+)", line) for line in lines)), None)
        assert found, "it did not start"
        running = Running(int(found[1]), process)
        running.wait(lambda: running.ask("/ready").status == 200, 180)
        yield running
        process.kill()
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


class StandIn:
    """A scorer of a few lines, for faults that no model has on demand.

    Rewards are a text's length; `sleep` in a text takes 0.2 s; `boom` fails, `silent` has no
    opinion.
    """

    batch_tokens = 4096
    max_length = 512
    builder = SimpleNamespace(evidence="none")

    def __init__(self) -> None:
        self.passes: list[int] = []

    def score(self, prompt: str, response: str) -> Score:
        return Score(0.0)

    def score_batch(
        self, prompts: Sequence[Any], responses: Sequence[Any], **terms: Any
    ) -> list[Score]:
        self.passes.append(len(responses))
        if any("boom" in text for text in responses):
            raise RuntimeError("a kernel failed on " + responses[0])
        if any("sleep" in text for text in responses):
            time.sleep(0.2)
        return [
            Score(None, reason="said nothing")
            if "silent" in text
            else Score(
                len(text) / 1000, {"depth": 1.0}, {"depth": [0, 1]}, {"depth": 1}, {"depth": 0}
            )
            for text in responses
        ]


@contextlib.contextmanager
def in_thread(
    scorer: Any, settings: Settings | None = None, *, key: str | None = None
) -> Iterator[tuple[Running, Server]]:
    """The same server around any scorer, in a thread of this process."""
    service = Service(
        lambda: scorer,
        load_rubric("financial_report"),
        name="stand-in",
        digest="0",
        settings=settings or Settings(),
        key=key,
    )
    config = uvicorn.Config(
        create_app(service),
        port=0,
        log_config=None,
        access_log=False,
        http=BoundedConnection,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    running = Server(config, service)
    thread = threading.Thread(target=lambda: asyncio.run(running.serve()))
    thread.start()
    try:
        end = time.monotonic() + 30
        while not (running.started and service.ready):
            assert time.monotonic() < end
            time.sleep(0.01)
        yield Running(running.servers[0].sockets[0].getsockname()[1]), running
    finally:
        running.should_exit = True
        thread.join(30)
        service.batcher.close()
        assert not thread.is_alive()
