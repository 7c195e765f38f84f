"""DataLoader: batch after batch of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any

from lampion.errors import LampionError, OptionError
from lampion.ops import Generator
from lampion.random import default_generator
from lampion.utils.data.dataset import IterableDataset
from lampion.utils.data.reading import End, Reader, seed_of
from lampion.utils.data.sampler import BatchSampler, RandomSampler, SequentialSampler

if TYPE_CHECKING:
    from lampion.utils.data.workers import Pool


@dataclass
class _Pass:
    """How far a loop over the loader is: its number, the batches handed out, the generator at its start."""

    number: int
    position: int
    start: list[int]


class DataLoader:
    """Batch after batch of a dataset; each loop over it is one pass.

    Args:
        dataset: what has ``[index]`` and ``len()``; or an `IterableDataset`.
        batch_size: how many samples a batch has; None: no batches, every sample as it is.
        shuffle: whether to read in an order drawn anew for each pass.
        sampler: gives the order, instead of `shuffle`.
        batch_sampler: gives whole batches of indices, instead of all of the above and `drop_last`.
        num_workers: how many processes read ahead; 0: the samples are read by the loop itself.
        collate_fn: joins the samples of a batch; `default_collate` unless given.
        pin_memory, pin_memory_device: accepted, without effect: batches lie in ordinary memory.
        drop_last: whether to leave out a last batch that is smaller than the others.
        timeout: for how many seconds to wait for a batch of a worker; 0: for as long as it lives.
        worker_init_fn: called with the worker's number at its start.
        multiprocessing_context: "spawn" (the default) or "forkserver". Never "fork": a copy of a process with
            threads can hang.
        generator: where the shuffling's random numbers come from, if not from the default generator.
        prefetch_factor: how many batches each worker reads ahead; 2 unless given.
        persistent_workers: whether the workers live on between passes.
        in_order: accepted; batches always come in order.

    The batches are the same whatever the number of workers: those of samples with random parts too, if these
    are drawn from Lampion's default generator, which starts every batch from a seed of its own. Workers start
    with a fresh interpreter: a program that uses them has its main part under ``if __name__ == "__main__":``,
    and its dataset and functions at the top level of a file.

    A pass can be continued in the middle: see `state_dict`.

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
        self, dataset: Any, batch_size: int | None = 1, shuffle: bool | None = None,
        sampler: Iterable[Any] | None = None, batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0, collate_fn: Callable[[Any], Any] | None = None, pin_memory: bool = False,
        drop_last: bool = False, timeout: float = 0, worker_init_fn: Callable[[int], Any] | None = None,
        multiprocessing_context: Any = None, generator: Generator | None = None, *,
        prefetch_factor: int | None = None, persistent_workers: bool = False, pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:  # fmt: skip
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        if sampler is not None and shuffle:
            raise OptionError("DataLoader", "both a sampler and shuffle are given", fix="leave shuffle out")
        if batch_sampler is not None and (batch_size != 1 or shuffle or sampler is not None or drop_last):
            raise OptionError("DataLoader", "batch_sampler decides on the batches alone",
                              fix="leave out batch_size, shuffle, sampler and drop_last")  # fmt: skip
        if batch_size is None and drop_last:
            raise OptionError("DataLoader", "without batches there is no last batch to drop",
                              fix="leave out drop_last, or give a batch_size")  # fmt: skip
        iterable = isinstance(dataset, IterableDataset)
        if iterable and (shuffle or sampler is not None or batch_sampler is not None):
            raise OptionError("DataLoader", "the samples of an IterableDataset have no numbers",
                              fix="leave out shuffle, sampler and batch_sampler")  # fmt: skip
        self.dataset = dataset
        self.batch_size = None if batch_sampler is not None else batch_size
        self.drop_last = drop_last
        self.num_workers = num_workers
        self.collate_fn = collate_fn
        self.pin_memory, self.pin_memory_device = pin_memory, pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.generator = generator
        self.prefetch_factor = (prefetch_factor or 2) if num_workers else None
        self.persistent_workers = persistent_workers
        self.in_order = in_order
        if sampler is None and batch_sampler is None and not iterable:
            sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler([] if sampler is None else sampler, batch_size, drop_last)
        self.sampler = sampler
        self.batch_sampler: Any = batch_sampler
        self._passes = 0
        self._pass: _Pass | None = None
        self._resume: _Pass | None = None
        self._pool: Pool | None = None

    # -- the loop --------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Any]:
        resume, self._resume = self._resume, None
        now = resume or _Pass(self._passes + 1, 0, self._source_state())
        self._passes, self._pass = now.number, now
        tasks = self._tasks()
        skip = now.position
        if resume is not None and not self._iterable:
            self._replay(tasks, now)
            skip = 0
        numbered = enumerate(tasks, now.position - skip)
        seeded = ((k, task, seed_of(now.start, now.number, k)) for k, task in numbered)
        for batch in self._read_ahead(seeded, now) if self.num_workers else self._read(seeded):
            if skip:  # of a stream, what was handed out before can only be read once more
                skip -= 1
                continue
            now.position += 1
            yield batch
        if self._pass is now:
            self._pass = None

    def _read(self, seeded: Iterator[tuple[int, Any, int]]) -> Iterator[Any]:
        reader = self._reader()
        for _, indices, seed in seeded:
            batch = reader.read(indices, seed)
            if batch is End:
                return
            yield batch

    def _read_ahead(self, seeded: Iterator[tuple[int, Any, int]], now: _Pass) -> Iterator[Any]:
        from lampion.utils.data.workers import Pool, check_context

        pool = self._pool
        self._pool = None  # another loop at the same time gets workers of its own
        if pool is None:
            pool = Pool(
                self.num_workers, self._reader(), self.worker_init_fn,
                check_context(self.multiprocessing_context), seed_of(now.start, now.number),
            )  # fmt: skip
        whole = False
        try:
            yield from pool.run(seeded, self.prefetch_factor or 2, self.timeout)
            whole = True
        except GeneratorExit:
            whole = True  # the loop was left early: the workers are well
            raise
        finally:
            if self.persistent_workers and whole and self._pool is None:
                self._pool = pool
            else:
                pool.close()

    def _tasks(self) -> Iterator[Any]:
        """What is read, batch by batch: the indices."""
        if self._iterable:
            return repeat(None)
        if self.batch_sampler is None:
            return iter(self.sampler or ())
        batches = self.batch_sampler
        # Not their subclasses, which may have another __iter__.
        if type(batches) is BatchSampler and type(batches.sampler) in (RandomSampler, SequentialSampler):
            return _slices(batches.sampler, batches.batch_size, batches.drop_last)
        return iter(batches)

    def __len__(self) -> int:
        if self._iterable:
            count = len(self.dataset)
            if self.batch_size is None:
                return count
            return count // self.batch_size if self.drop_last else -(-count // self.batch_size)
        return len(self.sampler if self.batch_sampler is None else self.batch_sampler)  # type: ignore[arg-type]

    @property
    def _iterable(self) -> bool:
        return isinstance(self.dataset, IterableDataset)

    def _reader(self) -> Reader:
        batched = self.batch_sampler is not None
        return Reader(self.dataset, batched, self.batch_size, self.collate_fn, self.drop_last)

    # -- going on from where it was --------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Where the loop is: numbers that JSON can hold. After ``break``, it is still where it was left.

        >>> import lampion
        >>> from lampion.utils.data import DataLoader
        >>> loader = DataLoader(range(6), batch_size=2, shuffle=True)
        >>> for batch in loader:
        ...     break
        >>> state = loader.state_dict()
        >>> again = DataLoader(range(6), batch_size=2, shuffle=True)
        >>> again.load_state_dict(state)
        >>> state["position"], len(list(again)), len(list(again))
        (1, 2, 3)
        """
        now = self._resume or self._pass
        own = self._source()
        return {
            "pass": self._passes if now is None else now.number,
            "position": 0 if now is None else now.position,
            "start": None if now is None else now.start,
            "generator": None if own is default_generator else [own.seed_value, own.offset],
            "batches": self._batches_of(),
        }

    def _batches_of(self) -> list[int | None]:
        """What a position counts: the size of the batches, and of the dataset; None where it is not known."""
        size = getattr(self.batch_sampler, "batch_size", self.batch_size)
        return [
            size if isinstance(size, int) else None,
            len(self.dataset) if isinstance(self.dataset, Sized) else None,
        ]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a state that `state_dict` returned: the next loop yields the rest of the pass.

        The default generator is left as it is: who wants the numbers after the resumption to be those of the
        uninterrupted program sets it too (`lampion.set_rng_state`). A sampler of one's own must draw its
        numbers at the start of ``__iter__``.
        """
        try:
            number, position, start, own = (state_dict[k] for k in ("pass", "position", "start", "generator"))
            number, position = int(number), int(position)
            seeds = [None if pair is None else [int(n) % 2**64 for n in pair] for pair in (start, own)]
            if number < 0 or position < 0 or any(pair and len(pair) != 2 for pair in seeds):
                raise ValueError("a number is out of range")
        except (KeyError, TypeError, ValueError) as error:
            raise LampionError("DataLoader.load_state_dict", "this is not the state of a DataLoader",
                               expected="what state_dict() returned", got=repr(error)) from None  # fmt: skip
        batches = state_dict.get("batches", self._batches_of())
        if position and list(batches) != self._batches_of():
            raise LampionError(
                "DataLoader.load_state_dict", "a part of a pass was saved, with other batches or data",
                expected="batches of {} of {} samples".format(*batches),
                got="batches of {} of {} samples".format(*self._batches_of()),
                fix="use the dataset and the batch size of the saved run, or save between two passes",
            )  # fmt: skip
        source = self._source()
        if seeds[1] is not None and source is not default_generator:
            source.seed_value, source.offset = seeds[1]
        self._passes, self._pass = number, None
        self._resume = None if seeds[0] is None else _Pass(number, position, seeds[0])

    def _source(self) -> Generator:
        """The generator that the order of the samples is drawn from."""
        for part in (self.batch_sampler, getattr(self.batch_sampler, "sampler", None), self.sampler):
            if isinstance(found := getattr(part, "generator", None), Generator):
                return found
        return self.generator or default_generator

    def _source_state(self) -> list[int]:
        source = self._source()
        return [source.seed_value, source.offset]

    def _replay(self, tasks: Iterator[Any], now: _Pass) -> None:
        """Draw the order of an earlier pass once more, and leave out what was handed out."""
        source = self._source()
        before = source.seed_value, source.offset
        source.seed_value, source.offset = now.start
        for done in range(now.position):
            if next(tasks, End) is End:
                raise LampionError("DataLoader.load_state_dict", "the pass is shorter than it was",
                                   expected=f"{now.position} batches or more", got=str(done),
                                   fix="use the dataset and the batch size of the saved run")  # fmt: skip
        if source is default_generator:
            source.seed_value, source.offset = before


