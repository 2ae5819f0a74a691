"""One model or several: what the server needs to know of either."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reward_model.score.ensemble import EnsembleScorer
    from reward_model.score.scorer import RewardScorer

    Scorer = RewardScorer | EnsembleScorer


def members(scorer: Scorer) -> Sequence[RewardScorer]:
    """The models that score: those of an ensemble, or the one."""
    from reward_model.score.ensemble import EnsembleScorer

    return scorer.members if isinstance(scorer, EnsembleScorer) else (scorer,)
