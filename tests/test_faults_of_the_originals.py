"""What is wrong in the code of the books that Lampion follows, one test each: here it is right.

What belongs to parts that Lampion does not have yet (convolution, recurrent cells, downloads, the GPU, text
generation, the picture of the graph) is tested where they are.
"""

import gc
import math
import subprocess
import sys

import numpy as np
import pytest

import lampion as lp
from lampion import nn
from lampion.nn import functional as F
from lampion.testing import assert_close


def test_double_back_propagation_through_the_gradient_of_a_weight():
    """DeZero: raises, for convolution; here for a linear layer: d/dw of |dL/dw|^2."""
    x = lp.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=lp.float64)
    layer = nn.Linear(2, 3, dtype=lp.float64)

    def loss_of(weight):
        return (F.linear(x, weight, layer.bias).tanh() ** 2).sum()

    (first,) = lp.autograd.grad(loss_of(layer.weight), layer.weight, create_graph=True)
    (second,) = lp.autograd.grad((first**2).sum(), layer.weight)
    step = 1e-5
    for at in np.ndindex(3, 2):
        values = []
        for sign in (1, -1):
            moved = layer.weight.detach().clone()
            moved[at] += sign * step
            moved.requires_grad_()
            (g,) = lp.autograd.grad(loss_of(moved), moved)
            values.append((g**2).sum().item())
        assert_close(second[at].item(), (values[0] - values[1]) / (2 * step), rtol=1e-5, atol=1e-8)


def test_backward_on_a_leaf():
    """DeZero: crashes, because nobody made the leaf."""
    x = lp.tensor(3.0, requires_grad=True)
    x.backward()
    assert x.grad.item() == 1.0
    y = lp.ones(2, requires_grad=True)
    y.backward(lp.tensor([2.0, 3.0]))
    assert y.grad.tolist() == [2.0, 3.0]


def test_all_operators_are_there():
    """DeZero: no `@`, no number to the power of a variable, no comparisons."""
    x = lp.tensor([1.0, 2.0], requires_grad=True)
    y = lp.tensor([3.0, 0.5], requires_grad=True)
    assert (x @ y).item() == 4.0
    assert_close(2.0**x, [2.0, 4.0])
    assert_close(x**y, [1.0, math.sqrt(2.0)])
    assert (x > y).tolist() == [False, True] and (x <= 1.0).tolist() == [True, False]
    assert (x == x).tolist() == [True, True] and (x != y).tolist() == [True, True]
    (2.0**x + x**y).sum().backward()
    assert_close(x.grad, [2 * math.log(2) + 3.0, 4 * math.log(2) + 0.5 / math.sqrt(2)], rtol=1e-6)
    assert_close(y.grad, [0.0, math.sqrt(2) * math.log(2)], rtol=1e-6)


def test_batched_matmul_has_the_right_shape():
    """DeZero: the shape of `numpy.dot`, and a gradient of the wrong one."""
    a, b = lp.ones(5, 2, 3, requires_grad=True), lp.ones(5, 3, 4, requires_grad=True)
    product = a @ b
    assert product.shape == (5, 2, 4)
    product.sum().backward()
    assert a.grad.shape == a.shape and b.grad.shape == b.shape
    assert (a @ b[0]).shape == (5, 2, 4)


@pytest.mark.parametrize("reduce", [lambda x: x.amax(), lambda x: x.amax(0), lambda x: x.max()])
def test_tied_maxima_share_the_gradient(reduce):
    """DeZero: each of them gets the whole."""
    x = lp.tensor([1.0, 3.0, 3.0], requires_grad=True)
    reduce(x).backward()
    assert x.grad.tolist() == [0.0, 0.5, 0.5]


@pytest.mark.parametrize("name", ["SGD", "Adam", "Adagrad", "Adadelta", "RMSprop", "NAdam", "AdamW", "ASGD"])
def test_weights_stay_float32(name):
    """DeZero: they silently become float64 after some steps."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    optimizer = getattr(lp.optim, name)(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        loss = F.mse_loss(model(lp.ones(2, 3) * 0.5 + 1), lp.zeros(2, 1)) / 2
        assert loss.dtype is lp.float32
        loss.backward()
        optimizer.step()
    state = [t for entry in optimizer.state.values() for t in entry.values() if isinstance(t, lp.Tensor)]
    for tensor in (*model.parameters(), *(p.grad for p in model.parameters()), *state):
        assert tensor.dtype is lp.float32


def test_data_come_without_a_download_and_are_the_ones_expected():
    """The books: the addresses answer 403, and nothing tells whether a file is whole."""
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    train, test = lp.datasets.Digits(), lp.datasets.Digits(train=False)
    assert len(train) + len(test) == 1797


def test_nothing_that_numpy_2_or_a_new_cupy_took_away():
    """The books: NumPy 2 breaks plots and text generation; the GPU's switch is a call that is gone."""
    code = "import warnings; warnings.simplefilter('error'); import lampion; print(lampion.ones(2).device)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "cpu"


