"""`scan`: a loop over slices of tensors that hands values on from round to round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lampion import ops as operations
from lampion.dtype import DType
from lampion.errors import LampionError, ShapeError
from lampion.func.tree import tensors_of, unflatten
from lampion.mode import mode
from lampion.tensor import Tensor

__all__ = ["scan"]

ops: Any = operations  # the stubs know one name by one type


def scan(
    combine_fn: Callable[[Any, Any], tuple[Any, Any]], init: Any, xs: Any, *, dim: int = 0,
    reverse: bool = False,
) -> tuple[Any, Any]:  # fmt: skip
    r"""Run a function along a dimension, handing a carry on from one slice to the next.

    .. math:: c_{t+1}, y_t = f(c_t, x_t)

    It is what this loop computes::

        carry, ys = init, []
        for x in xs.unbind(dim):
            carry, y = combine_fn(carry, x)
            ys.append(y)
        return carry, stack(ys, dim)

    and run as it stands, it is this loop. In a compiled function `combine_fn` is recorded once, whatever the
    length, and the loop is part of the machine code; so is its gradient, a loop in the other direction. What
    the function uses from outside (weights) gets its gradient too, and derivatives may be of any order.

    Args:
        combine_fn: takes a carry and a slice, gives the next carry and an output. It may draw random
            numbers, but should not change anything outside of it.
        init: the first carry: a tensor, or tuples, lists and dicts of tensors. The carry keeps this
            structure, and its shapes and types.
        xs: what is cut into slices, all of one length along `dim`; a tensor, or such a structure.
        dim: the dimension that the slices are taken along, and the outputs stacked along.
        reverse: whether the last slice comes first. The outputs lie as the slices do.

    Shape:
        each slice has its tensor's shape without `dim`; each output is stacked to as many as there are.

    Raises:
        ShapeError: where the tensors of `xs` differ in length.
        LampionError: where a carry changes its structure, shape or type, or is no tensor.

    >>> import lampion
    >>> x = lampion.tensor([1.0, 2.0, 3.0])
    >>> lampion.func.scan(lambda total, x: (total + x, total * x), lampion.tensor(0.0), x)
    (tensor(6.), tensor([0., 2., 9.]))

    Source: JAX's `lax.scan`; the name and the order of arguments are those of PyTorch's prototype.
    """
    first, shape = tensors_of("scan", init, "the carry")
    sequences, spec = tensors_of("scan", xs, "xs")
    length = _length(sequences, dim)
    round_ = _Round(combine_fn, shape, spec, first)
    along = [ops.movedim(x, dim, 0) if dim % x.ndim else x for x in sequences]
    if mode.trace is not None and length != 1 and _records(mode.trace):  # one round is no loop
        carry, outputs = _recorded(round_, first, along, length, reverse)
    else:
        carry, outputs = _looped(round_, first, along, length, reverse)
    if dim:
        outputs = [ops.movedim(y, 0, dim) for y in outputs]
    return unflatten(shape, iter(carry)), unflatten(round_.outputs[0], iter(outputs))


def _length(sequences: list[Tensor], dim: int) -> int:
    """How many slices there are."""
    if not sequences:
        raise LampionError("scan", "xs has no tensors, so that nothing says how many rounds there are",
                           fix="pass lampion.arange(n)")  # fmt: skip
    for number, x in enumerate(sequences):
        if not -x.ndim <= dim < x.ndim:
            raise ShapeError("scan", f"tensor {number} of xs has no dimension {dim}",
                             got=f"shape {tuple(x.shape)}")  # fmt: skip
    lengths = [x.shape[dim] for x in sequences]
    if len(set(lengths)) > 1:
        raise ShapeError("scan", f"the tensors of xs differ in length along dimension {dim}",
                         expected="one length", got=", ".join(map(str, lengths)))  # fmt: skip
    return int(lengths[0])


class _Round:
    """One call of the function, on flat lists of tensors; checks what it gives."""

    def __init__(self, function: Callable[..., Any], carry: Any, slices: Any, like: list[Tensor]) -> None:
        self.function, self.carry, self.slices = function, carry, slices
        self.forms = [(tuple(x.shape), x.dtype) for x in like]
        self.outputs: Any = None  # the structure of an output, in a tuple: that of a tensor is None

    def __call__(self, carry: list[Tensor], slices: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        versions = [x._version[0] for x in (*carry, *slices)]
        result = self.function(unflatten(self.carry, iter(carry)), unflatten(self.slices, iter(slices)))
        if versions != [x._version[0] for x in (*carry, *slices)]:
            raise LampionError("scan", "the function writes to what it is given, in place",
                               fix="use the out-of-place form: h = h + x for h += x")  # fmt: skip
        if not isinstance(result, tuple | list) or len(result) != 2:
            raise LampionError("scan", "the function must give two things: the next carry, and an output",
                               got=repr(type(result).__name__), fix="return carry, output")  # fmt: skip
        found, shape = tensors_of("scan", result[0], "the carry")
        if shape != self.carry:
            raise LampionError("scan", "the carry changes its structure", expected=_tree(self.carry),
                               got=_tree(shape))  # fmt: skip
        for number, (x, (size, dtype)) in enumerate(zip(found, self.forms, strict=True)):
            if tuple(x.shape) != size or x.dtype is not dtype:
                raise LampionError(
                    "scan", f"the carry changes its shape or type (leaf {number} of {len(found)})",
                    expected=_form(size, dtype), got=_form(tuple(x.shape), x.dtype),
                    fix="make `init` as the function returns it, or cast what it returns",
                )  # fmt: skip
        outputs, structure = tensors_of("scan", result[1], "an output")
        if self.outputs is None:
            self.outputs = (structure,)
        elif self.outputs != (structure,):
            raise LampionError("scan", "the outputs differ in structure", expected=_tree(self.outputs[0]),
                               got=_tree(structure))  # fmt: skip
        return found, outputs


def _form(shape: tuple[int, ...], dtype: DType) -> str:
    return f"shape {shape}, {dtype}"


def _tree(shape: Any) -> str:
    """A structure as text: ``(*, [*, *])``."""
    if shape is None:
        return "*"
    kind, parts = shape
    if kind is dict:
        return "{" + ", ".join(f"{key!r}: {_tree(part)}" for key, part in parts) + "}"
    inside = ", ".join(map(_tree, parts))
    return f"[{inside}]" if kind is list else f"({inside}{',' if len(parts) == 1 else ''})"


def _records(trace: Any) -> bool:
    """Whether a compiled function is being recorded, with no other level of `lampion.func` in between."""
    from lampion.compiler.trace import Trace

    return isinstance(trace, Trace)


def _looped(
    round_: _Round, carry: list[Tensor], sequences: list[Tensor], length: int, reverse: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """The loop itself."""
    if not length:
        return [ops.clone(x) for x in carry], _empty(round_, carry, sequences)
    given, rows = set(map(id, carry)), []
    for i in reversed(range(length)) if reverse else range(length):
        carry, outputs = round_(carry, [ops.select(x, 0, i) for x in sequences])
        rows.append(outputs)
    if reverse:
        rows.reverse()
    last = [ops.clone(x) if id(x) in given or x._base is not None else x for x in carry]
    return last, [ops.stack(list(column)) for column in zip(*rows, strict=True)]


def _recorded(
    round_: _Round, carry: list[Tensor], sequences: list[Tensor], length: int, reverse: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """The loop as a loop of the graph."""
    from lampion.compiler.scan.record import record_scan

    if not length:
        return [ops.clone(x) for x in carry], _empty(round_, carry, sequences)
    return record_scan(round_, carry, sequences, length, reverse)


def _empty(round_: _Round, carry: list[Tensor], sequences: list[Tensor]) -> list[Tensor]:
    """The outputs of no rounds. Which shapes they have, the function says when it is traced."""
    from lampion.compiler.scan.body import outputs_of

    forms = outputs_of(round_, carry, sequences)
    return [ops.zeros((0, *shape), dtype=dtype) for shape, dtype in forms]
