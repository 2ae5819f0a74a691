"""What a client sends is bounded before anything is built of it, and every stop has an answer."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("uvicorn")

from serving import Running, StandIn, in_thread

from reward_model.rlhf.client import RewardClient
from reward_model.score.scorer import Score
from reward_model.score.serve.connection import MOST_HEAD
from reward_model.score.serve.settings import Settings
from reward_model.score.serve.vllm import classes


@pytest.fixture(scope="module")
def served() -> Iterator[Running]:
    with in_thread(StandIn(), Settings(no_opinion=0.25)) as (running, _):
        yield running


@pytest.mark.parametrize(
    ("path", "key", "element", "millions"),
    [
        ("/v1/score", "items", "0", 5),
        ("/v1/score", "items", "{}", 4),
        ("/v1/score", "response", "1", 5),
        ("/get_reward", "query", '""', 4),
        ("/classify", "input", '""', 4),
        ("/pooling", "input", "1", 5),
        ("/classify", "messages", "[]", 4),
    ],
)
def test_millions_of_elements_cost_no_more_than_one(
    served: Running, path: str, key: str, element: str, millions: int
) -> None:
    body = f'{{"{key}": [{",".join([element] * millions * 1_000_000)}]}}'
    began = time.monotonic()
    told = served.ask(path, body.encode())
    assert told.status in (413, 422)
    assert time.monotonic() - began < 10
    assert len(json.dumps(told.body)) < 1000
    assert served.ask("/health").status == 200


def test_headers_are_bounded(served: Running) -> None:
    for request in (
        b"GET /health HTTP/1.1\r\nhost: x\r\nlong: " + b"a" * 2 * MOST_HEAD,
        b"GET /health HTTP/1.1\r\n" + b"a: b\r\n" * MOST_HEAD,
        b"GET /" + b"a" * 2 * MOST_HEAD,
    ):
        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as link:
            try:
                for at in range(0, len(request), 4096):
                    link.sendall(request[at : at + 4096])
                answer = link.recv(4096)
            except OSError:  # it hung up before it had read all
                answer = b" 431 "
        assert b" 431 " in answer[:20]
    assert served.ask("/health", headers={"x": "a" * 1000}).status == 200


def test_headers_that_come_at_once_are_bounded_too(served: Running) -> None:
    long = b"a" * (MOST_HEAD + 5000)
    body = b'{"response": "Up."}'
    rest = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    for head in (b"POST /v1/score HTTP/1.1\r\nlong: " + long + b"\r\n", b"POST /" + long[:-4000]):
        request = head + (rest if head.endswith(b"\n") else b" HTTP/1.1\r\n" + rest)
        with socket.create_connection(("127.0.0.1", served.port), timeout=20) as link:
            link.sendall(request)
            assert b" 431 " in link.recv(4096)[:20]


def test_another_protocol_is_not_taken_up(served: Running) -> None:
    """curl --http2 and Java's client ask for one with every first request."""
    asked = {
        "connection": "Upgrade, HTTP2-Settings",
        "upgrade": "h2c",
        "http2-settings": "AAMAAABk",
    }
    told = served.ask("/v1/score", {"response": "Up."}, headers=asked)
    assert (told.status, len(told.body["scores"])) == (200, 1)


def test_what_is_sent_is_said(served: Running) -> None:
    body = {"response": "Up."}
    assert served.ask("/v1/score", body, headers={"content-encoding": "gzip"}).status == 415
    assert served.ask("/v1/score", body, headers={"content-type": ""}).status == 415
    assert served.ask("/v1/score", body, headers={"content-encoding": "identity"}).status == 200
    for path in ("/health", "/ready", "/metrics", "/"):
        assert served.ask(path, method="HEAD").status == 200
    told = served.ask("/v1/score/", body, headers={"host": "evil.example"})
    assert told.status == 404
    assert "location" not in told.headers


def test_a_declared_number_where_clients_need_one(served: Running) -> None:
    told = served.ask("/get_reward", {"query": ["ab"], "prompts": ["a"]}).body
    assert told["extra_logs"]["no_opinion"] == [0.0]
    none = served.ask("/get_reward", {"query": ["a silent"], "prompts": ["a"]})
    assert (none.status, none.body["rewards"]) == (200, [0.25])
    assert none.body["extra_logs"]["no_opinion"] == [1.0]
    assert none.body["extra_logs"]["depth"] == [-1.0]
    assert none.body["extra_logs"].keys() == told["extra_logs"].keys()
    assert classes([Score(None, reason="silent")], 0.25)[0]["probs"] == [0.25]
    assert served.ask("/v1/score", {"response": "silent"}).body["scores"][0]["reward"] is None


def test_a_second_signal_answers_what_waits() -> None:
    class Slow(StandIn):
        def score_batch(self, prompts, responses, **terms):  # type: ignore[no-untyped-def]
            if "slow" in responses:
                time.sleep(3)
            return super().score_batch(prompts, responses, **terms)

    told: list[int] = []
    with in_thread(Slow()) as (served, server):
        ask = threading.Thread(
            target=lambda: told.append(served.ask("/v1/score", {"response": "slow"}).status)
        )
        ask.start()
        served.wait(lambda: served.metric("reward_active_requests") == 1)
        server.handle_exit(signal.SIGTERM, None)
        time.sleep(0.3)
        began = time.monotonic()
        server.handle_exit(signal.SIGTERM, None)
        ask.join(2.5)
        assert (told, server.cut_off) == ([503], True)
        assert time.monotonic() - began < 2.5


def test_a_client_closes_what_it_opens(served: Running) -> None:
    with RewardClient(served.url) as client:
        assert client.score("", "Up.").reward is not None
    assert client._loop is None


@pytest.mark.slow
def test_what_nobody_closed_is_closed_at_the_end(served: Running) -> None:
    script = (
        "from reward_model.rlhf.client import RewardClient\n"
        f"c = RewardClient('{served.url}')\nprint(c.score('', 'Up.').reward)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True
    )
    assert "Unclosed" not in done.stderr
