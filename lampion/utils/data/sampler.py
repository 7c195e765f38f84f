"""Samplers: in which order the samples of a dataset are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from lampion.errors import LampionError
from lampion.ops import Generator, multinomial, randint, randperm
from lampion.tensor import Tensor, as_tensor


class Sampler:
    """The base class: a subclass defines ``__iter__`` (over indices) and, where it is known, ``__len__``.

    One that draws random numbers does well to draw them all at the start of ``__iter__``, from `generator`
    (None: the default generator): then `DataLoader.load_state_dict` can repeat a pass.
    """

    generator: Generator | None = None

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} does not define __iter__()")


class SequentialSampler(Sampler):
    """0, 1, 2, ...

    >>> from lampion.utils.data import SequentialSampler
    >>> list(SequentialSampler("abc"))
    [0, 1, 2]
    """

    def __init__(self, data_source: Any) -> None:
        self.data_source = data_source

    def order(self) -> range:
        """The indices of a pass."""
        return range(len(self.data_source))

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler):
    """Every index once, in an order drawn anew for each pass; or draws with replacement.

    Args:
        data_source: the dataset.
        replacement: whether an index may come several times.
        num_samples: how many indices a pass has; by default as many as there are samples.
        generator: where the random numbers come from, if not from the default generator.

    >>> from lampion.utils.data import RandomSampler
    >>> sorted(RandomSampler("abc"))
    [0, 1, 2]
    """

    def __init__(
        self, data_source: Any, replacement: bool = False, num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        if num_samples is not None and num_samples < 1:
            raise LampionError("RandomSampler", "num_samples is not positive", expected="1 or more",
                               got=str(num_samples))  # fmt: skip
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator

    @property
    def num_samples(self) -> int:
        """How many indices a pass has."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def order(self) -> Any:
        """The indices of a pass, as an array."""
        size, left = len(self.data_source), self.num_samples
        if not size:
            return np.zeros(0, np.int64)
        if self.replacement:
            return randint(size, size=(left,), generator=self.generator).numpy()
        rounds = [randperm(size, generator=self.generator).numpy() for _ in range(-(-left // size))]
        return np.concatenate(rounds)[:left]

    def __iter__(self) -> Iterator[int]:
        yield from self.order().tolist()

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler):
    """Each of some indices once, in an order drawn anew for each pass.

    >>> from lampion.utils.data import SubsetRandomSampler
    >>> sorted(SubsetRandomSampler([5, 2, 7]))
    [2, 5, 7]
    """

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for i in randperm(len(self.indices), generator=self.generator).tolist():
            yield self.indices[i]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler):
    """Indices drawn with probabilities in proportion to their weights.

    Args:
        weights: one number for each sample; they need not add up to 1.
        num_samples: how many indices a pass has.
        replacement: whether an index may come several times.
        generator: where the random numbers come from, if not from the default generator.

    >>> from lampion.utils.data import WeightedRandomSampler
    >>> list(WeightedRandomSampler([0.0, 0.0, 2.0], num_samples=4))
    [2, 2, 2, 2]
    """

    def __init__(
        self, weights: Sequence[float] | Tensor, num_samples: int, replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        if not isinstance(num_samples, int) or isinstance(num_samples, bool) or num_samples < 1:
            raise LampionError("WeightedRandomSampler", "num_samples is not a size",
                               expected="an integer from 1 on", got=repr(num_samples))  # fmt: skip
        self.weights = as_tensor(weights).detach().double()
        if self.weights.ndim != 1:
            raise LampionError("WeightedRandomSampler", "expected one weight for each sample",
                               got=f"weights of shape {tuple(self.weights.shape)}")  # fmt: skip
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        drawn = multinomial(self.weights, self.num_samples, self.replacement, generator=self.generator)
        yield from drawn.tolist()

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler):
    """The indices of another sampler, in lists of `batch_size`.

    >>> from lampion.utils.data import BatchSampler, SequentialSampler
    >>> list(BatchSampler(SequentialSampler(range(5)), batch_size=2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool) -> None:
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1:
            raise LampionError("BatchSampler", "batch_size is not a size", expected="an integer from 1 on",
                               got=repr(batch_size))  # fmt: skip
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        batch: list[int] = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        count = len(self.sampler)  # type: ignore[arg-type]  # a sampler without a length has no number of batches
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)
