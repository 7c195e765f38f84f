"""Are the gradients right? Compared with finite differences, in float64.

`gradcheck` does not look at every element by itself. It moves an input along a random direction `u`,
weighs the outputs with random numbers `v`, and compares one number, the slope of ``sum(v * f(x + h u))``
at h = 0, with ``sum(gradient * u)``. A wrong element of the gradient hides from that only with
probability zero, and two evaluations of `f` an input are enough, whatever its size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lampion import autograd
from lampion.dtype import float64
from lampion.mode import enable_grad
from lampion.tensor import Tensor, from_numpy
from lampion.testing.compare import flatten

# The step that balances the error of a central difference, h**2, against rounding, 2**-53 / h.
STEP = 6e-6
# With that step both errors are about 1e-10 of the gradient; curvature may take four digits of that.
RTOL = 1e-6
ATOL = 1e-9


class GradientMismatch(AssertionError):
    """A gradient differs from the finite difference, or has the wrong shape or dtype."""


def gradcheck(
    func: Callable[..., Any], inputs: Tensor | Sequence[Any], *, eps: float = STEP, atol: float = ATOL,
    rtol: float = RTOL, raise_exception: bool = True, exhaustive: bool = False, seed: int = 0,
) -> bool:  # fmt: skip
    """Compare the gradient of `func` with finite differences.

    Args:
        func: takes `inputs`, returns a Tensor or several. It must give the same result for the same
            inputs, and leave them as they are.
        inputs: its arguments. All that are float64 tensors are checked; others are passed on.
        eps: the step of the central difference.
        atol, rtol: how far the slopes may be apart; `rtol` is relative to the sum of |gradient * u|.
        raise_exception: raise `GradientMismatch` (an AssertionError) instead of returning False.
        exhaustive: move every element of every input by itself, to see which one is wrong.
        seed: of the random directions.

    >>> import lampion
    >>> x = lampion.tensor([0.3, 0.5], dtype=lampion.float64)
    >>> lampion.testing.gradcheck(lambda x: (x * x).sum(), x)
    True
    """
    arguments = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    try:
        _Checker(func, arguments, eps, atol, rtol, seed).check(exhaustive)
    except GradientMismatch:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(func: Callable[..., Any], inputs: Tensor | Sequence[Any], **options: Any) -> bool:
    """Compare the gradient *of the gradient* of `func` with finite differences; see `gradcheck`.

    The gradient is checked as a function of the inputs and of the gradients of the outputs.
    """
    arguments = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    places = _differentiable(arguments)
    rng = np.random.default_rng(options.get("seed", 0) + 1)
    count = len(arguments)
    with enable_grad():
        outputs = _floating(func(*_fresh(arguments, {})))
    weights = [from_numpy(rng.standard_normal(out.shape)) for out in outputs]

    def gradient(*everything: Any) -> list[Tensor]:
        xs, seeds = everything[:count], everything[count:]
        pairs = zip(_floating(func(*xs)), seeds, strict=True)
        roots = [(out, seed) for out, seed in pairs if out.requires_grad]
        if not roots:
            return []
        found = autograd.grad(
            [out for out, _ in roots], [xs[place] for place in places], [seed for _, seed in roots],
            create_graph=True, allow_unused=True,
        )  # fmt: skip
        return [slope for slope in found if slope is not None]

    return gradcheck(gradient, [*arguments, *weights], **options)


def numerical_grad(
    func: Callable[..., Any], inputs: Tensor | Sequence[Any], eps: float = STEP
) -> tuple[Tensor, ...]:
    """The gradient of the sum of `func`'s outputs, by central differences, element by element.

    Gives one tensor for every float64 tensor among the inputs.

    >>> import lampion
    >>> x = lampion.tensor([1.0, 3.0], dtype=lampion.float64)
    >>> lampion.testing.numerical_grad(lambda x: x * x, x)
    (tensor([2.0000, 6.0000], dtype=lampion.float64),)
    """
    arguments = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    checker = _Checker(func, arguments, eps, 0.0, 0.0, 0)
    checker.weights = [np.ones(out.shape) for out in checker.outputs]
    slopes = []
    for place in checker.places:
        array = arguments[place]._array
        slope = np.zeros(array.shape)
        for at in np.ndindex(array.shape):
            direction = np.zeros(array.shape)
            direction[at] = 1.0
            slope[at] = checker.slope(place, direction)
        slopes.append(from_numpy(slope))
    return tuple(slopes)


class _Checker:
    """One function at one point, with the weights of its outputs."""

    def __init__(
        self, func: Callable[..., Any], arguments: list[Any], eps: float, atol: float, rtol: float, seed: int
    ) -> None:
        self.func = func
        self.arguments = arguments
        self.places = _differentiable(arguments)
        if not self.places:
            raise ValueError("gradcheck: no input is a float64 tensor; make them with dtype=lampion.float64")
        self.eps, self.atol, self.rtol = eps, atol, rtol
        self.rng = np.random.default_rng(seed)
        self.xs = _fresh(arguments, {})
        with enable_grad():
            self.outputs = _floating(func(*self.xs))
        self._check_pure()
        self.weights = [self.rng.standard_normal(out.shape) for out in self.outputs]

    def _check_pure(self) -> None:
        """The same inputs must give the same outputs, and come out of it unchanged."""
        for place in self.places:
            if not np.array_equal(self.xs[place]._array, self.arguments[place]._array, equal_nan=True):
                raise GradientMismatch(f"the function changes its input {place} in place; clone() it there")
        with enable_grad():
            again = _floating(self.func(*_fresh(self.arguments, {})))
        for first, second in zip(self.outputs, again, strict=True):
            if not np.array_equal(first._array, second._array, equal_nan=True):
                raise GradientMismatch("the function gives different results for the same inputs")

    def check(self, exhaustive: bool) -> None:
        gradients = self.gradients()
        for place, gradient in zip(self.places, gradients, strict=True):
            shape = self.arguments[place]._array.shape
            if not exhaustive:
                direction = self.rng.standard_normal(shape)
                self._compare(place, gradient, direction / max(1.0, np.abs(direction).max(initial=0.0)), "")
                continue
            for at in np.ndindex(shape):
                direction = np.zeros(shape)
                direction[at] = 1.0
                self._compare(place, gradient, direction, f", element {list(at)}")

    def gradients(self) -> list[Any]:
        """The gradients that autograd gives, as arrays, after a look at their form."""
        roots = [(out, w) for out, w in zip(self.outputs, self.weights, strict=True) if out.requires_grad]
        targets = [self.xs[place] for place in self.places]
        found: Sequence[Tensor | None] = [None] * len(targets)
        if roots:
            found = autograd.grad([out for out, _ in roots], targets, [from_numpy(w) for _, w in roots],
                                  allow_unused=True)  # fmt: skip
        arrays = []
        for place, target, slope in zip(self.places, targets, found, strict=True):
            if slope is None:
                arrays.append(np.zeros(target.shape))
                continue
            if slope.shape != target.shape or slope.dtype is not target.dtype:
                raise GradientMismatch(
                    f"the gradient of input {place} has shape {tuple(slope.shape)}, {slope.dtype}; "
                    f"the input has {tuple(target.shape)}, {target.dtype}"
                )
            arrays.append(slope._array)
        return arrays

    def slope(self, place: int, direction: Any) -> float:
        """The slope of the weighted outputs as input `place` moves along `direction`."""
        ahead, _ = self._weighted(place, self.eps * direction)
        behind, _ = self._weighted(place, -self.eps * direction)
        return (ahead - behind) / (2 * self.eps)

    def _weighted(self, place: int, shift: Any) -> tuple[float, float]:
        """The weighted sum of the outputs, and the sum of its terms' sizes, with an input moved a little."""
        with enable_grad():  # the function may be a gradient itself
            outputs = _floating(self.func(*_fresh(self.arguments, {place: shift})))
        terms = [out._array * w for out, w in zip(outputs, self.weights, strict=True)]
        return math.fsum(float(t.sum()) for t in terms), math.fsum(float(np.abs(t).sum()) for t in terms)

    def _compare(self, place: int, gradient: Any, direction: Any, element: str) -> None:
        terms = gradient * direction
        analytic, numerical = float(terms.sum()), self.slope(place, direction)
        size = self._weighted(place, 0.0 * direction)[1]
        rounding = 16 * np.finfo(np.float64).eps * size / self.eps
        allowed = self.atol + self.rtol * float(np.abs(terms).sum()) + rounding
        if not abs(analytic - numerical) <= allowed:  # a NaN is a mismatch too
            ratio = f" ({analytic / numerical:.6g} times it)" if numerical else ""
            raise GradientMismatch(
                f"input {place}{element}: autograd's slope is {analytic:.10g}{ratio}, "
                f"the finite difference {numerical:.10g}\n  difference {abs(analytic - numerical):.3g}, "
                f"allowed {allowed:.3g}; input of shape {gradient.shape}"
            )


def _differentiable(arguments: Sequence[Any]) -> list[int]:
    return [i for i, x in enumerate(arguments) if isinstance(x, Tensor) and x.dtype is float64]


def _fresh(arguments: Sequence[Any], shifts: dict[int, Any]) -> list[Any]:
    """The arguments with every float64 tensor as a new leaf, some of them moved."""
    fresh: list[Any] = []
    for place, x in enumerate(arguments):
        if isinstance(x, Tensor) and x.dtype is float64:
            array = x._array.copy() if place not in shifts else np.asarray(x._array + shifts[place])
            fresh.append(from_numpy(array).requires_grad_())
        else:
            fresh.append(x)
    return fresh


def _floating(result: Any) -> list[Tensor]:
    return [out for out in flatten(result) if isinstance(out, Tensor) and out.dtype is float64]
