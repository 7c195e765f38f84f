"""Learning rates that change with the epochs: call ``scheduler.step()`` after ``optimizer.step()``.

A scheduler writes ``param_groups[i]["lr"]``. Compiled steps read the learning rate as an input, so they
follow a scheduler without being recorded again.
"""

from lampion.optim.lr_scheduler.base import LRScheduler
from lampion.optim.lr_scheduler.combined import ChainedScheduler, SequentialLR
from lampion.optim.lr_scheduler.cosine import CosineAnnealingLR, CosineAnnealingWarmRestarts
from lampion.optim.lr_scheduler.cycles import CyclicLR, OneCycleLR
from lampion.optim.lr_scheduler.factors import (
    ConstantLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from lampion.optim.lr_scheduler.plateau import ReduceLROnPlateau

__all__ = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR",
    "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR", "MultiplicativeLR", "OneCycleLR",
    "PolynomialLR", "ReduceLROnPlateau", "SequentialLR", "StepLR",
]  # fmt: skip
