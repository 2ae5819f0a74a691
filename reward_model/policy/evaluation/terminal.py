"""An evaluation of policies in the terminal: `tell(result)`."""

from __future__ import annotations

from typing import Any

from rich.table import Column

from reward_model.policy.evaluation.verdict import verdicts
from reward_model.policy.evaluation.words import COLUMNS, figure
from reward_model.records.terminal import TONES, console, table


def tell(result: dict[str, Any]) -> None:
    """The verdict on each run, a table of all, their problems, what else to know."""
    runs, screen = result["runs"], console()
    for name, one in verdicts(result).items():
        why = f", because {'; '.join(one.because)}" if one.because else ""
        words = f"{name} is better than its reference: {one.ready}{why}"
        screen.print(words, style=f"bold {TONES[one.ready]}", markup=False)
        if one.next:
            screen.print(f"next: {one.next}", style="cyan", markup=False, soft_wrap=True)
    shown = [c for c in COLUMNS if any(run.get(c[0]) is not None for run in runs.values())]
    names, side = list(runs), max(1, (screen.width - 16) // 26)
    for at in range(0, len(names), side):  # as many policies side by side as there is room for
        some = names[at : at + side]
        heads = [Column(name, justify="right", overflow="fold") for name in some]
        told = table(None, "", *heads)
        for key, title in shown:
            told.add_row(title, *(figure(runs[name], key) for name in some))
        screen.print(told)
    for name, run in runs.items():
        for one in run["problems"]:
            screen.print(f"[bold red]{one['problem']}[/] {name}: {one['why']}", soft_wrap=True)
        for words in run["notes"]:
            screen.print(f"[yellow]note:[/] {name}: {words}", soft_wrap=True)
