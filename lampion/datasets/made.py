"""Datasets that a formula makes."""

from __future__ import annotations

import math

import numpy as np

import lampion
from lampion.errors import OptionError
from lampion.ops import Generator
from lampion.tensor import Tensor, from_numpy
from lampion.utils.data import TensorDataset


class Spiral(TensorDataset):
    r"""Points on the arms of a spiral, an arm for each class: no straight lines can part them.

    Point i of class c lies at the radius :math:`r = i / n` and the angle :math:`4 (c + r)` plus noise.

    Args:
        train: the points to learn from, or others, to test on.
        samples: how many points each class has.
        classes: how many arms there are.
        noise: the standard deviation of the angles, in radians.
        seed: other seeds make other points.

    A sample is a point, (2,) within the unit circle, and its class. The points are the same in every run.

    Source: A. Karpathy: CS231n, Stanford University (2015).

    >>> import lampion
    >>> data = lampion.datasets.Spiral()
    >>> len(data), data.points.shape, data.labels.unique().tolist()
    (300, (300, 2), [0, 1, 2])
    """

    def __init__(
        self, train: bool = True, samples: int = 100, classes: int = 3, noise: float = 0.2, seed: int = 0
    ) -> None:
        if samples < 1 or classes < 1:
            raise OptionError("Spiral", "no points", expected="samples and classes from 1 on",
                              got=f"{samples} and {classes}")  # fmt: skip
        generator = Generator().manual_seed(2 * seed + (not train))
        labels = lampion.arange(classes).repeat_interleave(samples)
        radius = lampion.arange(samples).repeat(classes) / samples
        angle = 4 * (labels + radius) + noise * lampion.randn(len(labels), generator=generator)
        points = lampion.stack([radius * angle.sin(), radius * angle.cos()], 1)
        order = lampion.randperm(len(labels), generator=generator)
        super().__init__(points[order], labels[order])
        self.train = train
        self.points, self.labels = self.tensors
        self.classes = tuple(map(str, range(classes)))


class SinCurve(TensorDataset):
    """A wave, point by point: from each of its values, the next is to be foretold.

    Args:
        train: one period of the sine with a little noise; or one of the cosine without, to test on.
        samples: how many points the curve has.
        seed: other seeds make other noise.

    A sample is a value, (1,), and the value that follows, (1,).

    Source: the datasets of DeZero, in "Deep Learning from Scratch 3" (2020), step 59.

    >>> import lampion
    >>> x, y = lampion.datasets.SinCurve(train=False)[0]
    >>> len(lampion.datasets.SinCurve()), x.tolist(), y.shape
    (999, [1.0], (1,))
    """

    def __init__(self, train: bool = True, samples: int = 1000, seed: int = 0) -> None:
        if samples < 2:
            raise OptionError("SinCurve", "a curve needs two points", got=f"samples={samples}")
        x = lampion.linspace(0, 2 * math.pi, samples)
        generator = Generator().manual_seed(seed)
        noise = 0.1 * lampion.rand(samples, generator=generator) - 0.05
        curve: Tensor = x.sin() + noise if train else x.cos()
        column = np.ascontiguousarray(curve.numpy()[:, None])
        super().__init__(from_numpy(column[:-1]), from_numpy(column[1:]))
        self.train = train
