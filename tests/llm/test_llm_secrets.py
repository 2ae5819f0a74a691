"""No key, prompt or reply reaches a log, the terminal or an error; the key reaches no file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from llm_server import Fault, LLMServer

KEY = "sk-canary-key-5f3a9c1e7b"
PROMPT = "canary prompt: the secret margin of Acme is 14.73 percent"
REPLY = "canary reply: a confidential opinion"

CHILD = """
import asyncio, sys
from pathlib import Path
from reward_model.llm import Caller, ChatMessage, FatalError, Request, UnansweredError, open_llm

async def main(name, url, folder):
    llm = open_llm(name, base_url=url)
    print(repr(llm), vars(llm).keys())
    try:
        async with Caller(ledger=Path(folder, "calls.jsonl"), backoff_s=0.01, attempts=2) as caller:
            for i in range(12):
                message = ChatMessage(role="user", content=sys.argv[4])
                request = Request(messages=(message,), sample=i)
                try:
                    print((await caller.complete(llm, request)).cached)
                except (UnansweredError, FatalError) as error:
                    print(error)
            print(caller.report(), caller.note())
    finally:
        await llm.close()

asyncio.run(main(*sys.argv[1:4]))
"""


def echo(status: int, code: str) -> Fault:
    return Fault(status=status, code=code, message=f"cannot take {PROMPT!r} of key {KEY}")


@pytest.mark.parametrize("provider", ["openai", "dashscope"])
def test_canaries_do_not_leak(tmp_path: Path, provider: str) -> None:
    script: list[Fault | None] = [
        echo(400, "invalid_request_error"),
        echo(400, "InvalidParameter"),
        None,
        echo(500, "internal_error"),
        echo(429, "rate_limit_exceeded"),
        Fault("garbage"),
        Fault("drop"),
        Fault("drop"),
        Fault("truncated"),
        Fault("body", status=200, body={"error": {"code": "x", "message": PROMPT}}),
        echo(400, "DataInspectionFailed"),
        None,
        echo(401, "invalid_api_key"),
    ]
    with LLMServer(script=script, answer=lambda messages: REPLY) as server:
        url = server.url if provider == "openai" else server.native_url
        done = subprocess.run(
            [sys.executable, "-c", CHILD, f"{provider}:qwen-plus", url, str(tmp_path), PROMPT],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "OPENAI_API_KEY": KEY, "DASHSCOPE_API_KEY": KEY},
        )
    said = done.stdout + done.stderr
    assert done.stderr == ""
    assert "refuses (401" in said  # it got to the end of the script
    for canary in (KEY, KEY[-10:], PROMPT, PROMPT[15:40], REPLY):
        assert canary not in said
    written = [path.read_text("utf-8") for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 1
    assert KEY[-10:] not in written[0]
    assert PROMPT[15:40] not in written[0]
    assert REPLY in written[0]  # the ledger is where replies belong
