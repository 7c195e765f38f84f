"""`lampion.debug`: anomaly mode, origins, shape errors with their layer; and that nothing stays behind."""

import pickle
import sys
import threading

import numpy as np
import pytest

import lampion as lp
from lampion import debug, nn, primitive
from lampion.compiler import eager
from lampion.errors import AnomalyError, ShapeError
from lampion.ops import composite
from lampion.primitive import PRIMITIVES


def line():
    """The caller's line."""
    return sys._getframe(1).f_lineno


class Net(nn.Module):
    def __init__(self, sizes=(4, 6, 6, 2)):
        super().__init__()
        a, b, c, d = sizes
        self.body = nn.Sequential(nn.Linear(a, b), nn.ReLU())
        self.head = nn.Linear(c, d)

    def forward(self, x):
        return self.head(self.body(x))


class Logarithm(nn.Module):
    def forward(self, x):
        self.line = line() + 1
        return x.log()


# -- anomaly mode ----------------------------------------------------------------------------------------


def test_the_first_operation_forward():
    model = nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.ReLU(), Logarithm()), nn.Linear(3, 1))
    model[0].weight.data.fill_(-1.0)
    with pytest.raises(AnomalyError, match="first with 6 inf") as caught, debug.anomaly():
        model(lp.ones(2, 3) * 5)
    error = caught.value
    assert (error.operation, error.module) == ("log", "1.1 (Logarithm)")
    assert error.where == f"{__file__}:{model[1][1].line}"
    assert "input 0: shape (2, 3), float32, min 0, max 0, 0 NaN, 0 inf" in str(error)


def test_the_first_operation_backward_and_the_line_of_its_forward():
    class Root(nn.Module):
        def forward(self, x):
            self.line = line() + 1
            return x.sqrt()

    model = nn.Sequential(nn.Identity(), Root())
    x = lp.tensor([0.0, 4.0], requires_grad=True)
    place = r"in the gradient of sqrt \(run at .*, in 1 \(Root\)\)"
    with pytest.raises(AnomalyError, match=place) as caught, debug.anomaly():
        model(x).sum().backward()
    error = caught.value
    assert (error.operation, error.forward_operation, error.module) == ("div", "sqrt", "1 (Root)")
    assert error.forward_where == f"{__file__}:{model[1].line}"
    assert "input 1: shape (2,), float32, min 0, max 4" in str(error)


def test_which_passes_and_which_numbers():
    x = lp.tensor([0.0, 1.0], requires_grad=True)
    with debug.anomaly(inf=False):
        x.log()
    with debug.anomaly(forward=False):
        y = x.log() * 2 + x.sqrt()
    loss = y[1:].sum()
    with debug.anomaly(backward=False):
        loss.backward()  # 1/0 * 0
    with pytest.raises(AnomalyError, match="in the gradient of sqrt"), debug.anomaly(forward=False):
        x.sqrt().sum().backward()
    with pytest.raises(AnomalyError, match="1 NaN"), debug.anomaly(inf=False):
        x.log() * 0


def test_written_infinities_are_no_anomaly():
    mask = lp.tensor([[False, True], [False, False]])
    scores = lp.ones(2, 2, requires_grad=True)
    with debug.anomaly():
        out = scores.masked_fill(mask, float("-inf")).softmax(1)
        out.square().sum().backward()
    assert out.tolist() == [[1.0, 0.0], [0.5, 0.5]]


def test_nan_that_was_there_before_is_told_apart():
    data = lp.tensor([1.0, float("nan")])
    with pytest.raises(AnomalyError, match="handed NaN that no operation"), debug.anomaly():
        data + 1
    with debug.anomaly():  # looking for it, and repairing it, is no anomaly
        assert lp.tensor([1.0, float("nan")]).nan_to_num().isnan().any().item() is False


