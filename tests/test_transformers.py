"""Attention in heads, transformers and CTC: what the comparison with PyTorch does not see."""

import numpy as np
import pytest

import lampion as lp
from lampion import nn
from lampion.errors import OptionError, ShapeError
from lampion.nn import functional as F
from lampion.testing import assert_close


def x(*shape, seed=0):
    return lp.tensor(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def test_masks_of_both_kinds_say_the_same():
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    data = x(3, 5, 8)
    hidden = lp.ones(5, 5).bool().triu(1)
    padding = lp.zeros(3, 5).bool()
    padding[1, 3:] = True
    numbers = [lp.where(mask, -lp.inf, 0.0) for mask in (hidden, padding)]
    for weights in (True, False):
        expected = layer(data, data, data, padding, weights, hidden)
        for masks in [(numbers[1], numbers[0]), (padding, numbers[0]), (numbers[1], hidden)]:
            found = layer(data, data, data, masks[0], weights, masks[1])
            assert_close(found[0], expected[0], rtol=1e-5, atol=1e-6)
            assert (found[1] is None) is not weights
        per_head = hidden.expand(6, 5, 5)
        assert_close(
            layer(data, data, data, padding, weights, per_head)[0], expected[0], rtol=1e-5, atol=1e-6
        )


def test_causal_with_and_without_its_mask():
    layer = nn.MultiheadAttention(8, 2, batch_first=True, add_zero_attn=True)
    plain = nn.MultiheadAttention(8, 2)
    for attention, data in ((layer, x(3, 5, 8)), (plain, x(5, 3, 8))):
        hidden = lp.ones(5, 5).bool().triu(1)
        expected = attention(data, data, data, attn_mask=hidden)[0]
        for options in (
            {"is_causal": True},
            {"is_causal": True, "need_weights": False},
            {"is_causal": True, "need_weights": False, "attn_mask": hidden},
            {"is_causal": True, "key_padding_mask": lp.zeros(3, 5).bool(), "need_weights": False},
        ):
            assert_close(attention(data, data, data, **options)[0], expected, rtol=1e-5, atol=1e-6)


def test_who_sees_nobody_hears_nothing():
    layer = nn.MultiheadAttention(4, 2, batch_first=True, bias=False)
    data = x(1, 3, 4)
    for weights in (True, False):
        out, _ = layer(data, data, data, lp.ones(1, 3).bool(), weights)
        assert not out.any()


def test_the_weights_of_each_head_and_their_mean():
    layer = nn.MultiheadAttention(8, 4, batch_first=True, add_bias_kv=True)
    data = x(2, 3, 8)
    each = layer(data, data, data, average_attn_weights=False)[1]
    assert each.shape == (2, 4, 3, 4)
    assert_close(each.sum(-1), lp.ones(2, 4, 3), rtol=1e-5)
    assert_close(layer(data, data, data)[1], each.mean(1))
    assert layer(data[0], data[0], data[0])[1].shape == (3, 4)


@pytest.mark.parametrize("norm_first", [False, True])
def test_compiled_steps_are_the_eager_ones(norm_first):
    lp.manual_seed(0)
    model = nn.Transformer(8, 2, 1, 1, 16, dropout=0.0, batch_first=True, norm_first=norm_first)
    source, target = x(2, 5, 8), x(2, 3, 8, seed=1)
    padding = lp.zeros(2, 5).bool()
    padding[0, 4:] = True
    parameters = list(model.parameters())

    def slopes(source, target, padding):
        out = model(source, target, src_key_padding_mask=padding, tgt_is_causal=True)
        return lp.autograd.grad((out**2).sum(), parameters)

    compiled = lp.compile(slopes)
    for got, expected in zip(compiled(source, target, padding), slopes(source, target, padding), strict=True):
        # Sums of many terms in another order, some of which cancel.
        assert_close(got, expected, rtol=1e-4, atol=1e-4)
    assert not compiled.refused and "call-outs 0" in str(compiled.explain())


def test_dropout_is_for_training():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5, activation="gelu")
    data = x(4, 2, 8)
    assert not layer(data).equal(layer(data))
    layer.eval()
    assert layer(data).equal(layer(data))


def test_activations_may_be_modules_and_functions():
    data = x(4, 2, 8)
    layers = [nn.TransformerEncoderLayer(8, 2, 16, 0.0, a) for a in (F.gelu, nn.GELU(), "gelu")]
    for layer in layers[1:]:
        layer.load_state_dict(layers[0].state_dict())
        assert_close(layer(data), layers[0](data))


