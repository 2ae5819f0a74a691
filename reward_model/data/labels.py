"""`reward-model labels`: how often each level was given, by dimension and side.

Warns of levels nobody gave and of labels that hardly vary, which no model can learn from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reward_model.data.columns import read_columns
from reward_model.data.dataset import get_label_distribution
from reward_model.data.reading import find_rubric, read_samples
from reward_model.records import check_outputs, write_result
from reward_model.records.files import Pathish
from reward_model.records.terminal import console
from reward_model.rubrics import Rubric

NEAR_CONSTANT = 0.9
"""From this share at one level on, plain accuracy says nothing."""


def report(
    path: Pathish,
    *,
    rubric: str | None = None,
    columns: Path | None = None,
    json_to: str | None = None,
) -> None:
    """Print the table and the warnings, and write them as JSON if asked to."""
    check_outputs({"--json": json_to}, (path, columns, rubric))
    layout = read_columns(columns) if columns else None
    known = find_rubric(path, rubric, columns=layout)
    samples, bare = read_samples(path, known, columns=layout)
    counts = get_label_distribution(samples, known)
    warnings = label_warnings(counts, known)
    result = {
        "file": Path(path).name,
        "rubric": known.id,
        "texts": len(samples),
        "groups": len({sample.group for sample in samples}),
        "records_without_scores": bare,
        "labels": counts,
        "warnings": warnings,
    }
    _show(result, known)
    write_result(result, json_to)


def label_warnings(counts: dict[str, dict[str, dict[str, int]]], rubric: Rubric) -> list[str]:
    """What stands in the way of learning, in words.

    >>> from reward_model.rubrics import load_rubric
    >>> rubric = load_rubric("education_bias")
    >>> every = {"0": 0, "1": 0, "2": 50, "3": 50, "4": 0, "missing": 0}
    >>> counts = {name: {"all": every} for name in rubric.names}
    >>> label_warnings(counts, rubric)[0]
    'fairness: nobody gave level 0, 1, 4; the model cannot learn to predict it'
    """
    words = []
    for name in rubric.names:
        for side, levels in counts[name].items():
            given = {level: n for level, n in levels.items() if level != "missing"}
            total = sum(given.values())
            where = name if side == "all" else f"{name} ({side})"
            if total == 0:
                words.append(f"{where}: no labels at all")
                continue
            most = max(given, key=lambda level: given[level])
            share = given[most] / total
            if side == "all" and (empty := [level for level, n in given.items() if n == 0]):
                words.append(
                    f"{name}: nobody gave level {', '.join(empty)}; "
                    "the model cannot learn to predict it"
                )
            if share == 1:
                words.append(f"{where}: level {most} on every text; there is nothing to tell apart")
            elif share >= NEAR_CONSTANT:
                words.append(f"{where}: level {most} on {share:.0%} of the texts; nearly constant")
    return words


def _show(result: dict[str, Any], rubric: Rubric) -> None:
    from rich.table import Table

    out = console()
    table = Table(title=f"{result['texts']} texts in {result['groups']} groups, {result['rubric']}")
    table.add_column("dimension")
    table.add_column("side")
    for level in range(rubric.classes):
        table.add_column(str(level), justify="right")
    table.add_column("missing", justify="right")
    for name in rubric.names:
        for i, (side, levels) in enumerate(result["labels"][name].items()):
            table.add_row(name if i == 0 else "", side, *(str(n) for n in levels.values()))
    out.print(table)
    if result["records_without_scores"]:
        out.print(f"{result['records_without_scores']} records carry no score and were left out")
    for words in result["warnings"]:
        out.print(f"[yellow]warning:[/] {words}")
