"""`datagen pairs` against a server that fails, is killed, has a budget: every pair, paid once.

The embedded writer answers behind the loopback server, so these are the commands as a user has
them with a provider, and the results can be compared byte for byte.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import pytest
from commands import Outcome, run, spawn
from llm_server import Fault, LLMServer
from nest import nest

from reward_model.llm import Reply, Request
from reward_model.llm.offline import OfflineLLM

STORM = {
    "429": 0.07, "429 wait": 0.03, "500": 0.05, "hang": 0.05, "drop": 0.05,
    "garbage": 0.025, "truncated": 0.025,
}  # fmt: skip
KEY = "sk-canary-key-5f3a9c1e7b"
PROMPT = "the secret margin of Acme is 14.73 percent"
REPLY = "A confidential opinion stands here."
TABLE = (
    "Unit: CNY million\n\n| Item | FY2021 | FY2020 |\n|---|---|---|\n| Revenue | 1200 | 1000 |\n"
    "| Operating cost | 900 | 800 |\n| Net profit | 150 | 120 |\n| Total assets | 3000 | 2500 |\n"
    "| Total liabilities | 1500 | 1100 |\n| Net cash from operating activities | 130 | 160 |"
)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)


def command(server: LLMServer, out: Path, *options: object, llm: str = "openai:m") -> list[object]:
    url = server.url if llm.startswith("openai") else server.native_url
    return ["pairs", "--out", out, "--llm", llm, "--base-url", url, *options]


def make(server: LLMServer, out: Path, *options: object, llm: str = "openai:m") -> Outcome:
    done = run("datagen", *command(server, out, *options, llm=llm))
    assert "Traceback" not in done.stderr
    return done


def report(out: Path) -> dict[str, object]:
    return dict(json.loads(out.with_name(out.name + ".report.json").read_text("utf-8")))


def ledger_of(out: Path) -> Path:
    return out.with_name(out.name + ".calls.jsonl")


def ledger_keys(out: Path) -> list[str]:
    """Keys of the calls that were answered; a last line that a kill tore is none."""
    whole, _, _ = ledger_of(out).read_bytes().rpartition(b"\n")
    rows = [json.loads(line) for line in whole.splitlines()]
    return [row["key"] for row in rows if "text" in row]


@pytest.mark.parametrize(
    ("llm", "count"),
    [
        ("openai:m", 12),
        ("dashscope:m", 12),
        pytest.param("openai:m", 60, marks=pytest.mark.slow),
        pytest.param("dashscope:m", 60, marks=pytest.mark.slow),
    ],
)
def test_every_pair_arrives_through_a_storm(tmp_path: Path, llm: str, count: int) -> None:
    options = ("--pairs", count, "--language", "both", "--max-concurrency", 12)
    calm, storm = tmp_path / "calm.jsonl", tmp_path / "storm.jsonl"
    with LLMServer(model=OfflineLLM()) as server:
        assert make(server, calm, *options, llm=llm).code == 0
        ideal = server.paid
    # At the same address, so that the ledger's keys are the same, too.
    faults = LLMServer(model=OfflineLLM(), faults=STORM, latency_s=0.01, port=server.port, seed=4)
    with faults as server:
        done = make(server, storm, *options, "--timeout-s", 2, llm=llm)
        assert done.code == 0, done.stderr
        assert f"{count} of {count} pairs" in done.stderr
        assert server.statuses[429]
        assert server.statuses[500]
    assert ideal == 3 * count
    assert server.paid <= 1.3 * ideal
    assert storm.read_bytes() == calm.read_bytes()
    keys = ledger_keys(storm)
    assert len(keys) == len(set(keys)) == ideal
    counts = report(storm)["counts"]
    assert isinstance(counts, dict)
    assert counts["calls"] == ideal
    assert counts["retries"] > 0


LOADED = "import datagen.pairs, openai\nfrom datagen.cli import main"
"""Loading the provider's SDK takes a second."""


def kill_and_rerun(tmp_path: Path, count: int, kills: int) -> None:
    draw = random.Random(7)
    options = ("--pairs", count, "--max-concurrency", 4)
    out, whole = tmp_path / "killed.jsonl", tmp_path / "whole.jsonl"
    with LLMServer(model=OfflineLLM(), latency_s=0.03) as server, nest(LOADED) as child:
        assert make(server, whole, *options).code == 0
        ideal = server.paid
        server.prompts.clear()
        server.paid = wasted = killed = 0
        while killed < kills:
            before = server.requests
            child.start("datagen", *command(server, out, *options))
            limit = time.monotonic() + 1
            if killed % 5:  # most kills hit it at work, some while it starts
                while server.requests == before and time.monotonic() < limit:
                    time.sleep(0.005)
            time.sleep(draw.uniform(0.0, 0.25))
            child.kill()
            killed += 1
            while server.in_flight:
                time.sleep(0.01)
            ledger = ledger_of(out)
            known = len(ledger_keys(out)) if ledger.exists() else 0
            # Paid for and not in the ledger: at most what was out when the process died.
            assert server.paid - known - wasted <= 4
            wasted = server.paid - known
            for line in out.read_bytes().splitlines()[:-1] if out.exists() else []:
                json.loads(line)
            if known:  # what a kill in the middle of a write leaves, now and then
                with ledger.open("ab") as file:
                    file.write(b'{"key": "torn')
        # What a kill leaves while the file is put in order.
        out.with_name(f".{out.name}.x1y2z3_4.partial").write_text("half")
        done = make(server, out, *options)
        assert done.code == 0, done.stderr
        assert server.paid == ideal + wasted
        assert make(server, out, *options).code == 0
        assert server.paid == ideal + wasted
    assert out.read_bytes() == whole.read_bytes()
    keys = ledger_keys(out)
    assert len(keys) == len(set(keys)) == ideal
    assert ledger_of(out).read_bytes().endswith(b"}\n")
    assert not list(tmp_path.glob(".*"))


