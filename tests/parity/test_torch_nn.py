"""Layers, losses, initial values and state dicts beside PyTorch's."""

import itertools

import numpy as np
import pytest

import lampion
import lampion.nn.functional as F
from lampion import nn

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")
T = torch.nn.functional


def network(L):
    """The same network of either library's layers."""
    inner = L.Sequential(L.Linear(8, 8), L.Tanh())
    return L.Sequential(L.Flatten(), L.Linear(12, 8), L.ReLU(), inner, L.Linear(8, 3, bias=False))


def both(make):
    """The same module, made of each framework's layers."""
    return make(nn), make(torch.nn)


def near(ours, theirs, rtol=1e-12):
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=rtol, atol=rtol)


def pair(array, requires_grad=True):
    """One array as a tensor of each framework."""
    return lampion.tensor(array).requires_grad_(requires_grad), torch.tensor(array).requires_grad_(
        requires_grad
    )


MODULES = [
    network,
    lambda L: L.Dropout(0.3),
    lambda L: L.LeakyReLU(0.2),
    lambda L: L.Softmax(dim=1),
    lambda L: L.LogSoftmax(dim=-1),
    lambda L: L.Identity(),
    lambda L: L.Sigmoid(),
    lambda L: L.Flatten(0, 1),
    lambda L: L.GELU(approximate="tanh"),
    lambda L: L.GELU(),
    lambda L: L.SiLU(),
    lambda L: L.ModuleDict({"a": L.Tanh(), "b": L.Linear(1, 2)}),
    lambda L: L.ModuleList([L.Linear(1, 1), L.Linear(1, 1), L.ReLU(), L.Sequential(L.Tanh())]),
    lambda L: L.MSELoss(),
    lambda L: L.CrossEntropyLoss(),
    lambda L: L.Sequential(),
    lambda L: L.Sequential(L.ModuleList([L.Sequential(L.Linear(1, 2)), L.Sequential(L.Linear(1, 2))])),
]


@pytest.mark.parametrize("make", MODULES, ids=lambda make: type(make(nn)).__name__)
def test_names_shapes_and_printing(make):
    ours, theirs = both(make)
    assert [(k, tuple(v.shape)) for k, v in ours.state_dict().items()] == [
        (k, tuple(v.shape)) for k, v in theirs.state_dict().items()
    ]
    assert [name for name, _ in ours.named_modules()] == [name for name, _ in theirs.named_modules()]
    assert repr(ours) == repr(theirs)


def test_a_network_and_its_gradients():
    ours, theirs = both(network)
    ours, theirs = ours.double(), theirs.double()
    ours.load_state_dict(theirs.state_dict())  # tensors of PyTorch, as they are
    x, t = pair(np.random.default_rng(0).standard_normal((5, 3, 4)))
    near(ours(x), theirs(t))
    (ours(x) ** 2).sum().backward()
    (theirs(t) ** 2).sum().backward()
    near(x.grad, t.grad)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        near(p.grad, q.grad)


@pytest.mark.parametrize("sizes", [(64, 4000), (300, 2000)])
def test_initial_values_have_one_distribution(sizes):
    lampion.manual_seed(0)
    torch.manual_seed(0)
    ours, theirs = both(lambda L: L.Linear(*sizes))
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        a, b = p.detach().numpy().ravel(), q.detach().numpy().ravel()
        grid = np.linspace(0, 1, 9)
        np.testing.assert_allclose(np.quantile(a, grid), np.quantile(b, grid), atol=0.08 * np.abs(b).max())


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid", "linear", "leaky_relu", "selu", "conv2d"])
def test_gains(name):
    assert nn.init.calculate_gain(name) == torch.nn.init.calculate_gain(name)


