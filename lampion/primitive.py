"""The one door: every operation in Lampion happens through `apply`.

A primitive is defined once, as a class body beside its gradient:

    @elementwise(saves="output")
    class exp:
        \"\"\"e to the power of each element.\"\"\"
        def forward(xp, x): return xp.exp(x)
        def vjp(g, y): return g * y

and is read in four ways. *Eager*: `forward` runs with `xp` = NumPy (or CuPy). *Gradient*: `vjp` is
written in Tensor operations, which come through this door again, and so are themselves recorded: hence
derivatives of any order. *Trace*: inside `lampion.compile` the door records into a graph instead of
computing. *Machine code*: for elementwise primitives and reductions the code generator runs the very
same `forward` (or `combine`) with `xp` = an emitter of LLVM instructions.

The kinds:
  elementwise  one output element from one element of each input; inputs broadcast;
  reduction    combines elements along `axis` with `combine`, starting from `identity`;
  movement     only renames indices (reshape, permute, slice...): a view, and never machine code;
  kernel       everything else: has a native kernel of its own, or is called out to its `forward`;
  composite    made of others, with a gradient of its own: see `ops/composite.py`. Never in a graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lampion import autograd, backend
from lampion.errors import LampionError
from lampion.mode import mode
from lampion.tensor import Tensor

_quiet, _restore = backend.quiet, backend.restore
_new = object.__new__
_ndarray = np.ndarray

#: Every primitive that is defined, by where and under which name.
PRIMITIVES: dict[tuple[str, str], Primitive] = {}


class Primitive:
    """One operation: its name, its kind, and the rules of its four readings.

    Attributes:
        forward: ``forward(xp, *arrays, **params)`` computes with the array library `xp`.
        vjp: ``vjp(g, *saved, **params)`` gives the gradient of each input from the gradient `g` of the
            output, in Tensor operations; one value, or a tuple. An entry may be a function without
            arguments, which is called only if that input needs its gradient (with the input's shape, if
            it has a parameter). Shapes need not match the input's: the engine undoes broadcasting. Where
            there is no `vjp`, the operation is not differentiable.
        analytic: whether `vjp` is written as for real numbers, by which it holds for complex ones too: the
            gradient of a complex number is conjugate to the derivative (PyTorch's convention), and the
            engine conjugates what goes into `vjp` and what comes out. False where `vjp` speaks of
            gradients itself, as it must if the operation is no complex-differentiable function (`real`).
        saves: what `vjp` is handed: "inputs", "others" (each gradient reads only the *other* inputs, so
            an input is kept only where another one needs it), "output", "both", or "" for nothing.
        infer: ``infer(*inputs, **params)`` gives (shape, NumPy dtype) of the output without computing.
    """

    def __init__(self, name: str, kind: str, rules: dict[str, Any], saves: str | tuple[int, ...]) -> None:
        self.name = name
        self.kind = kind
        self.doc = rules.get("__doc__") or ""
        self.forward: Callable[..., Any] = rules["forward"]
        self.vjp: Callable[..., Any] | None = rules.get("vjp")
        self.lower: Callable[..., Any] | None = rules.get("lower")
        self.combine: Callable[..., Any] | None = rules.get("combine")
        self.identity: Callable[..., Any] | None = rules.get("identity")
        self.native: bool = rules.get("native", True)  # False: machine code calls out to `forward`
        self.composed: Callable[..., Any] | None = None  # of a composite: what `call` ends in
        self.infer: Callable[..., tuple[tuple[int, ...], Any]] = rules["infer"]
        self.saves_inputs = isinstance(saves, tuple) or saves in ("inputs", "others", "both")
        self.saves_only = saves if isinstance(saves, tuple) else None
        self.saves_others = saves == "others"
        self.saves_output = saves in ("output", "both")
        self.saves_shapes = saves if saves in ("shape", "shapes") else ""
        self.is_movement = kind == "movement"
        #: How much work one call is, where eager had better run it as machine code: see `compiler.eager`.
        self.work: Callable[..., int] | None = rules.get("work")
        PRIMITIVES[self.forward.__module__, name] = self
        self.direct: Any = _single_call(self.forward) if kind == "elementwise" else None
        # Of a movement the two are the same, so that nothing need be conjugated.
        self.analytic: bool = rules.get("analytic", kind != "movement")

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def __reduce__(self) -> str:
        raise TypeError(f"{self!r} is defined by code and is not copied or stored")

    def __deepcopy__(self, memo: Any) -> Primitive:
        return self


def _single_call(forward: Callable[..., Any]) -> Any:
    """NumPy's function, where `forward` is nothing but a call of one: it can be called without `forward`.

    (A fifth of the time of an operation on a small tensor goes into that detour.)
    """
    count = forward.__code__.co_argcount - 1
    arguments = [object() for _ in range(count)]
    calls: list[tuple[str, tuple[Any, ...]]] = []

    class Spy:
        def __getattr__(self, name: str) -> Any:
            def call(*args: Any, **kwargs: Any) -> Any:
                calls.append((name, (*args, *kwargs)))
                return calls

            return call

    try:
        result = forward(Spy(), *arguments)
    except Exception:  # it does something else with its arguments
        return None
    if result is not calls or len(calls) != 1 or list(calls[0][1]) != arguments:
        return None
    return backend.where if calls[0][0] == "where" else getattr(np, calls[0][0], None)


#: As much work (see `Primitive.work`) is worth a plan. By shape alone: so each run gets the same bits.
HEAVY = 1 << 22


def heavy(primitive: Primitive, arrays: list[Any], params: dict[str, Any]) -> Any:
    """The result of an operation that is so much work that machine code for it pays; None: of another."""
    assert primitive.work is not None
    if any(type(array) is not _ndarray for array in arrays) or primitive.work(*arrays, **params) < HEAVY:
        return None
    from lampion.compiler import eager

    return eager.run(primitive, arrays, params)


def apply(primitive: Primitive, *inputs: Any, **params: Any) -> Tensor:
    """Do one operation: compute it, or record it into the running trace, and note it on the tape.

    Args:
        inputs: Tensors; elementwise primitives also take Python numbers, which never change the type.
        params: everything that is not data: axes, shapes, types.
    """
    trace = mode.trace
    arrays: list[Any] = []
    recorded = False  # whether an input may ask for its gradient
    if trace is None:
        xp = np
        for x in inputs:
            if isinstance(x, Tensor):
                array = x._array
                arrays.append(array)
                if type(array) is not _ndarray:
                    xp = backend.namespace(array)
                if x._requires_grad or x._follows is not None:
                    recorded = True
            else:
                arrays.append(x)
        # A movement cannot overflow, so it need not touch the floating-point state.
        token = None if mode.quiet or primitive.is_movement else _quiet()
        try:
            if primitive.direct is not None and xp is np:
                out = primitive.direct(*arrays)
            elif primitive.work is not None and (made := heavy(primitive, arrays, params)) is not None:
                out = made
            else:
                out = primitive.forward(xp, *arrays, **params)
        except LampionError:
            raise
        except (ValueError, TypeError, IndexError) as error:
            # NumPy's message speaks of its own function; the shape rule speaks of the user's call.
            primitive.infer(*arrays, **params)
            raise LampionError(primitive.name, str(error)) from None
        finally:
            if token is not None:
                _restore(token)
        if type(out) is not _ndarray and xp is np:
            out = np.asarray(out)  # NumPy turns 0-d results into scalars
    else:
        if (away := trace.away_for(primitive)) is not None:
            with away:
                return apply(primitive, *inputs, **params)
        arrays = [trace.read(x) if isinstance(x, Tensor) else x for x in inputs]
        out = trace.record(primitive, arrays, params)
        recorded = True
    result = _new(Tensor)  # `wrap`, without the call: this is the hottest line in Lampion
    result._array = out
    result._version = [0, None]
    # The class has these as defaults; but Python reads an instance's own attributes ten times as fast.
    result._requires_grad = result._inference = False
    result._node = result._follows = None
    if mode.grad:
        if recorded and primitive.vjp is not None and out.dtype.kind in "fcV":  # V: bfloat16
            for x in inputs:
                if isinstance(x, Tensor) and (x._requires_grad if x._follows is None else x.requires_grad):
                    autograd.record(result, primitive, inputs, arrays, params)
                    break
    elif mode.inference:
        result._inference = True
    if primitive.is_movement and shares(out, arrays[0]):
        result._become_view(inputs[0], (primitive, params))
        if trace is not None:
            out.version = result._version[0]
    return result


def apply_plain(primitive: Primitive, x: Any, y: Any = None) -> Tensor:
    """The door for its commonest visitors: a primitive that is one NumPy function, of float32 or float64.

    Does what `apply` does for one tensor, for two of one type, or for a tensor and a number (which comes
    second), without looking for what cannot be. On a tensor of three numbers that is a fifth of the time.
    """
    a = x._array
    b = y._array if isinstance(y, Tensor) else y
    if mode.trace is not None or type(a) is not _ndarray:
        return apply(primitive, x) if y is None else apply(primitive, x, y)
    token = None if mode.quiet else _quiet()
    try:
        out = primitive.direct(a) if y is None else primitive.direct(a, b)
    except (ValueError, TypeError):
        return apply(primitive, x, y)  # which says what is wrong
    finally:
        if token is not None:
            _restore(token)
    if type(out) is not _ndarray:
        out = np.asarray(out)
    result = _new(Tensor)
    result._array = out
    result._version = [0, None]
    result._requires_grad = result._inference = False
    result._node = result._follows = None
    if mode.grad:
        if primitive.vjp is None:
            pass
        elif x._follows is not None or (b is not y and y._follows is not None):
            # Views find out about their history when they are asked.
            if x.requires_grad or (b is not y and y.requires_grad):
                inputs = (x,) if y is None else (x, y)
                autograd.record(result, primitive, inputs, [a] if y is None else [a, b], {})
        elif x._requires_grad or (b is not y and y._requires_grad):
            autograd.record_plain(result, primitive, x, y)
    elif mode.inference:
        result._inference = True
    return result


def shares(out: Any, source: Any) -> bool:
    """Whether a movement's result looks into its input's memory (reshape may have had to copy)."""
    base, owner = out.base, source.base
    while base is not None:
        if base is source or base is owner:
            return True
        base = getattr(base, "base", None)  # what NumPy puts in between, for views of unusual strides
    return False
