"""How fast calls go and what they cost in CPU and memory, beside distilabel on the same server.

uv run python benchmarks/calls.py            throughput, CPU a call, memory, distilabel's speed

The server answers after 2 s and refuses more than 64 calls at once. distilabel is fetched by uv
into an environment of its own, and left out, in words, where that fails. Curator is not in it: it
downloads a vocabulary before its first call.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reward_model.llm import Caller, ChatMessage, Request, Usage, bounded, open_llm
from reward_model.llm.scripted import ScriptedLLM, Step

SERVER = Path(__file__).resolve().parent.parent / "tests" / "llm_server.py"

DISTILABEL = """
import logging, sys, time, os
logging.disable(logging.WARNING)
from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps.tasks import TextGeneration
url, count, at_once, latency = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
with Pipeline("calls") as pipeline:
    TextGeneration(
        name="calls",
        llm=OpenAILLM(model="m", base_url=url, api_key="none", max_retries=8, timeout=120),
        input_batch_size=at_once,
    )
if __name__ == "__main__":
    from datasets import Dataset
    rows = Dataset.from_list([{"instruction": f"request {i}"} for i in range(count)])
    out = pipeline.run(dataset=rows, use_cache=False)
    print(sum(bool(x) for x in out["default"]["train"]["generation"]))
"""


@contextmanager
def server(latency_s: float, at_once: int | None) -> Iterator[str]:
    """Run the loopback server as a process of its own; yields its address."""
    command = [sys.executable, str(SERVER), "--latency", str(latency_s)]
    if at_once is not None:
        command += ["--at-once", str(at_once)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.wait()


def stats(address: str) -> dict[str, Any]:
    """What the server saw."""
    with urllib.request.urlopen(f"{address}/stats") as answer:
        return dict(json.load(answer))


def rate(done_at: list[float], start: float, end: float) -> float:
    """Answers a second between two moments after the first request could be answered."""
    return sum(start <= t < end for t in done_at) / (end - start)


def ask(i: int) -> Request:
    return Request(messages=(ChatMessage(role="user", content=f"request {i}"),), max_tokens=100)


async def call_all(caller: Caller, llm: Any, numbers: range, at_once: int = 256) -> None:
    async for _ in bounded(lambda i: caller.complete(llm, ask(i)), numbers, at_once):
        pass


def throughput(latency_s: float, at_once: int, seconds: float) -> float:
    """Share of the server's limit that is used from the tenth second on."""
    best = at_once / latency_s
    with server(latency_s, at_once) as address, tempfile.TemporaryDirectory() as folder:

        async def main() -> tuple[float, float]:
            llm = open_llm("openai:m", base_url=f"{address}/v1")
            async with Caller(ledger=Path(folder, "calls.jsonl")) as caller:
                cpu, began = time.process_time(), time.monotonic()
                await call_all(caller, llm, range(int(best * seconds)))
                cpu = time.process_time() - cpu
                print("   ", caller.report()["counts"])
                await llm.close()
                return began, 1000 * cpu / caller.counts["calls"]

        began, cpu_ms = asyncio.run(main())
        done = stats(address)["done_at"]
    last = done[-2 * at_once] - began  # then the work runs out, with fewer than the limit left
    used = rate([t - began for t in done], 10.0, last)
    print(
        f"throughput   {used:6.1f} calls/s of {best:.1f} possible from second 10 to {last:.0f}: "
        f"{used / best:.1%} (target 95%)"
    )
    print(f"             {cpu_ms:6.2f} ms CPU a call in that run, SDK and start included")
    return used


def bare_sdk(address: str, count: int) -> float:
    """CPU milliseconds a call of the SDK alone, 32 at once."""

    async def main() -> float:
        from openai import AsyncOpenAI

        async with AsyncOpenAI(api_key="none", base_url=f"{address}/v1", max_retries=0) as client:

            async def call(i: int) -> object:
                messages: Any = [{"role": "user", "content": f"request {i}"}]
                return await client.chat.completions.create(model="m", messages=messages)

            async for _ in bounded(call, range(100), 32):
                pass
            cpu = time.process_time()
            async for _ in bounded(call, range(count), 32):
                pass
            return 1000 * (time.process_time() - cpu) / count

    return asyncio.run(main())


