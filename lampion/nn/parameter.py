"""Parameter: a Tensor that a module knows it has to learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from lampion.errors import LampionError
from lampion.mode import mode
from lampion.ops import zeros
from lampion.tensor import Tensor, tensor, wrap


def _outside_of_recordings() -> None:
    """A compiled function does not make what is to be learned."""
    trace: Any = mode.trace
    if trace is None or not trace.compiles:
        return
    while (outer := getattr(trace, "outer", None)) is not None:  # of a transform inside of the function
        trace = outer
    trace.refuse("makes a parameter", "make modules and parameters outside of the compiled function")


class Parameter(Tensor):
    """A tensor to be learned: assigned to an attribute of a Module, it becomes one of its parameters.

    Args:
        data: its first value. A Tensor's memory is shared, as in PyTorch; anything else is copied.
        requires_grad: whether back-propagation computes its gradient.

    >>> import lampion
    >>> lampion.nn.Parameter(lampion.ones(2))
    Parameter containing:
    tensor([1., 1.], requires_grad=True)
    """

    def __init__(self, data: Any = (), requires_grad: bool = True) -> None:
        _outside_of_recordings()
        source = data if isinstance(data, Tensor) else tensor(data)
        self._array = source._array
        self._version = source._version
        if source is data:
            self._become_view(source)  # as detach() does: shared memory, and a history of its own
        self.requires_grad_(requires_grad)

    def __repr__(self) -> str:
        plain = wrap(self._array)
        plain._requires_grad = self._requires_grad
        return f"Parameter containing:\n{plain!r}"


def new_parameter(*size: int, dtype: Any = None) -> Parameter:
    """A parameter with memory of its own, to be filled by an initialiser."""
    _outside_of_recordings()
    source = zeros(*size, dtype=dtype)
    parameter: Parameter = Parameter.__new__(Parameter)
    parameter._array = source._array
    parameter._version = source._version
    parameter.requires_grad_()
    return parameter


class Buffer(Tensor):
    """A tensor that, assigned to an attribute of a Module, becomes one of its buffers.

    Args:
        data: the tensor, whose memory is shared; anything else is copied.
        persistent: whether it is part of `state_dict()`.
    """

    def __init__(self, data: Any = (), *, persistent: bool = True) -> None:
        source = data if isinstance(data, Tensor) else tensor(data)
        self._array = source._array
        self._version = source._version
        if source is data:
            self._become_view(source)
        self.persistent = persistent

    def __repr__(self) -> str:
        return f"Buffer containing:\n{wrap(self._array)!r}"


class Uninitialized(Tensor):
    """What parameters and buffers of lazy layers share, whose shape is not known yet."""

    #: What it is once it has a shape.
    cls_to_become: ClassVar[type[Tensor]] = Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Not known: an error that says so."""
        raise LampionError(
            "shape", "this tensor of a lazy layer has no shape yet",
            fix="run one input through the network first",
        )  # fmt: skip

    def materialize(self, shape: Sequence[int], device: Any = None, dtype: Any = None) -> None:
        """Become a tensor of zeros of this shape; whoever holds it already sees that."""
        source = zeros(*shape, dtype=dtype or self.dtype)
        self.__class__ = self.cls_to_become  # type: ignore[assignment]  # of the same layout
        self._array = source._array
        self._version = source._version
        self._base, self._chain = None, ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class UninitializedParameter(Uninitialized, Parameter):
    """A parameter whose shape is not known yet; `materialize` makes a `Parameter` of it."""

    cls_to_become = Parameter

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> None:
        Parameter.__init__(self, zeros(0, dtype=dtype), requires_grad)


class UninitializedBuffer(Uninitialized):
    """A buffer whose shape is not known yet; `materialize` makes a `Tensor` of it."""

    def __init__(self, requires_grad: bool = False, device: Any = None, dtype: Any = None) -> None:
        source = zeros(0, dtype=dtype)
        self._array, self._version = source._array, source._version
        self.requires_grad_(requires_grad)


def is_lazy(param: Any) -> bool:
    """Whether this parameter or buffer has no shape yet."""
    return isinstance(param, Uninitialized)
