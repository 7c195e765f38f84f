"""Datasets: samples by number, or one after the other; and datasets made of other datasets."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from lampion.errors import DTypeError, IndexRangeError, LampionError, ShapeError
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

    def __add__(self, other: Any) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset):
    """Samples one after the other: a subclass defines ``__iter__()``; for streams without numbers.

    With workers, each of them runs through a copy of the dataset: `get_worker_info` tells it which part is
    its own.

    >>> from lampion.utils.data import DataLoader, IterableDataset
    >>> class Countdown(IterableDataset):
    ...     def __iter__(self):
    ...         return iter([3, 2, 1])
    >>> list(DataLoader(Countdown(), batch_size=2))
    [tensor([3, 2]), tensor([1])]
    """

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} does not define __iter__()")

    def __add__(self, other: Any) -> Any:
        return ChainDataset([self, other])


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
        if isinstance(indices, range) and indices.step == 1:
            return [x[indices.start : indices.stop].clone() for x in self.tensors]
        places = np.asarray(indices, dtype=np.int64)
        return [_rows(x, places) for x in self.tensors]


def _rows(x: Tensor, places: Any) -> Tensor:
    if x.requires_grad:
        return x[wrap(places)]
    try:
        # Data is read outside of any graph, so it need not go through the door.
        return wrap(x._array.take(places, axis=0))
    except IndexError:
        raise IndexRangeError("TensorDataset", "an index points outside of the dataset",
                              expected=f"{-x.shape[0]} to {x.shape[0] - 1}",
                              got=f"{places.min()} to {places.max()}") from None  # fmt: skip


class StackDataset(Dataset):
    """Datasets of equal size side by side: a sample is the tuple of theirs, or the dict if they have names.

    >>> from lampion.utils.data import StackDataset
    >>> StackDataset(image="abc", label=[0, 1, 2])[1]
    {'image': 'b', 'label': 1}
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if bool(args) == bool(kwargs):
            raise LampionError("StackDataset", "expected datasets either without names or with names",
                               got=f"{len(args)} without, {len(kwargs)} with")  # fmt: skip
        self.datasets: Any = args or kwargs
        sizes = [len(data) for data in self._parts()]
        if len(set(sizes)) > 1:
            raise ShapeError("StackDataset", "the datasets have different sizes", got=str(sizes))
        self._length = sizes[0]

    def _parts(self) -> list[Any]:
        return list(self.datasets.values() if isinstance(self.datasets, dict) else self.datasets)

    def _joined(self, parts: list[Any], kind: type = tuple) -> Any:
        if isinstance(self.datasets, dict):
            return dict(zip(self.datasets, parts, strict=True))
        return kind(parts)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Any:
        return self._joined([data[index] for data in self._parts()])

    def get_batch(self, indices: Sequence[int]) -> Any:
        """The batch of these samples, made by the datasets themselves where they can."""
        return self._joined([read_batch(data, indices) for data in self._parts()], list)


class ConcatDataset(Dataset):
    """Datasets one behind the other; ``a + b`` makes one too.

    >>> from lampion.utils.data import ConcatDataset
    >>> data = ConcatDataset([range(3), range(10, 12)])
    >>> len(data), data[2], data[3], data[-1]
    (5, 2, 10, 11)
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise LampionError("ConcatDataset", "no datasets are given", expected="one or more")
        if any(isinstance(data, IterableDataset) for data in self.datasets):
            raise DTypeError("ConcatDataset", "an IterableDataset has no samples by number",
                             fix="use ChainDataset")  # fmt: skip
        self.cumulative_sizes: list[int] = []
        for data in self.datasets:
            self.cumulative_sizes.append((self.cumulative_sizes or [0])[-1] + len(data))

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> Any:
        size = len(self)
        if not -size <= index < size:
            raise IndexRangeError("ConcatDataset", "an index points outside of the dataset",
                                  expected=f"{-size} to {size - 1}", got=str(index))  # fmt: skip
        index %= size
        which = bisect.bisect_right(self.cumulative_sizes, index)
        return self.datasets[which][index - (self.cumulative_sizes[which - 1] if which else 0)]


class ChainDataset(IterableDataset):
    """Iterable datasets one after the other.

    >>> from lampion.utils.data import ChainDataset
    >>> list(ChainDataset(["ab", "c"]))
    ['a', 'b', 'c']
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = datasets

    def __iter__(self) -> Iterator[Any]:
        for data in self.datasets:
            yield from data

    def __len__(self) -> int:
        return sum(len(data) for data in self.datasets)


class Subset(Dataset):
    """Some of the samples of a dataset, in the given order.

    >>> from lampion.utils.data import Subset
    >>> list(Subset("abcd", [3, 0]))
    ['d', 'a']
    """

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self.indices[index]]

    def __iter__(self) -> Iterator[Any]:
        return (self.dataset[i] for i in self.indices)

    def get_batch(self, indices: Sequence[int]) -> Any:
        """The batch of these samples, made by the dataset itself where it can."""
        return read_batch(self.dataset, [self.indices[i] for i in indices])


def read_batch(dataset: Any, indices: Sequence[int]) -> Any:
    """The collated batch of these samples."""
    from lampion.utils.data.collate import default_collate

    if reads_batches(type(dataset)):
        return dataset.get_batch(indices)
    return default_collate(read_samples(dataset, indices))


def read_samples(dataset: Any, indices: Sequence[int]) -> list[Any]:
    """These samples: at once, if the dataset has PyTorch's ``__getitems__``."""
    if callable(many := getattr(dataset, "__getitems__", None)):
        return list(many(indices))
    return [dataset[i] for i in indices]


def reads_batches(kind: type) -> bool:
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