def test_killed_at_a_few_moments_no_pair_is_lost_or_paid_twice(tmp_path: Path) -> None:
    kill_and_rerun(tmp_path, 20, 4)


@pytest.mark.slow
def test_killed_at_fifty_moments_no_pair_is_lost_or_paid_twice(tmp_path: Path) -> None:
    kill_and_rerun(tmp_path, 120, 50)


class Marked(OfflineLLM):
    async def complete(self, request: Request) -> Reply:
        reply = await super().complete(request)
        return reply.model_copy(update={"text": f"{reply.text}\n\n{REPLY}"})


@pytest.mark.parametrize("llm", ["openai:m", "dashscope:m"])
def test_no_key_prompt_or_reply_is_shown(tmp_path: Path, llm: str) -> None:
    own = tmp_path / "in" / "own.jsonl"
    own.parent.mkdir()
    row = {"company": "Acme", "field": "technology", "prompt": f"Note: {PROMPT}.\n\n{TABLE}"}
    own.write_text(json.dumps(row), "utf-8")
    out = tmp_path / "out" / "pairs.jsonl"
    options = ("--statements", own, "--fields", "technology", "--language", "en", "--pairs", 6)

    def echo(status: int, code: str) -> Fault:
        return Fault(status=status, code=code, message=f"cannot take {PROMPT!r} of key {KEY}")

    script = [
        echo(500, "internal_error"), echo(429, "rate_limit_exceeded"), Fault("garbage"),
        Fault("drop"), Fault("truncated"), echo(400, "invalid_request_error"), None,
        echo(400, "DataInspectionFailed"),
        Fault("body", status=200, body={"error": {"code": "x", "message": PROMPT}}),
    ]  # fmt: skip
    said = ""
    with LLMServer(model=Marked(), script=script) as server:
        for fatal in (False, True, False):
            if fatal:
                server.rule = lambda body: echo(401, "invalid_api_key")
                options = (*options[:-1], 7)
                out = out.with_name("second.jsonl")
            else:
                server.rule = None
            child = spawn("datagen", *command(server, out, *options, llm=llm))
            said += "".join(child.communicate(timeout=60))
            assert child.returncode == (2 if fatal else 0), said
    for canary in (KEY, KEY[-10:], PROMPT, PROMPT[5:30], REPLY, REPLY[2:25]):
        assert canary not in said
    written = {p.name: p.read_text("utf-8") for p in out.parent.rglob("*") if p.is_file()}
    assert {"pairs.jsonl", "second.jsonl", "pairs.jsonl.report.json"} <= set(written)
    assert all(KEY[-10:] not in text for text in written.values())
    assert REPLY in written["pairs.jsonl.calls.jsonl"]  # where replies belong
    assert PROMPT not in written["pairs.jsonl.calls.jsonl"]
    for name, text in written.items():
        if not name.endswith(("pairs.jsonl", "second.jsonl", ".calls.jsonl")):
            assert PROMPT[5:30] not in text
            assert REPLY not in text


FATAL = {
    "key": (Fault(status=401, code="invalid_api_key", message="Incorrect key"), "OPENAI_API_KEY"),
    "money": (Fault(status=429, code="insufficient_quota", message="You exceeded"), "quota"),
    "model": (Fault(status=404, code="model_not_found", message="no such model"), "m"),
}


@pytest.mark.parametrize("what", FATAL)
def test_what_cannot_work_stops_at_once(tmp_path: Path, what: str) -> None:
    fault, words = FATAL[what]
    out, calm = tmp_path / "pairs.jsonl", tmp_path / "calm.jsonl"
    options = ("--pairs", 8, "--max-concurrency", 2)
    with LLMServer(model=OfflineLLM()) as server:
        assert make(server, calm, *options).code == 0
        ideal, server.paid = server.paid, 0
        server.rule = lambda body: fault
        done = make(server, out, *options)
        assert done.code == 2
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("error: ")
        assert words in last
        assert not out.exists()
        assert server.requests <= ideal + 4
        # Half-way: what was made is kept, and the same command goes on with it.
        server.rule = lambda body: fault if server.paid >= 14 else None
        done = make(server, out, *options)
        assert done.code == 3
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("stopped: ")
        assert words in last
        assert 1 <= len(out.read_bytes().splitlines()) < 8
        assert report(out)["pairs"] == len(out.read_bytes().splitlines())
        server.rule = None
        assert make(server, out, *options).code == 0
        assert server.paid == ideal
    assert out.read_bytes() == calm.read_bytes()


def test_a_budget_is_kept_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('["m"]\ninput = 1.0\noutput = 1.0\n', "utf-8")
    out, calm = tmp_path / "pairs.jsonl", tmp_path / "calm.jsonl"
    options = ("--pairs", 20, "--prices", prices)
    with LLMServer(model=OfflineLLM()) as server:
        assert make(server, calm, *options).code == 0
        whole = float(str(report(calm)["cost_usd"]))
        ideal, server.paid = server.paid, 0
        done = make(server, out, *options, "--budget-usd", round(whole / 2, 4))
        assert done.code == 3
        assert "budget" in done.stderr.strip().splitlines()[-1]
        first = report(out)
        assert 0 < float(str(first["cost_usd"])) <= whole / 2
        assert first["pairs"] == len(out.read_bytes().splitlines()) < 20
        done = make(server, out, *options, "--budget-usd", round(whole * 2, 4))
        assert done.code == 0, done.stderr
        assert server.paid == ideal
    assert out.read_bytes() == calm.read_bytes()
    assert report(out)["ledger_cost_usd"] == pytest.approx(whole, rel=1e-4)
