"""Figures of an evaluation, for terminal and page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

COLUMNS = (
    ("preference_accuracy", "pairs right"),
    ("perplexity", "perplexity"),
    ("reward", "reward"),
    ("reward_change", "change"),
    ("win_rate", "wins"),
    ("gold_change", "gold change"),
    ("judge_win_rate", "judge"),
    ("kl", "KL, nats"),
    ("answer_tokens", "tokens"),
    ("finished", "finished"),
)


def figure(run: Mapping[str, Any], name: str, *, interval: bool = True) -> str:
    """A number of a run with its interval.

    >>> figure({"kl": 2.5, "intervals": {"kl": {"low": 2, "high": 3}}}, "kl")
    '2.500 [2.00, 3.00]'
    >>> figure({}, "kl")
    '–'
    """
    value = run.get(name)
    if value is None:
        return "–"
    around = (run.get("intervals") or {}).get(name) or {}
    text = f"{value:.3f}"
    if interval and around.get("low") is not None and around.get("high") is not None:
        text += f" [{around['low']:.2f}, {around['high']:.2f}]"
    return text
