"""What all distributions have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from lampion import ops
from lampion.dtype import get_default_dtype
from lampion.errors import LampionError, OptionError
from lampion.mode import mode, no_grad
from lampion.ops.elementwise import cast
from lampion.tensor import Tensor, as_tensor

_Shape = Sequence[int]


class Distribution:
    """A distribution, or a batch of independent ones.

    Attributes:
        batch_shape: the shape of the parameters: how many distributions there are.
        event_shape: the shape of one sample of one of them; () for numbers.

    A sample has the shape ``(*sample_shape, *batch_shape, *event_shape)``.
    """

    has_rsample: ClassVar[bool] = False
    event_dims: ClassVar[int] = 0

    def __init__(self, validate_args: bool | None = None, **parameters: Any) -> None:
        self.validate_args = validate_args is None or validate_args
        given = [_tensor(value) for value in parameters.values()]
        if self.event_dims == 0:
            given = list(ops.broadcast_tensors(*given))
        for name, value in zip(parameters, given, strict=True):
            setattr(self, name, value)
        shape = tuple(given[0].shape)
        split = len(shape) - self.event_dims
        if split < 0:
            raise OptionError(type(self).__name__, "a parameter needs a dimension more", got=f"{shape}")
        self.batch_shape: tuple[int, ...] = shape[:split]
        self.event_shape: tuple[int, ...] = shape[split:]
        self._given = tuple(parameters)

    # -- what each distribution defines ----------------------------------------------------------

    def _draw(self, shape: tuple[int, ...]) -> Tensor:
        """Samples of that shape."""
        raise NotImplementedError

    def _log_prob(self, value: Tensor) -> Tensor:
        raise NotImplementedError

    def _supports(self, value: Tensor) -> Tensor:
        """Which values (or events) can occur at all."""
        return ops.eq(value, value)

    @property
    def mean(self) -> Tensor:
        """The expected value."""
        raise NotImplementedError

    @property
    def variance(self) -> Tensor:
        """The expected square of the distance from the mean."""
        raise NotImplementedError

    def entropy(self) -> Tensor:
        """The expected value of -log_prob."""
        raise LampionError(f"{type(self).__name__}.entropy", "it has no closed form")

    # -- what follows from it ------------------------------------------------------------------------

    @property
    def stddev(self) -> Tensor:
        """The square root of the variance."""
        return ops.sqrt(self.variance)

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        """Samples, as many as `sample_shape` says of each distribution, without a gradient."""
        with no_grad():
            return self._draw(self._extended(sample_shape))

    def rsample(self, sample_shape: _Shape = ()) -> Tensor:
        """Samples through which gradients flow to the parameters."""
        if not self.has_rsample:
            raise LampionError(
                f"{type(self).__name__}.rsample", "its samples do not depend smoothly on the parameters",
                fix="sample(), and the gradient of log_prob (REINFORCE)",
            )  # fmt: skip
        return self._draw(self._extended(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density (of discrete distributions: the probability) at these values."""
        value = as_tensor(value)
        if self.validate_args:
            self._check("value", self._supports(value), "a value cannot occur")
        return self._log_prob(value)

    def prob(self, value: Tensor) -> Tensor:
        """The density (of discrete distributions: the probability) at these values."""
        return ops.exp(self.log_prob(value))

    def perplexity(self) -> Tensor:
        """e to the power of the entropy."""
        return ops.exp(self.entropy())

    def expand(self, batch_shape: _Shape) -> Self:
        """The same distribution with its parameters expanded to a larger batch."""
        event = self.event_shape if self.event_dims else ()
        parameters = {name: getattr(self, name).expand((*batch_shape, *event)) for name in self._given}
        return type(self)(**parameters, validate_args=self.validate_args)

    def _extended(self, sample_shape: _Shape) -> tuple[int, ...]:
        return (*sample_shape, *self.batch_shape, *self.event_shape)

    def _check(self, name: str, holds: Tensor, problem: str) -> None:
        """Refuse what is not allowed; in a trace nothing is known about values."""
        if self.validate_args and mode.trace is None and not bool(holds.all()):
            raise OptionError(
                type(self).__name__, problem, got=f"the argument {name}", fix="validate_args=False skips this"
            )

    def _positive(self, *names: str) -> None:
        for name in names:
            self._check(name, ops.gt(getattr(self, name), 0), "expected positive numbers")

    def __repr__(self) -> str:
        parts = []
        for name in self._given:
            value = getattr(self, name)
            parts.append(f"{name}: {value.item()}" if not value.ndim else f"{name}: {tuple(value.shape)}")
        return f"{type(self).__name__}({', '.join(parts)})"


def _tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value if value.dtype.is_inexact else cast(value, get_default_dtype())
    return ops.full((), value, get_default_dtype())


#: log(sqrt(2 pi))
LOG_ROOT_TAU = 0.5 * math.log(2 * math.pi)
