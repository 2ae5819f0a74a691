"""Every reward on every benchmark: scores, figures with intervals, paired differences."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from reward_model.bench.forms import Benchmark
from reward_model.bench.judging import Judge
from reward_model.bench.rewards import Reward
from reward_model.bench.scoring import Counted, Metric, count
from reward_model.records import Text
from reward_model.records.terminal import progress
from reward_model.stats.bootstrap import Bootstrap, Estimand, Floats

SCHEMA = "reward_model.bench/1"
_AT_ONCE = 512
"""Responses between two looks at how far it is."""


def bench(
    rewards: Sequence[Reward],
    benchmarks: Sequence[Benchmark],
    *,
    resamples: int = 1000,
    seed: int = 0,
    tell: Callable[[str], None] = lambda words: None,
) -> dict[str, Any]:
    """Score every response with every reward and count as each benchmark counts.

    Returns:
        Plain data, the schema `reward_model.bench/1`: by benchmark and reward each metric with its
        95% interval by prompt, and the difference of each reward to the first.

    Raises:
        UserError: a reward cannot be loaded or fails.
        Stopped: a judge's calls are owed to another run.
    """
    found: list[dict[str, Any]] = [
        {
            "name": benchmark.name,
            "form": benchmark.form,
            "items": len(benchmark.items),
            "responses": sum(len(item.responses) for item in benchmark.items),
            "tied": sum(item.tied for item in benchmark.items),
            "rewards": {},
        }
        for benchmark in benchmarks
    ]
    counted: list[dict[str, Counted]] = [{} for _ in benchmarks]
    for reward in rewards:
        give = reward.open()
        for at, benchmark in enumerate(benchmarks):
            tell(f"{reward.name} on {benchmark.name}: {found[at]['responses']:,} responses")
            start = time.perf_counter()
            values, silent = _scored(benchmark, give)
            counted[at][reward.name] = count(benchmark, values)
            found[at]["rewards"][reward.name] = {
                "kind": reward.kind,
                "no_opinion": silent,
                "seconds": round(time.perf_counter() - start, 3),
                "cost_usd": getattr(give, "cost", None),
            }
    for benchmark, own, out in zip(benchmarks, counted, found, strict=True):
        _measure(benchmark, own, out, resamples, seed)
    return {
        "schema": SCHEMA,
        "rewards": [{"name": reward.name, "kind": reward.kind} for reward in rewards],
        "benchmarks": found,
        "seed": seed,
        "resamples": resamples,
    }


def _scored(benchmark: Benchmark, give: Any) -> tuple[list[list[float]], int]:
    prompts: list[Text] = []
    responses: list[str] = []
    for item in benchmark.items:
        prompts += [item.prompt] * len(item.responses)
        responses += item.responses
    flat = (
        give(prompts, responses) if isinstance(give, Judge) else _in_turn(give, prompts, responses)
    )
    values = [-math.inf if value is None else float(value) for value in flat]
    out, start = [], 0
    for item in benchmark.items:
        out.append(values[start : start + len(item.responses)])
        start += len(item.responses)
    return out, sum(value is None for value in flat)


def _in_turn(give: Any, prompts: Sequence[Text], responses: Sequence[str]) -> list[float | None]:
    """The rewards, asked for in pieces, so that it can be told how far it is."""
    flat: list[float | None] = []
    with progress(transient=True) as bar:
        task = bar.add_task("score", total=len(responses), note="")
        for start in range(0, len(responses), _AT_ONCE):
            piece = slice(start, start + _AT_ONCE)
            flat += give(prompts[piece], responses[piece])
            bar.update(task, completed=len(flat))
    return flat


def _measure(
    benchmark: Benchmark,
    counted: dict[str, Counted],
    out: dict[str, Any],
    resamples: int,
    seed: int,
) -> None:
    bootstrap = Bootstrap([item.group for item in benchmark.items], resamples=resamples, seed=seed)
    parts = {name: _parts(bootstrap, own) for name, own in counted.items()}
    first = next(iter(parts))
    for name, own in parts.items():
        result = out["rewards"][name]
        result["metrics"] = {
            metric: bootstrap.estimate(part).to_json() for metric, part in own.items()
        }
        if name != first:
            result["difference"] = bootstrap.difference(
                own["score"], parts[first]["score"]
            ).to_json()


def _parts(bootstrap: Bootstrap, counted: Counted) -> dict[str, Estimand]:
    """Every metric as a weighted sum of means over cells."""
    place: dict[str, int] = {}
    rows, cells, values = [], [], []
    for row, entries in enumerate(counted.entries):
        for cell, value in entries:
            rows.append(row)
            cells.append(place.setdefault(cell, len(place)))
            values.append(value)
    size = max(1, len(place))
    at = np.array(cells, np.int64)
    sums = bootstrap.sums(
        np.array(rows, np.int64), at, size, np.array(values, float), np.ones(len(values))
    )
    counts = np.bincount(at, minlength=size)
    return {name: _part(metric, place, sums, counts) for name, metric in counted.metrics.items()}


def _part(metric: Metric, place: dict[str, int], sums: Floats, counts: Any) -> Estimand:
    known = [cell for cell in metric if cell in place]
    if not known:
        return Estimand(sums, lambda totals: totals[..., 0], 0, reason="no item that counts")
    where = np.array([place[cell] for cell in known])
    weights = np.array([metric[cell] for cell in known])

    used = sums.reshape(len(sums), -1, 2)[:, where].reshape(len(sums), -1)
    at = np.arange(len(where))

    def of_used(totals: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((totals[..., 2 * at] / totals[..., 2 * at + 1]) @ weights)

    # RewardBench 2's margin of ties may fall below 0: with it a figure is no share.
    share = "ties:margin" not in known
    span = (0.0, max(1.0, float(weights.sum())))
    return Estimand(used, of_used, int(counts[where].sum()), share=share, span=span)
