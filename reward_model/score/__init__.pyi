from .ensemble import EnsembleScorer as EnsembleScorer
from .export.run import run_export as run_export
from .files.ray import ScoreBlocks as ScoreBlocks
from .files.run import score_file as score_file
from .scorer import RewardScorer as RewardScorer
from .scores import Score as Score
from .sentences import Explanation as Explanation
from .sentences import explain as explain
