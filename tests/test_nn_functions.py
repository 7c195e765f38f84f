"""What the op table does not see of nn.functional: in-place forms, draws, options, running statistics."""

import warnings

import numpy as np
import pytest

import lampion
import lampion.nn.functional as F
from lampion import nn
from lampion.errors import LampionError, OptionError, OverwrittenError, ShapeError

X = [[-3.5, -0.6, -0.2], [0.3, 1.5, 7.0]]


@pytest.fixture(autouse=True)
def seeded():
    lampion.manual_seed(0)


# -- in place --------------------------------------------------------------------------------------------

IN_PLACE = [
    (F.relu, ()), (F.leaky_relu, (0.2,)), (F.rrelu, ()), (F.hardtanh, ()), (F.relu6, ()),
    (F.threshold, (0.5, 2.0)), (F.hardsigmoid, ()), (F.hardswish, ()), (F.elu, (0.7,)), (F.celu, (0.7,)),
    (F.selu, ()), (F.silu, ()), (F.mish, ()),
]  # fmt: skip


@pytest.mark.parametrize(("function", "options"), IN_PLACE, ids=lambda x: getattr(x, "__name__", ""))
def test_in_place(function, options):
    expected = function(lampion.tensor(X), *options)
    x = lampion.tensor(X)
    assert function(x, *options, inplace=True) is x
    assert (x == expected).all()
    underscored = getattr(F, f"{function.__name__}_", None)
    if underscored is not None:
        y = lampion.tensor(X)
        assert underscored(y, *options) is y and (y == expected).all()


@pytest.mark.parametrize(("function", "options"), IN_PLACE, ids=lambda x: getattr(x, "__name__", ""))
def test_the_gradient_of_what_is_done_in_place(function, options):
    slopes = []
    for inplace in (False, True):
        x = lampion.tensor(X, requires_grad=True)
        y = x * 1.5
        (function(y, *options, inplace=inplace) ** 2).sum().backward()
        slopes.append(x.grad)
    assert (slopes[0] == slopes[1]).all()


def test_what_others_saved_is_not_overwritten_in_silence():
    x = lampion.tensor(X, requires_grad=True)
    y = x.exp()  # keeps its output
    F.elu(y, inplace=True).sum()
    with pytest.raises(OverwrittenError):
        y.sum().backward()


def test_layers_in_place():
    for layer in (
        nn.ReLU(True),
        nn.ELU(inplace=True),
        nn.SiLU(True),
        nn.Hardswish(True),
        nn.Dropout(0.0, True),
    ):
        x = lampion.tensor(X)
        assert layer(x) is x, layer
        assert repr(layer).endswith("inplace=True)")


# -- draws -----------------------------------------------------------------------------------------------


def test_channel_dropout_drops_whole_channels():
    for function, shape in (
        (F.dropout1d, (20, 50, 3)), (F.dropout1d, (500, 3)), (F.dropout2d, (20, 50, 2, 2)),
        (F.dropout3d, (20, 50, 1, 2, 2)),
    ):  # fmt: skip
        y = function(lampion.ones(*shape), 0.3).numpy()
        places = y.reshape(-1, y.shape[-1]) if len(shape) == 2 else y.reshape(shape[0] * shape[1], -1)
        assert (places == places[:, :1]).all()
        assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.7)}
        assert abs((places[:, 0] == 0).mean() - 0.3) < 0.08  # 4 standard errors of 500 draws
        assert function(lampion.ones(*shape), 0.3, training=False).sum().item() == np.prod(shape)


def test_dropout2d_of_three_dimensions_warns():
    with pytest.warns(UserWarning, match="dropout1d is for"):
        F.dropout2d(lampion.ones(2, 3, 4))
    with pytest.raises(ShapeError, match=r"\(N, C, L\) or \(C, L\)"):
        F.dropout1d(lampion.ones(4))


def test_alpha_dropout_keeps_mean_and_variance():
    x = lampion.randn(100_000)
    for function in (
        F.alpha_dropout,
        lambda *args: F.feature_alpha_dropout(args[0].reshape(-1, 1), *args[1:]),
    ):
        y = function(x, 0.3, True).numpy()
        assert abs(y.mean()) < 0.02 and abs(y.var() - 1) < 0.02
    assert F.alpha_dropout(x, 0.3) is x
    assert (F.alpha_dropout(x, 1.0, True) == 0).all()


def test_rrelu_draws_slopes():
    y = F.rrelu(-lampion.ones(1000), 0.2, 0.4, training=True).numpy()
    assert -0.4 <= y.min() < -0.39 and -0.21 < y.max() <= -0.2
    assert (F.rrelu(lampion.ones(3), training=True) == 1).all()
    layer = nn.RReLU(0.2, 0.4)
    assert not (layer(-lampion.ones(3)) == layer(-lampion.ones(3))).all()
    assert (layer.eval()(-lampion.ones(3)) == lampion.tensor(-0.3)).all()


