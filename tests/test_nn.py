"""Layers, losses and initialisers. Values against NumPy are the op table's; here is what layers add."""

import math

import numpy as np
import pytest

import lampion
import lampion.nn.functional as F
from lampion import nn
from lampion.errors import DTypeError, IndexRangeError, LampionError, ShapeError


@pytest.fixture(autouse=True)
def seeded():
    lampion.manual_seed(0)


def numeric_gradient(function, x, eps=1e-6):
    """The slopes of a scalar function by central differences, in float64."""
    x = x.astype(np.float64)
    slopes = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        shift = np.zeros_like(x)
        shift[place] = eps
        up, down = (function(lampion.from_numpy(x + s)).item() for s in (shift, -shift))
        slopes[place] = (up - down) / (2 * eps)
    return slopes


# -- linear ----------------------------------------------------------------------------------------------


def test_linear():
    layer = nn.Linear(3, 2)
    x = lampion.randn(4, 5, 3)
    expected = x.numpy() @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    assert layer(x[0, 0]).shape == (2,) and layer(lampion.zeros(0, 3)).shape == (0, 2)
    assert nn.Linear(3, 2, bias=False).bias is None
    assert nn.Linear(2, 2, dtype=lampion.float64).weight.dtype is lampion.float64


def test_linear_gradients_of_a_stack_of_matrices():
    layer = nn.Linear(3, 2, dtype=lampion.float64)
    x = lampion.randn(2, 4, 3, dtype=lampion.float64, requires_grad=True)
    (layer(x) ** 2).sum().backward()
    slopes = numeric_gradient(lambda x: (layer(x) ** 2).sum().detach(), x.detach().numpy())
    np.testing.assert_allclose(x.grad.numpy(), slopes, rtol=1e-6, atol=1e-8)


def test_linear_starts_as_pytorchs_does():
    layer = nn.Linear(100, 2000)
    for values in (layer.weight, layer.bias):
        values = values.detach().numpy()
        assert np.abs(values).max() <= 0.1 and np.abs(values).max() > 0.0999
        assert abs(values.std() - 0.1 / math.sqrt(3)) < 0.002


def test_linear_errors():
    with pytest.raises(ShapeError, match=r"(?s)the inner sizes differ.*\(5, 4\) @ \(3, 2\).*in_features"):
        nn.Linear(3, 2)(lampion.ones(5, 4))
    with pytest.raises(LampionError, match="out_features is not a size"):
        nn.Linear(3, -1)
    with pytest.raises(LampionError, match="no device"):
        nn.Linear(3, 1, device="cuda")


def test_flatten_and_identity():
    x = lampion.ones(2, 3, 4)
    assert nn.Flatten()(x).shape == (2, 12) and nn.Flatten(0, 1)(x).shape == (6, 4)
    assert nn.Identity(54, unused=0.1)(x) is x


# -- activations -----------------------------------------------------------------------------------------

X = np.array([-3.0, -0.5, 0.0, 0.25, 2.0], np.float32)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.ReLU(), np.maximum(X, 0)),
        (nn.LeakyReLU(0.2), np.where(X > 0, X, 0.2 * X)),
        (nn.Tanh(), np.tanh(X)),
        (nn.Sigmoid(), 1 / (1 + np.exp(-X))),
        (nn.SiLU(), X / (1 + np.exp(-X))),
        (nn.GELU("tanh"), X * np.array([math.erfc(-v / math.sqrt(2)) / 2 for v in X])),
        (nn.Softmax(dim=0), np.exp(X) / np.exp(X).sum()),
        (nn.LogSoftmax(dim=-1), X - np.log(np.exp(X).sum())),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_activations(layer, expected):
    # The tanh form of GELU is an approximation: it differs from the normal distribution by up to 5e-4.
    atol = 5e-4 if isinstance(layer, nn.GELU) else 1e-6
    np.testing.assert_allclose(layer(lampion.from_numpy(X)).numpy(), expected, rtol=1e-6, atol=atol)


def test_relu_in_place():
    x = lampion.tensor([-1.0, 2.0])
    assert nn.ReLU(inplace=True)(x) is x and x.tolist() == [0.0, 2.0]
    assert repr(nn.ReLU(inplace=True)) == "ReLU(inplace=True)"


def test_unknown_gelu_is_refused():
    with pytest.raises(LampionError, match=r"(?s)the approximation is not known.*approximate='sigmoid'"):
        nn.GELU("sigmoid")


def test_softmax_of_large_scores():
    x = lampion.tensor([[1000.0, 0.0], [-1000.0, -1000.0]])
    assert F.softmax(x, dim=1).tolist() == [[1.0, 0.0], [0.5, 0.5]]
    np.testing.assert_allclose(F.log_softmax(x, dim=1).numpy(), [[0, -1000], [-math.log(2)] * 2], rtol=1e-6)


