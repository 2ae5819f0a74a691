from .data.dataset import MultiDimRewardDataset as MultiDimRewardDataset
from .data.dataset import PairwiseMultiDimDataset as PairwiseMultiDimDataset
from .data.dataset import get_label_distribution as get_label_distribution
from .model.network import MultiDimRewardConfig as MultiDimRewardConfig
from .model.network import MultiDimRewardModel as MultiDimRewardModel
from .rubrics import Rubric as Rubric
from .rubrics import load_rubric as load_rubric
from .score.ensemble import EnsembleScorer as EnsembleScorer
from .score.scorer import RewardScorer as RewardScorer
from .score.scores import Score as Score
from .score.sentences import Explanation as Explanation
from .score.sentences import explain as explain
from .train.trainer import MultiDimRewardTrainer as MultiDimRewardTrainer

__version__: str
