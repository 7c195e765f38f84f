"""What a training program keeps and shows: the run's folder, its history, a progress bar."""

from lampion.training.history import History
from lampion.training.progress import Progress
from lampion.training.run import Run

__all__ = ["History", "Progress", "Run"]
