"""`judge score` against a server that fails in every way, and killed at random moments.

The server answers with the embedded judge, so the right file is known.
"""

from __future__ import annotations

import json
import random
import signal
import time
from pathlib import Path

import pytest
from commands import run, spawn
from llm_server import LLMServer, Message
from nest import nest
from test_judge_score import _pairs

from reward_model.llm import Request, sections
from reward_model.llm.offline.judge import answer

STORM = {"429": 0.10, "500": 0.05, "hang": 0.01, "drop": 0.03, "garbage": 0.03, "truncated": 0.03}


def judged(messages: list[Message]) -> str:
    """What the embedded judge says to a request."""
    return answer(sections(messages[-1]["content"]), Request(messages=()))


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")


def _score(pairs: Path, out: Path, server: LLMServer, *flags: object) -> list[object]:
    model = ["--llm", "openai:judge", "--base-url", server.url]
    return ["score", pairs, "--out", out, *model, *flags]


def _calls(out: Path) -> list[str]:
    """Keys of the calls that were answered."""
    lines = out.with_name(out.name + ".calls.jsonl").read_bytes().splitlines(keepends=True)
    assert all(line.endswith(b"}\n") for line in lines)
    rows = [json.loads(line) for line in lines]
    return [row["key"] for row in rows if "text" in row]


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("mode", ["per-dimension", "pairwise"])
def test_a_storm_changes_no_score(tmp_path: Path, mode: str) -> None:
    pairs, calm, out = _pairs(tmp_path / "pairs.jsonl", 25), tmp_path / "calm", tmp_path / "out"
    with LLMServer(answer=judged) as server:
        done = run("judge", *_score(pairs, calm, server, "--mode", mode))
        assert done.code == 0, done.stderr
    with LLMServer(answer=judged, latency_s=0.005, faults=STORM, seed=5) as server:
        flags = ("--mode", mode, "--timeout", 1)
        done = run("judge", *_score(pairs, out, server, *flags))
        assert done.code == 0, done.stderr
        assert server.statuses[429]
        assert server.statuses[500]
        assert server.requests > 25 * 6
        again = run("judge", *_score(pairs, out, server, *flags))
    assert out.read_bytes() == calm.read_bytes()
    assert "failed" not in out.read_text("utf-8")
    assert "150 taken" in again.stderr
    assert len(_calls(out)) == len(set(_calls(out))) == 25 * 6


@pytest.mark.usefixtures("key")
@pytest.mark.parametrize("polite", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path, polite: signal.Signals) -> None:
    pairs, out = _pairs(tmp_path / "pairs.jsonl", 30), tmp_path / "out"
    ledger = tmp_path / "out.calls.jsonl"
    with LLMServer(answer=judged, latency_s=0.2) as server:
        process = spawn("judge", *_score(pairs, out, server, "--max-concurrency", 2))
        while process.poll() is None and not (ledger.exists() and ledger.stat().st_size):
            time.sleep(0.02)
        process.send_signal(polite)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 3, err
    assert "run the same command to go on" in err
    assert "Traceback" not in err
    assert not out.exists()


LOADED = "import openai, judge.scoring.run\nfrom judge.cli import main"
"""Loading the provider's SDK takes a second."""


@pytest.mark.slow
@pytest.mark.usefixtures("key")
def test_killed_at_random_moments_no_score_is_lost_doubled_or_invented(tmp_path: Path) -> None:
    pairs, calm, out = _pairs(tmp_path / "pairs.jsonl", 60), tmp_path / "calm", tmp_path / "out"
    faults = {"429": 0.10, "500": 0.05, "drop": 0.03, "garbage": 0.03}
    with LLMServer(answer=judged) as server:
        assert run("judge", *_score(pairs, calm, server)).code == 0
    calls, at_once = 60 * 6, 8
    ledger = tmp_path / "out.calls.jsonl"
    rng = random.Random(4)
    with (
        LLMServer(answer=judged, latency_s=0.03, faults=faults, seed=6) as server,
        nest(LOADED) as child,
    ):
        command = _score(pairs, out, server, "--max-concurrency", at_once)
        kills = 0
        for _ in range(15):
            known = ledger.read_bytes().count(b"\n") if ledger.exists() else 0
            until, deadline = known + rng.randint(0, 30), time.monotonic() + 20
            child.start("judge", *command)
            while child.is_running() and time.monotonic() < deadline:
                if ledger.exists() and ledger.read_bytes().count(b"\n") >= until:
                    break
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.05))
            running = child.is_running()
            kills += running
            child.kill()
            assert not out.exists() or not running  # never a part of the file
        assert kills >= 10
        done = run("judge", *command)
        assert done.code == 0, done.stderr
        paid = server.paid
        assert run("judge", *command).code == 0
        assert server.paid == paid
    assert out.read_bytes() == calm.read_bytes()
    keys = _calls(out)
    assert len(keys) == len(set(keys)) == calls
    # Asked again is only what was out when a process died, and what the storm itself cost.
    lost = sum(b'"lost"' in line for line in ledger.read_bytes().splitlines())
    assert paid <= calls + kills * at_once + lost + 0.1 * calls
