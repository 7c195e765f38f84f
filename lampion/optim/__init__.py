"""Optimizers: each is an update rule for one parameter; the loop around it is in `optimizer.py`."""

from lampion.optim import lr_scheduler, swa_utils
from lampion.optim.adadelta import Adadelta
from lampion.optim.adafactor import Adafactor
from lampion.optim.adagrad import Adagrad
from lampion.optim.adam import Adam, AdamW
from lampion.optim.adamax import Adamax
from lampion.optim.asgd import ASGD
from lampion.optim.lbfgs import LBFGS
from lampion.optim.muon import Muon
from lampion.optim.nadam import NAdam
from lampion.optim.optimizer import Optimizer
from lampion.optim.radam import RAdam
from lampion.optim.rmsprop import RMSprop
from lampion.optim.rprop import Rprop
from lampion.optim.sgd import SGD
from lampion.optim.sparse_adam import SparseAdam

__all__ = [
    "ASGD", "LBFGS", "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Muon", "NAdam",
    "Optimizer", "RAdam", "RMSprop", "Rprop", "SparseAdam", "lr_scheduler", "swa_utils",
]  # fmt: skip
