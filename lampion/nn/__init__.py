"""Layers, losses and the Module that holds them together, under PyTorch's names.

Read `module.py` (what a module keeps, and how it is found and saved), then `functional.py` (what the
layers compute); the other files are short.
"""

from lampion.nn import functional, init
from lampion.nn.activation import GELU, LeakyReLU, LogSoftmax, ReLU, Sigmoid, SiLU, Softmax, Tanh
from lampion.nn.container import ModuleDict, ModuleList, Sequential
from lampion.nn.dropout import Dropout
from lampion.nn.linear import Flatten, Identity, Linear
from lampion.nn.loss import CrossEntropyLoss, MSELoss, NLLLoss
from lampion.nn.module import Module
from lampion.nn.parameter import Parameter

__all__ = [
    "GELU", "CrossEntropyLoss", "Dropout", "Flatten", "Identity", "LeakyReLU", "Linear", "LogSoftmax",
    "MSELoss", "Module", "ModuleDict", "ModuleList", "NLLLoss", "Parameter", "ReLU", "Sequential", "SiLU",
    "Sigmoid", "Softmax", "Tanh", "functional", "init",
]  # fmt: skip
