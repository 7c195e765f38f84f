"""`gradcheck` and `gradgradcheck` with PyTorch's arguments: the whole Jacobian against finite differences.

(`lampion.testing.gradcheck` looks along random directions, with tighter bounds.) Complex tensors count as
pairs of real numbers on both sides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lampion.autograd.walk import grad
from lampion.mode import enable_grad
from lampion.tensor import Tensor, from_numpy, wrap

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(AssertionError, RuntimeError):
    """A derivative differs from the finite difference."""


def gradcheck(
    func: Callable[..., Any], inputs: Tensor | Sequence[Any], *, eps: float = 1e-6, atol: float = 1e-5,
    rtol: float = 1e-3, raise_exception: bool = True, nondet_tol: float = 0.0,
    check_undefined_grad: bool = True, check_grad_dtypes: bool = False, check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False, check_forward_ad: bool = False, check_backward_ad: bool = True,
    fast_mode: bool = False, masked: bool | None = None,
) -> bool:  # fmt: skip
    """Compare the derivatives of `func` with central differences.

    Args:
        func: takes `inputs`, returns a tensor or several. It must be a function: the same each time.
        inputs: those that require a gradient are checked; they should be float64 (or complex128).
        eps: the step of the difference.
        atol, rtol: how far derivatives may be apart.
        raise_exception: raise `GradcheckError`, instead of returning False.
        nondet_tol: how far two backward passes may be apart.
        check_undefined_grad: whether gradients also have to come of each output alone.
        check_grad_dtypes: whether gradients must have their input's type (in Lampion they always do).
        check_batched_grad: whether `vmap` over the backward pass must give the same.
        check_batched_forward_grad: whether `vmap` over forward mode must give the same.
        check_forward_ad: whether to check forward mode too.
        check_backward_ad: whether to check the backward pass.
        fast_mode: compare along one random direction, instead of every element.
        masked: accepted for PyTorch's sake; for sparse tensors, which there are none of.

    >>> import lampion
    >>> x = lampion.tensor([0.3, 0.5], dtype=lampion.float64, requires_grad=True)
    >>> lampion.autograd.gradcheck(lampion.sin, (x,))
    True
    """
    check = _Check(func, inputs, eps, atol, rtol, fast_mode)
    try:
        if check_backward_ad:
            check.backward(nondet_tol, check_undefined_grad)
        if check_batched_grad:
            check.batched_backward()
        if check_forward_ad:
            check.forward()
        if check_batched_forward_grad:
            check.batched_forward()
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any], inputs: Tensor | Sequence[Any], grad_outputs: Any = None, *, eps: float = 1e-6,
    atol: float = 1e-5, rtol: float = 1e-3, gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True, nondet_tol: float = 0.0, check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False, check_batched_grad: bool = False, check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True, fast_mode: bool = False, masked: bool | None = None,
) -> bool:  # fmt: skip
    """Compare the derivatives of the gradient of `func` with central differences; see `gradcheck`.

    Args:
        grad_outputs: the gradients of the outputs at which to check; random ones, unless given.
        gen_non_contig_grad_outputs: make the random ones so that they do not lie in memory in order.
        check_fwd_over_rev, check_rev_over_rev: which modes to differentiate the gradient in.
    """
    arguments = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    places = [i for i, x in enumerate(arguments) if isinstance(x, Tensor) and x.requires_grad]
    outputs = _differentiable(func(*arguments))
    if grad_outputs is None:
        rng = np.random.default_rng(0)
        seeds = [_random_like(rng, out, gen_non_contig_grad_outputs) for out in outputs]
    else:
        seeds = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)
    seeds = [seed.detach().requires_grad_() for seed in seeds]
    count = len(arguments)

    def gradient(*everything: Any) -> tuple[Tensor, ...]:
        xs, weights = everything[:count], everything[count:]
        with enable_grad():
            made = [_tracked(x) if i in places else x for i, x in enumerate(xs)]
            roots = _differentiable(func(*made))
            found = grad(
                roots, [made[i] for i in places], list(weights), create_graph=True, allow_unused=True
            )
        return tuple(x for x in found if x is not None)

    return gradcheck(
        gradient, [*arguments, *seeds], eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception,
        nondet_tol=nondet_tol, check_undefined_grad=check_undefined_grad,
        check_batched_grad=check_batched_grad, check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev, fast_mode=fast_mode,
    )  # fmt: skip


def _tracked(x: Tensor) -> Tensor:
    from lampion.func.tracking import tracked

    return x if x.requires_grad else tracked(x)


def _random_like(rng: Any, x: Tensor, scattered: bool) -> Tensor:
    shape = (*x.shape, 2) if scattered else x.shape
    array = rng.standard_normal(shape)
    if x.dtype.is_complex:
        array = array + 1j * rng.standard_normal(shape)
    return from_numpy(np.asarray(array[..., 0] if scattered else array).astype(x.dtype.numpy, copy=False))


def _differentiable(result: Any) -> list[Tensor]:
    outs = list(result) if isinstance(result, tuple | list) else [result]
    return [out for out in outs if isinstance(out, Tensor) and out.dtype.is_inexact and out.requires_grad]


def _reals(array: Any) -> Any:
    """The elements as real numbers, in one row."""
    array = np.ascontiguousarray(array)
    return (array.view(array.real.dtype) if array.dtype.kind == "c" else array).reshape(-1)


class _Check:
    """One function at one point."""

    def __init__(
        self, func: Callable[..., Any], inputs: Any, eps: float, atol: float, rtol: float, fast: bool
    ) -> None:
        self.func, self.eps, self.atol, self.rtol, self.fast = func, eps, atol, rtol, fast
        self.arguments = [inputs] if isinstance(inputs, Tensor) else list(inputs)
        self.places = [i for i, x in enumerate(self.arguments) if isinstance(x, Tensor) and x.requires_grad]
        if not self.places:
            raise ValueError("gradcheck: no input requires a gradient; make them with requires_grad=True")
        self.xs = [self.arguments[i] for i in self.places]
        self.outputs = _differentiable(self.call(self.arguments))
        self.rng = np.random.default_rng(0)
        self.directions = [self._directions(x) for x in self.xs]
        self.seeds = [self._directions(out) for out in self.outputs]
        self._numerical: list[list[Any]] | None = None

    def call(self, arguments: Sequence[Any]) -> Any:
        """The function's results, recorded."""
        with enable_grad():
            return self.func(*arguments)

    def _directions(self, x: Tensor) -> list[Any]:
        """Arrays to move along: one for each real number in x, or a random one."""
        size = _reals(x._array).size
        rows = self.rng.standard_normal((1, size)) if self.fast else np.eye(size)
        kind = x._array.dtype
        found = []
        for row in rows:
            row = row.astype(kind.type(0).real.dtype)
            found.append((row.view(kind) if kind.kind == "c" else row.astype(kind)).reshape(x.shape))
        return found

    def numerical(self) -> list[list[Any]]:
        """By input and direction: how each output moves, as real numbers."""
        if self._numerical is None:
            self._numerical = [
                [self._difference(place, u) for u in directions]
                for place, directions in zip(self.places, self.directions, strict=True)
            ]
        return self._numerical

    def _difference(self, place: int, u: Any) -> list[Any]:
        ends = []
        for sign in (1, -1):
            moved = list(self.arguments)
            x = moved[place]._array
            moved[place] = wrap(np.asarray(x + sign * self.eps * u).astype(x.dtype)).requires_grad_()
            outs = self.call(moved)
            outs = list(outs) if isinstance(outs, tuple | list) else [outs]
            wanted = [o for o in outs if isinstance(o, Tensor) and o.dtype.is_inexact and o.requires_grad]
            ends.append([o._array for o in wanted])
        if [e.shape for e in ends[0]] != [o.shape for o in self.outputs]:
            raise GradcheckError(
                "gradcheck: the function returns other outputs for other values of its inputs"
            )
        return [_reals((a - b) / (2 * self.eps)) for a, b in zip(*ends, strict=True)]

    def _slopes(self, out: Tensor, seed: Any) -> list[Any]:
        found = grad(out, self.xs, from_numpy(seed), retain_graph=True, allow_unused=True)
        for place, x, g in zip(self.places, self.xs, found, strict=True):
            if g is not None and (g.shape != x.shape or g.dtype is not x.dtype):
                raise GradcheckError(
                    f"gradcheck: the gradient of input {place} has shape {tuple(g.shape)}, {g.dtype}"
                )
        return [
            np.zeros_like(x._array) if g is None else g._array for g, x in zip(found, self.xs, strict=True)
        ]

    def backward(self, nondet_tol: float, undefined: bool) -> None:
        """Gradients against differences."""
        if not self.outputs:
            self._stands_still()
        numerical = self.numerical()
        for o, (out, seeds) in enumerate(zip(self.outputs, self.seeds, strict=True)):
            for seed in seeds:
                slopes = self._slopes(out, seed)
                again = self._slopes(out, seed)
                for i, (slope, second) in enumerate(zip(slopes, again, strict=True)):
                    if not np.allclose(slope, second, rtol=0, atol=nondet_tol, equal_nan=True):
                        raise GradcheckError(
                            f"gradcheck: two backward passes differ for input {self.places[i]}"
                        )
                    for j, u in enumerate(self.directions[i]):
                        analytic = _reals(slope) @ _reals(u)
                        self._compare("gradient", o, i, analytic, _reals(seed) @ numerical[i][j][o])
        if undefined and len(self.outputs) > 1:
            for out, seeds in zip(self.outputs, self.seeds, strict=True):
                if seeds:
                    self._slopes(out, np.zeros_like(seeds[0]))

    def _stands_still(self) -> None:
        """No output has a gradient: then none may move."""
        for place, directions in zip(self.places, self.directions, strict=True):
            for u in directions:
                ends = []
                for sign in (1, -1):
                    moved = list(self.arguments)
                    x = moved[place]._array
                    moved[place] = wrap(np.asarray(x + sign * self.eps * u).astype(x.dtype)).requires_grad_()
                    outs = self.call(moved)
                    outs = list(outs) if isinstance(outs, tuple | list) else [outs]
                    ends.append([o._array for o in outs if isinstance(o, Tensor) and o.dtype.is_inexact])
                for a, b in zip(*ends, strict=True):
                    if not np.allclose((a - b) / (2 * self.eps), 0, atol=self.atol):
                        raise GradcheckError(
                            f"gradcheck: no output has a gradient, but they depend on input {place}"
                        )

    def forward(self) -> None:
        """Tangents against differences."""
        numerical = self.numerical()
        for i, directions in enumerate(self.directions):
            for j, u in enumerate(directions):
                for o, tangent in enumerate(self._tangents(i, from_numpy(u))):
                    for seed in self.seeds[o]:
                        found = _reals(seed) @ _reals(tangent._array)
                        self._compare("tangent", o, i, found, _reals(seed) @ numerical[i][j][o])

    def _tangents(self, i: int, direction: Tensor) -> Sequence[Tensor]:
        from lampion.func import jvp

        kept = {id(out) for out in self.outputs}
        outs = self.call(self.arguments)
        outs = list(outs) if isinstance(outs, tuple | list) else [outs]
        wanted = [k for k, o in enumerate(outs) if _differentiable(o)]
        assert len(wanted) == len(kept)

        def moved(x: Tensor) -> tuple[Tensor, ...]:
            arguments = [a.detach() if isinstance(a, Tensor) else a for a in self.arguments]
            arguments[self.places[i]] = x
            result = self.func(*arguments)
            result = list(result) if isinstance(result, tuple | list) else [result]
            return tuple(result[k] for k in wanted)

        with enable_grad():
            return jvp(moved, (self.xs[i].detach(),), (direction,))[1]  # type: ignore[no-any-return]  # a tuple

    def batched_backward(self) -> None:
        """`vmap` over the backward pass against one pass after the other."""
        for out, seeds in zip(self.outputs, self.seeds, strict=True):
            if not seeds:
                continue
            batch = from_numpy(np.stack(seeds))
            found = grad(out, self.xs, batch, retain_graph=True, allow_unused=True, is_grads_batched=True)
            single = [self._slopes(out, seed) for seed in seeds]
            self._same("a batched backward pass", found, single)

    def batched_forward(self) -> None:
        """`vmap` over forward mode against one direction after the other."""
        from lampion.func import vmap

        for i, directions in enumerate(self.directions):
            if directions:
                batch = from_numpy(np.stack(directions))
                found = vmap(lambda u, i=i: tuple(self._tangents(i, u)))(batch)
                single = [[t._array for t in self._tangents(i, from_numpy(u))] for u in directions]
                self._same("batched forward mode", found, single)

    def _same(self, what: str, batches: Any, singles: list[list[Any]]) -> None:
        for place, batch in enumerate(batches):
            if batch is not None:
                expected = np.stack([single[place] for single in singles])
                if not np.allclose(batch._array, expected, self.rtol, self.atol, equal_nan=True):
                    raise GradcheckError(f"gradcheck: {what} gives something else than one after the other")

    def _compare(self, what: str, output: int, i: int, analytic: Any, numerical: Any) -> None:
        if not abs(analytic - numerical) <= self.atol + self.rtol * abs(numerical):  # a NaN is a mismatch too
            raise GradcheckError(
                f"gradcheck: the {what} of output {output} with respect to input {self.places[i]} is "
                f"{float(analytic):.10g}, the finite difference {float(numerical):.10g}"
            )
