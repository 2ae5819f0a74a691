"""How often each level was given, by dimension and side.

Warns of levels nobody gave and of labels that hardly vary, which no model can learn from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reward_model.data.columns import read_columns
from reward_model.data.dataset import get_label_distribution
from reward_model.data.reading import find_rubric, read_samples
from reward_model.records.files import Pathish
from reward_model.rubrics import Rubric

NEAR_CONSTANT = 0.9
"""From this share at one level on, plain accuracy says nothing."""


def count_labels(
    path: Pathish, *, rubric: str | None = None, columns: Pathish | None = None
) -> tuple[dict[str, Any], Rubric]:
    """How often each level was given in a file, with warnings, and the rubric of the levels.

    Args:
        rubric: name or path; none: the one that the file calls for.
        columns: file of a column map.

    Raises:
        UserError: the file, the rubric or the map is wrong.
    """
    layout = read_columns(columns) if columns else None
    known = find_rubric(path, rubric, columns=layout)
    samples, bare = read_samples(path, known, columns=layout)
    counts = get_label_distribution(samples, known)
    return {
        "file": Path(path).name,
        "rubric": known.id,
        "texts": len(samples),
        "groups": len({sample.group for sample in samples}),
        "records_without_scores": bare,
        "labels": counts,
        "warnings": label_warnings(counts, known),
    }, known


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
