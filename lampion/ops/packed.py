"""Operations with several results.

The one door has one output, and so have the tape, traces and plans. An operation with several results
therefore computes one array in which its parts lie side by side, and its public side takes them apart
again, by slices and reshapes. So nothing else needs to know of them. What the user is handed are copies of
those views: results that may be written to, and returned from compiled functions, each by itself.

    @packed(saves="output")
    class eigh_parts:
        def parts(a): return a.shape[:-2], (a.shape[-1:], a.shape[-2:]), a.dtype
        def forward(xp, a): return xp.linalg.eigh(a)
        def vjp(grads, outputs): ...

    values, vectors = eigh_parts(a)

The leading dimensions that all parts have in common (the batch) stay dimensions of the packed array, and
each part is flattened behind them: (*batch, sum of the parts' sizes).

The parts have one element type. Real numbers beside complex ones are stored as complex ones, and integers
(pivots, ranks) as floats, which are exact up to 2**24; the public side takes the real part, or casts.
"""

from __future__ import annotations

import functools
import math

from lampion.ops.define import kernel
from lampion.ops.elementwise import clone
from lampion.ops.movement import reshape, slice_
from lampion.primitive import apply


def packed(rules=None, *, saves=""):
    """Define an operation with several results: a function that returns a tuple of Tensors.

    Not public by itself: a function around it checks arguments and names the results.

    Args:
        saves: as for `Primitive`: "", "inputs", "output", "both" or the positions of inputs.

    The rules of the class body:
        parts: ``parts(*inputs, **params)`` gives (batch, shapes, dtype): the common leading dimensions, the
            shape of each part behind them, and the NumPy type of all of them.
        forward: gives the parts, each of shape (*batch, *shape).
        vjp: ``vjp(grads, *saved inputs, outputs, **params)`` gives the inputs' gradients; `grads` and
            (where saved) `outputs` are tuples of Tensors. Gradients of parts that nobody used are zero.
        analytic: as for `Primitive`; False where the rule is about gradients, as most of these are.
    """
    if rules is None:
        return functools.partial(packed, saves=saves)
    body = dict(vars(rules))
    parts, forward, rule = body["parts"], body["forward"], body.get("vjp")

    def infer(*inputs, layout, **params):
        batch, _, dtype = parts(*inputs, **params)
        return (*batch, sum(map(math.prod, layout))), dtype

    def join(xp, *inputs, layout, **params):
        batch, _, dtype = parts(*inputs, **params)
        sizes = [math.prod(shape) for shape in layout]
        out = xp.empty((*batch, sum(sizes)), dtype)
        start = 0
        for size, part in zip(sizes, forward(xp, *inputs, **params), strict=True):
            out[..., start : start + size] = part.reshape(*batch, size)
            start += size
        return out

    def vjp(g, *saved, layout, **params):
        if saves in ("output", "both"):
            saved = (*saved[:-1], _apart(saved[-1], layout))
        return rule(_apart(g, layout), *saved, **params)

    def call(*inputs, **params):
        layout = tuple(tuple(shape) for shape in parts(*(x._array for x in inputs), **params)[1])
        whole = apply(call.primitive, *inputs, layout=layout, **params)
        return tuple(clone(part) for part in _apart(whole, layout))

    body = {name: rule_ for name, rule_ in body.items() if name not in ("__dict__", "__weakref__")}
    whole = {**body, "infer": infer, "forward": join, "call": call, "native": False}
    if rule is not None:
        whole["vjp"] = vjp
    return kernel(type(rules.__name__, (), whole), saves=saves, public=False)


def _apart(whole, layout):
    """The parts of a packed tensor, as views of it."""
    *batch, _ = whole.shape
    found, start = [], 0
    for shape in layout:
        size = math.prod(shape)
        bounds = (*((0, n, 1) for n in batch), (start, start + size, 1))
        found.append(reshape(slice_(whole, bounds), (*batch, *shape)))
        start += size
    return tuple(found)
