"""Training: the loop, what is measured and kept on the way, checkpoints; a run's folder and its history.

In reading order: `trainer` (the loop), `steps` (what is compiled), `step_trainer` (a step of one's own, for
several models), `sequences` (a state that is carried on),
`metrics`, `callbacks`, `checkpoint`.
"""

from lampion.training import metrics
from lampion.training.callbacks import Callback, EarlyStopping, LambdaCallback, ProgressBar, Schedule
from lampion.training.checkpoint import (
    Checkpoint,
    CheckpointError,
    latest,
    read_checkpoint,
    write_checkpoint,
)
from lampion.training.finder import RateSearch, find_lr
from lampion.training.history import History
from lampion.training.loggers import CSVLogger, TensorBoardLogger
from lampion.training.pictures import ImagesByEpoch
from lampion.training.progress import Progress
from lampion.training.run import Run
from lampion.training.sequences import SequenceTrainer
from lampion.training.step_trainer import StepTrainer
from lampion.training.summary import Summary, summary
from lampion.training.trainer import Trainer

__all__ = [
    "CSVLogger", "Callback", "Checkpoint", "CheckpointError", "EarlyStopping", "History", "ImagesByEpoch",
    "LambdaCallback", "Progress", "ProgressBar", "RateSearch", "Run", "Schedule", "SequenceTrainer",
    "StepTrainer", "Summary", "TensorBoardLogger", "Trainer",
    "find_lr", "latest", "metrics", "read_checkpoint", "summary", "write_checkpoint",
]  # fmt: skip
