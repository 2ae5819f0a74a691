"""`datagen pairs --batch`: two rounds at half the price give the file of a direct run."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from commands import Outcome, run
from llm_server import Fault, LLMServer

from reward_model.llm.offline import OfflineLLM

OPTIONS = ("--pairs", 8, "--language", "both")


def make(server: LLMServer, out: Path, *options: object) -> Outcome:
    done = run(
        "datagen", "pairs", "--out", out, "--llm", "openai:m", "--base-url", server.url, *options
    )
    assert "Traceback" not in done.stderr
    return done


def report(out: Path) -> dict[str, Any]:
    return dict(json.loads(out.with_name(out.name + ".report.json").read_text("utf-8")))


def test_submit_leave_and_collect(tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('["m"]\ninput = 1.0\noutput = 1.0\n', "utf-8")
    direct, out = tmp_path / "direct.jsonl", tmp_path / "pairs.jsonl"
    options = (*OPTIONS, "--prices", prices)
    with LLMServer(model=OfflineLLM()) as server:
        assert make(server, direct, *options).code == 0
        ideal = server.paid
        server.requests = server.paid = 0
        server.batch_ready = False
        for _ in range(2):  # the second time they are under way, and are not sent again
            done = make(server, out, *options, "--batch")
            assert done.code == 3
            assert "0 of 8 pairs made; 8 calls are in batches" in done.stderr
            assert len(server.batches) == 1
        server.batch_ready = True
        done = make(server, out, *options, "--batch")  # golden reports are back, edits go out
        assert done.code == 3
        assert "16 calls are in batches" in done.stderr
        done = make(server, out, *options, "--batch")
        assert done.code == 0, done.stderr
        assert (server.requests, server.paid, len(server.batches)) == (0, ideal, 2)
        assert make(server, out, *options).code == 0
    assert out.read_bytes() == direct.read_bytes()
    assert report(out)["ledger_cost_usd"] == pytest.approx(
        report(direct)["ledger_cost_usd"] / 2, rel=1e-4
    )


def test_wait_and_lines_that_fail_are_sent_again(tmp_path: Path) -> None:
    direct, out = tmp_path / "direct.jsonl", tmp_path / "pairs.jsonl"
    seen: Counter[str] = Counter()

    def rule(body: dict[str, Any]) -> Fault | None:
        text = body["messages"][-1]["content"]
        seen[text] += 1
        return Fault(status=500) if len(seen) % 5 == 0 and seen[text] == 1 else None

    with LLMServer(model=OfflineLLM()) as server:
        assert make(server, direct, *OPTIONS).code == 0
        ideal, server.paid = server.paid, 0
        server.rule = rule
        done = make(server, out, *OPTIONS, "--batch", "--wait")
        assert done.code == 0, done.stderr
        assert server.paid == ideal
        assert max(seen.values()) == 2
    assert out.read_bytes() == direct.read_bytes()


def test_a_run_without_batch_makes_what_a_batch_owes(tmp_path: Path) -> None:
    out = tmp_path / "pairs.jsonl"
    with LLMServer(model=OfflineLLM()) as server:
        assert make(server, out, *OPTIONS, "--batch").code == 3
        server.rule = lambda body: Fault(status=500)
        done = make(server, out, *OPTIONS, "--batch", "--wait")
        assert done.code == 3
        assert "came back without a reply to its 8 calls" in done.stderr
        server.rule = None
        done = make(server, out, *OPTIONS)
        assert done.code == 0, done.stderr
        assert server.requests == 24


def test_only_models_with_a_batch_api(tmp_path: Path) -> None:
    out = tmp_path / "pairs.jsonl"
    done = run("datagen", "pairs", "--out", out, "--pairs", 2, "--batch")
    assert done.code == 2
    assert "batch mode with offline" in done.stderr
    assert list(tmp_path.iterdir()) == []
