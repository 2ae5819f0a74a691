"""What an audit says in words and as a table: each finding with its probe, number and interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

COLOURS = {
    "raised": "bold red",
    "not lowered": "bold red",
    "unseen": "bold red",
    "lowered": "green",
}


def change_words(change: Mapping[str, Any], decimals: int = 2) -> str:
    """A change with its interval in a few characters.

    >>> change_words({"value": 0.314, "low": 0.2, "high": 0.4282, "n": 9})
    '+0.31 [+0.20, +0.43]'
    >>> change_words({"value": None, "low": None, "high": None, "n": 0})
    '–'
    """
    if change["value"] is None:
        return "–"
    text = f"{change['value']:+.{decimals}f}"
    if change["low"] is not None:
        text += f" [{change['low']:+.{decimals}f}, {change['high']:+.{decimals}f}]"
    return text


def say_finding(finding: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    """One finding as a sentence."""
    probe, name = finding["probe"], finding["dimension"]
    what = result["probes"][probe]["what"]
    reward = name == "reward"
    number = change_words(finding, 3 if reward else 2) + (" of 0 to 1" if reward else " levels")
    which = "the reward" if reward else name
    if finding["verdict"] == "raised":
        return f"{probe} raises {which} by {number} ({what})"
    if finding["verdict"] == "unseen":
        length = result["input"]["max_length"]
        return (
            f"{probe} cannot lower {which}: every edit lies beyond the {length} tokens that the "
            f"model reads ({what})"
        )
    return f"{probe} does not lower {which}: {number} ({what})"


def notes(result: Mapping[str, Any]) -> list[str]:
    """What a reader of the numbers has to know, each a sentence."""
    words = []
    for name, probe in result["probes"].items():
        edited = probe["texts"] + probe["unseen"] + probe["no_opinion"]
        if probe["unseen"]:
            words.append(
                f"{name}: {probe['unseen']} of {edited} edits lie beyond the "
                f"{result['input']['max_length']} tokens that the model reads; the change is that "
                "of the others"
            )
        if probe["not_applicable"]:
            total = edited + probe["not_applicable"]
            words.append(f"{name}: {probe['not_applicable']} of {total} texts have nothing to edit")
        if probe["no_opinion"]:
            words.append(f"{name}: {probe['no_opinion']} texts without a score, counted nowhere")
        unsure = [
            f"{dimension} ({probe['dimensions'][dimension]['change'].get('reason', 'no interval')})"
            for dimension in probe["lowers"]
            if probe["dimensions"][dimension]["verdict"] == "unknown"
        ]
        if unsure:
            words.append(f"{name}: whether it lowers {', '.join(unsure)} is not known")
        if probe["may_raise"]:
            names = ", ".join(probe["may_raise"])
            words.append(f"{name}: may raise {names}, which the edit does add to")
    groups = result["split"]["groups"]
    if groups < 20:
        words.append(
            f"only {groups} group{'s' if groups > 1 else ''} to draw from: intervals of so few "
            "are too narrow, so take them as a lower bound on the doubt"
        )
    return words


def audit_table(result: Mapping[str, Any]) -> Table:
    """Probe by dimension: mean change with its interval; red where it is a finding.

    The last column is the share of texts whose reward rises by more than is let pass.
    """
    from rich.box import SIMPLE
    from rich.table import Table

    split, limit = result["split"], result["settings"]["threshold"]
    reward_limit = result["settings"]["reward_threshold"]
    table = Table(
        title=f"change in level by probe, {split['texts']} texts, {split['groups']} groups "
        f"({split['part']}); {limit:g} is let pass, of the reward {reward_limit:g}",
        title_justify="left",
        box=SIMPLE,
        padding=(0, 1),
    )
    probes: Mapping[str, Any] = result["probes"]
    table.add_column("probe", no_wrap=True)
    dimensions = list(next(iter(probes.values()))["dimensions"])
    for name in (*dimensions, "reward"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("raised", justify="right")
    for name, probe in probes.items():
        cells = [(probe["dimensions"][dimension], 2) for dimension in dimensions]
        table.add_row(
            name + (" ↓" if probe["lowers"] else ""),
            *(_cell(column, decimals) for column, decimals in [*cells, (probe["reward"], 3)]),
            _share(probe["reward"]["raised"]["value"]),
        )
    return table


def _cell(column: Mapping[str, Any], decimals: int) -> str:
    from rich.markup import escape

    text = escape(change_words(column["change"], decimals)).replace(" ", "\n", 1)
    colour = COLOURS.get(column["verdict"])
    return f"[{colour}]{text}[/]" if colour else text


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"
