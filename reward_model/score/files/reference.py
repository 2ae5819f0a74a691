"""`reward-model calibrate MODEL TEXTS --rewards`: where the rewards of reference texts lie."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reward_model.model.folder import model_digest
from reward_model.records import UserError
from reward_model.records.tables import read_rows
from reward_model.records.terminal import progress
from reward_model.score.files.rows import row_texts
from reward_model.score.files.run import check_rows
from reward_model.score.scale import RewardScale
from reward_model.score.scorer import RewardScorer

if TYPE_CHECKING:
    from reward_model.data.columns import ColumnMap

_ROWS = 64
"""Rows that are scored together."""


def measure_scale(
    model: Path,
    texts: Path,
    *,
    columns: ColumnMap | None = None,
    weights: Mapping[str, float] | None = None,
    risk: float = 0.0,
    device: str | None = None,
    batch_tokens: int | None = None,
) -> RewardScale:
    """Mean and standard deviation of the reward over every response of a file.

    Args:
        model: folder of a trained model.
        texts: rows of any form that `reward-model score` reads.
        columns: which columns hold the texts, where they have names of their own.
        weights: dimension -> share in the reward instead of the rubric's.
        risk: lambda of the reward's ``mean - lambda * sd``.
        device: ``cuda``, ``mps`` or ``cpu``; the best there is if not given.
        batch_tokens: most tokens of a batch.

    Raises:
        UserError: a row that cannot be read, fewer than two rewards, or rewards that are all alike.
    """
    found = check_rows(texts, columns)
    scorer = RewardScorer.from_pretrained(
        model, device=device, batch_tokens=batch_tokens, weights=weights, risk=risk
    )
    rewards: list[float] = []
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
            bar.update(task, advance=len(block))
    if len(rewards) < 2:
        raise UserError(
            f"{len(rewards)} responses with a reward", expected="at least two", path=texts
        )
    sd = float(np.std(rewards, ddof=1))
    if sd < 1e-9:
        raise UserError(
            f"the same reward for all {len(rewards)} responses",
            expected="reference texts that differ",
            path=texts,
        )
    return RewardScale(
        mean=float(np.mean(rewards)),
        sd=sd,
        texts=len(rewards),
        no_opinion=silent,
        file=texts.name,
        digest=found.digest,
        model=model_digest(model),
        weights=scorer.weights,
        risk=scorer.risk,
    )