def test_gumbel_softmax():
    logits = lampion.tensor([0.1, 0.2, 0.7]).log().expand(20_000, 3).clone().requires_grad_()
    hard = F.gumbel_softmax(logits, hard=True)
    shares = hard.detach().numpy().mean(0)
    np.testing.assert_allclose(shares, [0.1, 0.2, 0.7], atol=0.015)  # 4 standard errors
    assert set(np.unique(hard.detach().numpy().round(6))) == {0.0, 1.0}
    (hard * lampion.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert logits.grad.abs().sum().item() > 0
    soft = F.gumbel_softmax(logits.detach(), tau=0.5)
    np.testing.assert_allclose(soft.sum(1).numpy(), 1, rtol=1e-5)


def test_probabilities_of_dropout_are_checked():
    for layer in (nn.Dropout1d, nn.AlphaDropout, nn.FeatureAlphaDropout):
        with pytest.raises(OptionError, match="p is a probability"):
            layer(-0.1)


# -- tables ----------------------------------------------------------------------------------------------


def test_embedding_options():
    table = lampion.tensor(np.arange(8.0).reshape(4, 2) + 1, requires_grad=True)
    rows = lampion.tensor([1, 3, 1, 1])
    F.embedding(rows, table, padding_idx=-1).sum().backward()
    assert table.grad.tolist() == [[0, 0], [3, 3], [0, 0], [0, 0]]
    table.grad = None
    F.embedding(rows, table, scale_grad_by_freq=True).sum().backward()
    assert table.grad.tolist() == [[0, 0], [1, 1], [0, 0], [1, 1]]
    short = table.detach().clone()
    F.embedding(lampion.tensor([3]), short, max_norm=1.0)
    np.testing.assert_allclose(np.linalg.norm(short.numpy(), axis=1)[3], 1, rtol=1e-6)
    assert (short[:3] == table[:3]).all()
    with pytest.raises(OptionError, match="padding_idx is no row"):
        nn.Embedding(3, 2, padding_idx=3)


def test_embedding_layer():
    layer = nn.Embedding(5, 3, padding_idx=2)
    assert (layer.weight[2] == 0).all() and layer(lampion.tensor([[2, 1]])).shape == (1, 2, 3)
    table = lampion.ones(4, 2)
    layer = nn.Embedding.from_pretrained(table)
    assert not layer.weight.requires_grad and (layer(lampion.tensor(0)) == 1).all()
    assert nn.EmbeddingBag.from_pretrained(table, freeze=False, mode="sum").weight.requires_grad


# -- normalisation -----------------------------------------------------------------------------------------


def test_batch_norm_in_a_compiled_step_keeps_its_statistics():
    def make(momentum):
        lampion.manual_seed(1)
        model = nn.Sequential(
            nn.Linear(4, 5), nn.BatchNorm1d(5, momentum=momentum), nn.ReLU(), nn.Linear(5, 2)
        )
        return model, lampion.optim.SGD(model.parameters(), lr=0.1)

    def step(model, optimizer, x):
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    for momentum in (0.1, None):
        eager, compiled = make(momentum), make(momentum)
        fast = lampion.compile(step)
        for seed in range(3):
            x = lampion.tensor(np.random.default_rng(seed).standard_normal((8, 4)).astype(np.float32))
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # falling back to eager would warn
                lampion.testing.assert_close(fast(*compiled, x), step(*eager, x), rtol=1e-5, atol=1e-6)
        ours, expected = compiled[0].state_dict(), eager[0].state_dict()
        assert ours["1.num_batches_tracked"].item() == 3
        for name in expected:
            lampion.testing.assert_close(ours[name], expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["batch_norm", "instance_norm"])
def test_wider_parameters_and_statistics_leave_the_type_as_it_is(name, training):
    x, wide = lampion.randn(4, 3, 2), lampion.full((3,), 2.0, dtype=lampion.float64)
    out = getattr(F, name)(x, wide.clone(), wide.clone(), wide, wide, training)
    narrow = getattr(F, name)(x, *[wide.float() for _ in range(4)], training)
    assert out.dtype is lampion.float32
    np.testing.assert_array_equal(out.numpy(), narrow.numpy())  # rounded before, not after


def test_batch_norm_without_statistics_and_resets():
    layer = nn.BatchNorm1d(3, track_running_stats=False, affine=False)
    x = lampion.randn(5, 3)
    assert not layer.state_dict() and (layer(x) == layer.eval()(x)).all()
    layer = nn.BatchNorm1d(3)
    layer(x)
    layer.reset_running_stats()
    assert layer.num_batches_tracked.item() == 0 and (layer.running_var == 1).all()


# -- other layers ------------------------------------------------------------------------------------------


def test_lazy_linear():
    layer = nn.LazyLinear(3)
    assert repr(layer) == "LazyLinear(in_features=0, out_features=3, bias=True)"
    optimizer = lampion.optim.SGD(layer.parameters(), lr=1.0)  # it may be made before
    with pytest.raises(LampionError, match="no shape yet"):
        layer.weight.shape  # noqa: B018  # the access is the test
    assert layer(lampion.ones(2, 4)).shape == (2, 3) and type(layer) is nn.Linear
    before = layer.weight.detach().clone()
    layer(lampion.ones(2, 4)).sum().backward()
    optimizer.step()
    assert not (layer.weight == before).any()
    other = nn.LazyLinear(3)
    other.load_state_dict(layer.state_dict())
    assert (other(lampion.ones(1, 4)) == layer(lampion.ones(1, 4))).all()


def test_adaptive_softmax_is_a_distribution():
    layer = nn.AdaptiveLogSoftmaxWithLoss(6, 10, [3, 7], div_value=2.0)
    x = lampion.randn(4, 6)
    log_p = layer.log_prob(x)
    np.testing.assert_allclose(log_p.exp().sum(1).detach().numpy(), 1, rtol=1e-5)
    labels = lampion.tensor([0, 4, 9, 2])
    output, loss = layer(x, labels)
    assert (output == log_p.gather(1, labels[:, None])[:, 0]).all() and (loss == -output.mean()).all()
    assert (layer.predict(x) == log_p.argmax(1)).all()
    with pytest.raises(OptionError, match="do not part the classes"):
        nn.AdaptiveLogSoftmaxWithLoss(6, 10, [7, 3])


def test_softmax_without_a_dimension_warns():
    with pytest.warns(UserWarning, match="say which one"):
        assert (F.softmax(lampion.zeros(2, 4)) == 0.25).all()
    assert lampion.zeros(2, dtype=lampion.float32).softmax(0, lampion.float64).dtype is lampion.float64


def test_losses_say_what_does_not_fit():
    with pytest.raises(OptionError, match="ignore_index is for labels"):
        F.cross_entropy(lampion.zeros(2, 3), lampion.ones(2, 3), ignore_index=1)
    with pytest.warns(UserWarning, match='"batchmean" is the divergence'):
        F.kl_div(lampion.zeros(2), lampion.ones(2))
    with pytest.warns(UserWarning, match="have different shapes"):
        F.huber_loss(lampion.zeros(2, 1), lampion.ones(2))
    assert F.binary_cross_entropy(lampion.tensor([0.0, 1.0]), lampion.tensor([1.0, 1.0])).item() == 50.0


def test_padding_layers():
    x = lampion.tensor([[1.0, 2.0, 3.0]])
    assert nn.ReflectionPad1d(1)(x).tolist() == [[2, 1, 2, 3, 2]]
    assert nn.ZeroPad1d((0, 1))(x).tolist() == [[1, 2, 3, 0]]
    with pytest.raises(OptionError, match="one number, or 4"):
        nn.CircularPad2d((1, 2))
    with pytest.raises(ShapeError, match="another number of dimensions"):
        nn.ReplicationPad1d(1)(lampion.ones(3))


def test_parameters_in_lists_and_dicts():
    weights = nn.ParameterList([lampion.ones(2), nn.Parameter(lampion.zeros(1))])
    weights.append(lampion.ones(3))
    assert len(weights) == 3 and len(list(weights.parameters())) == 3 and weights[-1].shape == (3,)
    assert [tuple(p.shape) for p in weights[1:]] == [(1,), (3,)]
    weights[0] = lampion.zeros(2)
    assert list(weights.state_dict()) == ["0", "1", "2"] and isinstance(weights[0], nn.Parameter)
    named = nn.ParameterDict({"b": lampion.ones(2), "a": lampion.ones(1)})
    assert list(named) == ["a", "b"] and "a" in named and named.pop("a").shape == (1,)
    assert list(named.state_dict()) == ["b"] and named.get("zzz") is None
    named |= {"c": lampion.ones(4)}
    assert [name for name, _ in named.items()] == ["b", "c"]


@pytest.mark.parametrize(("score", "truth"), [(-20.0, 0.0), (20.0, 1.0)])
def test_sure_and_right_answers_keep_a_gradient(score, truth):
    """Less than float32 can add to 20: it must not be lost beside the score."""
    x = lampion.tensor([score], requires_grad=True)
    loss = F.binary_cross_entropy_with_logits(x, lampion.tensor([truth]))
    loss.backward()
    small = np.exp(-20.0)  # of both, to a relative 2e-9
    assert loss.item() == pytest.approx(small, rel=1e-6)
    assert x.grad.item() == pytest.approx(small if truth == 0 else -small, rel=1e-6)
