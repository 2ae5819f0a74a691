"""Shares with their interval: `share(3, 20)` is 0.15 with 95% limits of 0.05 and 0.36."""

from __future__ import annotations

from typing import Any


def wilson(hits: int, count: int) -> tuple[float, float] | None:
    """Wilson's interval of 95% for a share; None of nothing.

    >>> [round(limit, 3) for limit in wilson(0, 20)], wilson(0, 0)
    ([0.0, 0.161], None)
    """
    if not count:
        return None
    from scipy.stats import binomtest

    limits = binomtest(hits, count).proportion_ci(method="wilson")
    return float(limits.low), float(limits.high)


def share(hits: int, count: int) -> dict[str, Any]:
    """A share as plain data; its value is None where nothing was counted.

    >>> share(1, 1)
    {'count': 1, 'hits': 1, 'share': 1.0, 'interval': [0.2065, 1.0]}
    """
    limits = wilson(hits, count)
    return {
        "count": count,
        "hits": hits,
        "share": round(hits / count, 4) if count else None,
        "interval": [round(limit, 4) for limit in limits] if limits else None,
    }


def say(found: dict[str, Any]) -> str:
    """A share in a cell of a table.

    >>> say(share(3, 20)), say(share(0, 0))
    ('15% 3/20 (5..36)', '-')
    """
    if found["share"] is None:
        return "-"
    low, high = found["interval"]
    return (
        f"{found['share']:.0%} {found['hits']}/{found['count']} ({100 * low:.0f}..{100 * high:.0f})"
    )
