"""MNIST and Fashion-MNIST: 70,000 grey images of 28 x 28 pixels each, in ten classes."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from lampion.datasets.fetch import File, check, obtain
from lampion.datasets.formats import read_idx
from lampion.datasets.images import Images
from lampion.errors import LampionError


def _files(digests: dict[str, str], packed: bool) -> dict[str, File]:
    sizes = {"train-images-idx3": 47_040_016, "train-labels-idx1": 60_008,
             "t10k-images-idx3": 7_840_016, "t10k-labels-idx1": 10_008}  # fmt: skip
    which = "packed" if packed else "unpacked"
    return {
        name: File(f"{name}-ubyte.gz", size=size, unpacked_size=size, **{which: digests[name]})
        for name, size in sizes.items()
    }


class MNIST(Images):
    """Handwritten digits: 60,000 images to learn from, 10,000 to test on.

    Args:
        root: the folder in which mnist/, with the files, lies or is made. By default, what lies in the folder
            that the environment variable LAMPION_DATA names comes first, then Lampion's cache (LAMPION_HOME,
            or ~/.cache/lampion).
        train: the images to learn from, or those to test on.
        transform, target_transform: called with each image and label.
        download: whether to get files that are not there from the network.

    A sample is an image, (1, 28, 28) with values from 0 (paper) to 1 (ink), and its label, 0 to 9. The files
    are checked by their SHA-256 before they are used, wherever they come from.

    Source: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: "Gradient-based learning applied to document
    recognition" (1998).
    """

    mirrors: ClassVar[tuple[str, ...]] = (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    )
    # Of the files without their gzip, so that it does not matter who packed them.
    files: ClassVar[dict[str, File]] = _files({
        "train-images-idx3": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    }, packed=False)  # fmt: skip
    classes = tuple("0123456789")

    def __init__(
        self, root: str | os.PathLike[str] | None = None, train: bool = True,
        transform: Callable[[Any], Any] | None = None, target_transform: Callable[[Any], Any] | None = None,
        download: bool = True,
    ) -> None:  # fmt: skip
        name = type(self).__name__
        kind = "train" if train else "t10k"
        read = []
        for file in (self.files[f"{kind}-images-idx3"], self.files[f"{kind}-labels-idx1"]):
            path = obtain(name, file, self.mirrors, root, download)
            check(name, path, file)
            read.append(read_idx(path, limit=file.unpacked_size))
        images, labels = read
        count = 60_000 if train else 10_000
        if images.shape != (count, 28, 28) or labels.shape != (count,) or labels.max() > 9:
            raise LampionError(name, "the files do not hold what they should",
                               expected=f"({count}, 28, 28) and ({count},), labels to 9",
                               got=f"{images.shape} and {labels.shape}")  # fmt: skip
        super().__init__(images[:, None], labels.astype(np.int64), transform, target_transform)
        self.train = train


class FashionMNIST(MNIST):
    """Pictures of clothes, in the same form as MNIST: see there for the arguments.

    Source: H. Xiao, K. Rasul, R. Vollgraf: "Fashion-MNIST: a novel image dataset for benchmarking machine
    learning algorithms" (2017).
    """

    mirrors = (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
    )
    # Of the files as they are published. Files that somebody has unpacked are checked for their form alone.
    files = _files({
        "train-images-idx3": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    }, packed=True)  # fmt: skip
    classes = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
        "Ankle boot",
    )  # fmt: skip
