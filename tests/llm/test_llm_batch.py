"""Batch mode: half the price, resumed across kills, and what the provider failed at is owed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from llm_server import Fault, LLMServer

from reward_model.llm import Caller, ChatMessage, Request, open_llm
from reward_model.llm.batch import Batches, Progress
from reward_model.llm.openai import OpenAILLM
from reward_model.llm.prices import Prices
from reward_model.records import Stopped, UserError


def ask(i: int, **more: Any) -> Request:
    return Request(messages=(ChatMessage(role="user", content=f"request {i}"),), **more)


REQUESTS = [ask(i, sample=i % 3) for i in range(25)]


def run(
    server: LLMServer,
    folder: Path,
    work: Callable[[Batches, Caller, OpenAILLM], Awaitable[Any]],
    *,
    caller: dict[str, Any] | None = None,
    **options: Any,
) -> Any:
    async def main() -> Any:
        llm = open_llm("openai:m", base_url=server.url)
        assert isinstance(llm, OpenAILLM)
        async with Caller(ledger=folder / "calls.jsonl", **(caller or {})) as one:
            manifest = folder / "batches.json"
            result = await work(Batches(llm, one, manifest, backoff_s=0.01, **options), one, llm)
        await llm.close()
        return result

    return asyncio.run(main())


async def submit(batches: Batches, *_: Any) -> int:
    return await batches.submit(REQUESTS)


async def wait(batches: Batches, *_: Any) -> Progress:
    return await batches.wait(poll_s=0.01)


def test_replies_come_into_the_ledger_in_another_process(tmp_path: Path) -> None:
    with LLMServer() as server:
        server.batch_ready = False
        assert run(server, tmp_path, submit, most_lines=10) == 25
        assert len(server.batches) == 3
        assert run(server, tmp_path, submit, most_lines=10) == 0  # they are under way

        async def look(batches: Batches, *_: Any) -> Progress:
            return await batches.collect()

        assert run(server, tmp_path, look).open == 25
        server.batch_ready = True
        progress = run(server, tmp_path, wait)
        assert (progress.open, progress.answered, progress.owed) == (0, 25, 0)

        async def ordinary(_: Batches, caller: Caller, llm: OpenAILLM) -> int:
            answers = [await caller.complete(llm, request) for request in REQUESTS]
            assert {a.reply.model for a in answers} == {"m-2026-01-31"}
            return sum(answer.cached for answer in answers)

        assert run(server, tmp_path, ordinary) == 25
        assert server.requests == 0
        rows = [json.loads(x) for x in (tmp_path / "calls.jsonl").read_text().splitlines()]
        assert sorted(row["sample"] for row in rows) == sorted(r.sample for r in REQUESTS)


def test_lines_that_failed_are_owed_and_refusals_are_final(tmp_path: Path) -> None:
    def rule(body: dict[str, Any]) -> Fault | None:
        text = body["messages"][0]["content"]
        if text == "request 3":
            return Fault(status=500)
        if text == "request 4":
            return Fault(status=400, code="content_filter")
        return None

    with LLMServer(rule=rule) as server:
        assert run(server, tmp_path, submit) == 25
        progress = run(server, tmp_path, wait)
        assert (progress.answered, progress.refused, progress.owed) == (23, 1, 1)
        server.rule = None
        assert run(server, tmp_path, submit) == 1
        assert run(server, tmp_path, wait).answered == 1
        assert server.paid == 24


def test_a_batch_made_just_before_a_kill_is_found_again(tmp_path: Path) -> None:
    with LLMServer() as server:
        run(server, tmp_path, submit)
        manifest = tmp_path / "batches.json"
        state = json.loads(manifest.read_text())
        state["open"][0]["id"] = None  # killed between the creation and its answer
        manifest.write_text(json.dumps(state))
        assert run(server, tmp_path, submit) == 0
        assert run(server, tmp_path, wait).answered == 25
        assert len(server.batches) == 1


def test_a_batch_that_never_came_to_be_is_sent_again(tmp_path: Path) -> None:
    with LLMServer() as server:
        run(server, tmp_path, submit)
        server.batches.clear()
        manifest = tmp_path / "batches.json"
        state = json.loads(manifest.read_text())
        state["open"][0]["id"] = None
        manifest.write_text(json.dumps(state))
        assert run(server, tmp_path, submit) == 25


def test_half_the_price_and_within_the_budget(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text('["m"]\ninput = 1000.0\noutput = 1000.0\n', "utf-8")
    options = {"prices": Prices.load(file), "budget_usd": 1.0}
    small = [ask(i, max_tokens=10) for i in range(200)]

    async def send(batches: Batches, *_: Any) -> int:
        return await batches.submit(small)

    async def collect(batches: Batches, caller: Caller, _: OpenAILLM) -> float:
        await batches.wait(poll_s=0.01)
        return caller.spent_usd

    with LLMServer(answer=lambda messages: "x") as server:
        sent = run(server, tmp_path, send, caller=options)
        assert 0 < sent < 200
        spent = run(server, tmp_path, collect, caller=options)
        used = sum(len(f"request {i}") + 1 for i in range(sent))
        assert spent == pytest.approx(0.5 * used / 1000)
        for _ in range(20):
            try:
                run(server, tmp_path, send, caller=options)
            except Stopped:
                break
            assert run(server, tmp_path, collect, caller=options) <= 1.0
        else:
            raise AssertionError("never stopped")


def test_a_failed_batch_says_why(tmp_path: Path) -> None:
    with LLMServer() as server:
        server.batch_ready = False
        run(server, tmp_path, submit)
        (batch,) = server.batches.values()
        words = "The model m has no Batch API"
        errors = {"object": "list", "data": [{"code": "model_not_found", "message": words}]}
        batch.update(status="failed", errors=errors, output_file_id=None, error_file_id=None)
        progress = run(server, tmp_path, wait)
        assert progress.owed == 25
        assert progress.problems == (f"failed: {words}",)


def test_a_service_that_is_away_stops_with_the_work_saved(tmp_path: Path) -> None:
    with LLMServer() as server:
        run(server, tmp_path, submit)
        port = server.port
    before = (tmp_path / "batches.json").read_text()
    server = LLMServer(port=port)
    server.port = port
    with pytest.raises(Stopped, match="does not answer"):
        run(server, tmp_path, wait)
    assert (tmp_path / "batches.json").read_text() == before


def test_a_manifest_of_another_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "batches.json").write_text('{"model": "openai:x", "base_url": "http://y"}')
    with LLMServer() as server, pytest.raises(UserError, match="batches of openai:x at http://y"):
        run(server, tmp_path, submit)