def overhead(count: int) -> None:
    """CPU of a call, of the SDK alone, and of everything around the SDK."""
    with server(0.05, None) as address, tempfile.TemporaryDirectory() as folder:
        sdk = bare_sdk(address, count)

        async def ours(llm: Any, name: str) -> float:
            path = Path(folder, name)
            async with Caller(ledger=path, max_concurrency=32) as caller:
                await call_all(caller, llm, range(-200, 0), 32)
                cpu = time.process_time()
                await call_all(caller, llm, range(count), 32)
                cpu = time.process_time() - cpu
            await llm.close()
            return 1000 * cpu / count

        whole = asyncio.run(ours(open_llm("openai:m", base_url=f"{address}/v1"), "a.jsonl"))
        native = asyncio.run(ours(open_llm("dashscope:m", base_url=f"{address}/api/v1"), "b.jsonl"))
        around = asyncio.run(ours(ScriptedLLM(lambda _: "reply"), "c.jsonl"))
    print(f"CPU a call   {around:6.2f} ms of our own (ledger, gate, budget; target 3 ms)")
    print(f"             {whole:6.2f} ms with openai, against {sdk:.2f} ms of the openai SDK alone")
    print(f"             {native:6.2f} ms with dashscope")


def memory(few: int, many: int) -> None:
    """Growth of memory between few and many calls with replies of 4,000 characters."""

    async def main(folder: str) -> list[int]:
        usage = Usage(prompt_tokens=3000, completion_tokens=1500)
        llm = ScriptedLLM(lambda _: Step(reply="营收增长 " * 800, usage=usage))
        sizes, done = [], 0
        async with Caller(ledger=Path(folder, "calls.jsonl")) as caller:
            for upto in (few, many):
                async for _ in bounded(
                    lambda i: caller.complete(llm, ask(i)), range(done, upto), 256
                ):
                    llm.requests.clear()
                done = upto
                sizes.append(_resident())
        return sizes

    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        small, large = asyncio.run(main(folder))
        took = time.perf_counter() - began
        began = time.perf_counter()

        async def reopen() -> float:
            async with Caller(ledger=Path(folder, "calls.jsonl")):
                return time.perf_counter() - began

        again = asyncio.run(reopen())
    print(
        f"memory       {(large - small) / 2**20:+6.1f} MB from {few:,} to {many:,} calls "
        f"(target +50 MB); {took:.0f} s, reopened in {again:.1f} s"
    )


def _resident() -> int:
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
        return int(pages) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def distilabel(latency_s: float, at_once: int, seconds: float, ours: float) -> None:
    """The same job with distilabel, in an environment of its own."""
    count = int(at_once / latency_s * seconds)
    with server(latency_s, at_once) as address, tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "job.py")
        script.write_text(DISTILABEL)
        command = [
            "uv",
            "run",
            "--no-project",
            "--isolated",
            "--with",
            "distilabel[openai]",
            "--with",
            "requests",
            "python",
            str(script),
            f"{address}/v1",
            str(count),
            str(at_once),
            str(latency_s),
        ]
        environment = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV"}
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=600, env=environment, cwd=folder
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            print(f"distilabel   left out: {error}")
            return
        if done.returncode:
            why = (done.stderr.strip() or done.stdout.strip()).splitlines()
            print(f"distilabel   left out: {why[-1] if why else 'it did not start'}")
            return
        seen = stats(address)
    answers = seen["done_at"]
    took = answers[-1] - answers[0] + latency_s
    speed = len(answers) / took
    print(
        f"distilabel   {speed:6.1f} calls/s from its first answer on; {done.stdout.split()[-1]} of "
        f"{count} rows filled, {seen['requests']} requests sent"
    )
    print(f"ratio        {ours / speed:6.2f} times distilabel's speed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=2.0)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--calls", type=int, default=100_000, help="for the measure of memory")
    parser.add_argument("--no-distilabel", action="store_true")
    options = parser.parse_args()
    speed = throughput(options.latency, options.at_once, options.seconds)
    overhead(2000)
    memory(min(1000, options.calls), options.calls)
    if not options.no_distilabel:
        distilabel(options.latency, options.at_once, options.seconds, speed)


if __name__ == "__main__":
    main()
