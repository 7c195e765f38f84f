"""Datasets that Lampion's recipes train on, and readers of the formats that datasets come in."""

from lampion.datasets.babi import BAbI
from lampion.datasets.cifar import CIFAR10
from lampion.datasets.corpora import PTB, TinyShakespeare
from lampion.datasets.digits import Digits
from lampion.datasets.formats import read_cifar, read_idx
from lampion.datasets.imdb import IMDB
from lampion.datasets.made import SinCurve, Spiral
from lampion.datasets.mnist import MNIST, FashionMNIST
from lampion.datasets.pairs import Addition, Dates

__all__ = [
    "CIFAR10", "IMDB", "MNIST", "PTB", "Addition", "BAbI", "Dates", "Digits", "FashionMNIST", "SinCurve",
    "Spiral", "TinyShakespeare", "read_cifar", "read_idx",
]  # fmt: skip