@pytest.mark.parametrize(
    ("weighted", "ignore_index", "reduction", "smoothing"),
    list(itertools.product((False, True), (-100, 1), ("mean", "sum", "none"), (0.0, 0.1))),
)
def test_cross_entropy(weighted, ignore_index, reduction, smoothing):
    rng = np.random.default_rng(3)
    for shape in [(4,), (6, 4), (2, 4, 3, 2)]:
        x, t = pair(rng.standard_normal(shape))
        places = shape[:1] + shape[2:] if len(shape) > 1 else ()
        labels = np.asarray(rng.integers(0, 4, places))
        if labels.ndim:
            labels.flat[0] = ignore_index
            labels.flat[1] = 2  # never all of them ignored
        elif labels == ignore_index:
            labels = np.asarray(0)
        w, v = pair(rng.random(4) + 0.5, False) if weighted else (None, None)
        ours = F.cross_entropy(x, lampion.tensor(labels), w, ignore_index=ignore_index, reduction=reduction,
                               label_smoothing=smoothing)  # fmt: skip
        theirs = T.cross_entropy(t, torch.tensor(labels), v, ignore_index=ignore_index, reduction=reduction,
                                 label_smoothing=smoothing)  # fmt: skip
        assert ours.shape == tuple(theirs.shape)
        near(ours, theirs)
        (ours * ours).sum().backward()
        (theirs * theirs).sum().backward()
        near(x.grad, t.grad)
        near(
            F.nll_loss(x, lampion.tensor(labels), w, ignore_index=ignore_index, reduction=reduction),
            T.nll_loss(t, torch.tensor(labels), v, ignore_index=ignore_index, reduction=reduction),
        )


@pytest.mark.parametrize(
    ("weighted", "reduction", "smoothing"),
    list(itertools.product((False, True), ("mean", "sum", "none"), (0.0, 0.1))),
)
def test_cross_entropy_against_probabilities(weighted, reduction, smoothing):
    rng = np.random.default_rng(4)
    for shape in [(4,), (6, 4), (2, 4, 3)]:
        x, t = pair(rng.standard_normal(shape))
        p, q = pair(rng.random(shape))
        w, v = pair(rng.random(4) + 0.5, False) if weighted else (None, None)
        ours = F.cross_entropy(x, p, w, reduction=reduction, label_smoothing=smoothing)
        theirs = T.cross_entropy(t, q, v, reduction=reduction, label_smoothing=smoothing)
        near(ours, theirs)
        ours.sum().backward()
        theirs.sum().backward()
        near(x.grad, t.grad)
        near(p.grad, q.grad)


@pytest.mark.parametrize("scale", [1.0, 100.0, 1e4])
def test_cross_entropy_in_float32(scale):
    x, t = pair((np.random.default_rng(5).standard_normal((8, 10)) * scale).astype(np.float32))
    labels = np.arange(8)
    ours, theirs = F.cross_entropy(x, lampion.tensor(labels)), T.cross_entropy(t, torch.tensor(labels))
    near(ours, theirs, 1e-6)
    ours.backward()
    theirs.backward()
    near(x.grad, t.grad, 1e-6)


def test_the_comparison_sees_a_planted_bug():
    x, t = pair(np.random.default_rng(6).standard_normal((8, 10)))
    labels = np.arange(8)
    wrong = F.cross_entropy(x, lampion.tensor(labels), label_smoothing=0.001)
    with pytest.raises(AssertionError):
        near(wrong, T.cross_entropy(t, torch.tensor(labels)))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("relu", {}), ("leaky_relu", {"negative_slope": 0.3}), ("silu", {}),
        ("gelu", {"approximate": "tanh"}),
        ("softmax", {"dim": 0}), ("softmax", {"dim": -1}), ("log_softmax", {"dim": 1}), ("tanh", {}),
        ("sigmoid", {}),
    ],
)  # fmt: skip
def test_functions_and_two_orders_of_gradient(name, options):
    x, t = pair(np.random.default_rng(7).standard_normal((3, 5)) * 3)
    weights = np.random.default_rng(8).standard_normal((3, 5))
    near(getattr(F, name)(x, **options), getattr(T, name)(t, **options))
    (g,) = lampion.autograd.grad(
        (getattr(F, name)(x, **options) * lampion.tensor(weights)).sum(), x, create_graph=True
    )
    (h,) = torch.autograd.grad(
        (getattr(T, name)(t, **options) * torch.tensor(weights)).sum(), t, create_graph=True
    )
    near(g, h)
    if name not in ("relu", "leaky_relu"):
        near(lampion.autograd.grad((g * g).sum(), x)[0], torch.autograd.grad((h * h).sum(), t)[0], 1e-11)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_mse_loss(reduction):
    (x, t), (y, u) = (pair(np.random.default_rng(seed).standard_normal((3, 2))) for seed in (1, 2))
    near(F.mse_loss(x, y, reduction=reduction), T.mse_loss(t, u, reduction=reduction))