def _slices(sampler: Any, size: int, drop_last: bool) -> Iterator[Any]:
    """The batches of a sampler that knows its whole order: slices of one array."""
    indices = sampler.order()
    stop = len(indices) // size * size if drop_last else len(indices)
    for i in range(0, stop, size):
        yield indices[i : i + size]


def _check_workers(
    num_workers: int, timeout: float, prefetch_factor: int | None, persistent_workers: bool
) -> None:
    if not isinstance(num_workers, int) or isinstance(num_workers, bool) or num_workers < 0:
        raise OptionError("DataLoader", "num_workers is not a number of processes",
                          expected="an integer from 0 on", got=repr(num_workers))  # fmt: skip
    if timeout < 0:
        raise OptionError("DataLoader", "timeout is negative", expected="0 or more seconds", got=str(timeout))
    if prefetch_factor is not None and (
        not isinstance(prefetch_factor, int) or isinstance(prefetch_factor, bool) or prefetch_factor < 1
    ):
        raise OptionError("DataLoader", "prefetch_factor is not a number of batches",
                          expected="an integer from 1 on", got=repr(prefetch_factor))  # fmt: skip
    if not num_workers and (prefetch_factor is not None or persistent_workers):
        raise OptionError("DataLoader", "prefetch_factor and persistent_workers are for workers",
                          expected="num_workers from 1 on", got="num_workers=0")  # fmt: skip
