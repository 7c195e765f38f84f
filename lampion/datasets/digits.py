"""Handwritten digits from scikit-learn: 1,797 images of 8 x 8 pixels. They come with it: no download."""

from __future__ import annotations

import numpy as np

from lampion.errors import LampionError
from lampion.ops import Generator, randperm
from lampion.tensor import from_numpy
from lampion.utils.data import TensorDataset


class Digits(TensorDataset):
    """Handwritten digits, split 80 : 20 within each class, always in the same way.

    Args:
        train: the 1,438 images to learn from, or the 359 to test on.

    A sample is an image, (1, 8, 8) with values from 0 (paper) to 1 (ink), and its label, 0 to 9.

    Source: E. Alpaydin, C. Kaynak: "Optical Recognition of Handwritten Digits", UCI (1998), the test part.

    >>> import lampion
    >>> image, label = lampion.datasets.Digits(train=False)[0]
    >>> image.shape, label.item()
    ((1, 8, 8), 1)
    """

    classes = tuple("0123456789")

    def __init__(self, train: bool = True) -> None:
        try:
            from sklearn.datasets import load_digits
        except ImportError:
            raise LampionError("Digits", "the images come with scikit-learn, which is not installed",
                               fix='pip install ".[recipes]"') from None  # fmt: skip
        images, labels = load_digits(return_X_y=True)
        learn, test = split(labels)
        chosen = learn if train else test
        super().__init__(
            from_numpy((images[chosen].reshape(-1, 1, 8, 8) / 16.0).astype(np.float32)),
            from_numpy(labels[chosen].astype(np.int64)),
        )
        self.train = train
        self.images, self.labels = self.tensors


def split(labels: np.ndarray, test_share: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Split 0 .. n - 1 so that both parts have every class in the same proportion; in ascending order.

    Each class is shuffled with a fixed seed, and its first fifth is for testing.
    """
    generator = Generator().manual_seed(0)
    test = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        order = randperm(len(members), generator=generator).numpy()
        test[members[order[: round(test_share * len(members))]]] = True
    return np.flatnonzero(~test), np.flatnonzero(test)