def test_what_is_refused():
    for sizes in ((8, 3), (0, 1), (8, 0)):
        with pytest.raises(OptionError, match="embed_dim divisible by num_heads"):
            nn.MultiheadAttention(*sizes)
    with pytest.raises(OptionError, match='"relu", "gelu", or a function'):
        nn.TransformerEncoderLayer(8, 2, activation="tanh")
    model = nn.Transformer(8, 2, 1, 1, 16)
    with pytest.raises(ShapeError, match="batch number of src and tgt"):
        model(x(4, 2, 8), x(4, 3, 8))
    with pytest.raises(ShapeError, match="equal to d_model"):
        model(x(4, 2, 6), x(4, 2, 8))
    layer = nn.MultiheadAttention(8, 2)
    with pytest.raises(ShapeError, match="key_padding_mask has another shape"):
        layer(x(3, 2, 8), x(3, 2, 8), x(3, 2, 8), lp.zeros(3, 2).bool())
    apart = nn.MultiheadAttention(8, 2, kdim=4, vdim=6)
    for wrong, which, sizes, wanted in (
        (layer, "", (6, 6, 6), 8), (layer, " of key", (8, 6, 6), 8), (layer, " of value", (8, 8, 6), 8),
        (apart, "", (4, 4, 6), 8), (apart, " of key", (8, 3, 6), 4), (apart, " of value", (8, 4, 8), 6),
    ):  # fmt: skip
        got = sizes[("", " of key", " of value").index(which)]
        expected = rf"was expecting embedding dimension{which} of {wanted}, got {got}\n"
        with pytest.raises(ShapeError, match=expected):
            wrong(*(x(3, 2, size) for size in sizes))
    assert model.generate_square_subsequent_mask(3).tolist()[1] == [0, 0, -float("inf")]


# -- CTC -----------------------------------------------------------------------------------------------------


def test_ctc_layouts_of_targets():
    log_p = x(6, 3, 5).log_softmax(2)
    padded, lengths = lp.tensor([[1, 2, 2], [3, 0, 0], [4, 4, 0]]), lp.tensor([3, 1, 2])
    given = lp.tensor([6, 4, 5])
    expected = F.ctc_loss(log_p, padded, given, lengths, reduction="none")
    flat = lp.tensor([1, 2, 2, 3, 4, 4])
    for targets, wanted in [(flat, lengths), (flat, (3, 1, 2)), (padded.int(), [3, 1, 2])]:
        assert_close(F.ctc_loss(log_p, targets, given.int(), wanted, reduction="none"), expected)
    alone = F.ctc_loss(log_p[:4, 1], lp.tensor([3]), lp.tensor(4), lp.tensor(1), reduction="none")
    assert alone.shape == ()
    assert_close(alone, expected[1])
    assert_close(nn.CTCLoss()(log_p, padded, given, lengths), (expected / lengths).mean())


def test_impossible_targets():
    scores = x(2, 2, 3).requires_grad_()
    targets, lengths = lp.tensor([[1, 1, 1], [1, 0, 0]]), [3, 1]
    losses = F.ctc_loss(scores.log_softmax(2), targets, [2, 2], lengths, reduction="none")
    assert losses.isinf().tolist() == [True, False]
    loss = F.ctc_loss(scores.log_softmax(2), targets, [2, 2], lengths, zero_infinity=True)
    loss.backward()
    assert_close(loss, losses[1] / 2)
    assert scores.grad.isfinite().all() and not scores.grad[:, 0].any() and scores.grad[:, 1].all()


@pytest.mark.parametrize("run", [lambda f: f, lp.compile], ids=["eager", "compiled"])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_the_gradient_of_an_infinite_ctc_loss_is_nan(run, reduction):
    targets, lengths = lp.tensor([[1, 1], [1, 2]]), lp.tensor([2, 2])

    def slope(scores, targets, lengths, zero_infinity):
        log_p = scores.log_softmax(2)
        loss = F.ctc_loss(log_p, targets, lengths, lengths, 0, reduction, zero_infinity)
        return loss, *lp.autograd.grad(loss, [scores])

    loss, grad = run(slope)(x(3, 2, 4).requires_grad_(), targets, lengths, False)
    other, zeros = run(slope)(x(3, 2, 4).requires_grad_(), targets, lengths, True)
    assert loss.isinf() and other.isfinite()
    assert grad[:2, 0].isnan().all() and not grad[2].any()  # the steps that were given, and the one behind
    assert zeros[:2, 1].all() and not zeros[:, 0].any() and not zeros[2].any()
    assert grad[:2, 1].isfinite().all()


def test_ctc_is_one_loop_in_a_compiled_step():
    targets, given, wanted = lp.tensor([[1, 2], [2, 2]]), lp.tensor([7, 5]), lp.tensor([2, 1])

    def slope(scores, targets, given, wanted):
        loss = F.ctc_loss(scores.log_softmax(2), targets, given, wanted)
        return loss, *lp.autograd.grad(loss, [scores])

    compiled = lp.compile(slope)
    scores = x(7, 2, 4).requires_grad_()
    for got, expected in zip(
        compiled(scores, targets, given, wanted), slope(scores, targets, given, wanted), strict=True
    ):
        assert_close(got, expected, rtol=1e-5, atol=1e-6)
    assert not compiled.refused and "call-outs 0" in str(compiled.explain())


# -- labels that do not count, and spread ones ---------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_ignores_and_spreads(smoothing, reduction):
    scores, labels = x(5, 4), lp.tensor([0, 3, -7, 1, -7])
    got = F.cross_entropy(scores, labels, ignore_index=-7, reduction=reduction, label_smoothing=smoothing)
    log_p = scores.log_softmax(1).numpy()
    spread = np.full((5, 4), smoothing / 4)
    kept = np.array([0, 1, 3])
    spread[kept, labels.numpy()[kept]] += 1 - smoothing
    losses = -(spread * log_p).sum(1)
    losses[[2, 4]] = 0
    expected = {"mean": losses.sum() / 3, "sum": losses.sum(), "none": losses}[reduction]
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-5)