# -- dropout ---------------------------------------------------------------------------------------------


def test_dropout_drops_and_scales_in_training_only():
    layer = nn.Dropout(0.25)
    x = lampion.ones(20_000)
    y = layer(x).numpy()
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.015
    assert layer.eval()(x) is x
    assert not (layer.train()(x).numpy() == y).all()  # a new mask each time
    assert F.dropout(x, 0.5, training=False) is x and (F.dropout(x, 1.0) == 0).all()


def test_dropout_gradient_is_its_mask():
    x = lampion.ones(100, requires_grad=True)
    y = nn.Dropout(0.5)(x)
    y.sum().backward()
    assert (x.grad == y).all()


def test_dropout_errors():
    with pytest.raises(LampionError, match=r"(?s)Dropout: p is a probability.*got: 1.5"):
        nn.Dropout(1.5)


# -- losses ----------------------------------------------------------------------------------------------

SCORES = np.random.default_rng(1).standard_normal((4, 3)).astype(np.float32)
LABELS = np.array([0, 2, 1, 2])


def log_p(scores):
    shifted = scores - scores.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def test_cross_entropy_of_labels():
    each = -log_p(SCORES)[np.arange(4), LABELS]
    x, y = lampion.from_numpy(SCORES), lampion.from_numpy(LABELS)
    for reduction, expected in (("mean", each.mean()), ("sum", each.sum()), ("none", each)):
        np.testing.assert_allclose(F.cross_entropy(x, y, reduction=reduction).numpy(), expected, rtol=1e-6)
        np.testing.assert_allclose(
            nn.CrossEntropyLoss(reduction=reduction)(x, y).numpy(), expected, rtol=1e-6
        )
        np.testing.assert_allclose(nn.NLLLoss(reduction=reduction)(F.log_softmax(x, 1), y).numpy(), expected,
                                   rtol=1e-6)  # fmt: skip
    np.testing.assert_allclose(F.cross_entropy(x[0], lampion.tensor(0)).item(), each[0], rtol=1e-6)
    for dtype in (lampion.int32, lampion.uint8):
        np.testing.assert_allclose(F.cross_entropy(x, y.to(dtype)).item(), each.mean(), rtol=1e-6)


def test_cross_entropy_of_images():
    x = lampion.randn(2, 3, 4, 5)
    y = lampion.randint(0, 3, (2, 4, 5))
    flat = F.cross_entropy(x.permute(0, 2, 3, 1).reshape(-1, 3), y.reshape(-1), reduction="none")
    out = F.cross_entropy(x, y, reduction="none")
    assert out.shape == (2, 4, 5)
    np.testing.assert_allclose(out.numpy().reshape(-1), flat.numpy(), rtol=1e-6)


def test_cross_entropy_weights_smoothing_and_probabilities():
    logs, factors, eps = log_p(SCORES), np.array([1.0, 2.0, 0.5], np.float32), 0.1
    x, y, weight = lampion.from_numpy(SCORES), lampion.from_numpy(LABELS), lampion.from_numpy(factors)
    onehot = np.eye(3, dtype=np.float32)[LABELS]
    smooth = onehot * (1 - eps) + eps / 3
    weighted = -(logs * smooth * factors).sum(1)
    got = F.cross_entropy(x, y, weight, label_smoothing=eps)
    np.testing.assert_allclose(got.item(), weighted.sum() / factors[LABELS].sum(), rtol=1e-5)
    got = F.cross_entropy(x, y, label_smoothing=eps, reduction="none")
    np.testing.assert_allclose(got.numpy(), -(logs * smooth).sum(1), rtol=1e-5)
    # Probabilities as targets: the same numbers, but the mean is over the batch.
    p = lampion.from_numpy(onehot)
    np.testing.assert_allclose(
        F.cross_entropy(x, p, weight, label_smoothing=eps).item(), weighted.mean(), rtol=1e-5
    )
    np.testing.assert_allclose(
        F.cross_entropy(x, p, reduction="sum").item(), -(logs * onehot).sum(), rtol=1e-5
    )
    np.testing.assert_allclose(
        F.cross_entropy(x, p, reduction="none").numpy(), -(logs * onehot).sum(1), rtol=1e-5
    )


