"""An evaluation on the terminal: a table of all runs, their problems, what else to know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from reward_model.records.terminal import console

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


def tell(result: Mapping[str, Any]) -> None:
    """Everything, on stderr."""
    runs = result["runs"]
    out = console()
    shown = [c for c in COLUMNS if any(run.get(c[0]) is not None for run in runs.values())]
    table = Table(box=None, pad_edge=False)
    table.add_column("policy", overflow="fold")
    for _, title in shown:
        table.add_column(title, justify="right")
    for name, run in runs.items():
        table.add_row(name, *(figure(run, key) for key, _ in shown))
    out.print(table)
    for name, run in runs.items():
        for one in run["problems"]:
            out.print(f"[bold red]{one['problem']}[/] {name}: {one['why']}", soft_wrap=True)
        for words in run["notes"]:
            out.print(f"[yellow]note:[/] {name}: {words}", soft_wrap=True)
