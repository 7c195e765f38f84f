"""autocast and GradScaler: which types come out, that gradients stay float32, and that compiled is eager."""

import numpy as np
import pytest

import lampion
from lampion import bfloat16, float16, float32, float64
from lampion.amp import GradScaler, autocast, policy
from lampion.mode import mode
from lampion.nn import functional as F


def some(*shape):
    return lampion.randn(*shape)


# What PyTorch 2.13 gives for float32 arguments on a CPU.
TYPES = {
    "matmul": (bfloat16, lambda: some(3, 4) @ some(4, 5)),
    "matrix times vector": (bfloat16, lambda: some(3, 4) @ some(4)),
    "mv": (float32, lambda: lampion.mv(some(3, 4), some(4))),
    "dot": (float32, lambda: lampion.dot(some(4), some(4))),
    "bmm": (bfloat16, lambda: lampion.bmm(some(2, 3, 4), some(2, 4, 5))),
    "addmm": (bfloat16, lambda: lampion.addmm(some(3, 5), some(3, 4), some(4, 5))),
    "addmv": (float32, lambda: lampion.addmv(some(3), some(3, 4), some(4))),
    "baddbmm": (bfloat16, lambda: lampion.baddbmm(some(2, 3, 5), some(2, 3, 4), some(2, 4, 5))),
    "einsum": (bfloat16, lambda: lampion.einsum("ij,jk->ik", some(3, 4), some(4, 5))),
    "linear": (bfloat16, lambda: F.linear(some(3, 4), some(5, 4), some(5))),
    "bilinear": (float32, lambda: F.bilinear(some(3, 4), some(3, 5), some(2, 4, 5))),
    "attention": (bfloat16, lambda: F.scaled_dot_product_attention(*(some(1, 2, 3, 4) for _ in range(3)))),
    "softmax": (float32, lambda: F.softmax(some(3, 4), -1)),
    "softmax of bfloat16": (bfloat16, lambda: F.softmax(some(3, 4).bfloat16(), -1)),
    "layer_norm of bfloat16": (bfloat16, lambda: F.layer_norm(some(3, 4).bfloat16(), (4,))),
    "cross_entropy of bfloat16": (
        float32,
        lambda: F.cross_entropy(some(3, 4).bfloat16(), lampion.tensor([0, 1, 2])),
    ),
    "mse_loss of bfloat16": (float32, lambda: F.mse_loss(some(3).bfloat16(), some(3).bfloat16())),
    "prod of bfloat16": (float32, lambda: some(3).bfloat16().prod()),
    "svdvals of bfloat16": (float32, lambda: lampion.linalg.svdvals(some(3, 3).bfloat16())),
    "cat": (float32, lambda: lampion.cat([some(3), some(3).bfloat16()])),
    "cat of bfloat16": (bfloat16, lambda: lampion.cat([some(3).bfloat16(), some(3).bfloat16()])),
    "add": (float32, lambda: some(3).bfloat16() + some(3)),
    "matmul of float16": (bfloat16, lambda: some(3, 4).half() @ some(4, 5)),
    "matmul of float64": (float64, lambda: some(3, 4).double() @ some(4, 5).double()),
    "matmul of int64": (lampion.int64, lambda: lampion.ones(2, 2).long() @ lampion.ones(2, 2).long()),
}


@pytest.mark.parametrize("name", TYPES)
def test_types(name):
    dtype, run = TYPES[name]
    with autocast("cpu"):
        assert run().dtype is dtype


def test_the_lists_do_not_overlap_and_name_what_exists():
    lists = [policy.SHORT, policy.SINGLE, policy.WIDEST, policy.AS_GIVEN]
    assert sum(map(len, lists)) == len(frozenset.union(*lists))
    homes = [lampion, F, lampion.linalg, lampion.fft]
    for name in frozenset.union(*lists):
        found = [getattr(home, name) for home in homes if name in dir(home)]
        assert found and all(hasattr(f, "__wrapped__") or f is lampion.fft for f in found), name