def test_dropout_scales_alike():
    layer, other = nn.Dropout(0.3), torch.nn.Dropout(0.3)
    a, b = (np.unique(m(one).numpy()) for m, one in ((layer, lampion.ones(1000)), (other, torch.ones(1000))))
    np.testing.assert_allclose(a, b, rtol=1e-7)


#: Where activations have kinks, are steep or flat, or might overflow.
POINTS = np.array([
    -np.inf, -1e30, -100, -20, -6, -3, -1, -0.5, -1e-8, -0.0, 0, 1e-8, 0.5, 1, 3, 6, 20, 20.5, 100, 1e30,
    np.inf,
])  # fmt: skip


@pytest.mark.parametrize(
    "name",
    ["celu", "elu", "gelu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "logsigmoid",
     "mish", "relu", "relu6", "rrelu", "selu", "sigmoid", "silu", "softplus", "softshrink", "softsign",
     "tanh", "tanhshrink"],
)  # fmt: skip
def test_activations_at_special_points(name):
    x, t = pair(POINTS)
    ours, theirs = getattr(F, name)(x), getattr(T, name)(t)
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-12)
    ours.sum().backward()
    theirs.sum().backward()
    # PyTorch has 1 / 6 in float32 there, also in float64.
    rtol = 1e-7 if name == "hardsigmoid" else 1e-9
    np.testing.assert_allclose(x.grad.numpy(), t.grad.numpy(), rtol=rtol, atol=1e-15)


def test_softmax_of_infinite_scores():
    scores = np.array([[-np.inf, 0.0, 1.0], [-np.inf, -np.inf, -np.inf], [np.inf, 0.0, 1.0]])
    for name in ("softmax", "log_softmax", "softmin"):
        x, t = pair(scores)
        near(getattr(F, name)(x, dim=1), getattr(T, name)(t, dim=1))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_computed_in_float32(dtype):
    """Numbers whose squares are beyond float16's."""
    values = (np.random.default_rng(0).standard_normal((4, 6)) * 300).astype(np.float32)
    x = lampion.tensor(values).to(getattr(lampion, dtype))
    t = torch.tensor(values).to(getattr(torch, dtype))
    for call in (
        lambda F, x: F.rms_norm(x, (6,)), lambda F, x: F.layer_norm(x, (6,)), lambda F, x: F.group_norm(x, 2),
        lambda F, x: F.batch_norm(x, None, None, training=True), lambda F, x: F.normalize(x),
        lambda F, x: F.softmax(x * 2**-7, dim=1),
    ):  # fmt: skip
        ours, theirs = call(F, x), call(T, t.float())  # whose own results in bfloat16 are less near
        assert ours.dtype is x.dtype
        # A unit in the last place: rounded once, and of `normalize` the length before.
        tolerance = 2.0**-10 if dtype == "float16" else 2.0**-7
        np.testing.assert_allclose(ours.float().numpy(), theirs.float().numpy(), rtol=tolerance, atol=1e-6)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


