"""Recurrent layers: compiled they are loops, and agree with what they are in eager."""

import numpy as np
import pytest

import lampion as lp
from lampion import nn
from lampion.compiler.function import run_as
from lampion.errors import LampionError

KINDS = {
    "RNN": {"nonlinearity": "relu", "bias": False},
    "GRU": {"num_layers": 2, "batch_first": True},
    "LSTM": {"num_layers": 2, "bidirectional": True, "proj_size": 2},
}


def numbers(*shape):
    values = np.random.default_rng([*shape]).standard_normal(shape)
    return lp.tensor(values.astype(np.float32))


def arrays(results):
    if isinstance(results, tuple):
        return [array for part in results for array in arrays(part)]
    return [results.detach().numpy()]


@pytest.mark.parametrize("kind", KINDS)
def test_all_readings_agree(kind):
    lp.manual_seed(0)
    layer, x = getattr(nn, kind)(3, 4, **KINDS[kind]), numbers(5, 2, 3)

    def run(x):
        output, _ = layer(x)
        gradients = lp.autograd.grad((output * output).sum(), list(layer.parameters()))
        return output.detach(), tuple(gradients)

    eager = arrays(run_as("eager", run, x))
    for reading in ("interpreted", "compiled"):
        for got, want in zip(arrays(run_as(reading, run, x)), eager, strict=True):
            np.testing.assert_allclose(got, want, rtol=3e-5, atol=3e-5)  # sums in another order


def test_a_cell_step_by_step_is_the_layer():
    lp.manual_seed(0)
    layer, cell, x = nn.LSTM(3, 4), nn.LSTMCell(3, 4), numbers(5, 2, 3)
    cell.load_state_dict({name.removesuffix("_l0"): p for name, p in layer.state_dict().items()})
    state, outputs = None, []
    for now in x:
        state = cell(now, state)
        outputs.append(state[0])
    output, (h, c) = layer(x)
    np.testing.assert_allclose(lp.stack(outputs).detach().numpy(), output.detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(state[1].detach().numpy(), c[0].detach().numpy(), rtol=1e-6)
    np.testing.assert_array_equal(h[0].detach().numpy(), output[-1].detach().numpy())


def test_a_training_step_is_two_loops_a_layer():
    lp.manual_seed(0)
    model = nn.LSTM(3, 4, num_layers=2, dropout=0.5)
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1)

    @lp.compile
    def step(x):
        output, _ = model(x)
        loss = ((output - 1) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    losses = [step(numbers(5, 2, 3)).item() for _ in range(8)]
    assert not step.refused and losses[-1] < losses[0]
    kinds = [type(call.kernel).__name__ for call in step.explain().plans[0].kernels]
    assert kinds.count("Repeat") == 4 and "CallOut" not in kinds


def test_both_biases_of_a_layer_get_one_sum():
    layer = nn.LSTM(3, 4)

    def step(x):
        (layer(x)[0] ** 2).sum().backward()

    step = lp.compile(step)
    step(numbers(5, 2, 3))
    graph = step.explain().plans[0].optimized
    assert [e.output.shape for e in graph if e.primitive.name == "sum"] == [
        (16,)
    ]  # the loss is not asked for
    np.testing.assert_array_equal(layer.bias_ih_l0.grad.numpy(), layer.bias_hh_l0.grad.numpy())


def test_dropout_of_one_layer_is_warned_of():
    with pytest.warns(UserWarning, match="there is one"):
        nn.GRU(3, 4, dropout=0.5)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: nn.RNN(3, 4, nonlinearity="sin"), "'tanh' or 'relu'"),
        (lambda: nn.LSTM(3, 4, proj_size=4), "proj_size"),
        (lambda: nn.GRU(3, 4)(numbers(5, 2, 7)), "the last one 3"),
        (lambda: nn.GRU(3, 4)(numbers(0, 2, 3)), "no time step"),
        (lambda: nn.GRU(3, 4)(numbers(5, 2, 3), numbers(1, 3, 4)), "(1, 2, 4)"),
        (lambda: nn.LSTM(3, 4)(numbers(5, 2, 3), (numbers(1, 2, 4),)), "a pair"),
        (lambda: nn.GRUCell(3, 4)(numbers(2, 3), numbers(3, 4)), "(2, 4)"),
        (lambda: nn.LSTM(3, 4)(numbers(5, 2, 3).double()), "another type"),
    ],
)
def test_errors(act, words):
    with pytest.raises(LampionError) as caught:
        act()
    assert words in str(caught.value)
