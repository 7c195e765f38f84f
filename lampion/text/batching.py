"""Batches of text: one long text cut up for truncated back-propagation, or many short ones padded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

from lampion.errors import DTypeError, LampionError, OptionError, ShapeError
from lampion.ops import Generator, randint, randperm
from lampion.tensor import Tensor, from_numpy
from lampion.text.arrays import to_array, to_corpus, to_counts
from lampion.utils.data import Sampler


class SequentialBatches:
    """A long text in order, for a network that carries its state from one batch to the next.

    The text is read at `batch_size` places at once, each ``(N - 1) // batch_size`` words behind the one
    before it; row b of a batch goes on where row b of the batch before ended, and from the start where the
    text ends. The targets are the words that follow.

    Args:
        corpus: the numbers of the words, (N,).
        batch_size: how many places, B.
        time_size: how many words at each, T.
        carry: whether the next pass goes on where this one ended, as in the book, or starts at the beginning.
        shift: whether each pass starts at a random place of the text, so that it is cut elsewhere.

    Shape:
        Each batch: inputs and targets, int64 (B, T).

    Source: "Deep Learning from Scratch 2", sections 5.2.4 and 5.5.3.

    >>> import lampion
    >>> from lampion.text import SequentialBatches
    >>> batches = SequentialBatches(lampion.arange(13), batch_size=2, time_size=3)
    >>> for x, y in batches:
    ...     print(x.tolist(), y.tolist())
    [[0, 1, 2], [6, 7, 8]] [[1, 2, 3], [7, 8, 9]]
    [[3, 4, 5], [9, 10, 11]] [[4, 5, 6], [10, 11, 12]]
    """

    def __init__(
        self, corpus: Any, batch_size: int, time_size: int, carry: bool = False, shift: bool = False
    ) -> None:
        name = "SequentialBatches"
        if batch_size < 1 or time_size < 1:
            raise OptionError(name, "empty batches", expected="batch_size and time_size from 1 on",
                              got=f"{batch_size} and {time_size}")  # fmt: skip
        self.corpus = to_corpus(name, corpus, least=batch_size * time_size + 1)
        if carry and shift:
            raise OptionError(
                name, "a pass begins where the last one ended or at random", got="carry and shift"
            )
        self.batch_size, self.time_size, self.carry, self.shift = batch_size, time_size, carry, shift
        size = len(self.corpus) - 1
        #: Where each row starts.
        self.offsets = np.arange(batch_size) * (size // batch_size)
        #: How many words each row has read: set it to go on from a checkpoint.
        self.position = 0

    def __len__(self) -> int:
        return (len(self.corpus) - 1) // (self.batch_size * self.time_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        size = len(self.corpus) - 1
        if not self.carry:
            self.position = int(randint(0, size)) if self.shift else 0
        for _ in range(len(self)):
            places = (self.offsets[:, None] + np.arange(self.position, self.position + self.time_size)) % size
            self.position = (self.position + self.time_size) % size
            yield from_numpy(self.corpus[places]), from_numpy(self.corpus[places + 1])


class EveryWord:
    """A text in order, to measure a language model on: each word but the first is a target exactly once.

    The text is cut into `batch_size` parts of equal length, read side by side with a state that is carried
    on. Where a part has no more words, the target is -100, which `cross_entropy` leaves out: all batches have
    one shape.

    Args:
        corpus: the numbers of the words, (N,).
        batch_size: how many parts, B. In each of them, the first words have to do without what was before.
        time_size: how many words of each a batch has, T.

    Shape:
        Each batch: inputs and targets, int64 (B, T).

    >>> import lampion
    >>> from lampion.text import EveryWord
    >>> for x, y in EveryWord(lampion.arange(8), batch_size=2, time_size=3):
    ...     print(x.tolist(), y.tolist())
    [[0, 1, 2], [4, 5, 6]] [[1, 2, 3], [5, 6, 7]]
    [[3, 0, 0], [0, 0, 0]] [[4, -100, -100], [-100, -100, -100]]
    """

    def __init__(self, corpus: Any, batch_size: int, time_size: int) -> None:
        if batch_size < 1 or time_size < 1:
            raise OptionError("EveryWord", "empty batches", expected="batch_size and time_size from 1 on",
                              got=f"{batch_size} and {time_size}")  # fmt: skip
        self.corpus = to_corpus("EveryWord", corpus, least=batch_size + 1)
        self.batch_size, self.time_size = batch_size, time_size
        #: How many words a part has.
        self.length = -(-(len(self.corpus) - 1) // batch_size)

    def __len__(self) -> int:
        return -(-self.length // self.time_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        size = len(self.corpus) - 1
        for start in range(0, self.length, self.time_size):
            within = start + np.arange(self.time_size)
            places = np.arange(self.batch_size)[:, None] * self.length + within
            there = (within < self.length) & (places < size)
            places = np.where(there, places, 0)
            words = np.where(there, self.corpus[places], 0)
            yield from_numpy(words), from_numpy(np.where(there, self.corpus[places + 1], -100))


class RandomPieces:
    """Pieces of a text from random places, for a network without a state: a small GPT, say.

    Args:
        corpus: the numbers of the words, (N,).
        batch_size: how many pieces, B.
        time_size: how many words each has, T.
        batches: how many batches a pass has.

    Shape:
        Each batch: inputs and targets, the words that follow, int64 (B, T).

    >>> import lampion
    >>> from lampion.text import RandomPieces
    >>> _ = lampion.manual_seed(0)
    >>> for x, y in RandomPieces(lampion.arange(100), batch_size=2, time_size=3, batches=1):
    ...     print((y - x).tolist(), (x[:, 1:] - x[:, :-1]).tolist())
    [[1, 1, 1], [1, 1, 1]] [[1, 1], [1, 1]]
    """

    def __init__(self, corpus: Any, batch_size: int, time_size: int, batches: int) -> None:
        if batch_size < 1 or time_size < 1 or batches < 1:
            raise OptionError("RandomPieces", "empty batches", got=f"{batch_size}, {time_size} and {batches}",
                              expected="batch_size, time_size and batches from 1 on")  # fmt: skip
        self.corpus = to_corpus("RandomPieces", corpus, least=time_size + 1)
        self.batch_size, self.time_size, self.batches = batch_size, time_size, batches

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        starts = len(self.corpus) - self.time_size
        for _ in range(self.batches):
            places = randint(0, starts, (self.batch_size, 1)).numpy() + np.arange(self.time_size)
            yield from_numpy(self.corpus[places]), from_numpy(self.corpus[places + 1])


def pad(
    sequences: Sequence[Any],
    padding: int = 0,
    length: int | None = None,
    side: Literal["left", "right"] = "right",
) -> tuple[Tensor, Tensor]:
    """Sequences of numbers as one matrix, and their lengths.

    Args:
        sequences: N lists, arrays or Tensors of integers.
        padding: the number that fills the short ones up.
        length: of all; by default, that of the longest. A longer sequence is an error.
        side: where the filling goes.

    Shape:
        int64 (N, length) and (N,).

    >>> from lampion.text import pad
    >>> rows, lengths = pad([[5, 6, 7], [8]])
    >>> rows.tolist(), lengths.tolist()
    ([[5, 6, 7], [8, 0, 0]], [3, 1])
    """
    if side not in ("left", "right"):
        raise OptionError("pad", "there is no such side", expected="left or right", got=repr(side))
    rows = [to_array(sequence) for sequence in sequences]
    if not rows:
        raise LampionError("pad", "there are no sequences")
    for i, row in enumerate(rows):
        if row.ndim != 1:
            raise ShapeError("pad", "a sequence has one dimension", got=f"{row.shape} at {i}")
        if row.size and row.dtype.kind not in "iu":
            raise DTypeError("pad", "a sequence is of integers", got=f"{row.dtype} at {i}")
    lengths = np.array([len(row) for row in rows], np.int64)
    longest = int(lengths.max())
    width = longest if length is None else length
    if width < longest:
        raise LampionError("pad", "a sequence is longer than the length for all", expected=f"{width} at most",
                           got=f"{longest} at {lengths.argmax()}",
                           fix="cut it: sequence[:length]")  # fmt: skip
    result = np.full((len(rows), width), padding, np.int64)
    steps = np.arange(width)
    filled = steps < lengths[:, None] if side == "right" else steps >= width - lengths[:, None]
    result[filled] = np.concatenate(rows)
    return from_numpy(result), from_numpy(lengths)


class BucketSampler(Sampler):
    """Batches of sequences that are about equally long, so that little of a batch is padding.

    In each pass the sequences are shuffled; groups of them are sorted by length and cut into batches; and the
    batches are shuffled.

    Args:
        lengths: of the sequences, (N,).
        batch_size: how many a batch has.
        drop_last: whether the batch that is left over, with fewer, is left out.
        group: how many batches are sorted together. The more, the less padding, and the less chance.
        generator: where the random numbers come from, if not from the default generator.

    A pass is lists of indices: for a `DataLoader`, as its `batch_sampler`, with a `collate_fn` that pads.

    >>> from lampion.text import BucketSampler
    >>> lengths = [9, 1, 8, 2]
    >>> sorted(sorted(lengths[i] for i in batch) for batch in BucketSampler(lengths, batch_size=2))
    [[1, 2], [8, 9]]
    """

    def __init__(
        self, lengths: Any, batch_size: int, drop_last: bool = False, group: int = 50,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.lengths = to_counts("BucketSampler", lengths, "lengths")
        if batch_size < 1 or group < 1:
            raise OptionError("BucketSampler", "empty batches", expected="batch_size and group from 1 on",
                              got=f"{batch_size} and {group}")  # fmt: skip
        self.batch_size, self.drop_last, self.group, self.generator = batch_size, drop_last, group, generator

    def __len__(self) -> int:
        whole, rest = divmod(len(self.lengths), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[list[int]]:
        order = randperm(len(self.lengths), generator=self.generator).numpy()
        turns = randperm(len(self), generator=self.generator).tolist()
        size = self.batch_size * self.group
        batches: list[list[int]] = []
        for start in range(0, len(order), size):
            some = order[start : start + size]
            some = some[np.argsort(self.lengths[some], kind="stable")]
            batches += [some[i : i + self.batch_size].tolist() for i in range(0, len(some), self.batch_size)]
        if self.drop_last and len(batches[-1]) < self.batch_size:
            batches.pop()
        return iter([batches[turn] for turn in turns])
