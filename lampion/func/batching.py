"""What each primitive does to a batch: the reading of the op table that `vmap` uses.

A rule is handed values with the batch in front, and says it with the same primitive on whole batches. By
kind: elementwise operations line their batches up, reductions and movements count their dimensions one
further. Kernels that are common have rules below; any other runs example by example, which is always right.
All of this happens at the level outside, in Tensor operations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lampion.func.levels import Level, Lifted, ops
from lampion.primitive import Primitive, apply
from lampion.tensor import Tensor

if TYPE_CHECKING:
    from lampion.func.mapping import VmapLevel


class Batched(Lifted):
    """A value for each example: a Tensor of the level outside, with the batch as its first dimension.

    Attributes:
        value: that Tensor.
        batched: whether it has such a dimension; without one, it is the same for all examples.
    """

    __slots__ = ("batched", "value")

    def __init__(self, level: Level, value: Tensor, batched: bool) -> None:
        array = value._array
        super().__init__(level, array.shape[1:] if batched else array.shape, array.dtype)
        self.value = value
        self.batched = batched

    def again(self) -> Batched:
        """The same value as the contents of a storage of its own."""
        return Batched(self.level, self.value, self.batched)


def batch_of(
    level: VmapLevel, primitive: Primitive, arrays: Sequence[Any], params: dict[str, Any]
) -> Batched:
    """One operation on all examples."""
    if not any(isinstance(x, Batched) and x.batched for x in arrays):
        plain = [x.value if isinstance(x, Batched) else x for x in arrays]
        return Batched(level, apply(primitive, *plain, **params), False)
    if primitive.kind == "elementwise" or primitive.name in ALIGNED:
        return Batched(level, apply(primitive, *aligned(arrays), **params), True)
    if primitive.kind == "reduction":
        axis = tuple(a + 1 for a in params["axis"])
        out = apply(primitive, arrays[0].value, **{**params, "axis": axis})
        if out.shape == (level.size, *primitive.infer(arrays[0], **params)[0]):
            return Batched(level, out, True)
        # Else it is one that reduces all there is, whatever the axis.
    if primitive.kind == "movement":
        steps = moved(primitive, params, arrays[0].shape, level.size)
        if steps is not None:
            return Batched(level, follow(arrays[0].value, steps), True)
    elif primitive.name in LEADING and len({len(x.shape) for x in arrays if isinstance(x, Batched)}) == 1:
        return Batched(level, apply(primitive, *whole(arrays, level.size), **params), True)
    elif primitive.name in ALONG:
        params = {**params, "dim": params["dim"] + 1}
        return Batched(level, apply(primitive, *whole(arrays, level.size), **params), True)
    elif primitive.name in RULES:
        found = RULES[primitive.name](level, primitive, arrays, params)
        if found is not None:
            return Batched(level, found, True)
    return Batched(level, one_by_one(level, primitive, arrays, params), True)


#: Kernels whose arguments broadcast as in elementwise operations (systems: in front of the matrices).
ALIGNED = frozenset({"complex", "solve_matrix", "substitution", "cholesky_solution"})
#: Kernels that work on the last dimensions, and leave those before alone.
LEADING = frozenset({
    "inverse", "determinant", "cofactors", "exponential_of", "pseudo_inverse", "zero_pivot", "sign_and_log",
    "cholesky_parts", "eigh_parts", "eig_parts", "svd_parts", "singular_values", "qr_parts", "reflections",
    "lu_parts", "row_order", "ldl_parts", "ldl_substitution", "gamma_slope", "pathwise_gamma",
})  # fmt: skip
#: Kernels that work along one dimension of arguments of equal form.
ALONG = frozenset({
    "gather", "scatter_add", "scatter", "scatter_combine", "cat", "running_sum", "running_product",
    "running_logsumexp", "running_place", "recurrence", "order", "most_frequent", "fourier_of_real",
    "fourier_to_real",
})  # fmt: skip


def aligned(arrays: Sequence[Any]) -> list[Any]:
    """The values with as many dimensions as the one that has most, the batch in front."""
    ndim = max(len(x.shape) for x in arrays if isinstance(x, Batched))
    return [in_front(x, ndim) if isinstance(x, Batched) else x for x in arrays]


def in_front(x: Batched, ndim: int) -> Tensor:
    """The value with the batch in front of `ndim` dimensions; as it is, if it has no batch."""
    missing = ndim - len(x.shape)
    if not x.batched or not missing:
        return x.value
    shape = (x.value.shape[0], *(1,) * missing, *x.shape)
    return ops.reshape(x.value, shape)  # type: ignore[no-any-return]  # see `ops`


def expanded(x: Batched, size: int) -> Tensor:
    """The value for every example, also where it is the same for all."""
    return x.value if x.batched else ops.broadcast_to(x.value, (size, *x.shape))


def whole(arrays: Sequence[Any], size: int) -> list[Any]:
    """All values with a batch."""
    return [expanded(x, size) if isinstance(x, Batched) else x for x in arrays]


def one_by_one(
    level: VmapLevel, primitive: Primitive, arrays: Sequence[Any], params: dict[str, Any]
) -> Tensor:
    """The operation on each example by itself, put together."""
    if not level.size:
        shape, dtype = primitive.infer(*arrays, **params)
        return ops.zeros(0, *shape, dtype=dtype)  # type: ignore[no-any-return]  # see `ops`
    found = [
        apply(primitive, *(_example(x, i) if isinstance(x, Batched) else x for x in arrays), **params)
        for i in range(level.size)
    ]
    return ops.stack(found)  # type: ignore[no-any-return]  # see `ops`


def _example(x: Batched, i: int) -> Tensor:
    return ops.select(x.value, 0, i) if x.batched else x.value


# -- movements, and writing through them -----------------------------------------------------------------


def moved(
    primitive: Primitive, params: dict[str, Any], shape: tuple[int, ...], size: int
) -> list[tuple[Primitive, dict[str, Any]]] | None:
    """The movements of a whole batch that move each example so; None where that is not known."""
    name = primitive.name
    if name == "broadcast_to":
        steps = []
        new = params["shape"]
        if len(new) > len(shape):
            step = (size, *(1,) * (len(new) - len(shape)), *shape)
            steps.append((ops.reshape.primitive, {"shape": step}))
        return [*steps, (primitive, {"shape": (size, *new)})]
    rule = MOVES.get(name)
    return None if rule is None else [(primitive, rule(params, size))]


MOVES: dict[str, Any] = {
    "reshape": lambda p, n: {"shape": (n, *p["shape"])},
    "permute": lambda p, n: {"dims": (0, *(d + 1 for d in p["dims"]))},
    "flip": lambda p, n: {"dims": tuple(d + 1 for d in p["dims"])},
    "slice": lambda p, n: {"bounds": ((0, n, 1), *p["bounds"])},
    "diagonal": lambda p, n: {**p, "dim1": p["dim1"] + 1, "dim2": p["dim2"] + 1},
    "windows": lambda p, n: {**p, "dim": p["dim"] + 1},
    "real": lambda p, n: p,
    "imag": lambda p, n: p,
    "view_as_real": lambda p, n: p,
    "view_as_complex": lambda p, n: p,
}


def follow(x: Tensor, steps: Sequence[tuple[Primitive, dict[str, Any]]]) -> Tensor:
    """Take the view that movements lead to."""
    for primitive, params in steps:
        x = apply(primitive, x, **params)
    return x


def _chain(chain: Any, shape: tuple[int, ...], dtype: Any, size: int) -> Any:
    """A chain of movements for a whole batch; None where that is not known."""
    found: list[Any] = []
    for primitive, params in chain:
        steps = moved(primitive, params, shape, size)
        if steps is None:
            return None
        found += steps
        shape, dtype = primitive.infer(np.broadcast_to(np.zeros((), dtype), shape), **params)
    return tuple(found)


def _put(level: VmapLevel, primitive: Primitive, arrays: Sequence[Any], params: dict[str, Any]) -> Any:
    base, value = arrays
    chain = _chain(params["chain"], base.shape, base.dtype, level.size)
    if chain is None:
        return None
    # Per example, the value broadcasts to what the chain leads to, which may have more dimensions.
    target = np.broadcast_to(np.zeros((), base.dtype), base.shape)
    ndim = len(_shape_after(target, params["chain"]))
    return apply(primitive, expanded(base, level.size), in_front(value, ndim), chain=chain)


def _shape_after(array: Any, chain: Any) -> tuple[int, ...]:
    shape, dtype = array.shape, array.dtype
    for primitive, params in chain:
        shape, dtype = primitive.infer(np.broadcast_to(np.zeros((), dtype), shape), **params)
    return tuple(shape)


def _unview(level: VmapLevel, primitive: Primitive, arrays: Sequence[Any], params: dict[str, Any]) -> Any:
    (x,) = arrays
    chain = _chain(params["chain"], params["shape"], x.dtype, level.size)
    if chain is None:
        return None
    return apply(primitive, x.value, shape=(level.size, *params["shape"]), chain=chain)


# -- products, indices, random numbers -------------------------------------------------------------------


def _matmul(level: VmapLevel, primitive: Primitive, arrays: Sequence[Any], params: dict[str, Any]) -> Any:
    x, y = arrays
    if x.batched and not y.batched and len(y.shape) == 2 and len(x.shape) == 2:
        # One product of a tall matrix, instead of one for each example.
        size, m, k = x.value.shape
        out = apply(primitive, ops.reshape(x.value, (size * m, k)), y.value)
        return ops.reshape(out, (size, m, y.shape[-1]))
    return apply(primitive, *aligned(arrays))


def _neighbours(dims: Sequence[int]) -> bool:
    return dims[-1] - dims[0] == len(dims) - 1


def _index(level: VmapLevel, primitive: Primitive, arrays: Sequence[Any], params: dict[str, Any]) -> Any:
    x, *indices = arrays
    dims = params["dims"]
    rank = max(len(i.shape) for i in indices)
    at = dims[0] if _neighbours(dims) else 0  # where, for each example, the new dimensions stand
    if not any(i.batched for i in indices):
        out = apply(
            primitive, x.value, *(i.value for i in indices), **{**params, "dims": tuple(d + 1 for d in dims)}
        )
        return out if _neighbours(dims) else ops.movedim(out, rank, 0)
    if not x.batched:
        out = apply(primitive, x.value, *(in_front(i, rank) for i in indices), **params)
        return ops.movedim(out, at, 0)
    numbered, places = _numbered(level, indices, dims, rank)
    out = apply(primitive, x.value, *numbered, **{**params, "dims": places})
    return _shifted(out, rank, at, back=True)


def _numbered(level: VmapLevel, indices: Sequence[Any], dims: Sequence[int], rank: int) -> Any:
    """Indices that also name the example, along dimension 0. The new dimensions then stand in front."""
    examples = ops.reshape(ops.arange(level.size), (level.size, *(1,) * rank))
    return [examples, *(in_front(i, rank) for i in indices)], (0, *(d + 1 for d in dims))


def _shifted(x: Tensor, rank: int, at: int, back: bool) -> Tensor:
    """Move dimensions 1... to where they stand behind `at` others (back), or from there to the front."""
    if not at or not rank:
        return x
    front, behind = tuple(range(1, rank + 1)), tuple(range(at + 1, at + 1 + rank))
    moves = (front, behind) if back else (behind, front)
    return ops.movedim(x, *moves)  # type: ignore[no-any-return]  # see `ops`


def _index_put(level: VmapLevel, primitive: Primitive, arrays: Sequence[Any], params: dict[str, Any]) -> Any:
    x, value, *indices = arrays
    dims = params["dims"]
    rank = max(len(i.shape) for i in indices)
    at = dims[0] if _neighbours(dims) else 0
    shape = np.broadcast_shapes(*(i.shape for i in indices))
    rest = [n for axis, n in enumerate(x.shape) if axis not in dims]
    target = (*rest[:at], *shape, *rest[at:])
    spread = ops.broadcast_to(in_front(value, len(target)), (level.size, *target))
    numbered, places = _numbered(level, indices, dims, rank)
    values = _shifted(spread, rank, at, back=False)
    return apply(primitive, expanded(x, level.size), values, *numbered, **{**params, "dims": places})


def _random_bits(
    level: VmapLevel, primitive: Primitive, arrays: Sequence[Any], params: dict[str, Any]
) -> Any:
    # `VmapLevel.draw` numbers the examples' states so that their blocks follow each other.
    (state,) = arrays
    size = params["size"]
    blocks = -(-size // 4)
    first = ops.select(state.value, 0, 0) if level.size else None
    if first is None:
        return None
    bits = apply(primitive, first, size=level.size * blocks * 4, delta=params["delta"])
    return ops.reshape(bits, (level.size, blocks * 4))[:, :size]


def _fourier(level: VmapLevel, primitive: Primitive, arrays: Sequence[Any], params: dict[str, Any]) -> Any:
    return apply(primitive, arrays[0].value, **{**params, "dims": tuple(d + 1 for d in params["dims"])})


#: Rules that give the value of the result, batch in front; None: example by example.
RULES: dict[str, Any] = {
    "matmul": _matmul, "put": _put, "unview": _unview, "index": _index, "index_put": _index_put,
    "random_bits": _random_bits, "fourier": _fourier,
}  # fmt: skip


def count(shape: tuple[int, ...]) -> int:
    """The number of elements of an example."""
    return math.prod(shape)
