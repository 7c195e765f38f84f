"""Derivatives of functions, with the names and arguments of `torch.autograd.functional`.

`lampion.func` has the same as functions of functions, to be nested in any order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lampion import ops
from lampion.autograd.walk import grad
from lampion.errors import GradientError, LampionError
from lampion.mode import enable_grad
from lampion.tensor import Tensor

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Tensors = Tensor | tuple[Tensor, ...]


def vjp(
    func: Callable[..., Any], inputs: Tensors, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The value of `func`, and v times its Jacobian: the gradient of ``sum(v * func(*inputs))``.

    Args:
        func: takes Tensors, returns a Tensor or a tuple of them.
        inputs: a tensor, or a tuple of them.
        v: of the form of the value; not needed where that is a single number.
        create_graph: make both differentiable.
        strict: an error, instead of zeros, where a result does not depend on an input.
    """
    with enable_grad():
        xs, single = _inputs("vjp", inputs, create_graph)
        outputs, one = _outputs("vjp", func(*xs), strict)
        seeds = _vector("vjp", v, outputs, one)
        slopes = _gradients("vjp", outputs, xs, seeds, create_graph, strict)
    return _packed(_plain(outputs, create_graph), one), _packed(_plain(slopes, create_graph), single)


def jvp(
    func: Callable[..., Any], inputs: Tensors, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The value of `func`, and its Jacobian times v: how it moves when the inputs move along v.

    Arguments as for `vjp`; v has the form of the inputs. Computed in forward mode.
    """
    from lampion import func as transforms

    with enable_grad():
        xs, single = _inputs("jvp", inputs, create_graph)
        directions = _vector("jvp", v, xs, single)
        form: list[bool] = []

        def listed(*inner: Tensor) -> tuple[Tensor, ...]:
            outputs, one = _outputs("jvp", func(*inner), False)
            form[:] = [one]
            return tuple(outputs)

        outputs, moved = transforms.jvp(listed, tuple(xs), tuple(directions), strict=strict)
        if strict and create_graph and not all(t.requires_grad for t in moved):
            raise _independent("jvp", "the product does not depend on the inputs")
    one = form[0]
    return _packed(_plain(outputs, create_graph), one), _packed(_plain(moved, create_graph), one)


def jacobian(
    func: Callable[..., Any], inputs: Tensors, create_graph: bool = False, strict: bool = False,
    vectorize: bool = False, strategy: str = "reverse-mode",
) -> Any:  # fmt: skip
    """All derivatives of all elements of the value with respect to all elements of the inputs.

    Returns: for each output (where `func` returns a tuple) and each input (where `inputs` is one) a tensor
    whose shape is that of the output followed by that of the input.

    Args:
        func, inputs, create_graph, strict: as for `vjp`.
        vectorize: compute all rows (or columns) at once, by `vmap`: faster, and takes more memory.
        strategy: "reverse-mode" computes rows, "forward-mode" columns.

    >>> import lampion
    >>> lampion.autograd.functional.jacobian(lampion.exp, lampion.zeros(2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    if strategy not in ("reverse-mode", "forward-mode"):
        raise ValueError(f"jacobian: strategy must be 'reverse-mode' or 'forward-mode', not {strategy!r}")
    if strict and (vectorize or strategy == "forward-mode"):
        raise LampionError("jacobian", "strict checks rows one by one",
                           fix="leave out vectorize and strategy, or strict")  # fmt: skip
    with enable_grad():
        xs, single = _inputs("jacobian", inputs, create_graph)
        if strategy == "forward-mode":
            return _by_columns(func, xs, single, create_graph)
        outputs, one = _outputs("jacobian", func(*xs), strict)
        rows = []
        for out in outputs:
            parts = (_rows_at_once if vectorize else _rows)(out, xs, create_graph, strict)
            rows.append(_packed(_plain(parts, create_graph), single))
    return _packed(rows, one)


def hessian(
    func: Callable[..., Any], inputs: Tensors, create_graph: bool = False, strict: bool = False,
    vectorize: bool = False, outer_jacobian_strategy: str = "reverse-mode",
) -> Any:  # fmt: skip
    """The second derivatives of a function that returns one number; see `jacobian`.

    Returns: a tensor, or, where `inputs` is a tuple, one for each pair of inputs.

    >>> import lampion
    >>> lampion.autograd.functional.hessian(lambda x: (x**3).sum(), lampion.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    from lampion.func.tracking import tracked

    single = isinstance(inputs, Tensor)

    def slopes(*inner: Tensor) -> Any:
        xs = [x if x.requires_grad else tracked(x, "hessian") for x in inner]  # in forward mode it does not
        value = _scalar("hessian", func(*xs))
        found = _gradients("hessian", [value], xs, [None], True, strict)
        return found[0] if single else tuple(found)

    return jacobian(slopes, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)


def vhp(
    func: Callable[..., Any], inputs: Tensors, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The value of a function that returns one number, and v times its matrix of second derivatives."""
    with enable_grad():
        xs, single = _inputs("vhp", inputs, create_graph)
        value = _scalar("vhp", func(*xs))
        directions = _vector("vhp", v, xs, single)
        slopes = _gradients("vhp", [value], xs, [None], True, strict)
        found = _gradients("vhp", slopes, xs, directions, create_graph, strict)
    return _plain([value], create_graph)[0], _packed(_plain(found, create_graph), single)


def hvp(
    func: Callable[..., Any], inputs: Tensors, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """The value of a function that returns one number, and its matrix of second derivatives times v."""
    from lampion import func as transforms

    with enable_grad():
        xs, single = _inputs("hvp", inputs, create_graph)
        directions = _vector("hvp", v, xs, single)

        def slopes(*inner: Tensor) -> Any:
            places = tuple(range(len(inner)))
            found, value = transforms.grad_and_value(lambda *a: _scalar("hvp", func(*a)), places)(*inner)
            return (*found, value)

        outputs, moved = transforms.jvp(slopes, tuple(xs), tuple(directions), strict=strict)
    return _plain(outputs[-1:], create_graph)[0], _packed(_plain(moved[:-1], create_graph), single)


def _inputs(name: str, inputs: Any, create_graph: bool) -> tuple[list[Tensor], bool]:
    """The inputs as tensors whose gradients can be asked for, and whether there was but one, no tuple."""
    single = isinstance(inputs, Tensor)
    listed = [inputs] if single else list(inputs)
    for x in listed:
        if not isinstance(x, Tensor):
            raise LampionError(name, "the inputs must be tensors", got=type(x).__name__)
    from lampion.func.tracking import tracked

    return [
        tracked(x, name) if create_graph and x.requires_grad else x.detach().requires_grad_() for x in listed
    ], single


def _outputs(name: str, result: Any, strict: bool) -> tuple[list[Tensor], bool]:
    one = not isinstance(result, tuple | list)
    outputs = [result] if one else list(result)
    for out in outputs:
        if not isinstance(out, Tensor):
            raise LampionError(name, "the function must return tensors", got=type(out).__name__)
        if strict and not out.requires_grad:
            raise _independent(name, "an output does not depend on the inputs")
    return outputs, one


def _scalar(name: str, value: Any) -> Tensor:
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise GradientError(name, "the function must return one number", expected="a tensor with one element",
                            got=str(getattr(value, "shape", type(value).__name__)),
                            fix="reduce it first, or use jacobian")  # fmt: skip
    return value.reshape(())


def _vector(name: str, v: Any, like: list[Tensor], single: bool) -> list[Tensor]:
    """v in the form of the tensors that it goes with."""
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            raise GradientError(name, "v can be left out only where it would be a single number",
                                fix="pass v, of the shape of what it is multiplied with")  # fmt: skip
        return [ops.ones_like(like[0])]
    listed = [v] if isinstance(v, Tensor) else list(v)
    if len(listed) != len(like) or any(
        tuple(a.shape) != tuple(b.shape) for a, b in zip(listed, like, strict=True)
    ):
        raise GradientError(name, "v does not have the form of what it is multiplied with",
                            expected=", ".join(str(tuple(x.shape)) for x in like),
                            got=", ".join(str(tuple(x.shape)) for x in listed))  # fmt: skip
    return listed


def _gradients(
    name: str, outputs: list[Tensor], xs: list[Tensor], seeds: list[Any], create_graph: bool, strict: bool
) -> list[Tensor]:
    """Gradients; zeros (or an error) where there is no dependence."""
    pairs = [(out, seed) for out, seed in zip(outputs, seeds, strict=True) if out.requires_grad]
    found: Any = [None] * len(xs)
    if pairs:
        found = grad(
            [out for out, _ in pairs], xs, [seed for _, seed in pairs], retain_graph=True,
            create_graph=create_graph, allow_unused=True,
        )  # fmt: skip
    for place, slope in enumerate(found):
        if strict and slope is None:
            raise _independent(name, f"the output does not depend on input {place}")
        if strict and create_graph and not slope.requires_grad:
            raise _independent(name, f"the gradient does not depend on input {place}")
    return [ops.zeros_like(x) if slope is None else slope for slope, x in zip(found, xs, strict=True)]


def _independent(name: str, what: str) -> GradientError:
    return GradientError(name, what, fix="leave out strict, to get zeros there")


def _plain(tensors: Any, create_graph: bool) -> list[Tensor]:
    return list(tensors) if create_graph else [x.detach() for x in tensors]


def _packed(things: Any, single: bool) -> Any:
    things = tuple(things)
    return things[0] if single else things


def _rows(out: Tensor, xs: list[Tensor], create_graph: bool, strict: bool) -> list[Tensor]:
    """The derivatives of one output, an element after the other."""
    flat = ops.reshape(out, -1)
    rows = [
        _gradients("jacobian", [flat[i]], xs, [ops.ones_like(flat[i])], create_graph, strict)
        for i in range(out.numel())
    ]
    return [
        ops.reshape(ops.stack([row[place] for row in rows]), (*out.shape, *x.shape))
        if rows else ops.zeros(*out.shape, *x.shape, dtype=x.dtype)
        for place, x in enumerate(xs)
    ]  # fmt: skip


def _rows_at_once(out: Tensor, xs: list[Tensor], create_graph: bool, strict: bool) -> list[Tensor]:
    """The derivatives of one output, of all its elements together."""
    if not out.requires_grad:
        return [ops.zeros(*out.shape, *x.shape, dtype=x.dtype) for x in xs]
    size = math.prod(out.shape)
    basis = ops.reshape(ops.eye(size, dtype=out.dtype), (size, *out.shape))
    found = grad(
        out, xs, basis, retain_graph=True, create_graph=create_graph, is_grads_batched=True, allow_unused=True
    )
    return [
        ops.zeros(*out.shape, *x.shape, dtype=x.dtype) if part is None
        else ops.reshape(part, (*out.shape, *x.shape))
        for part, x in zip(found, xs, strict=True)
    ]  # fmt: skip


def _by_columns(func: Callable[..., Any], xs: list[Tensor], single: bool, create_graph: bool) -> Any:
    from lampion import func as transforms

    form: list[bool] = []

    def listed(*inner: Tensor) -> tuple[Tensor, ...]:
        outputs, one = _outputs("jacobian", func(*inner), False)
        form[:] = [one]
        return tuple(outputs)

    rows = transforms.jacfwd(listed, tuple(range(len(xs))))(*xs)
    return _packed([_packed(_plain(row, create_graph), single) for row in rows], form[0])