def test_the_state_of_an_optimizer_can_be_saved():
    """DeZero: it never is, so that training goes on differently."""
    model = nn.Linear(2, 1)
    optimizer = lp.optim.Adam(model.parameters(), lr=0.1)
    model(lp.ones(1, 2)).sum().backward()
    optimizer.step()
    saved = optimizer.state_dict()
    assert {"exp_avg", "exp_avg_sq", "step"} == saved["state"][0].keys()
    other = nn.Linear(2, 1)
    other.load_state_dict(model.state_dict())
    again = lp.optim.Adam(other.parameters(), lr=0.9)
    again.load_state_dict(saved)
    for net, opt in ((model, optimizer), (other, again)):
        opt.zero_grad()
        net(lp.ones(1, 2)).sum().backward()
        opt.step()
    assert other.weight.tolist() == model.weight.tolist()


def test_saving_leaves_the_model_as_it_is(tmp_path):
    """DeZero: saving moves the model off the GPU, and it stays there."""
    pytest.importorskip("safetensors", reason="files of weights need it")
    model = nn.Linear(2, 1)
    before = [(p, p._array, p.device, p.requires_grad, p._version[0]) for p in model.parameters()]
    lp.save(model.state_dict(), tmp_path / "model.safetensors")
    for (p, array, *rest), q in zip(before, model.parameters(), strict=True):
        assert q is p and q._array is array and rest == [q.device, q.requires_grad, q._version[0]]


def test_freezing_comes_before_the_first_step():
    """DeZero: parameters are frozen by a hook of the optimizer, when their gradient is already computed,
    and lazily made ones not at all.
    """
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    model[0].requires_grad_(False)
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    frozen = [p.tolist() for p in model[0].parameters()]
    loss = model(lp.ones(1, 2)).sum()
    loss.backward()
    assert all(p.grad is None for p in model[0].parameters())
    optimizer.step()
    assert [p.tolist() for p in model[0].parameters()] == frozen  # no decay either


def test_batch_normalisation_is_by_channel():
    """Volume 1: images are flattened, and each pixel is normalised by itself."""
    x = lp.tensor(np.random.default_rng(0).standard_normal((4, 3, 10)) * 5 + 2, dtype=lp.float32)
    layer = nn.BatchNorm1d(3)
    y = layer(x)
    assert layer.running_mean.shape == (3,)
    assert_close(y.mean((0, 2)), np.zeros(3, np.float32), atol=1e-6)
    assert_close((y * y).mean((0, 2)), np.ones(3, np.float32), rtol=1e-4)
    assert y.detach().numpy().mean(0).std() > 0.1  # but not of each place in the sequence


def test_dropout_is_inverted():
    """Volume 1: values are scaled when the network is used, not when it is trained."""
    layer = nn.Dropout(0.25)
    x = lp.ones(10_000)
    y = layer(x)
    assert set(np.unique(y.numpy())) == {0.0, np.float32(1 / 0.75)}
    assert abs(y.mean().item() - 1.0) < 0.02
    assert layer.eval()(x).tolist() == x.tolist()


def test_two_tensors_are_never_taken_for_one():
    """Grokking: tensors are told apart by random numbers below 100,000, which collide."""
    leaves = [lp.tensor(1.0, requires_grad=True) for _ in range(2000)]
    total = leaves[0] * 1
    for leaf in leaves[1:]:
        total = total + leaf * 2
    total.backward()
    assert leaves[0].grad.item() == 1.0 and all(leaf.grad.item() == 2.0 for leaf in leaves[1:])
    # Nor by the address of one that is gone: the state of an optimizer keeps its parameter.
    optimizer = lp.optim.SGD(leaves[:2], lr=0.1, momentum=0.9)
    optimizer.step()
    del leaves, leaf, total
    gc.collect()
    new = lp.tensor(1.0, requires_grad=True)
    assert new not in optimizer.state and len(optimizer.state) == 2


def test_the_gradient_of_the_cross_entropy_heeds_what_comes_from_above():
    """Grokking: it returns prediction minus target, whatever the loss is multiplied by."""
    x = lp.tensor([[1.0, 2.0, 0.5]], requires_grad=True)
    (F.cross_entropy(x, lp.tensor([1])) * 3).backward()
    softmax = np.exp(x.detach().numpy()) / np.exp(x.detach().numpy()).sum()
    assert_close(x.grad, 3 * (softmax - np.float32([[0, 1, 0]])), rtol=1e-6, atol=1e-7)


def test_softmax_does_not_overflow():
    """Grokking: exp of the numbers as they are."""
    x = lp.tensor([[1000.0, 999.0, -1000.0]], requires_grad=True)
    y = F.softmax(x, -1)
    assert_close(y, [[1 / (1 + math.exp(-1)), math.exp(-1) / (1 + math.exp(-1)), 0.0]], rtol=1e-6)
    F.cross_entropy(x, lp.tensor([2])).backward()
    assert np.isfinite(x.grad.numpy()).all()
