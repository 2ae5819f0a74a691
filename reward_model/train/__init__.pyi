from .config import TrainConfig as TrainConfig
from .config import resolve as resolve
from .run import make_trainer as make_trainer
from .run import train as train
from .trainer import MultiDimRewardTrainer as MultiDimRewardTrainer