#: Modules that PyTorch's own table of modules leaves out, with their inputs.
OTHERS = [
    (lambda N: N.AdaptiveLogSoftmaxWithLoss(6, 10, [3, 7], div_value=2.0, head_bias=True),
     [numbers(5, 6), np.array([0, 3, 9, 6, 2])]),
    (lambda N: N.AdaptiveLogSoftmaxWithLoss(6, 10, [3], 2.0), [numbers(6), np.array(8)]),
    (lambda N: N.TripletMarginLoss(0.5, p=1.5, swap=True), [numbers(4, 3, seed=i) for i in range(3)]),
    (lambda N: N.TripletMarginWithDistanceLoss(margin=0.5), [numbers(4, 3, seed=i) for i in range(3)]),
    (lambda N: N.CosineSimilarity(0), [numbers(4, 3), numbers(4, 3, seed=1)]),
    (lambda N: N.PairwiseDistance(1.0, keepdim=True), [numbers(4, 3), numbers(4, 3, seed=1)]),
    (lambda N: N.PixelShuffle(2), [numbers(2, 8, 3, 2)]),
    (lambda N: N.PixelUnshuffle(2), [numbers(2, 4, 2)]),
    (lambda N: N.ChannelShuffle(3), [numbers(2, 6, 2, 2)]),
    (lambda N: N.Unflatten(1, (2, 3)), [numbers(2, 6)]),
    (lambda N: N.EmbeddingBag(5, 3, mode="max", padding_idx=1), [np.array([[0, 4, 1], [2, 2, 3]])]),
    (lambda N: N.EmbeddingBag(5, 3, include_last_offset=True), [np.array([0, 4, 1, 2]), np.array([0, 3, 4])]),
    (lambda N: N.RReLU(0.1, 0.3).eval(), [numbers(4, 3)]),
    (lambda N: N.Softmax2d(), [numbers(2, 3, 2, 2)]),
    (lambda N: N.AlphaDropout(0.2).eval(), [numbers(4, 3)]),
    (lambda N: N.FeatureAlphaDropout(inplace=True).eval(), [numbers(4, 3)]),
    (lambda N: N.Dropout1d(0.2).eval(), [numbers(4, 3)]),
    (lambda N: N.Embedding(5, 3, 1, 2.0, norm_type=1.0, scale_grad_by_freq=True), [np.array([1, 4])]),
    (lambda N: N.Threshold(0.1, 20), [numbers(4, 3)]),
    (lambda N: N.GroupNorm(2, 4, bias=False), [numbers(2, 4, 3)]),
    (lambda N: N.LayerNorm([3, 2], bias=False), [numbers(2, 3, 2)]),
    (lambda N: N.BatchNorm1d(3, momentum=None), [numbers(4, 3)]),
]  # fmt: skip


@pytest.mark.parametrize(("make", "arguments"), OTHERS, ids=[type(make(nn)).__name__ for make, _ in OTHERS])
def test_other_modules(make, arguments):
    ours, theirs = (module.double() for module in both(make))
    assert repr(ours) == repr(theirs)
    ours.load_state_dict(theirs.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    pairs = [pair(x, x.dtype.kind == "f") for x in arguments]
    for training in (ours.training, False):
        out = ours.train(training)(*(x for x, _ in pairs))
        expected = theirs.train(training)(*(t for _, t in pairs))
        flat = (out, expected) if isinstance(out, tuple) else ((out,), (expected,))
        for a, b in zip(*flat, strict=True):
            assert tuple(a.shape) == tuple(b.shape)
            near(a, b)
        (flat[0][-1] ** 2).sum().backward()
        (flat[1][-1] ** 2).sum().backward()
        for (x, t), kind in zip(pairs, arguments, strict=True):
            if kind.dtype.kind == "f":
                near(x.grad, t.grad)
        for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
            near(p.grad, q.grad)
    for name, value in ours.state_dict().items():
        near(value, theirs.state_dict()[name])


def test_lists_of_parameters_print_alike():
    for make in (
        lambda L, N: N.ParameterList([L.ones(2), L.zeros(2, 3)]),
        lambda L, N: N.Sequential(N.ParameterList([L.ones(2)]), N.ParameterList()),
    ):
        ours = repr(make(lampion, nn)).replace("lampion.", "torch.")
        assert ours == repr(make(torch, torch.nn))
