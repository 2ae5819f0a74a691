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

_FORMS = {
    **dict.fromkeys(("preference_accuracy", "win_rate", "judge_win_rate", "finished"), ".0%"),
    "implicit_accuracy": ".0%",
    "reward_change": "+.3f",
    "gold_change": "+.3f",
    "perplexity": ".1f",
    "answer_tokens": ".0f",
    "length_ratio": ".2f",
}
"""How a number is read: shares in percent, changes with their sign."""


def figure(run: Mapping[str, Any], name: str, *, interval: bool = True) -> str:
    """A number of a run with its interval.

    >>> figure({"kl": 2.5, "intervals": {"kl": {"low": 2, "high": 3}}}, "kl")
    '2.500 [2.000, 3.000]'
    >>> figure({"win_rate": 0.6, "answer_tokens": 24.0}, "win_rate")
    '60%'
    >>> figure({}, "kl")
    '–'
    """
    value = run.get(name)
    if value is None:
        return "–"
    around = (run.get("intervals") or {}).get(name) or {}
    form = _FORMS.get(name, ".3f")
    text = f"{value:{form}}"
    if interval and around.get("low") is not None and around.get("high") is not None:
        text += f" [{around['low']:{form}}, {around['high']:{form}}]"
    return text


def said(runs: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Problems of runs, then what else to know, each with its colour."""
    problems = [
        ("red", f"{one['problem']} {name}: {one['why']}")
        for name, run in runs.items()
        for one in run["problems"]
    ]
    notes = [
        ("yellow", f"note: {name}: {note}") for name, run in runs.items() for note in run["notes"]
    ]
    return problems + notes
