"""DataLoader: batch after batch of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lampion.errors import LampionError
from lampion.ops import Generator
from lampion.utils.data.dataset import read_batch
from lampion.utils.data.sampler import BatchSampler, RandomSampler, SequentialSampler


class DataLoader:
    """Batch after batch of a dataset; each loop over it is one pass.

    Args:
        dataset: what has ``[index]`` and ``len()``.
        batch_size: how many samples a batch has.
        shuffle: whether to read in an order drawn anew for each pass.
        sampler: gives the order, instead of `shuffle`.
        batch_sampler: gives whole batches of indices, instead of all of the above and `drop_last`.
        num_workers: 0: the samples are read by the loop itself.
        collate_fn: joins the samples of a batch; `default_collate` unless given.
        drop_last: whether to leave out a last batch that is smaller than the others.
        generator: where the shuffling's random numbers come from, if not from the default generator.

    >>> import lampion
    >>> from lampion.utils.data import DataLoader, TensorDataset
    >>> data = TensorDataset(lampion.arange(5), lampion.arange(5) ** 2)
    >>> for x, y in DataLoader(data, batch_size=2):
    ...     print(x.tolist(), y.tolist())
    [0, 1] [0, 1]
    [2, 3] [4, 9]
    [4] [16]
    """

    def __init__(
        self, dataset: Any, batch_size: int = 1, shuffle: bool = False, *,
        sampler: Iterable[int] | None = None, batch_sampler: Iterable[list[int]] | None = None,
        num_workers: int = 0, collate_fn: Callable[[list[Any]], Any] | None = None, drop_last: bool = False,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        if num_workers != 0:
            raise LampionError("DataLoader", "worker processes do not exist yet", expected="num_workers=0",
                               got=f"num_workers={num_workers}", fix="leave num_workers out")  # fmt: skip
        if sampler is not None and shuffle:
            raise LampionError("DataLoader", "both a sampler and shuffle are given", fix="leave shuffle out")
        if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
            raise LampionError("DataLoader", "batch_sampler decides on the batches alone",
                               fix="leave out batch_size, shuffle, sampler and drop_last")  # fmt: skip
        self.dataset = dataset
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.collate_fn = collate_fn
        self.generator = generator
        if batch_sampler is None:
            if sampler is None:
                sampler = (
                    RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
                )
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.sampler = sampler
        self.batch_sampler = batch_sampler

    def __iter__(self) -> Iterator[Any]:
        for indices in self.batch_sampler:
            if self.collate_fn is None:
                yield read_batch(self.dataset, indices)
            else:
                yield self.collate_fn([self.dataset[i] for i in indices])

    def __len__(self) -> int:
        return len(self.batch_sampler)  # type: ignore[arg-type]  # as its sampler
