"""Datasets that Lampion's recipes train on, and readers of the formats that datasets come in."""

from lampion.datasets.babi import BAbI
from lampion.datasets.cifar import CIFAR10, CIFAR100
from lampion.datasets.corpora import PTB, TinyShakespeare
from lampion.datasets.digits import Digits
from lampion.datasets.folder import DatasetFolder, ImageFolder, open_image
from lampion.datasets.formats import read_cifar, read_idx
from lampion.datasets.imagenet import imagenet_labels
from lampion.datasets.imdb import IMDB
from lampion.datasets.made import SinCurve, Spiral
from lampion.datasets.mnist import MNIST, FashionMNIST
from lampion.datasets.pairs import Addition, Dates

__all__ = [
    "CIFAR10", "CIFAR100", "IMDB", "MNIST", "PTB", "Addition", "BAbI", "DatasetFolder", "Dates", "Digits",
    "FashionMNIST", "ImageFolder", "SinCurve", "Spiral", "TinyShakespeare", "imagenet_labels", "open_image",
    "read_cifar", "read_idx",
]  # fmt: skip
