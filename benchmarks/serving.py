"""`reward-model serve` against `score_batch` of the same texts, in turns: throughput and latency.

uv run python benchmarks/serving.py [--texts 192] [--rounds 3] [--model DIR] [--json FILE]
uv run python benchmarks/serving.py --storm 10000     nothing lost or mixed up, clients that hang up
Bars: 90% of score_batch's throughput with 64 clients that send one text a request, 10 ms of added
latency (p50) when idle. Without --model: MiniLM with fresh heads, texts of 150 to 500 tokens.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from encoder import minilm
from transformers import AutoModel, AutoTokenizer

from reward_model.model.folder import save_bundle
from reward_model.model.network import MultiDimRewardConfig, MultiDimRewardModel
from reward_model.rubrics import load_rubric
from reward_model.score.scorer import RewardScorer

WORDS = (
    *("revenue", "margin", "cost", "growth", "cash", "flow", "operating", "profit", "assets"),
    *("liabilities", "ratio", "turnover", "inventory", "receivable", "compared", "with", "last"),
    *("year", "rose", "fell", "because", "demand", "price", "volume", "quarter", "risk", "debt"),
    *("guidance", "expenditure", "dividend", "interest", "coverage", "12.3%", "4.5", "million"),
)


def fresh_model(folder: Path) -> Path:
    """MiniLM with heads that nobody trained: as slow as any other."""
    base = minilm()
    torch.manual_seed(0)
    rubric = load_rubric("financial_report")
    backbone = AutoModel.from_pretrained(base)
    config = MultiDimRewardConfig.for_rubric(
        rubric, max_input_length=512, backbone_config=backbone.config
    )
    model = MultiDimRewardModel(config, backbone=backbone)
    save_bundle(model, AutoTokenizer.from_pretrained(base), rubric, folder)
    return folder


def texts_of(count: int, seed: int, shortest: int, longest: int) -> list[tuple[str, str]]:
    """Prompts and responses, `shortest` to `longest` words together, no two the same."""
    rng = random.Random(f"serving:{seed}")
    out = []
    for i in range(count):
        words = [rng.choice(WORDS) for _ in range(rng.randint(shortest, longest))]
        cut = len(words) // 3
        out.append((f"Report {seed}-{i}: " + " ".join(words[:cut]), " ".join(words[cut:])))
    return out


@contextlib.contextmanager
def serving(model: Path, *flags: str) -> Iterator[tuple[str, int]]:
    """Address and process of a server that is ready."""
    command = [sys.executable, "-m", "reward_model", "serve", str(model), "--port", "0", *flags]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    lines = iter(process.stderr.readline, "")
    found = next(filter(None, (re.search(r"http://\S+:\d+", line) for line in lines)), None)
    assert found, "the server did not start"
    try:
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{found[0]}/ready").close()
                break
            time.sleep(0.1)
        yield found[0], process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


class Client:
    """One connection, kept open; the least a client can cost on the machine it shares."""

    def __init__(self, url: str) -> None:
        self.host, _, port = url.removeprefix("http://").partition(":")
        self.port = int(port)
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def ask(self, text: tuple[str, str]) -> dict[str, Any]:
        """One sample, one request."""
        if self.writer is None or self.reader is None:
            self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
        body = json.dumps({"prompt": text[0], "response": text[1]}).encode()
        head = f"POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        self.writer.write(head.encode() + body)
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        said = await self.reader.readexactly(int(re.findall(r"content-length: (\d+)", head)[0]))
        assert head.startswith("HTTP/1.1 200"), said
        return json.loads(said)["scores"][0]

    def leave(self) -> None:
        """Hang up, whatever is on its way."""
        if self.writer is not None:
            self.writer.transport.abort()
        self.reader = self.writer = None


async def crowd(url: str, texts: list[tuple[str, str]], clients: int) -> tuple[float, list[Any]]:
    """Seconds until all are answered, and the answers, by clients that send one after the other."""
    results: list[Any] = [None] * len(texts)
    queue = iter(range(len(texts)))

    async def client() -> None:
        link = Client(url)
        for i in queue:
            results[i] = await link.ask(texts[i])
        link.leave()

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return time.perf_counter() - began, results


async def alone(url: str, texts: list[tuple[str, str]], scorer: RewardScorer) -> list[float]:
    """Seconds that a lone request takes longer than the scorer by itself, in turns."""
    added = []
    link = Client(url)
    await link.ask(texts[0])
    for text in texts:
        began = time.perf_counter()
        await link.ask(text)
        asked = time.perf_counter() - began
        began = time.perf_counter()
        scorer.score(*text)
        added.append(asked - (time.perf_counter() - began))
        await asyncio.sleep(0.01)
    link.leave()
    return added


def processor(pid: int) -> float:
    """Seconds of processor time a process has used; on a busy machine the fairer measure."""
    parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def same(answers: list[Any], scores: list[Any]) -> int:
    """How many answers differ from the scorer's own."""
    return sum(
        abs(answer["reward"] - score.reward) > 1e-5
        for answer, score in zip(answers, scores, strict=True)
    )


