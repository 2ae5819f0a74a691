"""Traffic in words: a number with its interval, and what to do about a verdict."""

from __future__ import annotations

import math
from typing import Any

TONES = {
    "alert": "bad",
    "watch": "fair",
    "ok": "good",
    "few": "fair",
    "absent": "fair",
    "told": "",
    "better": "good",
    "worse": "bad",
    "no difference seen": "fair",
    "too early": "fair",
    "split broken": "bad",
    "guardrail harmed": "bad",
    "harmed": "bad",
    "safe": "good",
    "unclear": "fair",
    "no numbers": "fair",
}
STATUS = {
    "alert": "alert",
    "watch": "watch",
    "ok": "ok",
    "few": "too few rows",
    "absent": "not in the log",
    "told": "",
}
VERDICTS = {
    "better": "{arm} is better: the change in {outcome} is beyond chance.",
    "worse": "{arm} is worse: keep {control}.",
    "no difference seen": "No difference between {arm} and {control} is seen; it may be smaller "
    "than these users can show (`--plan` tells how many it takes).",
    "too early": "Too early for {arm}: there is no verdict before {until}.",
    "split broken": "No verdict for {arm}: users are not divided as planned, so the arms hold "
    "different people. Find out how before reading any number below.",
    "guardrail harmed": "Stop {arm}: it harms {harmed}.",
}


def number(value: float | None, how: str) -> str:
    """A number as its kind is read: a share in percent, others with four figures.

    >>> number(0.0312, "share"), number(1234.6, "p95"), number(2.5, "mean"), number(None, "mean")
    ('3.12%', '1,235', '2.500', '–')
    """
    if value is None:
        return "–"
    return f"{100 * value:.2f}%" if how == "share" else f"{value:,.{_decimals(value)}f}"


def between(found: dict[str, Any], how: str) -> str:
    """A number with its interval.

    >>> between({"value": 0.5, "low": 0.4, "high": 0.6}, "share")
    '50.00% [40.00%, 60.00%]'
    >>> between({"value": 0.01897, "low": 0.001919, "high": 0.03603}, "mean")
    '0.01897 [0.00192, 0.03603]'
    """
    three = [found[key] for key in ("value", "low", "high")]
    if three[0] is None or three[1] is None:
        return number(three[0], how)
    if how == "share":
        value, low, high = (number(one, how) for one in three)
    else:
        places = _decimals(*three)
        value, low, high = (f"{one:,.{places}f}" for one in three)
    return f"{value} [{low}, {high}]"


def chance(p: float, places: int) -> str:
    """A p-value, of which no more is said than its decimals carry.

    >>> chance(0.0312, 3), chance(1e-9, 4)
    ('0.031', '<0.0001')
    """
    least = 10.0**-places
    return f"<{least:.{places}f}" if p < least else f"{p:.{places}f}"


def _decimals(*values: float) -> int:
    """Places after the point that give the largest of some numbers four figures."""
    largest = max(map(abs, values))
    return min(8, max(0, 3 - math.floor(math.log10(largest)))) if largest else 0


def beyond(metric: dict[str, Any]) -> str:
    """What of a watched metric is beyond which limit."""
    limits = [x["words"] for x in metric["limits"] if x["beyond"] in ("whole", "estimate")]
    return f"{metric['name']} is {between(metric, metric['is'])}, beyond {' and '.join(limits)}"


def verdicts(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(arm, tone, sentence) of each treatment of an A/B test."""
    out = []
    for arm, verdict in result["verdict"].items():
        harmed = [r["outcome"] for r in result["guardrails"] if r["verdict"] == "harmed"]
        sentence = VERDICTS.get(verdict, "{arm} has no numbers in {outcome}.").format(
            arm=arm,
            control=result["control"],
            until=result["until"],
            outcome=result["primary"][0]["outcome"],
            harmed=" and ".join(dict.fromkeys(harmed)),
        )
        out.append((arm, TONES.get(verdict, "fair"), sentence))
    return out


def notes(found: dict[str, int]) -> list[str]:
    """Counts in words.

    >>> notes({"rows unreadable": 1200, "users in several arms, left out": 2})
    ['rows unreadable: 1,200', 'users in several arms, left out: 2']
    """
    return [f"{words}: {count:,}" for words, count in found.items()]
