"""`reward-model calibrate MODEL TEXTS --rewards`: where the rewards of reference texts lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reward_model.model.scale import RewardScale, fit_scale, models_digest
from reward_model.records.tables import read_rows
from reward_model.records.terminal import progress
from reward_model.score.files.rows import row_texts
from reward_model.score.files.run import check_rows
from reward_model.score.files.workers import Models

if TYPE_CHECKING:
    from reward_model.data.columns import ColumnMap

_ROWS = 64
"""Rows that are scored together."""


def measure_scale(
    models: Sequence[Path],
    texts: Path,
    *,
    how: str = "mean",
    columns: ColumnMap | None = None,
    weights: Mapping[str, float] | None = None,
    risk: float = 0.0,
    device: str | None = None,
    batch_tokens: int | None = None,
) -> RewardScale:
    """Mean and standard deviation of the reward over every response of a file.

    Args:
        models: folder of a trained model, or of several.
        texts: rows of any form that `reward-model score` reads.
        how: several are joined, `mean` or `minimum`.
        columns: which columns hold the texts, where they have names of their own.
        weights: dimension -> share in the reward instead of the rubric's.
        risk: lambda of the reward's ``mean - lambda * sd``.
        device: ``cuda``, ``mps`` or ``cpu``; the best there is if not given.
        batch_tokens: most tokens of a batch.

    Raises:
        UserError: a row that cannot be read, fewer than two rewards, or rewards that are all alike.
    """
    found = check_rows(texts, columns)
    terms = None if weights is None else dict(weights)
    scorer = Models(tuple(models), how, terms, risk, device, batch_tokens).load()
    rewards: list[float] = []
    own: list[list[float]] = []
    silent = 0
    rows = (row_texts(line, texts, columns) for line in read_rows(texts))
    with progress() as bar:
        task = bar.add_task("score", total=found.rows, note="")
        while block := list(islice(rows, _ROWS)):
            flat = [part for row in block for part in row]
            for score in scorer.score_batch([p.prompt for p in flat], [p.response for p in flat]):
                if score.reward is None:
                    silent += 1
                else:
                    rewards.append(score.reward)
                    own.append([score.own(name, scorer.risk) for name in scorer.dimensions])
            bar.update(task, advance=len(block))
    return fit_scale(
        np.array(rewards),
        np.array(own),
        scorer.weights,
        scorer.risk,
        no_opinion=silent,
        texts=texts,
        rows=found.digest,
        model=models_digest(models, how),
    )