def test_ignored_labels_count_for_nothing():
    y = lampion.tensor([0, -100, 1, -100])
    x = lampion.from_numpy(SCORES.copy())
    x[1] = float("inf")  # whatever stands there
    x.requires_grad_()
    loss = F.cross_entropy(x, y)
    np.testing.assert_allclose(loss.item(), -log_p(SCORES)[[0, 2], [0, 1]].mean(), rtol=1e-6)
    each = F.cross_entropy(x, y, reduction="none")
    assert each[1].item() == 0.0 and each[3].item() == 0.0
    kept = lampion.from_numpy(SCORES).requires_grad_()
    F.cross_entropy(kept, y).backward()
    assert (kept.grad[3] == 0).all() and (kept.grad[1] == 0).all() and (kept.grad[0] != 0).all()
    assert math.isnan(
        F.cross_entropy(kept, lampion.tensor([7] * 4), ignore_index=7).item()
    )  # 0 / 0, as PyTorch
    assert F.cross_entropy(kept, lampion.tensor([7] * 4), ignore_index=7, reduction="sum").item() == 0.0
    weight = lampion.tensor([1.0, 3.0, 5.0])
    expected = -(log_p(SCORES)[[0, 2], [0, 1]] * [1, 3]).sum() / 4
    np.testing.assert_allclose(F.cross_entropy(kept, y, weight).item(), expected, rtol=1e-6)


