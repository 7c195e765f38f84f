"""Tensors taken apart: split, chunk and their kin, whose parts are views; and the copying forms of views."""

from __future__ import annotations

import itertools

from lampion.errors import IndexRangeError, ShapeError
from lampion.ops.complex_numbers import view_as_complex, view_as_real
from lampion.ops.define import METHODS, OPERATIONS, operation
from lampion.ops.movement import as_strided, diagonal, permute
from lampion.ops.shapes import normalize_dim
from lampion.ops.views import (
    along,
    expand,
    narrow,
    select,
    slice_along,
    squeeze,
    t,
    transpose,
    unbind,
    unfold,
    unsqueeze,
    view,
)  # fmt: skip
from lampion.tensor import Tensor, as_tensor


def _prepared(name, x, dim):
    x = as_tensor(x)
    if not x.ndim:
        raise IndexRangeError(name, "a 0-d tensor has no dimension to split")
    return x, normalize_dim(name, dim, x.ndim)


def _parts(x, dim, ends):
    """The parts that end at the given places. Views."""
    starts = (0, *ends[:-1])
    return tuple(along(x, dim, (a, max(a, b), 1)) for a, b in zip(starts, ends, strict=True))


@operation
def split(tensor, split_size_or_sections=None, dim: int = 0, *, split_size=None) -> tuple[Tensor, ...]:
    """The parts of x along `dim`, of one size (the last may be smaller) or of the sizes listed. Views.

    >>> import lampion
    >>> [part.tolist() for part in lampion.arange(5).split(2)]
    [[0, 1], [2, 3], [4]]
    >>> [part.tolist() for part in lampion.arange(5).split([1, 4])]
    [[0], [1, 2, 3, 4]]
    """
    size = split_size if split_size_or_sections is None else split_size_or_sections
    if isinstance(size, tuple | list):
        return split_with_sizes(tensor, size, dim)
    x, dim = _prepared("split", tensor, dim)
    n = x.shape[dim]
    if size < 0 or (size == 0 and n):
        raise ShapeError("split", "the size of a part must be positive", got=str(size))
    return _parts(x, dim, [min(end, n) for end in range(size, n + size, size)] if n else [0])


@operation
def split_with_sizes(input, split_sizes, dim: int = 0) -> tuple[Tensor, ...]:
    """The parts of x along `dim`, of the sizes listed. Views."""
    x, dim = _prepared("split", input, dim)
    sizes = [int(n) for n in split_sizes]
    if min(sizes, default=0) < 0 or sum(sizes) != x.shape[dim]:
        raise ShapeError("split", "the sizes do not add up to the dimension",
                         expected=f"sizes that add up to {x.shape[dim]}", got=str(sizes))  # fmt: skip
    return _parts(x, dim, list(itertools.accumulate(sizes)))


@operation
def chunk(input, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """x in `chunks` equal parts along `dim`; there may be fewer, and the last may be smaller. Views."""
    x, dim = _prepared("chunk", input, dim)
    if chunks < 1:
        raise ShapeError("chunk", "expected at least one chunk", got=str(chunks))
    n = x.shape[dim]
    return split(x, -(-n // chunks), dim) if n else _parts(x, dim, [0] * chunks)


@operation
def tensor_split(
    input, indices_or_sections=None, dim: int = 0, *, indices=None, sections=None
) -> tuple[Tensor, ...]:
    """x in that many parts along `dim`, as equal as can be, or cut before each of the places listed. Views.

    >>> import lampion
    >>> [part.tolist() for part in lampion.arange(5).tensor_split(2)]
    [[0, 1, 2], [3, 4]]
    >>> [part.tolist() for part in lampion.arange(5).tensor_split((1, 3))]
    [[0], [1, 2], [3, 4]]
    """
    x, dim = _prepared("tensor_split", input, dim)
    where = next(w for w in (indices_or_sections, indices, sections) if w is not None)
    if isinstance(where, Tensor):
        where = where.tolist()
    n = x.shape[dim]
    if isinstance(where, tuple | list):
        cuts = [slice(int(place)).indices(n)[1] for place in where]
        starts, ends = [0, *cuts], [*cuts, n]
        return tuple(along(x, dim, (a, max(a, b), 1)) for a, b in zip(starts, ends, strict=True))
    if where < 1:
        raise ShapeError("tensor_split", "expected at least one part", got=str(where))
    small, larger = divmod(n, int(where))
    sizes = [small + (number < larger) for number in range(int(where))]
    return _parts(x, dim, list(itertools.accumulate(sizes)))


def _directed(name, least, dim_of, where):
    def function(input, indices_or_sections) -> tuple[Tensor, ...]:
        x = as_tensor(input)
        if x.ndim < least:
            raise ShapeError(name, f"expected at least {least} dimension{'s' * (least > 1)}",
                             got=str(tuple(x.shape)))  # fmt: skip
        dim = dim_of(x)
        if isinstance(indices_or_sections, int) and (
            indices_or_sections < 1 or x.shape[dim] % indices_or_sections
        ):
            raise ShapeError(name, "the dimension cannot be divided into that many equal parts",
                             got=f"{x.shape[dim]} into {indices_or_sections}")  # fmt: skip
        return tensor_split(x, indices_or_sections, dim)

    function.__name__, function.__module__ = name, __name__
    function.__doc__ = f"x in equal parts {where}, or cut before each of the places listed. Views."
    return operation(function)


hsplit = _directed(
    "hsplit", 1, lambda x: 1 if x.ndim > 1 else 0, "side by side (along dimension 1, or the only one)"
)  # fmt: skip
vsplit = _directed("vsplit", 2, lambda x: 0, "one below the other (along dimension 0)")
dsplit = _directed("dsplit", 3, lambda x: 2, "one behind the other (along dimension 2)")

for _function in (split, split_with_sizes, chunk):
    OPERATIONS[f"unsafe_{_function.__name__}"] = METHODS[f"unsafe_{_function.__name__}"] = _function


# -- copies --------------------------------------------------------------------------------------------


def _copying(name, function, method=False):
    """The form of a view that shares no memory."""

    def copy(input, *args, **kwargs):
        out = function(as_tensor(input), *args, **kwargs)
        return tuple(part.clone() for part in out) if isinstance(out, tuple) else out.clone()

    copy.__name__, copy.__module__ = name, __name__
    copy.__doc__ = f"A copy of what `{name.removesuffix('_copy')}` gives, in memory of its own."
    return operation(copy, method=method)


def _slice(x, dim=0, start=None, end=None, step=1):
    """The elements ``start:end:step`` along a dimension."""
    return along(x, *slice_along("slice", x, dim, start, end, step))


for _name, _function in (
    ("alias", lambda x: x), ("as_strided", as_strided), ("detach", lambda x: x.detach()),
    ("view_as_real", view_as_real), ("view_as_complex", view_as_complex),
    ("diagonal", diagonal),
    ("expand", expand), ("permute", permute), ("select", select), ("slice", _slice), ("split", split),
    ("split_with_sizes", split_with_sizes), ("squeeze", squeeze), ("t", t), ("transpose", transpose),
    ("unbind", unbind), ("unfold", unfold), ("unsqueeze", unsqueeze), ("view", view), ("narrow", narrow),
):  # fmt: skip
    _copying(f"{_name}_copy", _function, method=_name == "narrow")

