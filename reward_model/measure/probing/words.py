"""What an audit says in words and as a table: each finding with its probe, number and interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reward_model.stats.words import groups_words

if TYPE_CHECKING:
    from rich.table import Table

COLOURS = {
    "raised": "bold red",
    "not lowered": "bold red",
    "unseen": "bold red",
    "unclear": "yellow",
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
    if finding["verdict"] == "not lowered":
        return f"{probe} does not lower {which}: {number} ({what})"
    if name in result["probes"][probe]["lowers"]:
        return f"{probe}: whether it lowers {which} is unclear: {number} ({what})"
    return f"{probe}: whether it raises {which} is unclear: {number} ({what})"


def _unclear(probe: str, result: Mapping[str, Any]) -> list[str]:
    """What the intervals of a probe leave open, a sentence for each of the two questions."""
    open_: dict[str, list[str]] = {"raises": [], "lowers": []}
    for finding in result["unclear"]:
        if finding["probe"] == probe:
            name = finding["dimension"]
            number = change_words(finding, 3 if name == "reward" else 2)
            asked = "lowers" if name in result["probes"][probe]["lowers"] else "raises"
            open_[asked].append(f"{'the reward' if name == 'reward' else name} ({number})")
    ends = {"raises": " by more than is let pass", "lowers": ""}
    return [
        f"{probe}: not clear whether it {asked} {', '.join(columns)}{ends[asked]}"
        for asked, columns in open_.items()
        if columns
    ]


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
        words += _unclear(name, result)
        if probe["may_raise"]:
            names = ", ".join(probe["may_raise"])
            words.append(f"{name}: may raise {names}, which the edit does add to")
    if few := groups_words(result["split"]["groups"]):
        words.append(few)
    return words


def audit_table(result: Mapping[str, Any]) -> Table:
    """Probe by dimension: mean change with its interval, texts raised, and the verdict."""
    from rich.box import SIMPLE
    from rich.table import Table

    split, settings = result["split"], result["settings"]
    table = Table(
        title=f"change by probe: {split['texts']} texts, {split['groups']} groups "
        f"({split['part']}); let pass: {settings['threshold']:g} levels, "
        f"{settings['reward_threshold']:g} of the reward",
        title_justify="left",
        box=SIMPLE,
        padding=(0, 1),
    )
    table.add_column("", no_wrap=True)
    for name in ("change [95%]", "texts raised", "verdict"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, probe in result["probes"].items():
        table.add_row(f"[bold]{name}", *_unseen(probe))
        for dimension, column in probe["dimensions"].items():
            table.add_row(*_row(dimension, column, 2))
        table.add_row(*_row("reward", probe["reward"], 3))
    return table


def _row(name: str, column: Mapping[str, Any], decimals: int) -> tuple[str, ...]:
    from rich.markup import escape

    colour = COLOURS.get(column["verdict"], "dim" if column["verdict"] == "held" else "")
    verdict = f"[{colour}]{column['verdict']}[/]" if colour else column["verdict"]
    share = column["raised"]["value"]
    return (
        f"  {name}",
        escape(change_words(column["change"], decimals)),
        "–" if share is None else f"{share:.0%}",
        verdict,
    )


def _unseen(probe: Mapping[str, Any]) -> tuple[str, ...]:
    """Beside the probe's name only where there is something to say."""
    return ("", "", f"{probe['share_unseen']:.0%} unseen") if probe["unseen"] else ()
