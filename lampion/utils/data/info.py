"""Who a worker process is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WorkerInfo:
    """A worker process of a `DataLoader`: its number, how many there are, its seed, its own dataset."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_current: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """In a worker process: which one it is. Elsewhere: None.

    An `IterableDataset` uses it to give each worker a part of its own:

    >>> from lampion.utils.data import IterableDataset, get_worker_info
    >>> class Lines(IterableDataset):
    ...     def __iter__(self):
    ...         info = get_worker_info()
    ...         first, step = (info.id, info.num_workers) if info else (0, 1)
    ...         return iter(range(first, 6, step))
    >>> list(Lines())
    [0, 1, 2, 3, 4, 5]
    """
    return _current


def become(info: WorkerInfo) -> None:
    """Said once, by a worker process at its start."""
    global _current
    _current = info
