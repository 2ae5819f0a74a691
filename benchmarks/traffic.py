"""What A/B tests and monitoring promise, simulated: false alarms, power, peeking, speed.

    uv run python benchmarks/traffic.py [--rows 10000000] [--runs 1000]

Prints a table; --rows 0 leaves out the log of that many rows that is written, read and deleted,
--runs 0 the simulations.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from scipy.stats import chi2_contingency

from reward_model.traffic.ab import compare
from reward_model.traffic.rows import Log
from reward_model.traffic.settings import Experiment
from reward_model.traffic.values import Column

START = 1_793_491_200.0
DAY = 86400.0
DAYS = 14


def experiment(shares: tuple[float, float]) -> Experiment:
    """Two weeks, thumbs up as the outcome."""
    return Experiment.model_validate(
        {
            "name": "simulated",
            "arms": {"old": shares[0], "new": shares[1]},
            "until": datetime.fromtimestamp(START + DAYS * DAY, UTC),
            "primary": {"of": "feedback", "is": "share"},
        }
    )


def simulated(
    rng: np.random.Generator, users: int, share: float, lift: float = 0.0, each: float = 6.0
) -> Log:
    """Traffic of users who differ in how often they ask and how easily they are pleased."""
    rows = 1 + rng.poisson(each - 1, users) if each > 1 else np.ones(users, np.int64)
    arm = (rng.random(users) < share).astype(np.int16)
    pleased = rng.beta(2, 1, users) if each > 1 else np.full(users, 0.723)
    user = np.repeat(np.arange(users), rows)
    up = rng.random(len(user)) < np.clip(pleased + lift * arm, 0, 1)[user]
    moments = START + rng.random(len(user)) * DAYS * DAY
    moments[-1] = START + DAYS * DAY - 1
    return Log(moments, user, arm[user], {Column("feedback", share=True): up.astype(np.int8)})


def until_day(log: Log, day: int) -> Log:
    """What of a log was there after some days."""
    rows = log.time < START + day * DAY
    return Log(
        log.time[rows], log.user[rows], log.arm[rows], {k: v[rows] for k, v in log.columns.items()}
    )


def seen(log: Log, plan: Experiment) -> tuple[bool, bool]:
    """Whether the test's numbers differ (p < 0.05), and whether it says so."""
    found = compare(log, plan)
    p = found["primary"][0]["p_holm"]
    said = found["verdict"]["new"] in ("better", "worse")
    return p is not None and p < 0.05, said


def by_row(log: Log) -> float:
    """p of the usual wrong test: every request as if from another user."""
    up = log.columns[Column("feedback", share=True)]
    table = [[int(((log.arm == a) & (up == v)).sum()) for v in (0, 1)] for a in (0, 1)]
    return float(chi2_contingency(table, correction=False).pvalue)


def rates(runs: int, seed: int) -> Iterator[tuple[str, float]]:
    """(what, share of the runs) one after the other."""
    rng = np.random.default_rng(seed)
    for share in (0.5, 0.1):
        plan = experiment((1 - share, share))
        logs = [simulated(rng, 400, share) for _ in range(runs)]
        yield (
            f"A/A, 400 users, {share:.0%} new: by request",
            float(np.mean([by_row(log) < 0.05 for log in logs])),
        )
        yield (
            f"A/A, 400 users, {share:.0%} new: by user",
            float(np.mean([seen(log, plan)[0] for log in logs])),
        )
    plan = experiment((0.5, 0.5))
    peeked = verdicts = 0
    for _ in range(runs // 2):
        log = simulated(rng, 400, 0.5)
        days = [seen(until_day(log, day), plan) for day in range(2, DAYS + 1)]
        peeked += any(differs for differs, _ in days)
        verdicts += any(said for _, said in days[:-1])
    yield "A/A, a look a day for two weeks: numbers differ at least once", peeked / (runs // 2)
    yield "A/A, a look a day for two weeks: a verdict before the end", verdicts / (runs // 2)
    lift = 0.035
    found = [seen(simulated(rng, 2 * 2459, 0.5, lift, 1.0), plan)[0] for _ in range(runs)]
    yield "power at the 2,459 users an arm that --plan gives for 80%", float(np.mean(found))


def speed(rows: int) -> Iterator[tuple[str, float, float]]:
    """(command, seconds, GB at most) over a log of that many rows."""
    with tempfile.TemporaryDirectory() as folder:
        log, config, test = (Path(folder) / n for n in ("log.jsonl", "monitor.toml", "ab.toml"))
        write(log, rows)
        config.write_text(
            '[[metric]]\nof = "refused"\nis = "share"\nmax = 0.1\n'
            '[[metric]]\nof = "latency_ms"\nis = "p95"\nmax = 9000\n'
            '[[metric]]\nof = "feedback"\nis = "share"\nmin = 0.1\n'
        )
        test.write_text(
            'name = "t"\narms = { old = 0.5, new = 0.5 }\nuntil = 2026-11-02T00:00:00Z\n'
            '[primary]\nof = "feedback"\nis = "share"\n'
            '[[guardrail]]\nof = "latency_ms"\nis = "p95"\nbetter = "lower"\nmargin = "5%"\n'
        )
        for words in (["monitor", "--config", str(config)], ["ab", "--experiment", str(test)]):
            command = [
                sys.executable,
                "-m",
                "reward_model",
                "traffic",
                words[0],
                str(log),
                *words[1:],
            ]
            start = time.perf_counter()
            subprocess.run(
                command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            took = time.perf_counter() - start
            yield words[0], took, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6


def write(path: Path, rows: int) -> None:
    """A log as a server writes it, 600 bytes a row."""
    rng = np.random.default_rng(0)
    prompt, answer = "Analyse the revenue of 2023. " * 7, "Revenue rose by 12%, costs by 9%. " * 7
    with path.open("w", encoding="utf-8") as out:
        for start in range(0, rows, 100_000):
            count = min(100_000, rows - start)
            users = rng.integers(0, max(2, rows // 10), count)
            latency = rng.lognormal(6.5, 0.5, count).round(1)
            thumbs = rng.random(count)
            for at in range(count):
                row = {
                    "id": f"r{start + at}",
                    "time": START + (start + at) * DAY / rows,
                    "user": f"u{users[at]}",
                    "arm": "new" if users[at] % 2 else "old",
                    "prompt": prompt,
                    "response": answer,
                    "latency_ms": latency[at],
                }
                if thumbs[at] < 0.1:
                    row["feedback"] = "up" if thumbs[at] < 0.07 else "down"
                out.write(json.dumps(row) + "\n")


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for what, rate in rates(args.runs, args.seed) if args.runs else ():
        print(f"{what:66} {rate:6.1%}", flush=True)
    if args.rows:
        for command, took, memory in speed(args.rows):
            print(f"{command} of {args.rows:,} rows: {took:.0f} s, largest process {memory:.2f} GB")


if __name__ == "__main__":
    main()
