"""Multi-dimensional reward models for RLHF: say *what* is good, not only which is better.

Public names load on first use, so that `import reward_model` never imports torch by itself.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reward_model.data.dataset import (
        MultiDimRewardDataset,
        PairwiseMultiDimDataset,
        get_label_distribution,
    )
    from reward_model.model.network import MultiDimRewardConfig, MultiDimRewardModel
    from reward_model.rubrics import Rubric, load_rubric
    from reward_model.score.ensemble import EnsembleScorer
    from reward_model.score.scorer import RewardScorer, Score
    from reward_model.train.trainer import MultiDimRewardTrainer

__version__ = "0.1.0"

_HOME = {
    "EnsembleScorer": "reward_model.score.ensemble",
    "MultiDimRewardConfig": "reward_model.model",
    "MultiDimRewardDataset": "reward_model.data",
    "MultiDimRewardModel": "reward_model.model",
    "MultiDimRewardTrainer": "reward_model.train.trainer",
    "PairwiseMultiDimDataset": "reward_model.data",
    "RewardScorer": "reward_model.score.scorer",
    "Rubric": "reward_model.rubrics",
    "Score": "reward_model.score.scorer",
    "get_label_distribution": "reward_model.data",
    "load_rubric": "reward_model.rubrics",
}

__all__ = [
    "EnsembleScorer",
    "MultiDimRewardConfig",
    "MultiDimRewardDataset",
    "MultiDimRewardModel",
    "MultiDimRewardTrainer",
    "PairwiseMultiDimDataset",
    "RewardScorer",
    "Rubric",
    "Score",
    "get_label_distribution",
    "load_rubric",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'reward_model' has no attribute {name!r}")
