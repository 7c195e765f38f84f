"""Sequences of different lengths: padded to one tensor, or packed into one without padding.

A packed sequence holds all first steps, then all second steps, and so on, of sequences sorted by length, the
longest first; so each step is a block of rows, in which those sequences that have ended are missing. A
recurrent layer that is given one computes nothing for padding, and its state at the end of each sequence is
that after its own last step.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from lampion import ops as operations
from lampion.dtype import int64
from lampion.errors import LampionError, OptionError, ShapeError
from lampion.tensor import Tensor, from_numpy

__all__ = [
    "PackedSequence", "invert_permutation", "pack_padded_sequence", "pack_sequence", "pad_packed_sequence",
    "pad_sequence", "unpack_sequence", "unpad_sequence",
]  # fmt: skip

ops: Any = operations  # the stubs know one name by one type


class _Parts(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Parts):
    """Sequences of different lengths without padding: see `pack_padded_sequence`, which makes them.

    Args:
        data: (total of all lengths, ...): all first steps, then all second steps, and so on.
        batch_sizes: int64 (longest length,): how many sequences there are at each step.
        sorted_indices: which of the sequences comes first, second, ...; None if they were sorted already.
        unsorted_indices: the reverse of it, which is computed if it is not given.

    >>> import lampion
    >>> from lampion.nn.utils.rnn import pack_sequence
    >>> packed = pack_sequence([lampion.tensor([1, 2, 3]), lampion.tensor([4, 5])])
    >>> packed.data, packed.batch_sizes
    (tensor([1, 4, 2, 5, 3]), tensor([2, 2, 1]))
    """

    __slots__ = ()

    def __new__(
        cls, data: Any, batch_sizes: Tensor | None = None, sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:  # fmt: skip
        if batch_sizes is None:
            if not isinstance(data, tuple | list) or len(data) != 2:
                raise LampionError("PackedSequence", "batch_sizes is missing", got=f"{type(data).__name__}",
                                   fix="make it with pack_padded_sequence or pack_sequence")  # fmt: skip
            data, batch_sizes = data
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The same with `data.to(...)`."""
        data = self.data.to(*args, **kwargs)
        return self if data is self.data else self.with_data(data)

    def with_data(self, data: Tensor) -> PackedSequence:
        """Other values, packed in the same way."""
        return PackedSequence(data, self.batch_sizes, self.sorted_indices, self.unsorted_indices)

    def cpu(self) -> PackedSequence:
        """Itself: everything is on the CPU."""
        return self

    def pin_memory(self) -> PackedSequence:
        """Itself: there is no other memory."""
        return self

    def is_pinned(self) -> bool:
        """Whether it is in page-locked memory: never."""
        return False

    @property
    def is_cuda(self) -> bool:
        """Whether it is on a GPU: never."""
        return False

    def double(self) -> PackedSequence:
        """The same in float64."""
        return self.with_data(self.data.double())

    def float(self) -> PackedSequence:
        """The same in float32."""
        return self.with_data(self.data.float())

    def half(self) -> PackedSequence:
        """The same in float16."""
        return self.with_data(self.data.half())

    def long(self) -> PackedSequence:
        """The same in int64."""
        return self.with_data(self.data.long())

    def int(self) -> PackedSequence:
        """The same in int32."""
        return self.with_data(self.data.int())

    def short(self) -> PackedSequence:
        """The same in int16."""
        return self.with_data(self.data.short())

    def char(self) -> PackedSequence:
        """The same in int8."""
        return self.with_data(self.data.char())

    def byte(self) -> PackedSequence:
        """The same in uint8."""
        return self.with_data(self.data.byte())


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """Where each index of a permutation has gone: its reverse. None stays None.

    >>> import lampion
    >>> lampion.nn.utils.rnn.invert_permutation(lampion.tensor([2, 0, 1]))
    tensor([1, 2, 0])
    """
    return None if permutation is None else _indices(np.argsort(_host(permutation)))


