"""What each primitive does to a tangent: the reading of the op table that `jvp` uses.

A value comes with its tangent, the direction in which it moves. No primitive says how; it follows from its
gradient:

* movements, and kernels that are linear in their data, do to the tangent what they do to the value;
* an elementwise operation multiplies each element by a slope, and so does its `vjp`: what that makes of the
  tangent in the gradient's place is the result's tangent, to be added over the inputs;
* in a reduction each element of the input moves one element of the result, by the slope that `vjp` makes
  of ones: the tangent is multiplied with that, and summed;
* of anything else the gradient is transposed: ``vjp(u)`` is linear in u, so that the gradient with respect
  to u of its product with the tangent is the result's tangent, whatever u.

Source of the last one: J. Townsend, "A new trick for calculating Jacobian vector products" (2017).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from lampion.autograd import grad as gradients_of
from lampion.autograd.walk import fit
from lampion.func.custom import CustomDual
from lampion.func.levels import Level, Lifted, ops
from lampion.func.tracking import tracked
from lampion.mode import mode
from lampion.ops.shapes import reduced_shape
from lampion.primitive import Primitive, apply
from lampion.tensor import Tensor


class Dual(Lifted):
    """A value and its tangent, both Tensors of the level outside; no tangent means that it stands still."""

    __slots__ = ("primal", "tangent")

    def __init__(self, level: Level, primal: Tensor, tangent: Tensor | None) -> None:
        super().__init__(level, primal._array.shape, primal._array.dtype)
        self.primal = primal
        self.tangent = tangent

    def again(self) -> Dual:
        """The same value as the contents of a storage of its own."""
        return Dual(self.level, self.primal, self.tangent)


class DualLevel(CustomDual, Level):
    """Values with tangents."""

    name = "jvp"

    def lift(self, tensor: Tensor) -> Dual:
        """A tensor from outside stands still."""
        return Dual(self, tensor, None)

    def rule(self, primitive: Primitive, arrays: Sequence[Any], params: dict[str, Any]) -> Dual:
        """One operation, and what it does to the tangents."""
        primals = [x.primal if isinstance(x, Dual) else x for x in arrays]
        tangents = [x.tangent if isinstance(x, Dual) else None for x in arrays]
        if primitive.vjp is None or not any(t is not None for t in tangents):
            return Dual(self, apply(primitive, *primals, **params), None)
        if primitive.name in LINEAR:
            out = apply(primitive, *primals, **params)
            if out.dtype.is_inexact:
                moving = _moving(primals, tangents, LINEAR[primitive.name])
                return Dual(self, out, None if moving is None else apply(primitive, *moving, **params))
            return Dual(self, out, None)
        if primitive.name == "matmul":
            out = apply(primitive, *primals, **params)
            return Dual(self, out, _of_product(primitive, primals, tangents))
        if primitive.kind in ("elementwise", "reduction") and _is_plain(primitive, primals):
            out = apply(primitive, *primals, **params)
            if not out.dtype.is_inexact:
                return Dual(self, out, None)
            if all(t is None or t.dtype is out.dtype for t in tangents):
                rule = _by_slopes if primitive.kind == "elementwise" else _of_reduction
                return Dual(self, out, rule(primitive, primals, tangents, out, params))
        outs, moved = transposed(lambda *xs: apply(primitive, *xs, **params), primals, tangents)
        return Dual(self, outs[0], moved[0])

    def lower(self, lifted: Any, tensor: Tensor) -> Tensor:
        """What was written into a tensor from outside: the value; its tangent has no place there."""
        return lifted.primal  # type: ignore[no-any-return]  # a Tensor

    def plain(self, lifted: Any) -> Tensor:
        """The value without its tangent."""
        return lifted.primal  # type: ignore[no-any-return]  # a Tensor

    def is_view(self, lifted: Any) -> bool:
        """Whether a reshape at the level outside did without a copy."""
        return lifted.primal._base is not None

    def is_contiguous(self, tensor: Tensor) -> bool:
        """Whether the value lies in memory in order."""
        return self.outside(self.read(tensor).primal.is_contiguous)  # type: ignore[no-any-return]  # by name


#: Linear in these arguments, all together (None: in all): what happens to the value happens to the tangent.
LINEAR: dict[str, tuple[int, ...] | None] = {
    "reshape": None, "permute": None, "broadcast_to": None, "flip": None, "slice": None, "diagonal": None,
    "windows": None, "strided": None, "real": None, "imag": None, "view_as_real": None,
    "view_as_complex": None, "cast": None, "clone": None, "conj": None, "neg": None, "sum": None, "cat": None,
    "complex": None, "put": None, "unview": None, "add": None, "sub": None, "gather": (0,), "index": (0,),
    "scatter_add": (0, 2), "scatter": (0, 2), "index_put": (0, 1), "fourier": None,
    "fourier_of_real": None, "fourier_to_real": None, "running_sum": None, "where": (1, 2),
}  # fmt: skip


def _moving(
    primals: Sequence[Any], tangents: Sequence[Tensor | None], places: tuple[int, ...] | None
) -> list[Any] | None:
    """The arguments with tangents for values; zero where something stands still."""
    moving: list[Any] = []
    some = False
    for place, (primal, tangent) in enumerate(zip(primals, tangents, strict=True)):
        if places is not None and place not in places:
            moving.append(primal)
        elif tangent is not None:
            moving.append(tangent)
            some = True
        elif isinstance(primal, Tensor):
            moving.append(ops.zeros_like(primal))
        else:
            moving.append(0)
    return moving if some else None


def _of_product(primitive: Primitive, primals: Sequence[Any], tangents: Sequence[Any]) -> Tensor:
    (x, y), (dx, dy) = primals, tangents
    first = None if dx is None else apply(primitive, dx, y)
    second = None if dy is None else apply(primitive, x, dy)
    if first is None or second is None:
        return first if second is None else second  # type: ignore[return-value]  # one is there
    return ops.add(first, second)  # type: ignore[no-any-return]  # see `ops`


def _is_plain(primitive: Primitive, primals: Sequence[Any]) -> bool:
    """Whether the slope is one number an element: for real numbers, and complex-differentiable functions."""
    return primitive.analytic or not any(isinstance(x, Tensor) and x.dtype.is_complex for x in primals)


def _gradients(
    primitive: Primitive, primals: Sequence[Any], g: Tensor, out: Tensor, params: dict[str, Any]
) -> tuple[Any, ...]:
    """What `vjp` gives, handed what it saves."""
    saved: list[Any] = list(primals) if primitive.saves_inputs else []
    if primitive.saves_output:
        saved.append(out)
    if primitive.saves_shapes:
        shapes = [x.shape if isinstance(x, Tensor) else () for x in primals]
        saved = [shapes[0] if primitive.saves_shapes == "shape" else shapes]
    assert primitive.vjp is not None
    results = primitive.vjp(g, *saved, **params)
    return results if type(results) is tuple else (results,)


def _value(entry: Any, shape: tuple[int, ...]) -> Tensor:
    """An entry of `vjp`'s, which may have been put off."""
    if isinstance(entry, Tensor):
        return entry
    takes_shape = isinstance(entry, FunctionType) and entry.__code__.co_argcount
    return entry(shape) if takes_shape else entry()  # type: ignore[no-any-return]  # a Tensor


