"""Results of several parts: tuples whose parts also have the names that PyTorch gives them."""

from __future__ import annotations

from typing import NamedTuple

from lampion.tensor import Tensor


class Found(NamedTuple):
    """Elements, and where each stands along the dimension that was searched."""

    values: Tensor
    indices: Tensor


class Extremes(NamedTuple):
    """The smallest and the largest element."""

    min: Tensor
    max: Tensor


class Histogram(NamedTuple):
    """How much lies in each bin, and the edges between which it lies."""

    hist: Tensor
    bin_edges: Tensor


class HistogramDD(NamedTuple):
    """How much lies in each box, and the edges along each dimension."""

    hist: Tensor
    bin_edges: tuple[Tensor, ...]
