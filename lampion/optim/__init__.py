"""Optimizers: each is an update rule for one parameter; the loop around it is in `optimizer.py`."""

from lampion.optim.adam import Adam
from lampion.optim.optimizer import Optimizer
from lampion.optim.sgd import SGD

__all__ = ["SGD", "Adam", "Optimizer"]
