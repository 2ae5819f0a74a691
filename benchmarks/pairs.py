"""How fast `datagen pairs` goes against a provider's limit, and what memory many pairs take.

uv run python benchmarks/pairs.py [--seconds 60] [--pairs 100000] [--only speed|memory]

The server answers after 2 s and refuses more than 64 calls at once; the embedded writer stands
behind it, in a process of its own. Memory is that of two fresh processes, with a model that costs
nothing and replies of the usual length.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from datagen.pairs import make_pairs
from datagen.settings import Settings
from reward_model.llm import Reply, Request, Usage

SERVER = Path(__file__).resolve().parent.parent / "tests" / "llm_server.py"


class Cheap:
    """Passes the checks with text of the usual length, at no cost."""

    name = "cheap"
    base_url = "http://127.0.0.1/"
    """As of a server, so that as many pairs are under way."""
    TEXT = "## 分析\n\n" + "本年营业收入保持增长，毛利率略有回落，经营现金流好于净利润。\n" * 50

    async def complete(self, request: Request) -> Reply:
        await asyncio.sleep(0)
        number = f"{request.seed}".translate(str.maketrans("0123456789", "甲乙丙丁戊己庚辛壬癸"))
        usage = Usage(prompt_tokens=3000, completion_tokens=1500)
        return Reply(text=self.TEXT + number, model="cheap", usage=usage)

    async def close(self) -> None:
        """Nothing to close."""


class Replay:
    """Says what a ledger says, without a network: what is left is the work of our own."""

    def __init__(self, ledger: Path, name: str, base_url: str) -> None:
        self.name, self.base_url = name, base_url
        rows = (json.loads(line) for line in ledger.read_text("utf-8").splitlines())
        self.texts = {row["key"]: row["text"] for row in rows if "text" in row}

    async def complete(self, request: Request) -> Reply:
        await asyncio.sleep(0)
        return Reply(text=self.texts[request.key(self.name, self.base_url)], model="m")

    async def close(self) -> None:
        """Nothing to close."""


def child(count: int, out: Path) -> None:
    """Make pairs with the cheap model; print the largest memory in bytes, and CPU seconds."""
    settings = Settings(pairs=count, planted_share=0, neutral_share=0,
                        degradations=("vague_precision",))  # fmt: skip
    make_pairs(settings, out, llms=[Cheap()])
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(used.ru_maxrss * 1024, used.ru_utime + used.ru_stime)


def memory(few: int, many: int) -> None:
    """Growth of memory from few to many pairs."""
    sizes = []
    for count in (few, many):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--child", str(count), f"{folder}/pairs.jsonl"]
            began = time.monotonic()
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr[-2000:])
            size, cpu = done.stdout.split()
            sizes.append(int(size) / 2**20)
            print(
                f"memory       {sizes[-1]:6.1f} MB at most for {count:,} pairs; "
                f"{time.monotonic() - began:.0f} s, {1000 * float(cpu) / count:.1f} ms CPU a pair",
                flush=True,
            )
    print(f"             {sizes[1] - sizes[0]:+6.1f} MB (target +50 MB)")


@contextmanager
def server(latency_s: float, at_once: int) -> Iterator[str]:
    """The loopback server with the embedded writer; yields its address."""
    command = [sys.executable, str(SERVER), "--offline"]
    command += ["--latency", str(latency_s), "--at-once", str(at_once)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.wait()


def throughput(latency_s: float, at_once: int, seconds: float) -> None:
    """Share of the server's limit that is used from the tenth second on."""
    best = at_once / latency_s
    with server(latency_s, at_once) as address, tempfile.TemporaryDirectory() as folder:
        settings = Settings(
            pairs=int(best * seconds / 3), llm=("openai:m",), base_url=f"{address}/v1"
        )
        make_pairs(settings, Path(folder, "warm.jsonl"), dry_run=True)
        cpu = time.process_time()
        make_pairs(settings, Path(folder, "pairs.jsonl"))
        cpu = time.process_time() - cpu
        replay = Replay(
            Path(folder, "pairs.jsonl.calls.jsonl"), "openai:m", settings.base_url or ""
        )
        own = time.process_time()
        make_pairs(settings, Path(folder, "again.jsonl"), llms=[replay])
        own = time.process_time() - own
        with urllib.request.urlopen(f"{address}/stats") as answer:
            seen = json.load(answer)
    done = seen["done_at"]
    began = done[0] - latency_s
    last = done[-3 * at_once]  # then the work runs out, with fewer calls than the limit left
    used = sum(began + 10 < moment <= last for moment in done) / (last - began - 10)
    print(
        f"throughput   {used:6.1f} calls/s of {best:.1f} possible from second 10 to "
        f"{last - began:.0f}: {used / best:.1%} (target 95%)"
    )
    print(
        f"             {1000 * own / len(done):6.2f} ms CPU a call of our own (prompts, ledger, "
        f"checks, records; target 3 ms), {1000 * cpu / len(done):.2f} ms with the SDK; "
        f"{len(done)} answers, {seen['requests'] - len(done)} refusals"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--latency", type=float, default=2.0)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--only", choices=("speed", "memory"))
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(int(options.child[0]), Path(options.child[1]))
        return
    if options.only != "memory":
        throughput(options.latency, options.at_once, options.seconds)
    if options.only != "speed":
        memory(min(1000, options.pairs), options.pairs)


if __name__ == "__main__":
    main()
