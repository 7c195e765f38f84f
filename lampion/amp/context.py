"""`autocast`: inside of it, matrix products run in a short type."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

from lampion import dtype as dtypes
from lampion.dtype import DType
from lampion.mode import mode

F = TypeVar("F", bound=Callable[..., Any])

_SHORT = (dtypes.bfloat16, dtypes.float16)


class autocast:
    """Run matrix products in a short type, losses in float32: a ``with`` block, or a decorator.

    Inside, each function on a list (`lampion.amp.policy`, which is PyTorch's for the CPU) converts its
    arguments: products to `dtype`, losses and factorisations to float32. All others take what they are
    given. Parameters stay float32, and so do their gradients. Have the forward pass and the loss inside;
    `backward` runs in the types of the forward pass wherever it is called.

    On processors with bfloat16 products (AVX-512 BF16), a compiled step runs them at twice the speed of
    float32. Others compute as eager does: in float32, from numbers of bfloat16.

    Args:
        device_type: "cpu".
        dtype: bfloat16 (the default) or float16. With another one there is a warning, and no autocast.
        enabled: False for a part inside that is to run as given.
        cache_enabled: accepted for PyTorch's sake: weights are converted where they are used, and
            `lampion.compile` does each conversion once.

    >>> import lampion
    >>> model, x = lampion.nn.Linear(3, 2), lampion.ones(4, 3)
    >>> with lampion.autocast("cpu"):
    ...     y = model(x)
    ...     loss = lampion.nn.functional.mse_loss(y, lampion.zeros(4, 2))
    >>> y.dtype, loss.dtype
    (lampion.bfloat16, lampion.float32)
    >>> loss.backward()
    >>> model.weight.grad.dtype
    lampion.float32

    Source: P. Micikevicius et al., "Mixed precision training" (2018); D. Kalamkar et al., "A study of
    bfloat16 for deep learning training" (2019).
    """

    def __init__(
        self,
        device_type: str,
        dtype: DType | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        self.device, self._enabled = _checked(device_type), bool(enabled)
        self.fast_dtype = _default() if dtype is None else dtypes.of(dtype)
        if self._enabled and self.fast_dtype not in _SHORT:
            warnings.warn(
                f"autocast: {self.fast_dtype} is no type to compute quickly in; expected bfloat16 or "
                "float16. Autocast is off.", UserWarning, stacklevel=2,
            )  # fmt: skip
            self._enabled = False
        self._previous: list[tuple[DType | None, DType | None]] = []

    def __enter__(self) -> autocast:
        self._previous.append((mode.autocast, mode.short))
        mode.autocast = self.fast_dtype if self._enabled else None
        mode.short = self.fast_dtype
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        mode.autocast, mode.short = self._previous.pop()

    def __call__(self, function: F) -> F:
        """The function, with this around each of its calls."""
        if inspect.isgeneratorfunction(function):
            raise TypeError("autocast: a generator's steps would be outside; use `with` inside of it")

        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return inside  # type: ignore[return-value]  # the same signature


def is_autocast_enabled(device_type: str = "cpu") -> bool:
    """Whether autocast is on in this thread."""
    _checked(device_type)
    return mode.autocast is not None


def get_autocast_dtype(device_type: str) -> DType:
    """The type that autocast runs products in (or would, if it were on)."""
    _checked(device_type)
    return _default()


def set_autocast_enabled(device_type: str, enabled: bool) -> None:
    """Switch autocast on or off in this thread, until it is switched again; `autocast` is a block."""
    _checked(device_type)
    _refuse_while_tracing("switches autocast")
    mode.autocast = _default() if enabled else None


def set_autocast_dtype(device_type: str, dtype: DType) -> None:
    """The type that autocast runs products in, where none is named."""
    _checked(device_type)
    _refuse_while_tracing("sets autocast's dtype")
    if dtypes.of(dtype) not in _SHORT:
        raise ValueError(f"set_autocast_dtype: expected bfloat16 or float16, got {dtype}")
    mode.short = dtypes.of(dtype)
    if mode.autocast is not None:
        mode.autocast = mode.short


def is_autocast_available(device_type: str) -> bool:
    """Whether there is autocast for such a device: for the CPU."""
    return device_type == "cpu"


def _default() -> DType:
    return dtypes.bfloat16 if mode.short is None else mode.short


def _checked(device_type: str) -> str:
    name = str(device_type).partition(":")[0]
    if name != "cpu":
        raise ValueError(f'autocast: expected device_type="cpu", the only device yet; got {device_type!r}')
    return name


def _refuse_while_tracing(what: str) -> None:
    if mode.trace is not None:
        mode.trace.refuse(what, "use `with lampion.autocast(...)` inside of the compiled function")
