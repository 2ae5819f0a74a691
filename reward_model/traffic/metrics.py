"""A metric of a log: which rows it is about, and its number with an interval by user."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from reward_model.traffic.lines import lines_of, parsed, spans
from reward_model.traffic.rows import Log, present
from reward_model.traffic.settings import Metric, Watched
from reward_model.traffic.units import Measure, mean, per_second, quantile, share

_LOOKED_AT = 1000


def measure(
    log: Log, metric: Metric, among: npt.NDArray[np.bool_] | None = None, seconds: float = 0.0
) -> Measure | None:
    """A metric over some rows of a log; None where no row carries it.

    Args:
        among: [n] the rows; all by default.
        seconds: the time they took, for rates.
    """
    column = metric.column
    there = present(log, column)
    if among is not None:
        there &= among
    users = log.user[there]
    if metric.how == "per_second":
        counted = log.columns[column][there] > 0
        return per_second(users[counted], seconds)
    values = log.columns[column][there].astype(np.float64)
    if metric.how == "share":
        return share(values, users)
    if metric.how == "mean":
        return mean(values, users)
    return quantile(values, users, 0.5 if metric.how == "p50" else 0.95)


def as_json(found: Measure | None) -> dict[str, Any]:
    """A measure as plain data; an interval without limits has none."""
    if found is None:
        return {"value": None, "low": None, "high": None, "rows": 0, "users": 0}
    limits = (found.low, found.high) if found.users > 1 else (None, None)
    return {
        "value": found.value,
        "low": limits[0],
        "high": limits[1],
        "rows": found.rows,
        "users": found.users,
    }


def usual(paths: Sequence[Path]) -> list[Watched]:
    """What can be told of a log without being asked: by what its first rows carry."""
    metrics = [
        _told("rows", "per_second", "rows a second"),
        _told("refused", "share"),
        _told("feedback", "share", "thumbs up"),
        _told("latency_ms", "p50"),
        _told("latency_ms", "p95"),
        _told("reward_model.reward", "mean", "reward"),
    ]
    flags: dict[str, bool] = {}
    for at, (line, _) in enumerate(lines_of(spans(paths)[0]) if spans(paths) else ()):
        if at >= _LOOKED_AT:
            break
        row = parsed(line) if line.strip() else {}
        found = row.get("flags") if isinstance(row, dict) else None
        if isinstance(found, dict):
            for name, value in found.items():
                if isinstance(value, int | float):
                    flags[name] = flags.get(name, True) and isinstance(value, bool)
    how = {name: "share" if truth else "mean" for name, truth in flags.items()}
    return metrics + [_told(f"flags.{name}", is_) for name, is_ in how.items()]


def _told(of: str, how: str, name: str = "") -> Watched:
    return Watched.model_validate({"of": of, "is": how, "name": name})