def test_scopes():
    assert not lampion.is_autocast_enabled("cpu") and lampion.get_autocast_dtype("cpu") is bfloat16
    with lampion.autocast("cpu", dtype=float16):
        assert lampion.is_autocast_enabled("cpu") and lampion.get_autocast_dtype("cpu") is float16
        assert (some(2, 2) @ some(2, 2)).dtype is float16
        with lampion.autocast(device_type="cpu", enabled=False):
            assert not lampion.is_autocast_enabled("cpu")
            assert (some(2, 2) @ some(2, 2)).dtype is float32
        with pytest.raises(ZeroDivisionError), lampion.autocast("cpu", bfloat16, cache_enabled=False):
            raise ZeroDivisionError
        assert mode.autocast is float16
    assert mode.autocast is None and mode.short is None


def test_as_a_decorator_even_of_what_calls_itself():
    @lampion.autocast("cpu", dtype=bfloat16)
    def product(depth):
        assert mode.autocast is bfloat16
        return product(depth - 1) if depth else some(2, 2) @ some(2, 2)

    assert product(2).dtype is bfloat16 and mode.autocast is None
    with pytest.raises(TypeError, match="generator"):
        lampion.autocast("cpu")(lambda: (yield))


def test_switches():
    lampion.set_autocast_dtype("cpu", float16)
    lampion.set_autocast_enabled("cpu", True)
    assert mode.autocast is float16
    lampion.set_autocast_enabled("cpu", False)
    mode.short = None
    with pytest.raises(ValueError, match="bfloat16 or float16"):
        lampion.set_autocast_dtype("cpu", float64)
    with pytest.raises(ValueError, match='expected device_type="cpu"'):
        lampion.autocast("cuda")
    with pytest.warns(UserWarning, match="Autocast is off"), lampion.autocast("cpu", float64):
        assert not lampion.is_autocast_enabled()


def test_gradients_are_those_of_the_types_of_the_forward_pass():
    w, x = some(4, 3).requires_grad_(), some(5, 3)
    with autocast("cpu"):
        y = x @ w.T
        y.sum().backward()  # inside or outside is the same
    inside, w.grad = w.grad, None
    (x.bfloat16() @ w.bfloat16().T).sum().backward()
    assert inside.dtype is float32 and lampion.equal(inside, w.grad)


def test_what_was_float32_has_gradients_of_float32():
    w, x, t = some(4, 3).requires_grad_(), some(5, 3), some(5, 4)
    with autocast("cpu"):
        with autocast("cpu", enabled=False):
            y = x @ w.T
        (y * t).sum().backward()
    assert lampion.equal(w.grad, t.T @ x)


def test_checkpointed_runs_have_the_same_types():
    from lampion.utils.checkpoint import checkpoint

    w = some(3, 3).requires_grad_()
    grads = []
    for run in (lambda f, x: f(x), checkpoint):
        w.grad = None
        with autocast("cpu"):
            out = run(lambda x: (x @ w).exp() @ w, lampion.ones(2, 3))
        out.sum().backward()
        grads.append(w.grad)
    assert lampion.equal(*grads)


# Compiled -------------------------------------------------------------------------------------------------


def world(compiled):
    """A few steps of a small network."""
    lampion.manual_seed(3)
    model = lampion.nn.Sequential(lampion.nn.Linear(40, 64), lampion.nn.ReLU(), lampion.nn.Linear(64, 5))
    opt = lampion.optim.Adam(model.parameters())
    x, labels = some(24, 40), lampion.randint(0, 5, (24,))

    def step():
        opt.zero_grad()
        with lampion.autocast("cpu", dtype=bfloat16):
            loss = F.cross_entropy(model(x), labels)
        loss.backward()
        opt.step()
        return loss

    run = lampion.compile(step) if compiled else step
    losses = [run().item() for _ in range(4)]
    if compiled:
        assert run.explain().callouts == run.explain().fallbacks == 0
    return (
        losses,
        [p.detach().numpy() for p in model.parameters()],
        [p.grad.dtype for p in model.parameters()],
    )


