"""`judge score --dry-run` and `--batch`: what it would cost, and half of that."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from commands import Outcome, run, spawn
from llm_server import Fault, LLMServer

from reward_model.llm.offline import OfflineLLM

PRICES = '["m"]\ninput = 10.0\noutput = 10.0\n'


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A pair, and two answers: four texts, twelve calls."""
    own = [
        {"prompt": "p", "chosen": "Revenue rose by 20% on volume.", "rejected": "Fine."},
        {"prompt": "q", "completions": ["Costs fell by 3%.", "<think>cut"], "source": 1},
        {"prompt": "r", "response": "Margins of 14% are thin, since prices fell."},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in own), "utf-8")
    (tmp_path / "prices.toml").write_text(PRICES, "utf-8")
    return path


def score(server: LLMServer, rows: Path, out: Path, *options: object) -> Outcome:
    done = run(
        "judge", "score", rows, "--out", out, "--llm", "openai:m", "--base-url", server.url,
        "--prices", rows.with_name("prices.toml"), *options,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done


def report(out: Path) -> dict[str, Any]:
    return dict(json.loads(out.with_name(out.name + ".report.json").read_text("utf-8")))


def test_a_dry_run_says_what_it_would_cost_and_sends_nothing(rows: Path, tmp_path: Path) -> None:
    out, before = tmp_path / "out", sorted(tmp_path.iterdir())
    with LLMServer(model=OfflineLLM()) as server:
        told = score(server, rows, out, "--dry-run", "--budget", 0.0001)
        assert (told.code, server.requests) == (0, 0)
        half = score(server, rows, out, "--dry-run", "--batch", "--samples", 2)
        assert sorted(tmp_path.iterdir()) == before
        assert score(server, rows, out).code == 0
    assert "openai:m: 12 calls" in told.stderr
    assert "more than the budget" in told.stderr
    assert "openai:m: 24 calls" in half.stderr
    cost, same = (
        float(done.stderr.partition("about $")[2].split("\n")[0]) for done in (told, half)
    )
    assert same == pytest.approx(cost, rel=1e-2)
    assert cost == pytest.approx(report(out)["cost_usd"], rel=0.9)
    none = run("judge", "score", rows, "--out", out, "--dry-run", "--llm", "openai:secret")
    assert (none.code, "price unknown" in none.stderr) == (0, True)


def test_a_dry_run_takes_off_what_the_ledger_has(rows: Path, tmp_path: Path) -> None:
    """Answers that are paid are counted, and the cost is that of the rest; nothing is written."""
    out, ledger = tmp_path / "out", tmp_path / "out.calls.jsonl"

    def dry(*options: object, rows: Path = rows) -> Outcome:
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}
        told = score(server, rows, out, "--dry-run", *options)
        assert told.code == 0, told.stderr
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
        return told

    with LLMServer(model=OfflineLLM()) as server:
        whole = dry()
        assert "answered already" not in whole.stderr
        assert score(server, rows, out).code == 0
        calls = server.requests
        kept = ledger.read_bytes().splitlines(keepends=True)
        assert "12 of 12 answered already" in (done := dry()).stderr
        assert "openai:m: 0 calls" in done.stderr
        assert "12 of 24 answered already" in (twice := dry("--samples", 2)).stderr
        assert "openai:m: 12 calls" in twice.stderr
        ledger.write_bytes(b"".join(kept[:5]) + kept[5][:40])  # killed as it wrote
        assert "5 of 12 answered already" in (some := dry()).stderr
        assert "openai:m: 7 calls" in some.stderr
        assert server.requests == calls

        def dollars(told: Outcome) -> float:
            return float(told.stderr.partition("about $")[2].split("\n")[0])

        assert dollars(twice) == pytest.approx(dollars(whole), rel=0.05)
        assert dollars(some) == pytest.approx(dollars(whole) * 7 / 12, rel=0.3)
        assert "more than the budget" in dry("--budget", dollars(some) * 1.01).stderr


def test_batches_give_the_same_file_at_half_the_price(rows: Path, tmp_path: Path) -> None:
    direct, out = tmp_path / "direct", tmp_path / "out"
    with LLMServer(model=OfflineLLM()) as server:
        assert score(server, rows, direct).code == 0
        server.requests = server.paid = 0
        server.batch_ready = False
        for _ in range(2):  # the second time they are under way, and are not sent again
            done = score(server, rows, out, "--batch")
            assert (done.code, out.exists(), len(server.batches)) == (3, False, 1)
            assert "12 calls are in batches" in done.stderr
        at_once = score(server, rows, out)
        assert (at_once.code, "--batch, to collect them" in at_once.stderr) == (2, True)
        server.batch_ready = True
        assert score(server, rows, out, "--batch").code == 0
        assert (server.requests, server.paid, len(server.batches)) == (0, 12, 1)
        counts, cost = report(out)["counts"], report(out)["cost_usd"]
        assert (counts["calls"], counts["cached"]) == (12, 0)
        assert cost == pytest.approx(report(direct)["cost_usd"] / 2)
        again = score(server, rows, out)
        assert (again.code, server.paid) == (0, 12)
        assert "0 calls made, 12 taken" in again.stderr
    assert out.read_bytes() == direct.read_bytes()