def test_operations_that_run_as_plans_are_seen(monkeypatch):
    pytest.importorskip("llvmlite")
    monkeypatch.setattr(primitive, "HEAVY", 1)
    x = lp.ones(1, 2, 5, 5)
    x[0, 0, 0, 0] = float("inf")
    weight = lp.ones(3, 2, 3, 3)
    weight[0, 0, 0, 0] = 0.0
    with pytest.raises(AnomalyError, match="its output is the first with 1 NaN") as caught, debug.anomaly():
        nn.functional.conv2d(x, weight)
    assert caught.value.operation == "convolution"
    weight[0, 0, 0, 0] = 1e38
    with pytest.raises(AnomalyError, match="with 9 inf, in the gradient of convolution") as caught:
        y = nn.functional.conv2d(lp.full((1, 2, 5, 5), 1e-9, requires_grad=True), weight)
        with debug.anomaly():
            y.backward(lp.full(y.shape, 100.0))
    assert caught.value.operation == "convolution_input"


def test_a_bias_that_is_added_in_place_is_seen():
    x, weight, bias = lp.full((2, 3), float("inf")), lp.ones(4, 3), lp.full((4,), float("-inf"))
    with pytest.raises(AnomalyError, match="add: its output is the first with 8 NaN"), debug.anomaly():
        nn.functional.linear(x, weight, bias)
    with pytest.raises(AnomalyError, match="add: it was handed NaN"), debug.anomaly():
        nn.functional.linear(lp.ones(2, 3), weight, lp.full((4,), float("nan")))
    layer = nn.Linear(3, 4)
    wanted = layer(lp.ones(2, 3))
    with debug.profile() as p:
        found = layer(lp.ones(2, 3))
    assert [row.count for row in p.by_operation() if row.name == "add"] == [1]
    assert lp.equal(found, wanted)


def test_what_is_new_beside_what_was_handed():
    x = lp.tensor([0.0, float("nan")])
    with pytest.raises(AnomalyError, match="log: its output is the first with 1 inf, at"):
        _anomaly(x, nan=False)
    with pytest.raises(AnomalyError, match="log: its output is the first with 1 inf, at"):
        _anomaly(x)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "complex64"])
def test_every_type_that_has_nan(dtype):
    with (
        pytest.raises(AnomalyError, match=f"{dtype}|float32"),
        debug.anomaly(),
    ):  # half is computed as float32
        lp.zeros(2, dtype=getattr(lp, dtype)) / lp.zeros(2, dtype=getattr(lp, dtype))


