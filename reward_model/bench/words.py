"""The table of a bench in words: figures with intervals, and who is ahead beyond chance."""

from __future__ import annotations

from typing import Any


def figure(found: dict[str, Any]) -> str:
    """A share in percent with its interval.

    >>> figure({"value": 0.75, "low": 0.5, "high": 0.9, "n": 40})
    '75.0 [50.0, 90.0]'
    >>> figure({"value": None, "low": None, "high": None, "n": 0})
    '–'
    """
    if found["value"] is None:
        return "–"
    value = f"{100 * found['value']:.1f}"
    if found["low"] is None:
        return value
    return f"{value} [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"


def metrics(benchmark: dict[str, Any]) -> list[str]:
    """Names of all metrics of a benchmark, its own figure first."""
    names: dict[str, None] = {}
    for result in benchmark["rewards"].values():
        names.update(dict.fromkeys(result["metrics"]))
    return list(names)


def verdicts(result: dict[str, Any]) -> list[str]:
    """Each reward against the first, counted over benchmarks."""
    first, *others = (reward["name"] for reward in result["rewards"])
    out = []
    for name in others:
        apart = [b["rewards"][name].get("difference") for b in result["benchmarks"]]
        known = [one for one in apart if one and one["low"] is not None]
        ahead, behind = (
            sum(one["low"] > 0 for one in known),
            sum(one["high"] < 0 for one in known),
        )
        out.append(
            f"{name} against {first}: beyond chance ahead on {ahead} of {len(apart)}, behind on "
            f"{behind}"
        )
    return out


def notes(result: dict[str, Any]) -> list[str]:
    """What to know of a result, in sentences."""
    out = []
    first = result["rewards"][0]["name"]
    for benchmark in result["benchmarks"]:
        for name, own in benchmark["rewards"].items():
            title = benchmark["name"]
            if own["no_opinion"]:
                share = own["no_opinion"] / benchmark["responses"]
                out.append(
                    f"{name} on {title}: no opinion on {own['no_opinion']:,} responses "
                    f"({share:.1%}), which count as lost"
                )
            apart = own.get("difference")
            if apart and apart["low"] is not None and (apart["low"] > 0 or apart["high"] < 0):
                word = "ahead of" if apart["value"] > 0 else "behind"
                points = 100 * abs(apart["value"])
                out.append(
                    f"{name} on {title}: {word} {first} by {points:.1f} points, beyond chance"
                )
            longer = own["metrics"].get("length-matched")
            score = own["metrics"]["score"]
            if longer and longer["value"] is not None and score["value"] is not None:
                lost = score["value"] - longer["value"]
                if lost > 0.05:
                    out.append(
                        f"{name} on {title}: {100 * lost:.1f} points of its score go with length: "
                        f"{100 * longer['value']:.1f} where longer and shorter count alike"
                    )
    return out