def measure(
    url: str, pid: int, scorer: RewardScorer, options: argparse.Namespace
) -> dict[str, Any]:
    """Throughput in turns, then latency."""
    rounds = []
    for number in range(options.rounds):
        texts = texts_of(options.texts, number, options.shortest, options.longest)
        prompts, responses = [t[0] for t in texts], [t[1] for t in texts]
        began, used = time.perf_counter(), processor(os.getpid())
        scores = scorer.score_batch(prompts, responses)
        batch, batch_cpu = time.perf_counter() - began, processor(os.getpid()) - used
        used = processor(pid)
        served, answers = asyncio.run(crowd(url, texts, options.clients))
        served_cpu = processor(pid) - used
        wrong = same(answers, scores)
        one = {
            "batch_s": batch,
            "served_s": served,
            "ratio": batch / served,
            "processor_ratio": batch_cpu / served_cpu,
        }
        rounds.append(one)
        print(
            f"round {number + 1}: score_batch {options.texts / batch:.1f}/s, {options.clients} "
            f"clients {options.texts / served:.1f}/s, ratio {one['ratio']:.3f} (of processor time "
            f"{one['processor_ratio']:.3f}), {wrong} wrong"
        )
        assert not wrong
    ratio = statistics.median(r["ratio"] for r in rounds)
    lone = texts_of(options.lone, 1000, options.shortest, options.longest)
    added = [1000 * s for s in asyncio.run(alone(url, lone, scorer))]
    latency = statistics.median(added)
    print(f"ratio {ratio:.3f} (bar 0.9), added latency p50 {latency:.2f} ms (bar 10)")
    return {"rounds": rounds, "ratio": ratio, "added_ms_p50": latency, "added_ms": added}


async def storm(
    url: str, texts: list[tuple[str, str]], clients: int
) -> tuple[int, dict[int, list[Any]]]:
    """How many hung up, and every answer each of the others got."""
    answers: dict[int, list[Any]] = {}
    queue, rng = iter(range(len(texts))), random.Random("storm")
    gone = 0

    async def client() -> None:
        nonlocal gone
        link = Client(url)
        for i in queue:
            if rng.random() < 0.05:  # leaves in the middle of its request, and comes back
                left = asyncio.create_task(link.ask(texts[i]))
                await asyncio.sleep(rng.random() * 0.05)
                left.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await left
                link.leave()
                gone += 1
            answers.setdefault(i, []).append(await link.ask(texts[i]))
        link.leave()

    await asyncio.gather(*(client() for _ in range(clients)))
    return gone, answers


def resident(pid: int) -> float:
    """Megabytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def weather(
    url: str, pid: int, scorer: RewardScorer, options: argparse.Namespace
) -> dict[str, Any]:
    """Many small requests by clients that hang up: each answer is that of its own text."""
    texts = texts_of(options.storm, 1, 4, 12)
    before, began = resident(pid), time.perf_counter()
    gone, answers = asyncio.run(storm(url, texts, options.clients))
    seconds, after = time.perf_counter() - began, resident(pid)
    scores = scorer.score_batch([t[0] for t in texts], [t[1] for t in texts])
    lost = sum(len(answers.get(i, ())) != 1 for i in range(len(texts)))
    wrong = same([answers[i][0] for i in range(len(texts))], scores)
    print(
        f"{options.storm} requests in {seconds:.1f} s ({options.storm / seconds:.0f}/s), "
        f"{gone} hung up, {lost} lost or twice, {wrong} wrong, "
        f"memory {before:.0f} -> {after:.0f} MB"
    )
    assert not lost
    assert not wrong
    return {"requests": options.storm, "seconds": seconds, "hung_up": gone, "lost": lost}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="trained model instead of fresh MiniLM")
    parser.add_argument("--texts", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--lone", type=int, default=30, help="requests to an idle server")
    parser.add_argument("--shortest", type=int, default=100, help="words of a text")
    parser.add_argument("--longest", type=int, default=350)
    parser.add_argument("--storm", type=int, default=0, help="so many small requests instead")
    parser.add_argument("--flags", default="", help="for the server")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or fresh_model(Path(folder) / "minilm")
        scorer = RewardScorer.from_pretrained(model)
        scorer.score("", "warm up")
        with serving(model, *options.flags.split()) as (url, pid):
            if options.storm:
                result = weather(url, pid, scorer, options)
            else:
                result = measure(url, pid, scorer, options)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