def test_cross_entropy_of_extreme_scores_is_exact():
    x = lampion.tensor([[1e4, 0.0, 0.0], [-1e30, 0.0, 1e30]], requires_grad=True)
    loss = F.cross_entropy(x, lampion.tensor([1, 2]), reduction="none")
    assert loss.tolist() == [1e4, 0.0]
    loss.sum().backward()
    assert x.grad.tolist() == [[1.0, -1.0, 0.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    "options", [{}, {"weight": [1.0, 2.0, 0.5]}, {"label_smoothing": 0.2}, {"reduction": "sum"}]
)
def test_cross_entropy_gradients(options):
    if "weight" in options:
        options = {"weight": lampion.tensor(options["weight"], dtype=lampion.float64)}
    x = lampion.from_numpy(SCORES.astype(np.float64)).requires_grad_()
    y = lampion.from_numpy(LABELS)
    F.cross_entropy(x, y, **options).backward()
    slopes = numeric_gradient(lambda x: F.cross_entropy(x, y, **options), SCORES)
    np.testing.assert_allclose(x.grad.numpy(), slopes, rtol=1e-6, atol=1e-8)
    with pytest.raises(AssertionError):  # the check itself: a gradient that is 1% off does not pass
        np.testing.assert_allclose(x.grad.numpy() * 1.01, slopes, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("label", [3, 10, -1])
@pytest.mark.parametrize("options", [{}, {"reduction": "none"}, {"label_smoothing": 0.1}])
def test_a_label_out_of_range_is_named(label, options):
    with pytest.raises(IndexRangeError, match=rf"(?s){label} is out of range.*0 to 2"):
        F.cross_entropy(lampion.zeros(2, 3), lampion.tensor([0, label]), **options)


def test_cross_entropy_errors_name_it():
    x = lampion.zeros(4, 3)
    with pytest.raises(ShapeError, match=r"(?s)^cross_entropy: input and target do not belong together.*"
                       r"labels of shape \(4,\) for an input of shape \(4, 3\).*\(4, 1\)"):  # fmt: skip
        F.cross_entropy(x, lampion.zeros(4, 1, dtype=lampion.int64))
    with pytest.raises(ShapeError, match="argmax"):
        F.cross_entropy(x, lampion.zeros(4, 3, dtype=lampion.int64))  # one-hot, but not probabilities
    with pytest.raises(DTypeError, match=r"(?s)^cross_entropy: labels are integers.*target.long\(\)"):
        F.cross_entropy(x, lampion.zeros(4))
    with pytest.raises(DTypeError, match=r"(?s)^cross_entropy: the input is a floating tensor.*exchanged"):
        F.cross_entropy(lampion.zeros(4, dtype=lampion.int64), x)
    with pytest.raises(ShapeError, match=r"(?s)^cross_entropy: weight has one factor.*\(3,\).*\(4,\)"):
        F.cross_entropy(x, lampion.zeros(4, dtype=lampion.int64), weight=lampion.ones(4))
    with pytest.raises(LampionError, match=r"(?s)^cross_entropy: the reduction is not known.*'avg'"):
        F.cross_entropy(x, lampion.zeros(4, dtype=lampion.int64), reduction="avg")
    with pytest.raises(LampionError, match="CrossEntropyLoss: the reduction"):
        nn.CrossEntropyLoss(reduction="avg")
    with pytest.raises(LampionError, match="label_smoothing"):
        F.cross_entropy(x, lampion.zeros(4, dtype=lampion.int64), label_smoothing=2.0)
    with pytest.raises(ShapeError, match="no dimension of classes"):
        F.cross_entropy(lampion.tensor(1.0), lampion.tensor(0))
    with pytest.raises(DTypeError, match="nll_loss: labels are integers"):
        F.nll_loss(x, lampion.zeros(4))


def test_mse_loss():
    a, b = lampion.randn(3, 2), lampion.randn(3, 2)
    squares = (a.numpy() - b.numpy()) ** 2
    np.testing.assert_allclose(F.mse_loss(a, b).item(), squares.mean(), rtol=1e-6)
    np.testing.assert_allclose(nn.MSELoss(reduction="sum")(a, b).item(), squares.sum(), rtol=1e-6)
    np.testing.assert_allclose(nn.MSELoss(reduction="none")(a, b).numpy(), squares, rtol=1e-6)
    with pytest.warns(UserWarning, match=r"mse_loss: input \(3, 2\) and target \(2,\) have different shapes"):
        broadcast = F.mse_loss(a, lampion.ones(2))
    np.testing.assert_allclose(broadcast.item(), ((a.numpy() - 1) ** 2).mean(), rtol=1e-6)
    with pytest.raises(LampionError, match="reduction is not known"):
        nn.MSELoss(reduction="median")
    with pytest.raises(LampionError, match=r"(?s)size_average is True or False.*pass reduction='sum'"):
        nn.MSELoss("sum")  # where PyTorch takes any string for True
    with pytest.warns(UserWarning, match="write reduction='sum' instead"):
        assert nn.MSELoss(size_average=False).reduction == "sum"


def test_one_hot():
    labels = lampion.tensor([[0, 2], [1, 1]])
    assert F.one_hot(labels, 3).tolist() == np.eye(3, dtype=int)[labels.numpy()].tolist()
    with pytest.raises(IndexRangeError, match="3 is out of range"):
        F.one_hot(lampion.tensor([3]), 3)
    assert F.one_hot(labels).shape == (2, 2, 3)
    with pytest.raises(LampionError, match="num_classes must be given"):
        F.one_hot(labels, 0)
    with pytest.raises(DTypeError, match="one_hot: labels are integers"):
        F.one_hot(lampion.ones(2), 3)


# -- init ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fill", "mean", "std", "largest"),
    [
        (lambda w: nn.init.uniform_(w, 1.0, 3.0), 2.0, 2 / math.sqrt(12), 3.0),
        (lambda w: nn.init.normal_(w, 1.0, 0.5), 1.0, 0.5, math.inf),
        (nn.init.xavier_uniform_, 0.0, math.sqrt(2 / 600), math.sqrt(6 / 600)),
        (lambda w: nn.init.xavier_normal_(w, gain=2.0), 0.0, 2 * math.sqrt(2 / 600), math.inf),
        (lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu"), 0.0, 0.1, math.sqrt(6 / 200)),
        (lambda w: nn.init.kaiming_normal_(w, 1.0, "fan_out"), 0.0, math.sqrt(1 / 400), math.inf),
        (lambda w: nn.init.kaiming_normal_(w, a=1.0), 0.0, math.sqrt(1 / 200), math.inf),
    ],
)  # fmt: skip
def test_init_distributions(fill, mean, std, largest):
    w = nn.Parameter(lampion.zeros(400, 200))
    assert fill(w) is w and w.is_leaf and w.requires_grad
    values = w.detach().numpy()
    assert abs(values.mean() - mean) < 6 * std / math.sqrt(values.size)
    assert abs(values.std() / std - 1) < 0.01
    assert np.abs(values).max() <= largest


def test_init_constants_gains_and_errors():
    w = nn.Parameter(lampion.zeros(2, 2))
    assert (
        (nn.init.constant_(w, 3.5) == 3.5).all()
        and (nn.init.ones_(w) == 1).all()
        and (nn.init.zeros_(w) == 0).all()
    )
    assert nn.init.calculate_gain("relu") == math.sqrt(2) and nn.init.calculate_gain("leaky_relu", 1.0) == 1.0
    with pytest.raises(LampionError, match="no gain for 'softplus'"):
        nn.init.calculate_gain("softplus")
    with pytest.raises(ShapeError, match="xavier_uniform_: fan in and fan out need"):
        nn.init.xavier_uniform_(lampion.zeros(3))
    with pytest.raises(LampionError, match="fan_in"):
        nn.init.kaiming_normal_(w, mode="fan")
    assert nn.init.kaiming_uniform_(lampion.zeros(3, 0)).shape == (3, 0)


def test_init_with_a_generator_is_repeatable():
    draws = [
        nn.init.normal_(lampion.zeros(4), generator=lampion.Generator().manual_seed(3)).tolist()
        for _ in range(2)
    ]
    assert draws[0] == draws[1]


# -- all together ----------------------------------------------------------------------------------------


def test_a_network_learns_xor():
    x = lampion.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = lampion.tensor([0, 1, 1, 0])
    net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    optimizer = lampion.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
    assert net(x).argmax(1).tolist() == y.tolist() and loss.item() < 0.05


def test_every_public_name_is_there_and_documented():
    for module in (nn, F, nn.init):
        for name in module.__all__:
            assert getattr(module, name).__doc__, name
