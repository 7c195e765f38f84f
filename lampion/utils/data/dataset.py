"""Datasets: samples by number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from lampion.errors import IndexRangeError, LampionError, ShapeError
from lampion.ops import Generator, randperm
from lampion.tensor import Tensor, wrap


class Dataset:
    """Samples by number: a subclass defines ``__getitem__(index)`` and ``__len__()``.

    It may also define ``get_batch(indices)``, which returns what `default_collate` would make of those
    samples: where a whole batch can be read at once, `DataLoader` then does so.

    >>> from lampion.utils.data import Dataset
    >>> class Squares(Dataset):
    ...     def __len__(self):
    ...         return 10
    ...
    ...     def __getitem__(self, index):
    ...         return index, index**2
    >>> Squares()[3]
    (3, 9)
    """

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define __getitem__(index)")


class TensorDataset(Dataset):
    """Tensors of equal first size: sample i is the tuple of their i-th slices.

    >>> import lampion
    >>> from lampion.utils.data import TensorDataset
    >>> data = TensorDataset(lampion.arange(4), lampion.arange(4) * 10)
    >>> data[2]
    (tensor(2), tensor(20))
    """

    def __init__(self, *tensors: Tensor) -> None:
        if not tensors or any(not isinstance(x, Tensor) or not x.ndim for x in tensors):
            raise LampionError("TensorDataset", "every argument is a Tensor with at least one dimension",
                               got=", ".join(type(x).__name__ for x in tensors) or "nothing")  # fmt: skip
        if len({x.shape[0] for x in tensors}) > 1:
            raise ShapeError(
                "TensorDataset",
                "the tensors have different numbers of samples",
                expected="one first size",
                got=", ".join(str(tuple(x.shape)) for x in tensors),
            )
        self.tensors = tensors

    def __len__(self) -> int:
        return self.tensors[0].shape[0]

    def __getitem__(self, index: int) -> tuple[Tensor, ...]:
        return tuple(x[index] for x in self.tensors)

    def get_batch(self, indices: Sequence[int]) -> list[Tensor]:
        """The batch of these samples: one copy for each tensor, whatever the number of samples."""
        # Data is read outside of any graph, so it need not go through the door.
        places = np.asarray(indices, dtype=np.int64)
        return [wrap(x._array[places]) for x in self.tensors]


class Subset(Dataset):
    """Some of the samples of a dataset, in the given order."""

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.indices[index]]

    def get_batch(self, indices: Sequence[int]) -> Any:
        """The batch of these samples, made by the dataset itself where it can."""
        return read_batch(self.dataset, [self.indices[i] for i in indices])


def read_batch(dataset: Any, indices: Sequence[int]) -> Any:
    """The collated batch of these samples."""
    from lampion.utils.data.collate import default_collate

    if _reads_batches(type(dataset)):
        return dataset.get_batch(indices)
    return default_collate([dataset[i] for i in indices])


def _reads_batches(kind: type) -> bool:
    """Whether `get_batch` speaks for the class: not if a subclass has redefined `__getitem__` since."""
    for cls in kind.__mro__:
        if "get_batch" in vars(cls):
            return True
        if "__getitem__" in vars(cls):
            return False
    return False


def random_split(
    dataset: Any, lengths: Sequence[int | float], generator: Generator | None = None
) -> list[Subset]:
    """Disjoint random parts of a dataset.

    Args:
        dataset: what to split.
        lengths: the sizes of the parts; or the shares, which add up to 1.
        generator: where the random numbers come from, if not from the default generator.

    >>> from lampion.utils.data import random_split
    >>> [len(part) for part in random_split(range(10), [0.75, 0.25])]
    [8, 2]
    """
    total = len(dataset)
    if all(0 <= n <= 1 for n in lengths) and math.isclose(sum(lengths), 1):
        sizes = [math.floor(total * share) for share in lengths]
        for i in range(total - sum(sizes)):  # what rounding left over goes round, as in PyTorch
            sizes[i % len(sizes)] += 1
    else:
        sizes = [int(n) for n in lengths]
    if sum(sizes) != total or min(sizes, default=0) < 0:
        raise IndexRangeError(
            "random_split",
            "the lengths do not add up to the size of the dataset",
            expected=f"a sum of {total} (or shares with a sum of 1)",
            got=str(list(lengths)),
        )
    order = randperm(total, generator=generator).tolist()
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return [Subset(dataset, order[end - size : end]) for size, end in zip(sizes, ends, strict=True)]
