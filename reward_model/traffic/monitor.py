"""Is a policy's traffic as it should be? Alerts only where a whole interval is beyond a limit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from reward_model.records.errors import UserError, some_of
from reward_model.traffic.metrics import as_json, measure, usual
from reward_model.traffic.rows import Log, carried, read_log
from reward_model.traffic.settings import MonitorSettings, Watched, seconds
from reward_model.traffic.units import Measure, difference

SCHEMA = "traffic.monitor/1"
SERIES = 30
"""Windows before the last one that a page draws."""

Status = Literal["alert", "watch", "ok", "few", "absent", "told"]


def monitor(
    paths: Sequence[Path],
    settings: MonitorSettings | None = None,
    baseline: Sequence[Path] = (),
    workers: int = 0,
) -> dict[str, Any]:
    """Measure a log and compare each metric with its limits.

    Args:
        paths: logs, JSON Lines.
        settings: what to measure; without, what the log carries is told, and nothing judged.
        baseline: logs that `drop` and `rise` are against.
        workers: processes; 0 chooses.

    Returns:
        Plain data, the schema `traffic.monitor/1`.

    Raises:
        UserError: a log cannot be read, or the settings ask for what is not there.
    """
    metrics = settings.metric if settings else usual(paths)
    window = settings.window if settings else None
    if any(metric.drop or metric.rise for metric in metrics) and not baseline:
        raise UserError(
            "a drop or rise without a baseline", mend="name the log to compare with: --baseline LOG"
        )
    columns = list(dict.fromkeys(metric.column for metric in metrics))
    before = _baseline(metrics, read_log(baseline, columns, workers=workers)) if baseline else {}
    log = read_log(paths, columns, workers=workers)
    windows = _windows(log, window)
    told = [_judged(log, metric, windows, before.get(metric.title), settings) for metric in metrics]
    if all(one["status"] == "absent" for one in told) and not carried(log):
        names = some_of(list(dict.fromkeys(metric.title for metric in metrics)), 6)
        raise UserError(
            f"none of what is measured ({names}) in any of {len(log):,} rows",
            expected="a log that carries it",
            path=paths[0],
        )
    if settings is None:
        told = [one for one in told if one["status"] != "absent"]
    order: list[Status] = ["alert", "watch"]
    worst = next((one for one in order if any(m["status"] == one for m in told)), "ok")
    first, last = _ends(log)
    return {
        "schema": SCHEMA,
        "logs": [str(path) for path in paths],
        "baseline": [str(path) for path in baseline],
        "rows": len(log),
        "users": int(log.user.max()) + 1,
        "from": _iso(first),
        "until": _iso(last),
        "window": window,
        "status": worst,
        "metrics": told,
        "notes": log.notes,
        "first_unreadable": log.first_bad or None,
    }


def _judged(
    log: Log,
    metric: Watched,
    windows: list[tuple[float, float, npt.NDArray[np.bool_] | None]],
    before: Measure | None,
    settings: MonitorSettings | None,
) -> dict[str, Any]:
    series = [measure(log, metric, rows, end - start) for start, end, rows in windows]
    found = series[-1]
    fewest = metric.min_rows or (settings.min_rows if settings else 1)
    limits = _limits(metric, found, before)
    status: Status = "told" if not limits else "ok"
    if found is None:
        status = "absent"
    elif found.rows < fewest or found.users < 2:
        status = "few" if settings else "told"
    elif any(limit["beyond"] == "whole" for limit in limits):
        status = "alert"
    elif any(limit["beyond"] == "estimate" for limit in limits):
        status = "watch"
    return {
        "name": metric.title,
        "of": metric.of,
        "is": metric.how,
        "among": metric.among,
        **as_json(found),
        "status": status,
        "min_rows": fewest,
        "limits": limits,
        "baseline": as_json(before) if before else None,
        "series": [
            {"until": _iso(end), **as_json(one)}
            for (_, end, _), one in zip(windows, series, strict=True)
        ]
        if len(windows) > 1
        else [],
    }


def _limits(metric: Watched, found: Measure | None, before: Measure | None) -> list[dict[str, Any]]:
    """Each limit in words, and how far the metric is beyond it: not, its estimate, or wholly."""
    out = []
    for name in ("max", "min"):
        limit = getattr(metric, name)
        if limit is None:
            continue
        sign = 1 if name == "max" else -1
        ends = () if found is None else (found.value, found.low, found.high)
        over = [sign * (end - limit) for end in ends]
        shown = _amount(limit, metric)
        out.append({"words": f"{name} {shown}", "at": limit, "beyond": _beyond(over)})
    for name in ("drop", "rise"):
        change = getattr(metric, name)
        if change is None:
            continue
        if change.relative:
            words = f"{name} by {change} of the baseline"
        else:
            words = f"{name} by {_amount(change.number, metric, ' points')} from the baseline"
        over = []
        if found is not None and before is not None:
            sign = 1 if name == "rise" else -1
            # Relative: compared with (1 ± share) of the baseline, whose interval counts too.
            times = 1 + sign * change.number * (1 if before.value >= 0 else -1)
            apart = difference(found, before, times if change.relative else 1.0)
            if apart is not None:
                by = 0.0 if change.relative else change.number
                over = [sign * v - by for v in (apart.value, apart.low, apart.high)]
        out.append({"words": words, "at": None, "beyond": _beyond(over)})
    return out


def _amount(value: float, metric: Watched, unit: str = "%") -> str:
    return f"{100 * value:g}{unit}" if metric.how == "share" else f"{value:g}"


def _beyond(over: list[float]) -> str:
    if not over:
        return "unknown"
    if min(over) > 0:
        return "whole"
    return "estimate" if over[0] > 0 else "no"


def _baseline(metrics: Sequence[Watched], log: Log) -> dict[str, Measure]:
    first, last = _ends(log)
    found = {m.title: measure(log, m, None, last - first) for m in metrics}
    return {name: one for name, one in found.items() if one is not None}


def _windows(
    log: Log, window: str | None
) -> list[tuple[float, float, npt.NDArray[np.bool_] | None]]:
    """(start, end, rows) of each window, the last one last; all rows where there is no window."""
    first, last = _ends(log)
    if window is None:
        return [(first, last, None)]
    if np.isnan(last):
        raise UserError("no row with a time", mend="leave `window` out, or log `time`")
    length = seconds(window)
    count = max(1, min(SERIES, int((last - first) // length)))
    spans = [(last - (k + 1) * length, last - k * length) for k in reversed(range(count))]
    return [(a, b, (log.time > a) & (log.time <= b)) for a, b in spans]


def _ends(log: Log) -> tuple[float, float]:
    known = log.time[~np.isnan(log.time)]
    return (float(known.min()), float(known.max())) if len(known) else (np.nan, np.nan)


def _iso(moment: float) -> str | None:
    if np.isnan(moment):
        return None
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
