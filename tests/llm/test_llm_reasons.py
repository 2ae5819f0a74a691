"""Why calls brought no answer: in the provider's words, counted, printed and stored; a run without
one answer is no success."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from commands import run
from llm_server import Fault, LLMServer

from reward_model.llm import Caller, ChatMessage, FatalError, Request, UnansweredError, open_llm
from reward_model.llm.failures import Where, connection_error

WORDS = {
    "This model's maximum context length is 8192 tokens": "context_length_exceeded",
    "System role not supported": "invalid_request_error",
    "This model only supports streamed calls of another kind": "InvalidParameter.X",
    "enable_thinking cannot go with this budget": "InvalidParameter.Y",
}
PAIR = {"id": "a", "prompt": "问", "chosen": "营业收入增长，利润上升。", "rejected": "挺好。"}


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "DASHSCOPE_API_KEY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


def reason(provider: str, url: str) -> tuple[type[BaseException], str]:
    async def main() -> None:
        llm = open_llm(f"{provider}:m", base_url=url)
        try:
            async with Caller(attempts=2, backoff_s=0.001) as caller:
                await caller.complete(
                    llm, Request(messages=(ChatMessage(role="user", content="x"),))
                )
        finally:
            await llm.close()

    with pytest.raises((UnansweredError, FatalError)) as caught:
        asyncio.run(main())
    return type(caught.value), str(caught.value)


@contextlib.contextmanager
def plain_server(context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A web server that knows no route; its port."""
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


DOORS = pytest.mark.parametrize("provider", ["openai", "dashscope"])


@DOORS
def test_nobody_there_and_no_tls_are_told_apart(provider: str) -> None:
    assert "nobody listens at 127.0.0.1:9" in reason(provider, "http://127.0.0.1:9/v1")[1]
    with plain_server() as port:
        kind, words = reason(provider, f"https://127.0.0.1:{port}/v1")
    assert kind is FatalError
    assert "does not speak TLS; expected the scheme http://" in words


def test_an_unknown_host_is_named() -> None:
    failed = ConnectionError("all attempts failed")
    failed.__cause__ = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    where = Where("m", "http://no-such-host/v1", "OPENAI_API_KEY")
    words = "no host 'no-such-host' is known (DNS: Name or service not known)"
    assert str(connection_error(failed, where, sent=False)) == words


@DOORS
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_a_certificate_that_nobody_knows_is_named(provider: str, tmp_path: Path) -> None:
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
         "-subj", "/CN=localhost", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with plain_server(context) as port:
        kind, words = reason(provider, f"https://localhost:{port}/v1")
    assert kind is FatalError
    assert "TLS: " in words
    assert "SSL_CERT_FILE" in words


def test_a_login_page_is_named_whatever_its_status() -> None:
    page = b"<!doctype html><html><head><title>Sign in to Corp</title></head></html>"
    for status in (200, 403, 502):
        fault = Fault("body", status=status, body=page)
        with LLMServer(rule=lambda body, fault=fault: fault) as server:
            words = reason("openai", server.url)[1]
        if status != 502:
            assert "Sign in to Corp" in words
    fault = Fault("body", status=302, body=b"", headers={"location": "https://sso.corp/login"})
    with LLMServer(rule=lambda body: fault) as server:
        kind, words = reason("openai", server.url)
    assert kind is FatalError
    assert "sends calls elsewhere (302): sso.corp" in words


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    rows = [{**PAIR, "id": str(i), "chosen": PAIR["chosen"] + str(i)} for i in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@DOORS
@pytest.mark.parametrize("words", WORDS)
def test_the_judge_says_why_and_no_level_is_no_success(
    tmp_path: Path, pairs: Path, provider: str, words: str
) -> None:
    fault = Fault(status=400, code=WORDS[words], message=words)
    out = tmp_path / "out.jsonl"
    with LLMServer(rule=lambda body: fault) as server:
        url = server.url if provider == "openai" else server.native_url
        there = ("--llm", f"{provider}:m", "--base-url", url)
        done = run("judge", "score", pairs, "--out", out, *there)
        assert done.code == 3, done.stderr
        assert "refused: request not accepted (400" in done.stderr
        assert words in done.stderr
        assert "not one level" in done.stderr
        report = json.loads((tmp_path / "out.jsonl.report.json").read_text())
        assert report["reasons"][0]["count"] >= 9
        assert words in report["reasons"][0]["detail"]
        done = run("judge", "redteam", pairs, "--max-reports", 1, *there)
        assert done.code == 3, done.stderr
        assert words in done.stderr


@DOORS
def test_the_writer_says_why(tmp_path: Path, provider: str) -> None:
    words = next(iter(WORDS))
    fault = Fault(status=400, code=WORDS[words], message=words)
    out = tmp_path / "pairs.jsonl"
    with LLMServer(rule=lambda body: fault) as server:
        url = server.url if provider == "openai" else server.native_url
        there = ("--llm", f"{provider}:m", "--base-url", url)
        done = run("datagen", "pairs", "--out", out, "--pairs", 5, *there)
        assert done.code == 3
        assert "5 refused: request not accepted" in done.stderr
        assert words in done.stderr
        report: dict[str, Any] = json.loads((tmp_path / "pairs.jsonl.report.json").read_text())
        assert report["reasons"][0]["count"] == 5
        done = run("datagen", "frameworks", "--out", tmp_path / "f", "--fields", "金融业", *there)
        assert done.code == 3
        assert words in done.stderr
