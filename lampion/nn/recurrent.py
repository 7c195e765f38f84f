"""Recurrent layers, made of `lampion.func.scan`: one loop over time for each layer and direction.

The input projection is one product over all time steps; what is left for the loop is one product and a few
elementwise operations a step. In a compiled function the loop is part of the machine code, and so is its
gradient; in eager a layer that is large enough is a compiled function by itself (`compiler.pieces`).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from lampion import ops as operations
from lampion.compiler.pieces import open_to_plans, planned
from lampion.errors import DTypeError, LampionError, OptionError, ShapeError
from lampion.mode import mode as thread_mode
from lampion.nn import functional as F
from lampion.nn import init
from lampion.nn.functional.checks import check_probability
from lampion.nn.module import Module
from lampion.nn.parameter import new_parameter
from lampion.nn.recurrent_loops import State, is_large, over_packed, over_steps
from lampion.nn.utils.rnn import PackedSequence, check_packed
from lampion.tensor import Tensor, check_device

ops: Any = operations  # the stubs know one name by one type

#: A step: what the input adds to the gates, the state, and the weights that read it; gives the next state.
Step = Callable[[Tensor, Any, "Weights"], Any]


#: What a layer takes, and gives: a padded tensor, or a packed sequence.
Input = TypeVar("Input", Tensor, PackedSequence)


class Weights:
    """The parameters of one layer in one direction; None where there are none."""

    def __init__(self, w_ih: Tensor, w_hh: Tensor, b_ih: Any = None, b_hh: Any = None, w_hr: Any = None):
        self.w_ih, self.w_hh, self.b_ih, self.b_hh, self.w_hr = w_ih, w_hh, b_ih, b_hh, w_hr


def _tanh_step(x: Tensor, h: Tensor, w: Weights) -> Tensor:
    return ops.tanh(x + F.linear(h, w.w_hh, w.b_hh))  # type: ignore[no-any-return]  # see `ops`


def _relu_step(x: Tensor, h: Tensor, w: Weights) -> Tensor:
    return ops.relu(x + F.linear(h, w.w_hh, w.b_hh))  # type: ignore[no-any-return]  # see `ops`


def _lstm_step(x: Tensor, state: tuple[Tensor, Tensor], w: Weights) -> tuple[Tensor, Tensor]:
    h, c = state
    i, f, g, o = ops.chunk(x + F.linear(h, w.w_hh, w.b_hh), 4, -1)
    c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
    h = ops.sigmoid(o) * ops.tanh(c)
    return (h if w.w_hr is None else F.linear(h, w.w_hr)), c


def _gru_step(x: Tensor, h: Tensor, w: Weights) -> Tensor:
    r, z, n = ops.chunk(x, 3, -1)
    hr, hz, hn = ops.chunk(F.linear(h, w.w_hh, w.b_hh), 3, -1)
    r, z = ops.sigmoid(r + hr), ops.sigmoid(z + hz)
    n = ops.tanh(n + r * hn)
    return n + z * (h - n)  # type: ignore[no-any-return]  # see `ops`


#: For each mode: how many gates there are, and the step.
MODES: dict[str, tuple[int, Step]] = {
    "RNN_TANH": (1, _tanh_step), "RNN_RELU": (1, _relu_step), "LSTM": (4, _lstm_step), "GRU": (3, _gru_step),
}  # fmt: skip


def _nonlinearity(name: str, nonlinearity: str) -> str:
    if nonlinearity not in ("tanh", "relu"):
        raise OptionError(name, "no such nonlinearity", expected="'tanh' or 'relu'", got=repr(nonlinearity))
    return f"RNN_{nonlinearity.upper()}"


def _check_size(name: str, argument: str, size: Any, least: int = 1) -> None:
    if not isinstance(size, int) or isinstance(size, bool) or size < least:
        raise OptionError(
            name, f"{argument} is not such a size", expected=f"an integer from {least} on", got=repr(size)
        )


def _check_switch(name: str, argument: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise OptionError(name, f"{argument} is no switch", expected="True or False", got=repr(value))


class RNNBase(Module):
    """What RNN, LSTM and GRU share: parameters, layers and directions.

    Args:
        mode: "RNN_TANH", "RNN_RELU", "LSTM" or "GRU".
        input_size, hidden_size: the number of features of x, and of the state.
        num_layers: how many stand on top of each other.
        bias: whether there are biases.
        batch_first: whether the batch, and not time, is the first dimension of input and output.
        dropout: the probability with which features between two layers are dropped in training.
        bidirectional: whether a second loop runs from the end to the start.
        proj_size: of an LSTM: to how many features its state is projected; 0: it is not.
    """

    def __init__(
        self, mode: str, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        name = type(self).__name__
        check_device(name, device)
        check_probability(name, dropout)
        for argument, size in (("hidden_size", hidden_size), ("num_layers", num_layers)):
            _check_size(name, argument, size)
        for argument, switch in (
            ("bias", bias),
            ("batch_first", batch_first),
            ("bidirectional", bidirectional),
        ):
            _check_switch(name, argument, switch)
        _check_size(name, "input_size", input_size)
        _check_size(name, "proj_size", proj_size, 0)
        if proj_size >= hidden_size or (proj_size and mode != "LSTM"):
            raise OptionError(name, "proj_size does not fit", got=str(proj_size),
                              expected="of an LSTM, a number below hidden_size")  # fmt: skip
        if dropout and num_layers == 1:
            warnings.warn(
                f"{name}: dropout is between layers, and there is one: dropout={dropout} does nothing",
                stacklevel=3,
            )
        self.mode, self.input_size, self.hidden_size, self.num_layers = (
            mode,
            input_size,
            hidden_size,
            num_layers,
        )
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional, self.proj_size = bidirectional, proj_size
        self.out_size = proj_size or hidden_size
        gates = MODES[mode][0] * hidden_size
        for layer in range(num_layers):
            features = self.out_size * self.directions if layer else input_size
            for suffix in self._suffixes(layer):
                made: dict[str, tuple[int, ...]] = {
                    "weight_ih": (gates, features),
                    "weight_hh": (gates, self.out_size),
                }
                if bias:
                    made.update(bias_ih=(gates,), bias_hh=(gates,))
                if proj_size:
                    made["weight_hr"] = (proj_size, hidden_size)
                for part, shape in made.items():
                    self.register_parameter(part + suffix, new_parameter(*shape, dtype=dtype))
        self.reset_parameters()

    @property
    def directions(self) -> int:
        """1, or 2 if it is bidirectional."""
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: self.directions]

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The parameters of each layer and direction."""
        parts = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if self.bias else [])]
        parts += ["weight_hr"] if self.proj_size else []
        suffixes = [suffix for layer in range(self.num_layers) for suffix in self._suffixes(layer)]
        return [[getattr(self, part + suffix) for part in parts] for suffix in suffixes]

    def reset_parameters(self) -> None:
        """Draw new random parameters, uniform in [-1/sqrt(hidden_size), 1/sqrt(hidden_size)]."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self) -> None:
        """Nothing: in PyTorch, this puts the parameters into one block for cuDNN."""

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        usual = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0,
                 "bidirectional": False}  # fmt: skip
        for name, value in usual.items():
            if getattr(self, name) != value:
                text += f", {name}={getattr(self, name)}"
        return text

    # -- running ------------------------------------------------------------------------------------------

    def _run(self, input: Any, given: State | None) -> tuple[Any, State]:
        """The outputs of the last layer at each step, and the last states of all layers, stacked."""
        if isinstance(input, PackedSequence):
            return self._run_packed(input, given)
        name = type(self).__name__
        if not isinstance(input, Tensor) or input.ndim not in (2, 3) or input.shape[-1] != self.input_size:
            raise ShapeError(name, "the input does not fit", got=_form(input),
                             expected=f"2 or 3 dimensions, the last one {self.input_size}")  # fmt: skip
        self._check_type(input)
        batched = input.ndim == 3
        if not batched:
            input = ops.unsqueeze(input, 1)
        elif self.batch_first:
            input = ops.transpose(input, 0, 1)
        if not input.shape[0]:
            raise ShapeError(name, "there is no time step", got=str(tuple(input.shape)))
        output, last = self._layers(input, self._states(input, input.shape[1], given, batched))
        if not batched:
            return ops.squeeze(output, 1), tuple(ops.squeeze(x, 1) for x in last)
        return (ops.transpose(output, 0, 1) if self.batch_first else output), tuple(last)

    def _run_packed(self, input: PackedSequence, given: State | None) -> tuple[PackedSequence, State]:
        """The same of sequences without padding. States are in the order of the sequences as they were."""
        name, data = type(self).__name__, input.data
        sizes = check_packed(name, input)
        if data.ndim != 2 or data.shape[1] != self.input_size:
            raise ShapeError(name, "the packed input does not fit", got=_form(data),
                             expected=f"data of shape (steps, {self.input_size})")  # fmt: skip
        self._check_type(data)
        states = self._states(data, int(sizes[0]), given, True)
        if given is not None and input.sorted_indices is not None:
            states = [ops.index_select(x, 1, input.sorted_indices) for x in states]
        output, last = self._layers(data, states, sizes)
        if input.unsorted_indices is not None:
            last = [ops.index_select(x, 1, input.unsorted_indices) for x in last]
        return input.with_data(output), tuple(last)

    def _check_type(self, input: Tensor) -> None:
        dtype = self.all_weights[0][0].dtype
        if input.dtype is not dtype and thread_mode.autocast is None:
            raise DTypeError(type(self).__name__, "the input has another type than the weights",
                             expected=str(dtype), got=str(input.dtype),
                             fix="convert it: x.to(...)")  # fmt: skip

    def _states(self, input: Tensor, batch: int, given: State | None, batched: bool) -> list[Tensor]:
        """The first states of all layers: zeros, or those that were given."""
        sizes = [self.out_size, self.hidden_size] if self.mode == "LSTM" else [self.out_size]
        layers = self.num_layers * self.directions
        if given is None:
            return [ops.zeros(layers, batch, n, dtype=input.dtype) for n in sizes]
        return [self._state(x, (layers, batch, n), batched) for x, n in zip(given, sizes, strict=True)]

    def _state(self, x: Tensor, shape: tuple[int, ...], batched: bool) -> Tensor:
        wanted = shape if batched else (shape[0], shape[2])
        if not isinstance(x, Tensor) or tuple(x.shape) != wanted:
            raise ShapeError(type(self).__name__, "a state does not fit the input", got=_form(x),
                             expected=f"{wanted}: layers times directions, batch, features" if batched else
                             f"{wanted}: layers times directions, features (the input has no batch)",
                             fix="hand on a state only between batches of one size")  # fmt: skip
        return x if batched else ops.unsqueeze(x, 1)

    def _layers(self, x: Tensor, states: list[Tensor], sizes: Any = None) -> tuple[Tensor, list[Tensor]]:
        """All layers; where the input is packed, `sizes` says how many sequences there are at each step."""
        last: list[State] = []
        weights = self.all_weights
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(self.directions):
                number = layer * self.directions + direction
                state = tuple(ops.select(s, 0, number) for s in states)
                output, end = self._loop(x, state, weights[number], direction == 1, sizes)
                outputs.append(output)
                last.append(end)
            x = outputs[0] if len(outputs) == 1 else ops.cat(outputs, -1)
            if self.dropout and layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        return x, [ops.stack(list(parts)) for parts in zip(*last, strict=True)]

    def _loop(
        self, x: Tensor, state: State, parameters: list[Tensor], reverse: bool, sizes: Any
    ) -> tuple[Tensor, State]:
        """One layer in one direction."""
        if sizes is None and is_large(x, parameters) and open_to_plans():
            outputs, end = _planned_layer(self.mode, self.bias, x, state, tuple(parameters), reverse)
            return outputs, end
        return _layer(self.mode, self.bias, x, state, parameters, reverse, sizes)


def _layer(
    mode: str, bias: bool, x: Tensor, state: State, parameters: Any, reverse: bool, sizes: Any = None
) -> tuple[Tensor, State]:
    w_ih, w_hh, *more = parameters
    b_ih, b_hh = more[:2] if bias else (None, None)
    weights = Weights(w_ih, w_hh, b_ih, b_hh, more[-1] if len(more) % 2 else None)
    mode_step = MODES[mode][1]

    def step(gates: Tensor, state: Any) -> Any:
        return mode_step(gates, state, weights)

    gates = F.linear(x, w_ih, b_ih)  # (L, N, gates * hidden): all steps at once
    if sizes is not None:
        return over_packed(step, gates, sizes, state, reverse)
    return over_steps(step, gates, state, reverse)


_planned_layer = planned(_layer)


def _form(x: Any) -> str:
    """What was handed over, in a message."""
    return str(tuple(x.shape)) if isinstance(x, Tensor) else type(x).__name__


class RNN(RNNBase):
    r"""A recurrent layer with one gate (Elman).

    .. math:: h_t = \tanh(x_t W_{ih}^T + b_{ih} + h_{t-1} W_{hh}^T + b_{hh})

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional: see `RNNBase`.
        nonlinearity: "tanh" or "relu".

    Shape:
        input (L, N, input_size), (N, L, input_size) if `batch_first`, or (L, input_size); state
        (num_layers * directions, N, hidden_size). The result is the output at each step,
        (L, N, directions * hidden_size), and the last state. Of a `PackedSequence` with data
        (steps, input_size) the outputs are one too, and the state is that at the end of each sequence.

    >>> import lampion
    >>> layer = lampion.nn.RNN(3, 4)
    >>> output, state = layer(lampion.ones(5, 2, 3))
    >>> output.shape, state.shape
    ((5, 2, 4), (1, 2, 4))
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh",
        bias: bool = True, batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        mode = _nonlinearity("RNN", nonlinearity)
        super().__init__(mode, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
                         0, device, dtype)  # fmt: skip
        self.nonlinearity = nonlinearity

    def forward(self, input: Input, hx: Tensor | None = None) -> tuple[Input, Tensor]:
        output, last = self._run(input, None if hx is None else (hx,))
        return output, last[0]


