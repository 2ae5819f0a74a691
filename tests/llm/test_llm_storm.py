"""Calls through a storm of faults, and calls of a process killed at any moment."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from llm_server import LLMServer
from nest import nest

from reward_model.llm import Answer, Caller, ChatMessage, Request, bounded, open_llm

STORM = {"429": 0.10, "500": 0.05, "hang": 0.05, "drop": 0.05, "garbage": 0.025, "truncated": 0.025}

CHILD = """
import asyncio, sys
from pathlib import Path
from reward_model.llm import Caller, ChatMessage, Request, bounded, open_llm

async def work_through(url, ledger, count):
    llm = open_llm("openai:m", base_url=url)
    async with Caller(ledger=Path(ledger), max_concurrency=16) as caller:
        def work(i):
            message = ChatMessage(role="user", content=f"request {i}")
            return caller.complete(llm, Request(messages=(message,)))
        print("ready", flush=True)
        answers = [a async for _, a in bounded(work, range(count), 32)]
    await llm.close()
    print(len(answers), flush=True)

def main():
    asyncio.run(work_through(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""
LOADED = f"import openai\n{CHILD}"
"""Loading the provider's SDK takes a second."""


def ask(i: int) -> Request:
    return Request(messages=(ChatMessage(role="user", content=f"request {i}"),))


def test_a_storm_of_faults_loses_nothing_and_pays_little(tmp_path: Path) -> None:
    count = 250
    with LLMServer(latency_s=0.01, faults=STORM, seed=3) as server:

        async def main() -> list[Answer]:
            llm = open_llm("openai:m", base_url=server.url)
            options = {"timeout_s": 0.5, "backoff_s": 0.01}
            async with Caller(ledger=tmp_path / "calls.jsonl", **options) as caller:
                work = lambda i: caller.complete(llm, ask(i))  # noqa: E731
                answers = [answer async for _, answer in bounded(work, range(count), 64)]
                assert caller.counts["failed"] == 0
                await llm.close()
                return answers

        answers = asyncio.run(main())
    assert len(answers) == count
    assert server.paid <= 1.3 * count
    lines = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text().splitlines()]
    assert len({line["key"] for line in lines if "text" in line}) == count


def kill_and_rerun(tmp_path: Path, count: int, moments: list[float]) -> None:
    ledger = tmp_path / "calls.jsonl"
    with LLMServer(latency_s=0.05) as server, nest(LOADED) as child:
        words = ("child", server.url, ledger, count)
        wasted = 0
        for moment in moments:
            child.start(*words)
            assert child.line() == "ready"
            time.sleep(moment)
            child.kill()
            while server.in_flight:
                time.sleep(0.01)
            known = ledger.read_bytes().count(b"\n") if ledger.exists() else 0
            # Paid for and not in the ledger: at most what was out when the process died.
            assert server.paid - known - wasted <= 16
            wasted = server.paid - known
        child.start(*words)
        assert child.end() == (0, ["ready", str(count)])
        lines = ledger.read_bytes().splitlines(keepends=True)
        assert all(line.endswith(b"}\n") for line in lines)
        keys = [json.loads(line)["key"] for line in lines]
        assert len(keys) == len(set(keys)) == count
        assert sum(server.prompts.values()) - len(server.prompts) == wasted
        assert len(server.prompts) == count
        before = server.paid
        child.start(*words)
        assert child.end()[0] == 0
        assert server.paid == before


def test_killed_at_a_few_moments_no_answered_call_is_repeated(tmp_path: Path) -> None:
    kill_and_rerun(tmp_path, 150, [0.0, 0.15, 0.3, 0.45])


@pytest.mark.slow
def test_killed_at_fifty_moments_no_answered_call_is_repeated(tmp_path: Path) -> None:
    draw = random.Random(11)
    kill_and_rerun(tmp_path, 300, [draw.uniform(0.0, 0.25) for _ in range(50)])


@pytest.mark.skipif(os.name == "nt", reason="no such signal")
def test_ctrl_c_leaves_a_ledger_that_goes_on(tmp_path: Path) -> None:
    ledger = tmp_path / "calls.jsonl"
    with LLMServer(latency_s=0.05) as server:
        command = [sys.executable, "-c", f"{CHILD}\nmain()", server.url, str(ledger), "100"]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(0.2)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=20)
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout == "ready\n100\n"
        assert server.paid <= 100 + 16