def test_integers_and_empty_tensors_pass():
    with debug.anomaly():
        assert (lp.arange(3) // 2).tolist() == [0, 0, 1]
        assert lp.zeros(0).log().shape == (0,)


def test_compiled_functions_run_eagerly_and_are_compiled_again_afterwards():
    f = lp.compile(lambda x: x.log() * 2)
    assert f(lp.ones(2)).tolist() == [0.0, 0.0]
    with pytest.raises(AnomalyError, match="log:"), debug.anomaly():
        f(lp.zeros(2))
    assert f(lp.zeros(2)).tolist() == [-np.inf, -np.inf]
    assert (f.traces, f.explain().eager) == (1, None)


def test_a_block_inside_of_a_compiled_function_makes_it_run_eagerly():
    @lp.compile
    def f(x):
        with debug.anomaly():
            return x.log()

    with pytest.warns(RuntimeWarning, match=r"enters debug\.anomaly"):
        assert f(lp.ones(1)).item() == 0.0
    with pytest.raises(AnomalyError):
        f(lp.zeros(1))


def test_results_are_those_without_it():
    def step(model):
        lp.manual_seed(3)
        optimizer = lp.optim.Adam(model.parameters())
        for _ in range(2):
            optimizer.zero_grad()
            model(lp.randn(5, 4)).square().mean().backward()
            optimizer.step()
        return [p.detach() for p in model.parameters()]

    lp.manual_seed(1)
    plain, watched = Net(), Net()
    watched.load_state_dict(plain.state_dict())
    expected = step(plain)
    with debug.anomaly(), debug.profile(), debug.lint(), debug.origins():
        found = step(watched)
    assert all(lp.equal(a, b) for a, b in zip(expected, found, strict=True))


def test_pytorchs_names():
    x = lp.zeros(1, requires_grad=True)
    assert not lp.autograd.is_anomaly_enabled()
    with pytest.raises(AnomalyError), lp.autograd.detect_anomaly():
        x.log()
    with lp.autograd.set_detect_anomaly(True):
        assert lp.autograd.is_anomaly_enabled() and lp.autograd.is_anomaly_check_nan_enabled()
        with lp.autograd.set_detect_anomaly(False):
            x.log()
        with pytest.raises(AnomalyError):
            x.log()
    x.log()
    lp.autograd.set_detect_anomaly(True)
    with pytest.raises(AnomalyError):
        x.log()
    lp.autograd.set_detect_anomaly(False)
    with lp.autograd.detect_anomaly(check_nan=False):
        assert lp.autograd.is_anomaly_enabled() and not lp.autograd.is_anomaly_check_nan_enabled()
        x.log()
    x.log()


def test_nothing_stays_behind_and_other_threads_see_nothing():
    def places():
        return [(p.forward, p.direct) for p in PRIMITIVES.values()] + [
            nn.Module.__call__, lp.CompiledFunction.__call__, eager.run, lp.autograd.walk._walk,
            composite.add_to_own, lp.autograd.walk._accumulate, lp.optim.Optimizer.step, lp.optim.LBFGS.step,
        ]  # fmt: skip

    before = places()
    codes = [f.__code__ for p in PRIMITIVES.values() for f in (p.forward, p.direct) if hasattr(f, "__code__")]
    assert all("watch" not in code.co_filename for code in codes)  # none left by the tests before
    results = []
    with pytest.raises(AnomalyError), debug.anomaly(), debug.profile():
        assert places() != before
        thread = threading.Thread(target=lambda: results.append(lp.zeros(1).log().item()))
        thread.start()
        thread.join()
        lp.zeros(1).log()
    assert results == [-np.inf]
    assert places() == before


# -- origins ---------------------------------------------------------------------------------------------


def test_origin_of_what_is_on_the_tape():
    x = lp.ones(2, requires_grad=True)
    at = line() + 1
    y = (x * 2).exp()
    origin = y.origin()
    assert (origin.operation, str(origin.where)) == ("exp", f"{__file__}:{at}")
    assert str(origin) == f"exp at {__file__}:{at}"
    assert x.origin() is None
    at = line() + 1
    y[0] = 3.0  # a write is an operation too
    assert str(y.origin().where) == f"{__file__}:{at}"


def test_origin_of_what_is_not_on_the_tape():
    model = Net()
    assert model(lp.ones(1, 4)).detach().origin() is None
    with debug.origins(), lp.no_grad():
        hidden, y = model.body(lp.ones(1, 4)), model(lp.ones(1, 4))
    assert str(hidden.origin()).startswith("relu at") and hidden.origin().module == "1 (ReLU)"
    assert y.origin().module == "head (Linear)"
    assert (y + 0).origin() is None


def test_origins_do_not_keep_tensors_alive():
    from lampion.debug.origins import _known

    with debug.origins():
        y = lp.ones(2) * 2
        key = id(y._array)
        assert key in _known
        del y
    assert key not in _known


# -- shape errors ------------------------------------------------------------------------------------------


def message(function, *args):
    with pytest.raises(ShapeError) as caught:
        function(*args)
    return str(caught.value)


def test_a_shape_error_names_the_layer_the_trail_and_the_fix():
    text = message(Net((4, 6, 5, 2)), lp.ones(3, 4))
    assert text.splitlines() == [
        "matmul: the inner sizes differ",
        "  expected: the last size of the first to equal the second-to-last of the second",
        "  got: (3, 6) @ (5, 2): 6 and 5",
        "  layer: head: Linear(in_features=5, out_features=2, bias=True)",
        "  its input: (3, 6)",
        "  trail:",
        "    input of Net                (3, 4)",
        "    body.0 (Linear)             (3, 6)",
        "    relu                        (3, 6)",
        "    head (Linear), which fails",
        "  try: Linear(in_features=6, out_features=2), or give it an input whose last size is 5",
    ]


def test_several_operations_of_a_layer_are_one_step_and_its_parameters_are_not_the_way():
    class Mixing(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.bias = nn.Parameter(lp.ones(3, 3)), nn.Parameter(lp.ones(4))

        def forward(self, x):
            return self.weight.T @ x + self.bias  # the parameter comes first

    text = message(nn.Sequential(nn.Linear(4, 4), Mixing(), nn.ReLU(), nn.Linear(5, 2)), lp.ones(3, 4))
    rows = [row.split()[0] for row in text.split("trail:\n")[1].splitlines()]
    assert rows == ["input", "0", "1", "relu", "3", "try:"]


def test_a_trail_without_a_tape():
    with lp.no_grad():
        text = message(nn.Sequential(Net((4, 6, 5, 2))), lp.ones(3, 4))
    assert "layer: 0.head: Linear(in_features=5" in text
    assert text.index("input of Sequential") < text.index("input of 0 (Net)") < text.index("input of 0.head")


def test_long_trails_show_their_end():
    layers = [nn.Sequential(nn.Linear(3, 3), nn.Tanh()) for _ in range(20)]
    text = message(nn.Sequential(*layers, nn.Linear(4, 1)), lp.ones(2, 3))
    assert "...\n" in text and "19.0 (Linear)" in text and " 2.0 (Linear)" not in text


@pytest.mark.parametrize(
    ("layer", "shape", "fix"),
    [
        (nn.Linear(12, 2), (5, 3, 4), "nn.Flatten() before this layer, or x.flatten(1): (5, 12)"),
        (nn.Linear(3, 2), (3, 5), "transpose the input (x.T), or Linear(in_features=5, out_features=2)"),
        (nn.BatchNorm1d(3), (5, 4), "BatchNorm1d(num_features=4, ...)"),
        (nn.LayerNorm(3), (5, 4), "LayerNorm(normalized_shape=(4,))"),
    ],
)
def test_the_fix_is_one_of_the_layer(layer, shape, fix):
    assert f"try: {fix}" in message(nn.Sequential(layer), lp.ones(*shape)).replace("flatten the input: ", "")


def test_an_error_of_no_layer_keeps_its_own_fix():
    class Sum(nn.Module):
        def forward(self, x):
            return x @ lp.ones(7, 7)

    text = message(Sum(), lp.ones(2, 3))
    assert "layer: Sum" in text and "try: transpose one of them (x.T)" in text


def test_a_shape_error_outside_of_modules_and_one_within_a_compiled_step():
    assert "layer:" not in message(lambda: lp.ones(2, 3) @ lp.ones(2, 3))
    model = Net((4, 6, 5, 2))
    step = lp.compile(lambda x: model(x).detach())
    text = message(step, lp.ones(3, 4))
    assert "layer: head: Linear" in text and "    body.0 (Linear)             (3, 6)" in text
    model.head = nn.Linear(6, 2)
    assert step(lp.ones(3, 4)).shape == (3, 2)
    assert step.explain().eager is None  # the error was the user's; the function is compiled nevertheless


def test_errors_travel_between_processes():
    for function in (lambda: Net((4, 6, 5, 2))(lp.ones(3, 4)), lambda: _anomaly(lp.zeros(1))):
        with pytest.raises(lp.errors.LampionError) as caught:
            function()
        copied = pickle.loads(pickle.dumps(caught.value))
        assert type(copied) is type(caught.value) and str(copied) == str(caught.value)


def _anomaly(x, **options):
    with debug.anomaly(**options):
        x.log()
