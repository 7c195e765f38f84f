"""L-BFGS, with a line search."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import lampion
from lampion.errors import OptionError
from lampion.mode import enable_grad, no_grad
from lampion.optim.groups import number
from lampion.optim.optimizer import Optimizer
from lampion.optim.traced import outside_of_traces
from lampion.tensor import Tensor

#: The two constants of the strong Wolfe conditions: enough descent, and a slope that is flat enough.
_DESCENT, _FLATNESS = 1e-4, 0.9


class LBFGS(Optimizer):
    r"""Newton's method, with the inverse of the Hessian guessed from the last few steps.

    From the last steps s_i and the changes y_i of the gradient along them, with r_i = 1 / (y_i · s_i):

        q = g;  for the newest i to the oldest:  a_i = r_i * s_i · q,  q = q - a_i * y_i
        d = -(y · s) / (y · y) * q;  for the oldest i to the newest:  d = d + s_i * (-a_i - r_i * y_i · d)
        p = p + t * d        (t: the learning rate, or what the line search finds)

    For a loss of the whole data. One call of `step` makes up to `max_iter` steps, and evaluates the closure
    up to `max_eval` times. There can be one group of parameters only.

    Args:
        params: the parameters.
        lr: the length of a step, or where the line search begins.
        max_iter: steps in one call of `step`.
        max_eval: evaluations in one call; 1.25 * max_iter if not given.
        tolerance_grad: stop where no element of the gradient is larger.
        tolerance_change: stop where neither parameters nor loss change by more.
        history_size: steps to remember.
        line_search_fn: None, or ``"strong_wolfe"``.

    Source: J. Nocedal, S. Wright: "Numerical Optimization" (2nd ed.), algorithms 7.4, 3.5 and 3.6.

    >>> import lampion
    >>> w = lampion.tensor([3.0, -2.0], requires_grad=True)
    >>> opt = lampion.optim.LBFGS([w], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     opt.zero_grad()
    ...     loss = ((w - 1) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> opt.step(closure).item(), w.detach()
    (13.0, tensor([1.0000, 1.0000]))
    """

    def __init__(
        self, params: Iterable[Any], lr: float | Tensor = 1, max_iter: int = 20, max_eval: int | None = None,
        tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9, history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:  # fmt: skip
        if max_eval is None:
            max_eval = max_iter * 5 // 4
        super().__init__(params, {
            "lr": lr, "max_iter": max_iter, "max_eval": max_eval, "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change, "history_size": history_size,
            "line_search_fn": line_search_fn,
        })  # fmt: skip
        self._check_groups()

    def _check_groups(self) -> None:
        if len(self.param_groups) != 1:
            raise OptionError("LBFGS", "LBFGS doesn't support per-parameter options (parameter groups)",
                              expected="one group of parameters")  # fmt: skip

    def check(self, group: dict[str, Any]) -> None:
        super().check(group)
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise OptionError("LBFGS", "only 'strong_wolfe' is supported",
                              got=f"line_search_fn={group['line_search_fn']!r}")  # fmt: skip

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make up to `max_iter` steps.

        Args:
            closure: clears the gradients, computes the loss, calls `backward` and returns the loss.
        """
        outside_of_traces("runs L-BFGS, which looks at its values to decide")
        if closure is None:
            raise OptionError("LBFGS", "step needs a closure: it evaluates the loss several times",
                              fix="opt.step(closure), see the example of LBFGS")  # fmt: skip
        self._check_groups()
        with no_grad():
            return self._minimise(closure)

    def _minimise(self, closure: Callable[[], Any]) -> Any:
        group = self.param_groups[0]
        lr, tolerance = number(group["lr"]), group["tolerance_change"]
        # The state is one for all; it is kept with the first parameter, as in PyTorch.
        state = self.state[group["params"][0]]
        state.pop("step", None)
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first, loss = self._evaluate(closure)
        gradient = self._gradient()
        evaluations = 1
        state["func_evals"] += 1
        if _largest(gradient) <= group["tolerance_grad"]:
            return first
        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            direction = self._direction(state, gradient)
            t = min(1.0, 1.0 / gradient.abs().sum()) * lr if state["n_iter"] == 1 else lr
            state.update(d=direction, t=t, prev_flat_grad=gradient, prev_loss=loss)
            slope = (gradient * direction).sum()
            if slope > -tolerance:
                break
            before, used = loss, 0
            if group["line_search_fn"] is not None:
                start = _Point(0, loss, gradient, slope)
                found, used = self._search(closure, start, t, direction, tolerance,
                                           group["max_eval"] - evaluations)  # fmt: skip
                t, loss, gradient, _ = found
                state["t"] = t
                self._move(t, direction)
            else:
                self._move(t, direction)
                if iteration < group["max_iter"]:  # there is no use for another evaluation after the last
                    loss, gradient, used = self._evaluate(closure)[1], self._gradient(), 1
            evaluations += used
            state["func_evals"] += used
            if (
                evaluations >= group["max_eval"]
                or _largest(gradient) <= group["tolerance_grad"]
                or _largest(direction * t) <= tolerance
                or abs(loss - before) < tolerance
            ):
                break
        return first

    def _direction(self, state: dict[str, Any], gradient: Tensor) -> Any:
        """Where to go: minus the guessed inverse of the Hessian, times the gradient."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1)
            return -gradient
        y, s = gradient - state["prev_flat_grad"], state["d"] * state["t"]
        ys = (y * s).sum()
        changes, steps, inverses = state["old_dirs"], state["old_stps"], state["ro"]
        size = self.param_groups[0]["history_size"]
        if ys > 1e-10:
            if len(changes) == size:
                for history in (changes, steps, inverses):
                    history.pop(0)
            changes.append(y)
            steps.append(s)
            inverses.append(1.0 / ys)
            state["H_diag"] = ys / (y * y).sum()
        factors = state.setdefault("al", [None] * size)
        q = -gradient
        for i in reversed(range(len(changes))):
            factors[i] = (steps[i] * q).sum() * inverses[i]
            q = q - changes[i] * factors[i]
        d = q * state["H_diag"]
        for i in range(len(changes)):
            d = d + steps[i] * (factors[i] - (changes[i] * d).sum() * inverses[i])
        return d

    def _search(
        self, closure: Callable[[], Any], start: _Point, t: Any, direction: Tensor, tolerance: float,
        budget: int,
    ) -> tuple[_Point, int]:  # fmt: skip
        params = self.param_groups[0]["params"]
        origin = [p.detach().clone() for p in params]

        def evaluate(t: Any) -> _Point:
            self._move(t, direction)
            loss, gradient = self._evaluate(closure)[1], self._gradient()
            for p, value in zip(params, origin, strict=True):
                p.detach().copy_(value)
            return _Point(t, loss, gradient, (gradient * direction).sum())

        return strong_wolfe(evaluate, start, t, _largest(direction), tolerance, budget)

    def _evaluate(self, closure: Callable[[], Any]) -> tuple[Any, float]:
        with enable_grad():
            loss = closure()
        return loss, float(loss)

    def _gradient(self) -> Any:
        """All gradients in one row, complex ones as two real numbers each; 0 where there is none."""
        return lampion.cat([
            _real(lampion.zeros_like(p) if p.grad is None else p.grad).reshape(-1)
            for p in self.param_groups[0]["params"]
        ]).detach()  # fmt: skip

    def _move(self, t: Any, direction: Tensor) -> None:
        start = 0
        for p in self.param_groups[0]["params"]:
            target = _real(p.detach())
            stop = start + target.numel()
            target.add_(direction[start:stop].reshape(target.shape) * t)
            start = stop


class _Point(NamedTuple):
    """A point on the line that is searched: how far it is, the loss, its gradient and its slope there."""

    t: Any
    loss: float
    gradient: Tensor
    slope: Tensor


def strong_wolfe(
    evaluate: Callable[[Any], _Point], start: _Point, t: Any, reach: Any, tolerance: float, budget: int
) -> tuple[_Point, int]:
    """A point on the line where the loss fell enough and the slope is flat enough.

        loss(t) <= loss(0) + 1e-4 * t * slope(0)   and   |slope(t)| <= 0.9 * |slope(0)|

    First longer and longer steps until two points have such a place between them, then shorter and shorter
    intervals. Returns the point and the number of evaluations.

    Args:
        evaluate: makes the point at a distance.
        start: the point at distance 0.
        t: the first distance to try.
        reach: the largest element of the direction.
        tolerance: stop where the interval, times reach, is smaller.
        budget: rounds to make at most.

    Source: J. Nocedal, S. Wright: "Numerical Optimization" (2nd ed.), algorithms 3.5 and 3.6.
    """

    def too_high(point: _Point) -> bool:
        return bool(point.loss > start.loss + _DESCENT * point.t * start.slope)

    def flat(point: _Point) -> bool:
        return bool(abs(point.slope) <= -_FLATNESS * start.slope)

    previous, point = start, evaluate(t)
    rounds = 0
    while rounds < budget:
        if too_high(point) or (rounds > 1 and point.loss >= previous.loss):
            break
        if flat(point):
            return point, rounds + 1
        if point.slope >= 0:
            break
        bounds = point.t + 0.01 * (point.t - previous.t), point.t * 10
        t = _lowest(previous, point, bounds)
        previous, point = point, evaluate(t)
        rounds += 1
    ends = [start if rounds == budget else previous, point]
    low = 0 if ends[0].loss <= ends[1].loss else 1
    stalled = False
    while rounds < budget and abs(ends[1].t - ends[0].t) * reach >= tolerance:
        left, right = sorted((ends[0].t, ends[1].t))
        t = _lowest(ends[0], ends[1], (left, right))
        margin = 0.1 * (right - left)
        if min(right - t, t - left) < margin:  # next to an end: once that is well, twice it leads nowhere
            if stalled or t >= right or t <= left:
                t = right - margin if abs(t - right) < abs(t - left) else left + margin
                stalled = False
            else:
                stalled = True
        else:
            stalled = False
        point = evaluate(t)
        rounds += 1
        if too_high(point) or point.loss >= ends[low].loss:
            ends[1 - low] = point
            low = 0 if ends[0].loss <= ends[1].loss else 1
            continue
        done = flat(point)
        if not done and point.slope * (ends[1 - low].t - ends[low].t) >= 0:
            ends[1 - low] = ends[low]
        ends[low] = point
        if done:
            break
    return ends[low], rounds + 1


def _lowest(a: _Point, b: _Point, bounds: tuple[Any, Any]) -> Any:
    """Where the cubic through two points with their slopes is lowest, within bounds."""
    if a.t > b.t:
        a, b = b, a
    left, right = bounds
    c = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = c**2 - a.slope * b.slope
    if not square >= 0:
        return (left + right) / 2.0
    root = square.sqrt()
    t = b.t - (b.t - a.t) * ((b.slope + root - c) / (b.slope - a.slope + 2 * root))
    return min(max(t, left), right)


def _largest(x: Tensor) -> Any:
    return x.abs().max()


def _real(x: Tensor) -> Any:
    from lampion.ops.complex_numbers import view_as_real

    return view_as_real(x) if x.dtype.is_complex else x
