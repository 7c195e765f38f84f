"""`vmap`: a function of one example becomes a function of a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from lampion import dtype as dtypes
from lampion.errors import LampionError, ShapeError
from lampion.func.batching import Batched, batch_of, expanded
from lampion.func.custom import CustomBatch
from lampion.func.levels import Level, draw_outside, ops
from lampion.func.tree import flatten, spread, tensors_of, unflatten
from lampion.ops.shapes import normalize_dim
from lampion.primitive import Primitive
from lampion.tensor import Tensor, wrap


class VmapLevel(CustomBatch, Level):
    """A batch of examples at once."""

    name = "vmap"

    def __init__(self, size: int, randomness: str = "error") -> None:
        super().__init__()
        self.size = size
        self.randomness = randomness
        self.dims: dict[int, int] = {}  # by id of an argument: which of its dimensions counts the examples

    def lift(self, tensor: Tensor) -> Batched:
        """A tensor from outside: the same for all examples."""
        return Batched(self, tensor, False)

    def rule(self, primitive: Primitive, arrays: Sequence[Any], params: dict[str, Any]) -> Batched:
        """One operation on all examples."""
        return batch_of(self, primitive, arrays, params)

    def lower(self, lifted: Any, tensor: Tensor) -> Tensor:
        """What was written into a tensor from outside."""
        dim = self.dims.get(id(tensor))
        if dim is None:
            if lifted.batched:
                raise LampionError(
                    "vmap", "the function writes a value for each example into one tensor made outside",
                    got=f"a tensor of shape {tuple(tensor.shape)}",
                    fix="use the out-of-place form, and return the result",
                )  # fmt: skip
            return lifted.value  # type: ignore[no-any-return]  # a Tensor
        value = expanded(lifted, self.size)
        return ops.movedim(value, 0, dim) if dim else value

    def plain(self, lifted: Any) -> Tensor | None:
        """What is the same for all examples."""
        return None if lifted.batched else lifted.value

    def is_view(self, lifted: Any) -> bool:
        """Whether a reshape at the level outside did without a copy."""
        return lifted.value._base is not None

    def is_contiguous(self, tensor: Tensor) -> bool:
        """Whether each example lies in memory in order."""
        lifted = self.read(tensor)

        def ask() -> bool:
            value: Tensor = lifted.value
            if lifted.batched and self.size:
                value = ops.select(value, 0, 0)
            return value.is_contiguous()

        return self.outside(ask)  # type: ignore[no-any-return]  # a call by name

    def draw(self, generator: Any, blocks: int) -> tuple[Tensor, int]:
        """Random numbers: refused, the same for all examples, or different ones, as was asked for."""
        if self.randomness == "error":
            self.refuse(
                "draws random numbers", 'say which: randomness="same" or "different" for the examples'
            )
        if self.randomness == "same":
            return super().draw(generator, blocks)

        def states() -> tuple[Batched, int]:
            state, delta = draw_outside(generator, blocks * self.size)
            steps = ops.arange(self.size) * blocks
            both = ops.stack([steps * 0, steps], 1).to(dtypes.uint64)
            return Batched(self, ops.add(ops.reshape(state, (1, 2)), both), True), delta

        state, delta = self.outside(states)
        return wrap(state), delta


def vmap(
    func: Callable[..., Any], in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:  # fmt: skip
    """A function that does to each example of a batch what `func` does to one.

    Not a loop: each operation runs once, on all examples.

    Args:
        func: takes Tensors (also in tuples, lists and dicts) and returns such.
        in_dims: the dimension of each argument that counts the examples; None for what all of them share.
            One for all, or nested as the arguments are.
        out_dims: where the results shall have it.
        randomness: what random operations do: "error", "same" numbers for every example, or "different" ones.
        chunk_size: so many examples at once at most; the memory needed is that much smaller.

    >>> import lampion
    >>> from lampion.func import vmap
    >>> rows = lampion.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> vmap(lambda x, y: (x * y).sum())(rows, rows)
    tensor([ 5., 25.])
    >>> vmap(lampion.dot, in_dims=(0, None))(rows, rows[0])
    tensor([ 5., 11.])
    """
    if randomness not in ("error", "same", "different"):
        raise ValueError(f"vmap: randomness must be 'error', 'same' or 'different', not {randomness!r}")
    if chunk_size is not None and chunk_size < 1:
        raise ValueError(f"vmap: chunk_size must be positive, not {chunk_size}")

    @functools.wraps(func)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        leaves: list[Any] = []
        shape = flatten(args, leaves)
        dims = _in_dims(in_dims, args, leaves)
        size = _size(leaves, dims)
        if chunk_size is None or chunk_size >= size:
            return _run(func, leaves, shape, dims, kwargs, size, out_dims, randomness)
        parts = []
        for start in range(0, size, chunk_size):
            length = min(chunk_size, size - start)
            part = [
                leaf if dim is None else ops.narrow(leaf, dim, start, length)
                for leaf, dim in zip(leaves, dims, strict=True)
            ]
            parts.append(_run(func, part, shape, dims, kwargs, length, out_dims, randomness))
        return _joined(parts, out_dims)

    return mapped


def _in_dims(in_dims: Any, args: tuple[Any, ...], leaves: list[Any]) -> list[Any]:
    """The dimension of each leaf that counts examples."""
    if isinstance(in_dims, list):
        in_dims = tuple(in_dims)
    if isinstance(in_dims, tuple) and len(in_dims) != len(args):
        raise LampionError("vmap", "in_dims and the arguments differ in number",
                           got=f"{len(in_dims)} in_dims, {len(args)} arguments")  # fmt: skip
    dims = spread("vmap", in_dims, args, "in_dims")
    for place, (leaf, dim) in enumerate(zip(leaves, dims, strict=True)):
        if dim is None:
            continue
        if not isinstance(leaf, Tensor):
            raise LampionError("vmap", "only tensors have a dimension of examples", got=type(leaf).__name__,
                               fix="give None for this argument in in_dims")  # fmt: skip
        if not leaf.ndim:
            raise ShapeError("vmap", "a 0-d tensor has no dimension of examples",
                             fix="give None for this argument in in_dims")  # fmt: skip
        dims[place] = normalize_dim("vmap", dim, leaf.ndim)
    return dims


def _size(leaves: list[Any], dims: list[Any]) -> int:
    sizes = {leaf.shape[dim] for leaf, dim in zip(leaves, dims, strict=True) if dim is not None}
    if not sizes:
        raise LampionError("vmap", "there is nothing to map over",
                           expected="at least one tensor whose in_dims is not None")  # fmt: skip
    if len(sizes) > 1:
        raise ShapeError("vmap", "the arguments have different numbers of examples", got=str(sorted(sizes)),
                         expected="one size along all of in_dims")  # fmt: skip
    return int(sizes.pop())


def _run(
    func: Callable[..., Any], leaves: list[Any], shape: Any, dims: list[Any], kwargs: dict[str, Any],
    size: int, out_dims: Any, randomness: str,
) -> Any:  # fmt: skip
    level = VmapLevel(size, randomness)
    inside: list[Any] = []
    for leaf, dim in zip(leaves, dims, strict=True):
        if dim is None:
            inside.append(leaf)
            continue
        value = ops.movedim(leaf, dim, 0) if dim else leaf
        level.dims[id(leaf)] = dim
        inside.append(level.argument(leaf, Batched(level, value, True)))
    with level:
        result = func(*unflatten(shape, iter(inside)), **kwargs)
        found, tree = tensors_of("vmap", result, "what the function returns")
        lifted = [level.read(x) for x in found]
    level.carry_out()
    places = _out_dims(out_dims, result)
    made = [_result(x, dim, size) for x, dim in zip(lifted, places, strict=True)]
    return unflatten(tree, iter(made))


def _out_dims(out_dims: Any, result: Any) -> list[Any]:
    if isinstance(out_dims, list):
        out_dims = tuple(out_dims)
    if isinstance(out_dims, tuple) and len(out_dims) == 1 and isinstance(result, Tensor):
        out_dims = out_dims[0]
    return spread("vmap", out_dims, result, "out_dims")


def _result(x: Batched, dim: int | None, size: int) -> Tensor:
    if dim is None:
        if x.batched:
            raise LampionError("vmap", "a result with out_dims None differs between the examples",
                               fix="give the dimension where the batch shall stand")  # fmt: skip
        return x.value
    value = expanded(x, size)
    dim = normalize_dim("vmap", dim, value.ndim)
    return ops.movedim(value, 0, dim) if dim else value


def _joined(parts: list[Any], out_dims: Any) -> Any:
    """The results of the chunks, one behind the other."""
    places = _out_dims(out_dims, parts[0])
    columns: list[list[Any]] = []
    tree = None
    for part in parts:
        leaves: list[Any] = []
        tree = flatten(part, leaves)
        columns.append(leaves)
    made = [
        column[0] if dim is None else ops.cat(list(column), dim if dim >= 0 else dim + column[0].ndim)
        for column, dim in zip(zip(*columns, strict=True), places, strict=True)
    ]
    return unflatten(tree, iter(made))


__all__ = ["VmapLevel", "vmap"]
