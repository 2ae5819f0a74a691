"""How right the model is on texts that it knows well and on those that it does not.

`by_familiarity(scores, chances, truth, bootstrap)`: accuracy and error in bins of familiarity, and
what is left of the error where only the most familiar texts are answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from reward_model.records import IGNORE
from reward_model.score.scores import Score
from reward_model.stats.bootstrap import Bootstrap, Floats
from reward_model.stats.evaluated import ByFamiliarity, Covered, FamiliarTexts
from reward_model.stats.levels import expected_levels, level_sd
from reward_model.stats.metrics import Truth, mean_part

EDGES = (0.0, 0.01, 0.05, 0.2, 0.5, 1.0)
"""Of the bins, each without its lower edge and with its upper one."""
SHARES = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Of the texts, that are answered."""
MANY = 0.05
"""Share of texts less familiar than one in a hundred from which on it is said."""


def by_familiarity(
    scores: Sequence[Score], chances: Floats, truth: Truth, bootstrap: Bootstrap
) -> ByFamiliarity | None:
    """None where the model does not know, or nothing is labelled.

    Args:
        scores: of the texts.
        chances: [n, D, K]; NaN where there is no opinion.
        truth: labels of the same texts.
        bootstrap: of the same texts.
    """
    known = np.array([np.nan if s.familiarity is None else s.familiarity for s in scores])
    labelled = (truth.labels != IGNORE) & np.isfinite(chances).all(axis=2)
    rows = np.flatnonzero(np.isfinite(known) & labelled.any(axis=1))
    if not len(rows):
        return None
    there = labelled[rows]
    labels, said, known = truth.labels[rows], chances[rows], known[rows]
    count = there.sum(axis=1)
    right = ((said.argmax(axis=2) == labels) & there).sum(axis=1) / count
    off = (np.abs(expected_levels(said) - labels) * there).sum(axis=1) / count
    spread = (level_sd(said) * there).sum(axis=1) / count

    bins = []
    for low, high in pairwise(EDGES):
        inside = np.flatnonzero((known > low) & (known <= high))
        reason = None if len(inside) else "no text so familiar"
        part = [
            mean_part(bootstrap, values[inside], rows[inside], reason, share=share, span=span)
            for values, share, span in (
                (right, True, (0.0, 1.0)),
                (off, False, (0.0, float(chances.shape[2] - 1))),
            )
        ]
        accuracy, error = (bootstrap.estimate(one) for one in part)
        bins.append(
            FamiliarTexts(low=low, high=high, texts=len(inside), accuracy=accuracy, error=error)
        )

    def errors(worst_last: Floats) -> list[float]:
        order = np.argsort(worst_last, kind="stable")
        return [float(off[order[: max(1, round(share * len(order)))]].mean()) for share in SHARES]

    by_known, by_spread, by_error = errors(-known), errors(spread), errors(off)
    coverage = [
        Covered(share=share, error=one, error_by_spread=two, error_at_best=best)
        for share, one, two, best in zip(SHARES, by_known, by_spread, by_error, strict=True)
    ]
    return ByFamiliarity(texts=len(rows), bins=bins, coverage=coverage)


def familiarity_words(found: ByFamiliarity | None) -> list[str]:
    """A sentence where many texts are unlike those that the model was validated on."""
    if found is None:
        return []
    strange = found.bins[0]
    if strange.texts < MANY * found.texts:
        return []
    return [
        f"{strange.texts} of {found.texts} texts are less familiar than one in a hundred of those "
        f"it was validated on; there the expected level is off by {strange.error.value:.2f}"
    ]
