"""The gradient of a table of which few rows were used: those rows, and where they belong."""

from __future__ import annotations

import math
from typing import Any, NoReturn

from lampion import dtype as dtypes
from lampion.autograd.function import ops
from lampion.errors import LampionError
from lampion.mode import mode
from lampion.tensor import Tensor


class SparseGradient:
    """What ``embedding(..., sparse=True)`` leaves in the table's `.grad`: the rows that were used.

    It is no Tensor, but answers to the names that a sparse tensor has in PyTorch, so that code which looks
    at `.grad` reads the same. A row may be there several times; then the entries add up. Nothing is ever
    written in place: what changes it puts new arrays into it.

    Gradients are whole, in spite of `sparse`, where the table is no leaf, where they are to have gradients
    themselves, and where only the forward pass is compiled.

    Args:
        index: which rows, int64 (N,).
        rows: the rows, (N, D).
        shape: of the table, (V, D).
        coalesced: whether no row is there twice, and they are in order.

    >>> import lampion
    >>> table = lampion.nn.Parameter(lampion.ones(4, 2))
    >>> lampion.nn.functional.embedding(lampion.tensor([2, 0, 2]), table, sparse=True).sum().backward()
    >>> table.grad
    SparseGradient(indices=tensor([[2, 0, 2]]),
                   values=tensor([[1., 1.],
                                  [1., 1.],
                                  [1., 1.]]),
                   size=(4, 2), nnz=3)
    >>> table.grad.coalesce().values()
    tensor([[1., 1.],
            [2., 2.]])
    """

    is_sparse = True
    requires_grad = False
    is_leaf = True
    grad_fn = None

    def __init__(self, index: Tensor, rows: Tensor, shape: tuple[int, ...], coalesced: bool = False) -> None:
        self.index, self.rows, self._coalesced = index, rows, coalesced
        self._array = _Outline(tuple(shape), rows._array.dtype)

    # -- what it is ---------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the table."""
        return self._array.shape

    @property
    def ndim(self) -> int:
        """The number of dimensions of the table."""
        return len(self.shape)

    @property
    def dtype(self) -> dtypes.DType:
        """The type of the numbers."""
        return self.rows.dtype

    @property
    def device(self) -> Any:
        """Where the numbers are."""
        return self.rows.device

    def size(self, dim: int | None = None) -> Any:
        """The shape of the table, or the size of one dimension."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """The number of dimensions of the table."""
        return self.ndim

    def numel(self) -> int:
        """The number of elements of the table."""
        return math.prod(self.shape)

    def sparse_dim(self) -> int:
        """The dimensions that are indexed: one, the rows."""
        return 1

    def dense_dim(self) -> int:
        """The dimensions of an entry."""
        return self.ndim - 1

    def _nnz(self) -> int:
        """The number of entries."""
        return int(self.rows.shape[0])

    def _indices(self) -> Tensor:
        """The rows' numbers, (1, N)."""
        return self.index.reshape(1, -1)

    def _values(self) -> Tensor:
        """The rows, (N, D)."""
        return self.rows

    def indices(self) -> Tensor:
        """The rows' numbers, (1, N), in order and each once."""
        self._check_coalesced("indices")
        return self._indices()

    def values(self) -> Tensor:
        """The rows, (N, D), of `indices`."""
        self._check_coalesced("values")
        return self.rows

    def is_coalesced(self) -> bool:
        """Whether each row is there once, and they are in order."""
        return self._coalesced

    def _check_coalesced(self, name: str) -> None:
        if not self._coalesced:
            raise LampionError(name, f"cannot get {name} on an uncoalesced tensor: a row may be there twice",
                               fix=f"call .coalesce() first, or ask for _{name}()")  # fmt: skip

    # -- other forms ---------------------------------------------------------------------------------

    def coalesce(self) -> SparseGradient:
        """Each row once, in order; entries for one row are added up."""
        if self._coalesced:
            return self
        if mode.trace is not None:
            mode.trace.refuse("coalesces a sparse gradient", "do that outside of the compiled function")
        index, place = ops().unique(self.index, return_inverse=True)
        rows = ops().zeros(index.shape[0], *self.shape[1:], dtype=self.dtype)
        rows = ops().index_add(rows, 0, place, self.rows)
        return SparseGradient(index, rows, self.shape, coalesced=True)

    def summed(self) -> tuple[Tensor, Tensor]:
        """Index and rows, as many as there are, with the sum of all entries of its row at each of them.

        So it needs no shape that depends on the numbers, and a rule may be applied to the rows one by one:
        those that are there twice get the same result twice.
        """
        index, representative, sums = self._groups()
        return index, sums.index_select(0, representative)

    def _groups(self) -> tuple[Tensor, Tensor, Tensor]:
        """The index; which entry stands for all of its row; and at those that do, the sums (else zeros)."""
        count = self._nnz()
        numbers = ops().arange(count)
        if self._coalesced:
            return self.index, numbers, self.rows
        slots = ops().index_copy(ops().zeros(self.shape[0], dtype=dtypes.int64), 0, self.index, numbers)
        representative = ops().index_select(slots, 0, self.index)
        sums = ops().zeros(count, *self.shape[1:], dtype=self.dtype)
        return self.index, representative, ops().index_add(sums, 0, representative, self.rows)

    def to_dense(self) -> Tensor:
        """The whole gradient as a Tensor, with zeros in the rows that were not used."""
        whole: Tensor = self.merged(ops().zeros(*self.shape, dtype=self.dtype))
        return whole

    def merged(self, other: Any) -> Any:
        """The sum with another gradient: sparse if both are, otherwise a Tensor."""
        if isinstance(other, Tensor):
            return ops().index_add(other, 0, self.index, self.rows)
        index, rows = (ops().cat([a, b]) for a, b in ((self.index, other.index), (self.rows, other.rows)))
        return SparseGradient(index, rows, self.shape)

    def norm(self, p: float = 2.0) -> Tensor:
        """The norm of all elements."""
        from lampion.nn.functional.distances import p_norm

        return p_norm(self._groups()[2], float(p), tuple(range(self.ndim)))

    def isfinite(self) -> Tensor:
        """Of each entry's numbers, whether they are finite."""
        return self.rows.isfinite()

    def _with(self, rows: Tensor) -> SparseGradient:
        return SparseGradient(self.index, rows, self.shape, self._coalesced)

    def _owned(self) -> SparseGradient:
        """The same in memory of its own: what `.grad` keeps."""
        index = self.index.detach()._owned()
        return SparseGradient(index, self.rows.detach()._owned(), self.shape, self._coalesced)

    def detach(self) -> SparseGradient:
        """The same entries in another object."""
        return self._with(self.rows.detach())

    def detach_(self) -> SparseGradient:
        """Itself: it has no history."""
        return self

    def clone(self) -> SparseGradient:
        """A copy."""
        return SparseGradient(self.index.clone(), self.rows.clone(), self.shape, self._coalesced)

    def to(self, dtype: dtypes.DType) -> SparseGradient:
        """The same with numbers of another type."""
        return self._with(self.rows.to(dtype))

    # -- arithmetic ----------------------------------------------------------------------------------

    def __mul__(self, factor: Any) -> SparseGradient:
        return self._with(self.rows * factor)

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> SparseGradient:
        return self._with(self.rows / divisor)

    def __neg__(self) -> SparseGradient:
        return self._with(-self.rows)

    def __add__(self, other: Any) -> Any:
        return self.merged(other)

    __radd__ = __add__

    def mul_(self, factor: Any) -> SparseGradient:
        """Scale it by a number."""
        self.rows = self.rows * factor
        return self

    def div_(self, divisor: Any) -> SparseGradient:
        """Divide it by a number."""
        self.rows = self.rows / divisor
        return self

    def clamp_(self, low: float, high: float) -> SparseGradient:
        """Hold every element between two numbers. (Of a row that is there twice, the sum counts.)"""
        _, representative, sums = self._groups()
        own = ops().reshape(representative == ops().arange(self._nnz()), -1, *[1] * self.dense_dim())
        self.rows = ops().where(own, ops().clamp(sums, low, high), 0.0)
        return self

    def zero_(self) -> SparseGradient:
        """Forget all entries."""
        self.index, self.rows, self._coalesced = self.index[:0], self.rows[:0], True
        return self

    def __repr__(self) -> str:
        indices, rows = (repr(part).replace("\n", "\n" + " " * 15) for part in (self._indices(), self.rows))
        values = rows.replace("\n", "\n" + " " * 7)
        more = f"size={self.shape}, nnz={self._nnz()}" + (", coalesced" if self._coalesced else "")
        head = f"SparseGradient(indices={indices},\n"
        return f"{head}{' ' * 15}values={values},\n{' ' * 15}{more})"

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        refuse("__array__")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what Python itself looks for
            raise AttributeError(name)
        raise AttributeError(
            f"a sparse gradient has no `{name}`; .to_dense() gives the whole gradient, .coalesce() the rows",
            name=name, obj=self,
        )  # fmt: skip


class _Outline:
    """In the place of the table's elements: their shape and type."""

    __slots__ = ("dtype", "shape")

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape, self.dtype = shape, dtype

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        refuse("__array__")


def refuse(name: str) -> NoReturn:
    """Say that only few operations are there for sparse gradients."""
    raise LampionError(name, "a sparse gradient is no array", fix="call .to_dense() first")