def _by_slopes(
    primitive: Primitive, primals: Sequence[Any], tangents: Sequence[Tensor | None], out: Tensor,
    params: dict[str, Any],
) -> Tensor | None:  # fmt: skip
    """The tangent of an elementwise operation."""
    total = None
    for place, tangent in enumerate(tangents):
        if tangent is None:
            continue
        g = tangent if tangent.shape == out.shape else ops.broadcast_to(tangent, out.shape)
        entry = _gradients(primitive, primals, g, out, params)[place]
        if entry is None:
            continue
        part = _value(entry, out.shape)
        if part.shape != out.shape:
            part = ops.broadcast_to(part, out.shape)
        total = part if total is None else ops.add(total, part)
    return total


def _of_reduction(
    primitive: Primitive, primals: Sequence[Any], tangents: Sequence[Tensor | None], out: Tensor,
    params: dict[str, Any],
) -> Tensor:  # fmt: skip
    """The tangent of a reduction."""
    params = dict(params)
    keepdims, axis = params.pop("keepdims"), params["axis"]
    (x,), (tangent,) = primals, tangents
    kept = reduced_shape(x.shape, axis, True)
    whole = out if keepdims else ops.reshape(out, kept)
    (entry, *_) = _gradients(primitive, primals, ops.ones_like(whole), whole, params)
    assert tangent is not None
    moved: Tensor = ops.mul(fit(_value(entry, x.shape), x.shape), tangent)
    return ops.sum(moved, list(axis), keepdims) if axis else moved


def transposed(
    function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Tensor | None]
) -> tuple[list[Any], list[Tensor | None]]:
    """The results of a function of Tensors, and their tangents, from its gradient alone."""
    history = mode.grad and any(
        isinstance(x, Tensor) and x.requires_grad for x in (*primals, *tangents)
    )  # fmt: skip
    previous, mode.grad = mode.grad, True
    try:
        inner = [tracked(x) if t is not None else x for x, t in zip(primals, tangents, strict=True)]
        result = function(*inner)
        outs = list(result) if isinstance(result, tuple | list) else [result]
        roots = [out for out in outs if isinstance(out, Tensor) and out.requires_grad]
        moving = [(x, t) for x, t in zip(inner, tangents, strict=True) if t is not None]
        found: list[Tensor | None] = [None] * len(roots)
        if roots:
            seeds = [ops.zeros_like(out).requires_grad_() for out in roots]
            slopes = gradients_of(roots, [x for x, _ in moving], seeds, create_graph=True, allow_unused=True)
            terms = [_inner(g, t) for g, (_, t) in zip(slopes, moving, strict=True) if g is not None]
            total = None
            for term in terms:
                total = term if total is None else ops.add(total, term)
            if total is not None and total.requires_grad:
                found = list(gradients_of(total, seeds, create_graph=history, allow_unused=True))
    finally:
        mode.grad = previous
    at = {id(out): t for out, t in zip(roots, found, strict=True)}
    moved = [at.get(id(out)) for out in outs]
    if not history:
        outs = [out.detach() if isinstance(out, Tensor) else out for out in outs]
        moved = [None if t is None else t.detach() for t in moved]
    return outs, moved


def _inner(g: Tensor, tangent: Tensor) -> Tensor:
    """The real inner product."""
    product = ops.real(ops.mul(ops.conj(g), tangent)) if g.dtype.is_complex else ops.mul(g, tangent)
    return ops.sum(product)  # type: ignore[no-any-return]  # see `ops`