def test_killed_while_it_waits_nothing_is_paid_twice(rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with LLMServer(model=OfflineLLM()) as server:
        server.batch_ready = False
        options = ("--llm", "openai:m", "--base-url", server.url, "--batch", "--wait")
        process = spawn("judge", "score", rows, "--out", out, *options)
        while not server.batches and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        server.batch_ready = True
        assert score(server, rows, out, "--batch", "--wait").code == 0
        assert (server.paid, len(server.batches)) == (12, 1)


def test_a_rejected_batch_is_told_from_a_lost_one(rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with LLMServer(model=OfflineLLM()) as server:
        server.batch_ready = False
        score(server, rows, out, "--batch")
        errors = {"data": [{"code": "x", "message": "no such endpoint"}], "object": "list"}
        server.batches["batch-0"] |= {"status": "failed", "errors": errors}
        failed = score(server, rows, out, "--batch")
        assert failed.code == 3
        assert "rejected a batch of openai:m as a whole (failed: no such endpoint)" in failed.stderr
        score(server, rows, out, "--batch")
        server.batches.clear()
        lost = score(server, rows, out, "--batch")
        assert (lost.code, "came back without a reply" in lost.stderr) == (3, True)
        server.batch_ready = True
        assert score(server, rows, out, "--batch", "--wait").code == 0
        assert server.paid == 12
    offline = run("judge", "score", rows, "--out", tmp_path / "o", "--batch")
    assert (offline.code, "batch mode with offline" in offline.stderr) == (2, True)


def test_a_line_that_is_never_taken_stops_with_its_reason(rows: Path, tmp_path: Path) -> None:
    """All others are in the ledger; a run without batches writes the file, null for that one."""

    def rule(body: dict[str, Any]) -> Fault | None:
        long = "Margins of 14%" in body["messages"][-1]["content"]
        return Fault(status=400, code="context_length", message="too long by far") if long else None

    out = tmp_path / "out"
    with LLMServer(model=OfflineLLM(), rule=rule) as server:
        done = score(server, rows, out, "--batch", "--wait")
        assert done.code == 3
        assert "its 3 calls (request not accepted (400, context_length): too long" in done.stderr
        assert server.paid == 9
        assert score(server, rows, out).code == 0
        assert server.paid == 9
    scores = json.loads(out.read_text("utf-8").splitlines()[2])["scores"]
    assert set(scores.values()) == {None}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--wait", "--llm", "openai:m"), "wait without batch"),
        (("--base-url", "http://127.0.0.1:9"), "base_url without a model behind it"),
    ],
)
def test_a_flag_that_would_do_nothing_is_refused(
    rows: Path, tmp_path: Path, flags: tuple[str, ...], words: str
) -> None:
    """At each command that has it, from a file as from flags, before anything is made."""
    for args in (
        ("judge", "score", rows, "--out", tmp_path / "out"),
        ("datagen", "pairs", "--out", tmp_path / "out", "--pairs", 2),
        ("datagen", "revise", rows, "--out", tmp_path / "out"),
    ):
        told = run(*args, *flags)
        assert (told.code, words in told.stderr) == (2, True), (args, told.stderr)
    config = tmp_path / "c.toml"
    config.write_text("wait = true\n")
    for command in ("score", "redteam", "calibrate"):
        out = ("--out", tmp_path / "out") if command == "score" else ()
        told = run("judge", command, rows, *out, "--config", config)
        assert (told.code, "wait without batch" in told.stderr) == (2, True), command
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("command", ["redteam", "calibrate"])
def test_attacks_and_calibration_go_through_batches_too(tmp_path: Path, command: str) -> None:
    """The same figures at half the price, over several runs; nothing is paid twice."""
    table = "公司甲\n单位：元\n\n| 项目 | 2020 | 2021 |\n|---|---|---|\n| 营业收入 | 100 | 120 |\n"
    text = "营业收入由2020年的100元增至2021年的120元，同比增长20%，主要因为产能利用率提高带动销量。"
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"prompt": table, "response": text}) + "\n", "utf-8")
    (tmp_path / "prices.toml").write_text(PRICES, "utf-8")
    with LLMServer(model=OfflineLLM()) as server:

        def ask(name: str, *options: object) -> tuple[Outcome, dict[str, Any]]:
            told = tmp_path / f"{name}.json"
            done = run(
                "judge", command, rows, "--llm", "openai:m", "--base-url", server.url, "--json",
                told, "--ledger", tmp_path / f"{name}.calls", "--prices", tmp_path / "prices.toml",
                *options,
            )  # fmt: skip
            assert "Traceback" not in done.stderr
            return done, json.loads(told.read_text("utf-8")) if told.exists() else {}

        _, whole = ask("whole")
        calls = server.requests
        server.batch_ready = False
        first, nothing = ask("half", "--batch")
        assert (first.code, nothing) == (3, {})
        assert "in batches with the provider" in first.stderr
        refused, _ = ask("half")
        assert (refused.code, "--batch, to collect them" in refused.stderr) == (2, True)
        server.batch_ready = True
        done, half = ask("half", "--batch", "--wait")
        assert done.code in (0, 1), done.stderr
        assert server.requests == calls
    cost = {name: found["calls"]["cost_usd"] for name, found in (("w", whole), ("h", half))}
    assert cost["h"] == pytest.approx(cost["w"] / 2, rel=0.01)
    for found in (whole, half):
        for name in ("calls", "settings"):
            del found[name]
    assert half == whole
