"""One step of a recurrent layer, as a layer of its own."""

from __future__ import annotations

import math
from typing import Any

from lampion import ops as operations
from lampion.errors import ShapeError
from lampion.nn import functional as F
from lampion.nn import init
from lampion.nn.module import Module
from lampion.nn.parameter import Parameter, new_parameter
from lampion.nn.recurrent import MODES, Weights, _nonlinearity
from lampion.tensor import Tensor, check_device

ops: Any = operations  # the stubs know one name by one type


class RNNCellBase(Module):
    """What the cells share.

    Args:
        input_size, hidden_size: the number of features of x, and of the state.
        bias: whether there are biases.
        num_chunks: the number of gates.
    """

    weight_ih: Parameter
    weight_hh: Parameter
    bias_ih: Parameter | None
    bias_hh: Parameter | None
    nonlinearity = "tanh"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        check_device(type(self).__name__, device)
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        gates = num_chunks * hidden_size
        self.weight_ih = new_parameter(gates, input_size, dtype=dtype)
        self.weight_hh = new_parameter(gates, hidden_size, dtype=dtype)
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, new_parameter(gates, dtype=dtype) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new random parameters, uniform in [-1/sqrt(hidden_size), 1/sqrt(hidden_size)]."""
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size else 0
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        return text if self.nonlinearity == "tanh" else f"{text}, nonlinearity={self.nonlinearity}"

    def _step(
        self, mode: str, input: Tensor, given: tuple[Tensor, ...] | None, parts: int
    ) -> tuple[Tensor, ...]:
        name = type(self).__name__
        if input.ndim not in (1, 2) or input.shape[-1] != self.input_size:
            raise ShapeError(name, "the input does not fit", got=str(tuple(input.shape)),
                             expected=f"1 or 2 dimensions, the last one {self.input_size}")  # fmt: skip
        wanted = (*input.shape[:-1], self.hidden_size)
        state = given or tuple(ops.zeros(*wanted, dtype=input.dtype) for _ in range(parts))
        for x in state:
            if tuple(x.shape) != wanted:
                raise ShapeError(name, "a state does not fit the input", expected=str(wanted),
                                 got=str(tuple(x.shape)))  # fmt: skip
        weights = Weights(self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        gates = F.linear(input, self.weight_ih, self.bias_ih)
        found = MODES[mode][1](gates, state if parts > 1 else state[0], weights)
        return found if parts > 1 else (found,)


class RNNCell(RNNCellBase):
    """One step of an `RNN`.

    Args:
        input_size, hidden_size, bias: see `RNNCellBase`.
        nonlinearity: "tanh" or "relu".

    Shape: input (N, input_size) or (input_size,); state and result (N, hidden_size) or (hidden_size,).

    >>> import lampion
    >>> lampion.nn.RNNCell(3, 4)(lampion.ones(2, 3)).shape
    (2, 4)
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh",
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        mode = _nonlinearity("RNNCell", nonlinearity)
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self._mode = mode
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step(self._mode, input, None if hx is None else (hx,), 1)[0]


class GRUCell(RNNCellBase):
    """One step of a `GRU`.

    Args:
        input_size, hidden_size, bias: see `RNNCellBase`.

    Shape: as for `RNNCell`.

    >>> import lampion
    >>> lampion.nn.GRUCell(3, 4)(lampion.ones(2, 3)).shape
    (2, 4)
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step("GRU", input, None if hx is None else (hx,), 1)[0]


class LSTMCell(RNNCellBase):
    """One step of an `LSTM`.

    Args:
        input_size, hidden_size, bias: see `RNNCellBase`.

    Shape: as for `RNNCell`; the state and the result are pairs (h, c).

    >>> import lampion
    >>> h, c = lampion.nn.LSTMCell(3, 4)(lampion.ones(2, 3))
    >>> h.shape, c.shape
    ((2, 4), (2, 4))
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        h, c = self._step("LSTM", input, None if hx is None else tuple(hx), 2)
        return h, c