@pytest.mark.filterwarnings("error")
def test_a_compiled_step_is_eager():
    pytest.importorskip("llvmlite")
    (ours, weights, types), (theirs, others, _) = world(True), world(False)
    assert types == [float32] * 4
    # Sums in another order are rounded to bfloat16, whose last place is 2**-8 of the number; Adam's first
    # steps are as long as the learning rate, whatever the size of a gradient: 4 of them, 1e-3 each.
    np.testing.assert_allclose(ours, theirs, rtol=2**-8)
    for a, b in zip(weights, others, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=4e-3)
        assert np.mean(np.abs(a - b) > 1e-4) < 0.02


@pytest.mark.filterwarnings("error")
def test_a_function_compiled_outside_follows_autocast():
    pytest.importorskip("llvmlite")
    product = lampion.compile(lambda x, y: x @ y)
    x, y = some(3, 4), some(4, 5)
    for _ in range(2):
        assert product(x, y).dtype is float32
        with autocast("cpu"):
            assert product(x, y).dtype is bfloat16
        with autocast("cpu", float16):
            assert product(x, y).dtype is float16
    assert product.traces == 3


def test_switching_inside_of_a_compiled_function_is_refused():
    pytest.importorskip("llvmlite")

    @lampion.compile
    def switches(x):
        lampion.set_autocast_enabled("cpu", True)
        return x @ x

    with pytest.warns(RuntimeWarning, match="switches autocast"):
        assert switches(some(2, 2)).dtype is bfloat16
    lampion.set_autocast_enabled("cpu", False)


# GradScaler -----------------------------------------------------------------------------------------------


def scaled_step(scaler, opt, w, factor):
    opt.zero_grad()
    scaler.scale((w * factor).sum()).backward()
    out = scaler.step(opt)
    scaler.update()
    return out


def test_the_scale_grows_and_shrinks():
    w = lampion.ones(3, requires_grad=True)
    opt = lampion.optim.SGD([w], lr=0.125)
    scaler = GradScaler("cpu", init_scale=8.0, growth_interval=2)
    for expected in (8.0, 16.0):
        scaled_step(scaler, opt, w, 2.0)
        assert scaler.get_scale() == expected
    assert w.detach().tolist() == [0.5] * 3
    scaled_step(scaler, opt, w, float("inf"))
    assert scaler.get_scale() == 8.0 and w.detach().tolist() == [0.5] * 3  # that step was left out
    again = GradScaler("cpu")
    again.load_state_dict(scaler.state_dict())
    assert again.state_dict() == scaler.state_dict() == {
        "scale": 8.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 2, "_growth_tracker": 0,
    }  # fmt: skip


def test_gradients_can_be_clipped_between():
    w = lampion.ones(2, requires_grad=True)
    opt, scaler = lampion.optim.SGD([w], lr=1.0), GradScaler("cpu", init_scale=4.0)
    scaler.scale(w.sum()).backward()
    scaler.unscale_(opt)
    assert w.grad.tolist() == [1.0, 1.0]
    with pytest.raises(lampion.errors.LampionError, match="since the last update"):
        scaler.unscale_(opt)
    scaler.step(opt)
    with pytest.raises(lampion.errors.LampionError, match="since the last update"):
        scaler.step(opt)
    scaler.update(32.0)
    assert scaler.get_scale() == 32.0 and w.detach().tolist() == [0.0, 0.0]
    with pytest.raises(lampion.errors.LampionError, match="no optimizer was stepped"):
        scaler.update()


def test_a_scaler_that_is_off():
    w = lampion.ones(2, requires_grad=True)
    opt, scaler = lampion.optim.SGD([w], lr=1.0), GradScaler("cpu", enabled=False)
    scaled_step(scaler, opt, w, 1.0)
    assert scaler.get_scale() == 1.0 and scaler.state_dict() == {} and w.detach().tolist() == [0.0, 0.0]
