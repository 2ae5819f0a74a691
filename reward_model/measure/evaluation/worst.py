"""Which mistakes of a model are its worst, and which sentences of theirs carry the score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reward_model.data.dataset import Sample
from reward_model.records import IGNORE
from reward_model.records.terminal import progress
from reward_model.score.scorer import RewardScorer, Score
from reward_model.score.sentences import Explanation, explain
from reward_model.stats.bootstrap import Floats
from reward_model.stats.levels import expected_levels
from reward_model.stats.metrics import Truth


def wrong_pairs(truth: Truth, scores: Sequence[Score]) -> list[tuple[float, int, int]]:
    """Gap, chosen and rejected row of pairs whose rejected side got as much or more reward,
    widest gap first.
    """
    found = []
    for chosen, rejected in truth.pairs.tolist():
        a, b = scores[chosen].reward, scores[rejected].reward
        if a is not None and b is not None and a <= b:
            found.append((a - b, chosen, rejected))
    return sorted(found)


def furthest_texts(truth: Truth, probabilities: Floats) -> list[tuple[float, int]]:
    """Levels off and row of texts a level or more off in all their dimensions, furthest first."""
    off = np.abs(expected_levels(probabilities) - truth.labels)
    total = np.nan_to_num(np.where(truth.labels != IGNORE, off, 0.0).sum(axis=1))
    order = np.argsort(-total, kind="stable")
    return [(float(total[i]), int(i)) for i in order if total[i] >= 1]


def worst_rows(
    truth: Truth, scores: Sequence[Score], probabilities: Floats, most: int
) -> list[int]:
    """Rows of so many of the worst pairs, and of the worst texts."""
    pairs = [row for _, *rows in wrong_pairs(truth, scores)[:most] for row in rows]
    texts = [row for _, row in furthest_texts(truth, probabilities)[:most]]
    return list(dict.fromkeys([*pairs, *texts]))


def explain_rows(
    scorer: RewardScorer, samples: Sequence[Sample], rows: Sequence[int]
) -> dict[int, Explanation]:
    """Which sentences carry the score of some rows, where they have one."""
    if not rows:
        return {}
    found = {}
    with progress(transient=True) as bar:
        task = bar.add_task("explaining mistakes", total=len(rows), note="")
        for row in rows:
            found[row] = explain(scorer, samples[row].prompt, samples[row].response)
            bar.update(task, advance=1)
    return {row: one for row, one in found.items() if one.passages}