class GRU(RNNBase):
    r"""A gated recurrent unit.

    .. math::
        r, z &= \sigma(x_t W_{ir,iz}^T + b_{ir,iz} + h_{t-1} W_{hr,hz}^T + b_{hr,hz}) \\
        n &= \tanh(x_t W_{in}^T + b_{in} + r \odot (h_{t-1} W_{hn}^T + b_{hn})) \\
        h_t &= (1 - z) \odot n + z \odot h_{t-1}

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional: see `RNNBase`.

    Shape: as for `RNN`.

    Source: K. Cho et al.: "Learning phrase representations using RNN encoder-decoder" (2014).

    >>> import lampion
    >>> layer = lampion.nn.GRU(3, 4, bidirectional=True)
    >>> output, state = layer(lampion.ones(5, 2, 3))
    >>> output.shape, state.shape
    ((5, 2, 8), (2, 2, 4))
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, device: Any = None,
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__("GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout,
                         bidirectional, 0, device, dtype)  # fmt: skip

    def forward(self, input: Input, hx: Tensor | None = None) -> tuple[Input, Tensor]:
        output, last = self._run(input, None if hx is None else (hx,))
        return output, last[0]


class LSTM(RNNBase):
    r"""Long short-term memory.

    .. math::
        i, f, g, o &= \sigma, \sigma, \tanh, \sigma\,(x_t W_{ih}^T + b_{ih} + h_{t-1} W_{hh}^T + b_{hh}) \\
        c_t &= f \odot c_{t-1} + i \odot g \\
        h_t &= o \odot \tanh(c_t)

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size: see
            `RNNBase`.

    Shape: as for `RNN`; the state is a pair (h, c), and h has `proj_size` features if that is not 0.

    Source: S. Hochreiter, J. Schmidhuber: "Long short-term memory" (1997); H. Sak et al. (2014) for the
    projection.

    >>> import lampion
    >>> layer = lampion.nn.LSTM(3, 4, num_layers=2)
    >>> output, (h, c) = layer(lampion.ones(5, 2, 3))
    >>> output.shape, h.shape, c.shape
    ((5, 2, 4), (2, 2, 4), (2, 2, 4))
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__("LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout,
                         bidirectional, proj_size, device, dtype)  # fmt: skip

    def forward(
        self, input: Input, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Input, tuple[Tensor, ...]]:
        if hx is not None and (isinstance(hx, Tensor) or len(hx) != 2):
            got = f"a tensor of shape {tuple(hx.shape)}" if isinstance(hx, Tensor) else f"{len(hx)} tensors"
            raise LampionError("LSTM", "the state is a pair: (h, c)", got=got, fix="lstm(x, (h, c))")
        return self._run(input, None if hx is None else tuple(hx))
