"""Parameter: a Tensor that a module knows it has to learn."""

from __future__ import annotations

from typing import Any

from lampion.ops import zeros
from lampion.tensor import Tensor, tensor, wrap


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
    source = zeros(*size, dtype=dtype)
    parameter: Parameter = Parameter.__new__(Parameter)
    parameter._array = source._array
    parameter._version = source._version
    parameter.requires_grad_()
    return parameter
