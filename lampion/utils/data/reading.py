"""Reading a batch: the same in the loop itself and in a worker process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np

from lampion.random import default_generator
from lampion.utils.data.collate import default_collate, default_convert
from lampion.utils.data.dataset import IterableDataset, read_batch, read_samples, reads_batches


class End:
    """What a reader returns where an iterable dataset has no more samples."""


class Reader:
    """Makes batches of a dataset's samples.

    Args:
        batch_size: None: every sample alone.
        collate_fn: None: `default_collate` for batches, `default_convert` for single samples.
    """

    def __init__(
        self, dataset: Any, batched: bool, batch_size: int | None, collate_fn: Callable[[Any], Any] | None,
        drop_last: bool,
    ) -> None:  # fmt: skip
        self.dataset = dataset
        self.batched = batched
        self.batch_size = batch_size
        self.collate_fn = collate_fn
        self.drop_last = drop_last
        self.iterable = isinstance(dataset, IterableDataset)
        self._stream: Iterator[Any] | None = None

    def begin(self) -> None:
        """A new pass."""
        self._stream = None

    def read(self, indices: Any, seed: int) -> Any:
        """The batch of these samples; the next one of an iterable dataset, or `End`.

        What is drawn from the default generator meanwhile depends on the seed alone, not on who reads; and
        the rest of the program does not notice that something was drawn.
        """
        generator = default_generator
        before = generator.seed_value, generator.offset
        generator.seed_value, generator.offset = seed, 0
        try:
            return self._next() if self.iterable else self._read(indices)
        finally:
            generator.seed_value, generator.offset = before

    def _read(self, indices: Any) -> Any:
        if not self.batched:
            return (self.collate_fn or default_convert)(self.dataset[indices])
        if self.collate_fn is None and reads_batches(type(self.dataset)):
            return read_batch(self.dataset, indices)
        indices = indices.tolist() if isinstance(indices, np.ndarray) else list(indices)
        return (self.collate_fn or default_collate)(read_samples(self.dataset, indices))

    def _next(self) -> Any:
        if self._stream is None:
            self._stream = iter(self.dataset)
        if not self.batched:
            sample = next(self._stream, End)
            return End if sample is End else (self.collate_fn or default_convert)(sample)
        samples = list(islice(self._stream, self.batch_size))
        if not samples or (self.drop_last and len(samples) < (self.batch_size or 1)):
            return End
        return (self.collate_fn or default_collate)(samples)


def seed_of(*parts: object) -> int:
    """A seed that depends on all of the parts."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=7).digest(), "little")
