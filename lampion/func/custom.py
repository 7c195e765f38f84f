"""`autograd.Function` inside of transforms: the gradient that its author wrote holds there too.

A level would take `forward` apart into primitives, and with them their own gradients. So the level outside
is given a Function instead whose forward and backward are the author's, read by the level.
"""

from __future__ import annotations

from typing import Any

from lampion.autograd.function import Function, FunctionCtx, compute, run
from lampion.func.batching import Batched, expanded
from lampion.func.levels import Level, ops
from lampion.mode import mode
from lampion.tensor import Tensor, wrap


class _Ready:
    """A saved tensor that is there already."""

    def __init__(self, tensor: Any) -> None:
        self.ready = tensor

    def tensor(self, ctx: FunctionCtx) -> Any:
        return self.ready


class CustomBatch(Level):
    """What `vmap` does with a Function of the user's."""

    size: int

    def custom(self, cls: type[Function], inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a Function on all examples."""
        lifted = [self.read(x) if isinstance(x, Tensor) else x for x in inputs]
        rule = cls.__dict__.get("vmap")
        differentiated = mode.grad and any(isinstance(x, Tensor) and x.requires_grad for x in inputs)
        if rule is not None and not differentiated:
            return self._with_rule(rule, inputs, lifted, kwargs)
        if rule is not None and cls.setup_context is not Function.setup_context:
            # The outputs come from the rule; what `backward` needs is saved in here, where it will run.
            return run(
                cls, inputs, kwargs, forward=lambda *_, **__: self._with_rule(rule, inputs, lifted, kwargs)
            )
        values = [x.value if isinstance(x, Batched) else x for x in lifted]
        has_history = self.grad and any(isinstance(x, Tensor) and x.requires_grad for x in values)
        if not has_history and self.outer is None:
            return run(cls, inputs, kwargs)
        flags = [isinstance(x, Batched) and x.batched for x in lifted]
        batch = batched_function(cls, flags, self.size, kwargs)
        outs = self.outside(batch.apply, *values)

        def replace(ctx: FunctionCtx, outputs: list[Any]) -> None:
            for out, value in zip(outputs, outs, strict=True):
                if isinstance(out, Tensor):
                    array = Batched(self, value, True)
                    array.version = out._version[0]
                    out._array = array

        return run(cls, inputs, kwargs, replace)

    def _with_rule(self, rule: Any, inputs: Any, lifted: list[Any], kwargs: dict[str, Any]) -> Any:
        """By the author's own `vmap` static method."""
        from lampion.func.tree import map_tree, spread

        values = [x.value if isinstance(x, Batched) else x for x in lifted]
        dims = tuple(0 if isinstance(x, Batched) and x.batched else None for x in lifted)
        info = VmapInfo(self.size, getattr(self, "randomness", "error"))
        result, places = self.outside(lambda: getattr(rule, "__func__", rule)(info, dims, *values, **kwargs))
        found = iter(spread("vmap", places, result, "the second result of the Function's vmap"))

        def inside(x: Any) -> Any:
            dim = next(found)
            if not isinstance(x, Tensor):
                return x
            value = x if dim is None else self.outside(ops.movedim, x, dim, 0)
            return wrap(Batched(self, value, dim is not None))

        return map_tree(inside, result)


class VmapInfo:
    """What a Function's `vmap` is told: how many examples there are, and what random numbers shall be."""

    def __init__(self, batch_size: int, randomness: str) -> None:
        self.batch_size = batch_size
        self.randomness = randomness


def batched_function(cls: type[Function], flags: list[bool], size: int, kwargs: dict[str, Any]) -> Any:
    """A Function whose forward and backward are those of `cls`, for a batch. Its outputs are a tuple."""
    from lampion.func.mapping import VmapLevel

    class Batch(Function):
        @staticmethod
        def forward(ctx: Any, *values: Any) -> Any:
            level = VmapLevel(size)
            with level:
                inner = [
                    wrap(Batched(level, x, flag)) if isinstance(x, Tensor) else x
                    for x, flag in zip(values, flags, strict=True)
                ]
                ctx.inner, result = compute(cls, tuple(inner), kwargs)
                outs = result if isinstance(result, tuple | list) else (result,)
                ctx.forms = [isinstance(x, Tensor) for x in outs]
                lifted = [level.read(x) if isinstance(x, Tensor) else None for x in outs]
                saved = [None if x is None else level.read(x) for x in ctx.inner._to_save]
                dirty = {id(x) for x in ctx.inner._constant}
            ctx.inner.needs_input_grad = ctx.needs_input_grad
            ctx.inner._to_save = ()
            ctx.flags = [None if x is None else x.batched for x in saved]
            values_out = [None if x is None else expanded(x, size) for x in lifted]
            by_value = {id(x.value): out for x, out in zip(lifted, values_out, strict=True) if x is not None}
            ctx.save_for_backward(*(None if x is None else by_value.get(id(x.value), x.value) for x in saved))
            ctx.mark_non_differentiable(
                *(v for v, x in zip(values_out, outs, strict=True) if v is not None and id(x) in dirty)
            )
            ctx.shapes = [x.shape if isinstance(x, Tensor) else None for x in values]
            return tuple(values_out)

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            saved = ctx.saved_tensors
            level = VmapLevel(size)
            with level:
                mode.grad = False
                ctx.inner._saved = [
                    _Ready(None if x is None else wrap(Batched(level, x, x.ndim and flag)))
                    for x, flag in zip(saved, ctx.flags, strict=True)
                ]
                inner = [None if g is None else wrap(Batched(level, g, True)) for g in gradients]
                results = cls.backward(ctx.inner, *inner)
                results = results if isinstance(results, tuple | list) else (results,)
                lifted = [None if x is None else level.read(x) for x in results]
            return tuple(
                None if x is None else expanded(x, size) if flag else ops.sum(expanded(x, size), 0)
                for x, flag in zip(lifted, flags, strict=False)
            )

    Batch.__name__ = cls.__name__
    return Batch


class CustomDual(Level):
    """What `jvp` does with a Function of the user's: its own `jvp`, or its `backward` transposed."""

    def custom(self, cls: type[Function], inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a Function on values with tangents."""
        from lampion.func.forward import Dual

        lifted = [self.read(x) if isinstance(x, Tensor) else x for x in inputs]
        outs, tangents = self.outside(tangents_of_function, cls, lifted, kwargs)

        def replace(ctx: FunctionCtx, outputs: list[Any]) -> None:
            for out, value, tangent in zip(outputs, outs, tangents, strict=True):
                if isinstance(out, Tensor):
                    array = Dual(self, value, tangent)
                    array.version = out._version[0]
                    out._array = array

        return run(cls, inputs, kwargs, replace)


def tangents_of_function(cls: type[Function], lifted: list[Any], kwargs: dict[str, Any]) -> Any:
    """The outputs of a Function and their tangents, at the level outside."""
    from lampion.func.forward import Dual, transposed

    primals = tuple(x.primal if isinstance(x, Dual) else x for x in lifted)
    tangents = [x.tangent if isinstance(x, Dual) else None for x in lifted]
    if not any(t is not None for t in tangents):
        result = cls.apply(*primals, **kwargs)
        outs = list(result) if isinstance(result, tuple | list) else [result]
        return outs, [None] * len(outs)
    if cls.jvp is Function.jvp:
        return transposed(lambda *xs: cls.apply(*xs, **kwargs), primals, tangents)
    result = cls.apply(*primals, **kwargs)
    outs = list(result) if isinstance(result, tuple | list) else [result]
    ctx, again = compute(cls, primals, kwargs)
    kept = ctx._for_jvp if ctx._for_jvp is not None else ctx._to_save
    # What was computed for this context has no history: the outputs themselves stand in for it.
    pairs = zip(again if isinstance(again, tuple | list) else [again], outs, strict=True)
    with_history = {id(new): out for new, out in pairs}
    ctx._saved = [_Ready(with_history.get(id(x), x)) for x in kept]  # type: ignore[misc]  # it answers alike
    found = cls.jvp(ctx, *tangents)
    return outs, list(found) if isinstance(found, tuple | list) else [found]


__all__ = ["CustomBatch", "CustomDual", "VmapInfo", "batched_function"]
