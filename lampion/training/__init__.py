"""Training: the loop, what is measured and kept on the way, checkpoints; a run's folder and its history.

In reading order: `trainer` (the loop), `steps` (what is compiled), `metrics`, `callbacks`, `checkpoint`.
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
from lampion.training.history import History
from lampion.training.progress import Progress
from lampion.training.run import Run
from lampion.training.trainer import Trainer

__all__ = [
    "Callback", "Checkpoint", "CheckpointError", "EarlyStopping", "History", "LambdaCallback", "Progress",
    "ProgressBar", "Run", "Schedule", "Trainer", "latest", "metrics", "read_checkpoint", "write_checkpoint",
]  # fmt: skip