def pack_padded_sequence(
    input: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack sequences that were padded to one length.

    Args:
        input: (T, N, ...), or (N, T, ...) if `batch_first`; what is behind a sequence's end is not read.
        lengths: how long each one is: N integers from 1 to T.
        batch_first: whether the batch is the first dimension.
        enforce_sorted: whether the longest must come first, then the next longest, ...; if not, they are
            sorted here, and whoever unpacks puts them back into their order.

    >>> import lampion
    >>> from lampion.nn.utils.rnn import pack_padded_sequence
    >>> pack_padded_sequence(lampion.tensor([[1, 4], [2, 5], [3, 0]]), [3, 2]).data
    tensor([1, 4, 2, 5, 3])
    """
    name = "pack_padded_sequence"
    if input.ndim < 2:
        raise ShapeError(name, "there is no batch", expected="(T, N, ...), or (N, T, ...) with batch_first",
                         got=str(tuple(input.shape)))  # fmt: skip
    x = ops.transpose(input, 0, 1) if batch_first else input
    found = _lengths(name, lengths, x.shape[1], x.shape[0])
    order = None
    if not enforce_sorted:
        order = np.argsort(-found, kind="stable")
        found, x = found[order], ops.index_select(x, 1, _indices(order))
    elif np.any(found[1:] > found[:-1]):
        raise LampionError(name, "the sequences are not sorted by length, the longest first",
                           got=str(found.tolist()), fix="pass enforce_sorted=False")  # fmt: skip
    sizes = _sizes(found)
    rows = np.flatnonzero(np.arange(len(found)) < sizes[:, None])  # step by step, those that have not ended
    flat = ops.reshape(x[: len(sizes)], (-1, *x.shape[2:]))
    data = ops.index_select(flat, 0, _indices(rows))
    return PackedSequence(data, _indices(sizes), None if order is None else _indices(order))


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Unpack: the sequences padded to one length, in the order in which they were, and their lengths.

    Args:
        sequence: what a recurrent layer gave, say.
        batch_first: whether the result is (N, T, ...), and not (T, N, ...).
        padding_value: stands behind the end of each sequence.
        total_length: T, if it should be more than the longest has: under data parallelism, say.

    >>> import lampion
    >>> from lampion.nn.utils.rnn import pack_sequence, pad_packed_sequence
    >>> packed = pack_sequence([lampion.tensor([1, 2]), lampion.tensor([3])])
    >>> pad_packed_sequence(packed, batch_first=True, padding_value=-1)
    (tensor([[ 1,  2],
            [ 3, -1]]), tensor([2, 1]))
    """
    name = "pad_packed_sequence"
    sizes = check_packed(name, sequence)
    steps, data = len(sizes), sequence.data
    if total_length is not None and total_length < steps:
        raise OptionError(name, "total_length is less than the longest sequence", expected=f"{steps} or more",
                          got=str(total_length))  # fmt: skip
    there = np.arange(sizes[0]) < sizes[:, None]  # (T, N)
    rows = np.full((steps if total_length is None else total_length, sizes[0]), len(data))  # the padding
    rows[:steps][there] = np.arange(len(data))
    lengths = there.sum(0)
    if sequence.unsorted_indices is not None:
        order = _host(sequence.unsorted_indices)
        rows, lengths = rows[:, order], lengths[order]
    padding = ops.full((1, *data.shape[1:]), padding_value, dtype=data.dtype)
    wanted = np.ascontiguousarray(rows.T if batch_first else rows)
    padded = ops.index_select(ops.cat([data, padding]), 0, _indices(wanted.ravel()))
    return ops.reshape(padded, (*wanted.shape, *data.shape[1:])), _indices(lengths)


def pad_sequence(
    sequences: Iterable[Tensor] | Tensor, batch_first: bool = False, padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:  # fmt: skip
    """Stack sequences of different lengths, padded to that of the longest.

    Args:
        sequences: N tensors (length, ...), alike but for their lengths.
        batch_first: whether the result is (N, T, ...), and not (T, N, ...).
        padding_value: what they are padded with.
        padding_side: "right", behind them, or "left", before.

    >>> import lampion
    >>> from lampion.nn.utils.rnn import pad_sequence
    >>> pad_sequence([lampion.tensor([1, 2]), lampion.tensor([3])], batch_first=True)
    tensor([[1, 2],
            [3, 0]])
    """
    name = "pad_sequence"
    if padding_side not in ("left", "right"):
        raise OptionError(name, "no such padding_side", expected="'left' or 'right'", got=repr(padding_side))
    given = _sequences(name, sequences)
    longest, axis = max(len(x) for x in given), 0 if batch_first else 1

    def padded(x: Tensor) -> Tensor:
        if len(x) == longest:
            return x
        padding = ops.full((longest - len(x), *x.shape[1:]), padding_value, dtype=x.dtype)
        return ops.cat([padding, x] if padding_side == "left" else [x, padding])  # type: ignore[no-any-return]

    return ops.stack([padded(x) for x in given], axis)  # type: ignore[no-any-return]  # see `ops`


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """The sequences of which a padded tensor was made.

    Args:
        padded_sequences: (T, N, ...), or (N, T, ...) if `batch_first`, padded behind the ends.
        lengths: N integers.
        batch_first: whether the batch is the first dimension.

    >>> import lampion
    >>> from lampion.nn.utils.rnn import unpad_sequence
    >>> unpad_sequence(lampion.tensor([[1, 2], [3, 0]]), lampion.tensor([2, 1]), batch_first=True)
    [tensor([1, 2]), tensor([3])]
    """
    x = padded_sequences if batch_first else ops.transpose(padded_sequences, 0, 1)
    found = _lengths("unpad_sequence", lengths, x.shape[0], x.shape[1], least=0)
    return [x[number, :length] for number, length in enumerate(found.tolist())]


def pack_sequence(sequences: Iterable[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack sequences: `pad_sequence`, then `pack_padded_sequence`.

    Args:
        sequences: N tensors (length, ...), alike but for their lengths, none of them empty.
        enforce_sorted: whether the longest must come first, then the next longest, ...

    >>> import lampion
    >>> lampion.nn.utils.rnn.pack_sequence([lampion.ones(3), lampion.ones(1)]).batch_sizes
    tensor([2, 1, 1])
    """
    given = _sequences("pack_sequence", sequences)
    lengths = [len(x) for x in given]
    return pack_padded_sequence(pad_sequence(given), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences that were packed, in the order in which they were.

    >>> import lampion
    >>> from lampion.nn.utils.rnn import pack_sequence, unpack_sequence
    >>> unpack_sequence(pack_sequence([lampion.tensor([1, 2]), lampion.tensor([3])]))
    [tensor([1, 2]), tensor([3])]
    """
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)


# -- what they share --------------------------------------------------------------------------------------


def check_packed(name: str, sequence: PackedSequence) -> np.ndarray:
    """How many sequences there are at each step, of what must be packed as it should."""
    if not isinstance(sequence, PackedSequence):
        raise LampionError(name, "it is no packed sequence", expected="a PackedSequence",
                           got=type(sequence).__name__, fix="pack it: pack_padded_sequence")  # fmt: skip
    sizes = _host(sequence.batch_sizes)
    if sizes.ndim != 1 or not len(sizes) or sizes[-1] < 1 or np.any(sizes[1:] > sizes[:-1]):
        raise LampionError(name, "batch_sizes must be one row of positive numbers, none larger than the one "
                           "before", got=str(sizes.tolist()))  # fmt: skip
    if sizes.sum() != len(sequence.data):
        raise ShapeError(name, "batch_sizes do not fit the data", got=f"{int(sizes.sum())} steps in all, and "
                         f"data of shape {tuple(sequence.data.shape)}")  # fmt: skip
    return sizes


def _host(x: Tensor) -> np.ndarray:
    """Indices, to compute with at once."""
    found: np.ndarray = np.array(x.tolist(), np.int64)
    return found


def _indices(array: np.ndarray) -> Tensor:
    return from_numpy(np.ascontiguousarray(array, np.int64))


def _sizes(lengths: np.ndarray) -> np.ndarray:
    """How many of these sequences have a first step, a second one, ..."""
    found: np.ndarray = (lengths > np.arange(lengths.max())[:, None]).sum(1)
    return found


def _lengths(name: str, lengths: Any, batch: int, longest: int, least: int = 1) -> np.ndarray:
    """As an array, and checked."""
    found = np.array(lengths.tolist() if isinstance(lengths, Tensor) else [int(n) for n in lengths], np.int64)
    if isinstance(lengths, Tensor) and lengths.dtype is not int64 and lengths.dtype.is_floating_point:
        raise LampionError(name, "lengths must be integers", got=str(lengths.dtype))
    if found.shape != (batch,):
        raise ShapeError(name, "there must be one length for each sequence", expected=f"{batch} lengths",
                         got=str(found.tolist()))  # fmt: skip
    if batch and (found.min() < least or found.max() > longest):
        raise OptionError(name, "a length does not fit the sequences", expected=f"{least} to {longest}",
                          got=str(found.tolist()))  # fmt: skip
    return found


def _sequences(name: str, sequences: Any) -> list[Tensor]:
    """As a list, and checked."""
    given = list(sequences.unbind(0) if isinstance(sequences, Tensor) else sequences)
    if not given:
        raise LampionError(name, "there are no sequences", got="an empty list")
    first = given[0]
    for number, x in enumerate(given):
        if x.ndim < 1 or x.shape[1:] != first.shape[1:] or x.dtype is not first.dtype:
            raise ShapeError(name, f"sequence {number} is not like the first, but for its length",
                             expected=f"(length, *{tuple(first.shape[1:])}), {first.dtype}",
                             got=f"{tuple(x.shape)}, {x.dtype}")  # fmt: skip
    return given
