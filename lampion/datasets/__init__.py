"""Datasets that Lampion's recipes train on, and readers of the formats that datasets come in."""

from lampion.datasets.cifar import CIFAR10
from lampion.datasets.digits import Digits
from lampion.datasets.formats import read_cifar, read_idx
from lampion.datasets.made import SinCurve, Spiral
from lampion.datasets.mnist import MNIST, FashionMNIST

__all__ = [
    "CIFAR10", "MNIST", "Digits", "FashionMNIST", "SinCurve", "Spiral", "read_cifar", "read_idx",
]  # fmt: skip
