"""Winograd's way to convolve with filters of 3x3, forward and back to the input, beside the direct one."""

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="without llvmlite there is no code generator to test")

from codegen_harness import arm, targets

import lampion as lp
from lampion.compiler import kernel_ir as ir
from lampion.compiler.codegen import convolution, winograd, winograd_filters
from lampion.compiler.codegen.builder import ir as llvm_ir
from lampion.compiler.codegen.builder import optimize
from lampion.compiler.codegen.convolution_blocks import Geometry
from lampion.compiler.codegen.winograd_forward import Blocks
from lampion.compiler.function import run_as
from lampion.ops.convolution import convolution as convolve

LEVELS = [pytest.param(target, id=target.name) for target in targets("sse2", "avx", "avx2", "host")]
EPS = np.finfo("f4").eps


@pytest.fixture(autouse=True)
def plans_only_where_asked_for(monkeypatch):
    """What is computed eagerly is computed by NumPy."""
    monkeypatch.setenv("LAMPION_EAGER_PLANS", "0")


def forward(padding=((1, 1), (1, 1))):
    return lambda x, w: convolve(x, w, (1, 1), padding, (1, 1), 1)


def to_input(padding=((1, 1), (1, 1))):
    """The gradient of the input, of slopes and filters."""

    def gradient(y, w):
        sizes = [n + 2 - sum(pads) for n, pads in zip(y.shape[2:], padding, strict=True)]
        x = lp.zeros(y.shape[0], w.shape[1], *sizes, dtype=y.dtype, requires_grad=True)
        return lp.autograd.grad(forward(padding)(x, w), (x,), y)[0]

    return gradient


def arrays(images, channels, sizes, outputs, seed=0):
    """Of the shapes of (x, w): ordinary numbers."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((images, channels, *sizes)).astype("f4")
    return x, rng.standard_normal((outputs, channels, 3, 3)).astype("f4")


def directly(monkeypatch, function, *args, target=None):
    """What the direct kernel computes."""
    with monkeypatch.context() as patch:
        patch.setenv("LAMPION_WINOGRAD", "0")
        return run_as("compiled", function, *map(lp.tensor, args), target=target).numpy()


def by_winograd(function, *args, target=None):
    return run_as("compiled", function, *map(lp.tensor, args), target=target).numpy()


def check(function, x, w, target=None):
    """At most twice the error of NumPy's products over patches: over all elements, and the greatest."""
    exact = function(*(lp.tensor(a.astype("f8")) for a in (x, w))).numpy()
    usual = np.abs(function(lp.tensor(x), lp.tensor(w)).numpy() - exact)
    error = np.abs(by_winograd(function, x, w, target=target) - exact)
    ulp = EPS * np.abs(exact).max()
    assert error.max() <= 2 * usual.max() + 4 * ulp, (x.shape, w.shape)
    assert np.sqrt(np.mean(error**2)) <= 2 * np.sqrt(np.mean(usual**2)) + ulp / 4, (x.shape, w.shape)


@pytest.mark.parametrize("target", LEVELS)
def test_sizes_on_both_sides_of_tiles_blocks_and_panels(target):
    padding = [((1, 1), (1, 1)), ((0, 0), (0, 0)), ((2, 1), (0, 2)), ((2, 2), (2, 2)), ((1, 0), (2, 0))]
    shapes = [(5, 16, (12, 14), 32), (3, 32, (15, 13), 48), (70, 80, (1, 3), 32)]
    if target.name == "host":
        shapes += [(2, 48, (6, 70), 16), (9, 256, (7, 7), 48)]
    for number, (images, channels, sizes, outputs) in enumerate(shapes):
        pads = padding[number] if min(sizes) > 2 else padding[0]
        check(forward(pads), *arrays(images, channels, sizes, outputs), target)
        y, _ = arrays(images, outputs, [n + sum(p) - 2 for n, p in zip(sizes, pads, strict=True)], 1)
        _, w = arrays(1, channels, (3, 3), outputs, 1)
        check(to_input(pads), y, w, target)


def kinds(function, *args):
    """The convolutions of a compiled function, and whether each goes Winograd's way."""
    compiled = lp.compile(function)
    compiled(*map(lp.tensor, args))
    kernels = [call.kernel for call in compiled.explain().plans[0].kernels]
    return [kernel.transformed is not None for kernel in kernels if isinstance(kernel, ir.Convolution)]


def test_which_shapes_go_this_way(monkeypatch):
    def pays(images, channels, outputs, size, taps=3, stride=1, groups=1, dilation=1, itemsize=4, padding=1):
        out = (size + 2 * padding - dilation * (taps - 1) - 1) // stride + 1
        g = Geometry(
            images, channels // groups, outputs // groups, groups, (1, size, size), (1, out, out),
            (1, taps, taps), (1, stride, stride), (0, padding, padding), (1, dilation, dilation), itemsize,
        )  # fmt: skip
        return winograd.pays(g)

    assert pays(100, 16, 16, 28) and pays(100, 32, 32, 7) and pays(100, 64, 64, 5) and pays(8, 512, 512, 7)
    assert not pays(100, 16, 16, 7)  # too many of the places are outside
    assert not pays(100, 64, 64, 3)
    assert not pays(2, 16, 16, 6)  # too few tiles
    assert not pays(100, 8, 16, 28) and not pays(100, 16, 24, 28)
    assert not pays(8, 1024, 1024, 7)
    for other in (
        {"taps": 5},
        {"stride": 2},
        {"groups": 2},
        {"dilation": 2},
        {"itemsize": 8},
        {"padding": 3},
    ):
        assert not pays(100, 64, 64, 28, **other)
    x, w = arrays(4, 16, (8, 8), 16)
    assert kinds(forward(), x, w) == [True]
    assert kinds(to_input(), x, w) == [True]
    assert kinds(forward(), x.astype("f8"), w.astype("f8")) == [False]
    monkeypatch.setenv("LAMPION_WINOGRAD", "0")
    assert kinds(forward(), x, w) == [False]  # though a plan for it is in the cache


def test_explain_says_so():
    compiled = lp.compile(forward())
    compiled(*map(lp.tensor, arrays(4, 16, (8, 8), 16)))
    plan = compiled.explain().plans[0]
    (call,) = [call for call in plan.kernels if isinstance(call.kernel, ir.Convolution)]
    assert call.label == "convolution (Winograd)"
    assert "F(2x2, 3x3)" in plan.loops() and "G @ " in plan.loops()


def test_whole_numbers_are_exact_and_zeros_stay_zeros():
    rng = np.random.default_rng(0)
    x = rng.integers(-9, 10, (4, 32, 9, 10)).astype("f4")
    w = rng.integers(-9, 10, (48, 32, 3, 3)).astype("f4")
    exact = forward()(lp.tensor(x.astype("f8")), lp.tensor(w.astype("f8"))).numpy()
    np.testing.assert_array_equal(by_winograd(forward(), x, w), exact)
    x, w = arrays(4, 32, (9, 10), 48)
    x[:, :, 3:7, 2:8] = 0
    found = by_winograd(forward(), x, w)
    assert not found[:, :, 4:6, 3:7].any() and found[:, :, 3].any()


def same_where_strange(found, direct):
    np.testing.assert_array_equal(np.isnan(found), np.isnan(direct))
    strange = ~np.isfinite(direct)
    np.testing.assert_array_equal(found[strange], direct[strange])
    largest = max(1.0, np.abs(direct[~strange]).max(initial=0))
    np.testing.assert_allclose(found[~strange], direct[~strange], atol=100 * EPS * largest, rtol=0)


STRANGE = {
    "infinity": (np.inf,), "minus infinity": (-np.inf,), "no number": (np.nan,), "too large": (3e38,),
    "all of them": (np.inf, -np.inf, np.nan, 3e38),
}  # fmt: skip


@pytest.mark.parametrize("target", LEVELS)
@pytest.mark.parametrize("kind", STRANGE)
def test_what_is_not_finite_is_where_it_is_directly(kind, target, monkeypatch):
    x, w = arrays(3, 32, (9, 11), 32)
    rng = np.random.default_rng(1)
    for number in STRANGE[kind]:
        for _ in range(3):
            x[tuple(rng.integers(n) for n in x.shape)] = number
        x[0, 0, 0, 0] = x[1, 1, -1, -1] = number
    for function in (forward(), to_input(), forward(((2, 0), (0, 2)))):
        direct = directly(monkeypatch, function, x, w, target=target)
        same_where_strange(by_winograd(function, x, w, target=target), direct)


def test_filters_that_are_not_finite(monkeypatch):
    x, w = arrays(3, 32, (9, 11), 48)
    x[0, :, :4], w[1, 3, 1, 1], w[5, 0, 0, 2], w[40] = 0, np.inf, np.nan, -np.inf
    same_where_strange(by_winograd(forward(), x, w), directly(monkeypatch, forward(), x, w))


def test_nothing_is_computed_from_what_an_epilogue_has_written(monkeypatch):
    """A result that is written over what is added to it, where some places are computed again."""

    def onto(total, x, w):
        total += forward()(x, w)
        return total.sum()

    x, w = arrays(4, 32, (9, 9), 32)
    x[1, 2, 3, 4] = np.inf
    found = []
    for switch in ("0", "1"):
        monkeypatch.setenv("LAMPION_WINOGRAD", switch)
        total = lp.ones(4, 32, 9, 9)
        run_as("compiled", onto, total, lp.tensor(x), lp.tensor(w))
        found.append(total.numpy())
    same_where_strange(found[1], found[0])


def epilogue(x, w, b, r):
    """A convolution as networks have it: bias, what is added, an activation, short or long."""
    out = forward()(x, w) + b
    return (out + r).relu(), (out > 0), (out * r).tanh().exp() - out.sigmoid()


@pytest.mark.parametrize("target", LEVELS)
@pytest.mark.parametrize("outputs", [32, 48])
def test_epilogues(outputs, target, monkeypatch):
    x, w = arrays(3, 32, (9, 12), outputs)
    rng = np.random.default_rng(2)
    b, r = (
        rng.standard_normal((outputs, 1, 1)).astype("f4"),
        rng.standard_normal((3, outputs, 9, 12)).astype("f4"),
    )
    tensors = [lp.tensor(a) for a in (x, w, b, r)]
    found = run_as("compiled", epilogue, *tensors, target=target)
    expected = epilogue(*tensors)
    # Sums of 288 products, of which exp makes up to e times as much.
    np.testing.assert_allclose(found[0].numpy(), expected[0].numpy(), atol=1e-4)
    assert np.mean(found[1].numpy() != expected[1].numpy()) < 1e-4  # where it is 0, but for rounding
    np.testing.assert_allclose(found[2].numpy(), expected[2].numpy(), atol=1e-3)


def test_images_that_lie_in_other_ways():
    """Part of a larger array, with other channels between; rows that are columns in memory."""

    def parts(x, w):
        middle = x[:, 16:48, 1:, 2:]
        return forward()(middle, w) + forward()(middle.transpose(2, 3), w).transpose(2, 3)

    (x, _), (_, w) = arrays(4, 64, (10, 11), 32), arrays(4, 32, (10, 11), 32)
    np.testing.assert_allclose(
        by_winograd(parts, x, w), parts(lp.tensor(x), lp.tensor(w)).numpy(), atol=1e-4
    )  # sums of 288 products


def test_threads_do_not_change_bits():
    x, w = arrays(9, 32, (14, 14), 48)
    compiled = lp.compile(lambda x, w: to_input()(forward()(x, w).relu(), w))
    before = lp.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3, 8):
            lp.set_num_threads(threads)
            results.append(compiled(lp.tensor(x), lp.tensor(w)).numpy().copy())
    finally:
        lp.set_num_threads(before)
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


def test_few_tiles_are_shared_by_outputs_too():
    x, w = arrays(1, 64, (16, 16), 512)
    g = Geometry(
        1, 64, 512, 1, (1, 16, 16), (1, 16, 16), (1, 3, 3), (1, 1, 1), (0, 1, 1), (1, 1, 1), 4
    )  # fmt: skip
    assert Blocks(g).counts == (2, 8)
    check(forward(), x, w)


def test_derivatives_of_derivatives():
    def penalty(x, w):
        x, w = (t.detach().requires_grad_() for t in (x, w))
        (slope,) = lp.autograd.grad(forward()(x, w).square().sum(), (x,), create_graph=True)
        return lp.autograd.grad(slope.square().sum(), (x, w))

    x, w = arrays(3, 16, (8, 8), 16)
    w /= 12
    exact = penalty(*(lp.tensor(a.astype("f8")) for a in (x, w)))
    found = run_as("compiled", penalty, lp.tensor(x), lp.tensor(w))
    for a, b in zip(exact, found, strict=True):
        # Four convolutions one after the other, of sums of up to 576 products.
        np.testing.assert_allclose(b.numpy(), a.numpy(), atol=1e-5 * np.abs(a.numpy()).max())


def test_arm_can_be_emitted_for():
    """No machine code that runs here, but it must compile."""
    target, machine = arm()
    compiled = lp.compile(forward())
    compiled(*map(lp.tensor, arrays(4, 32, (9, 9), 48)))
    kernels = {type(call.kernel): call.kernel for call in compiled.explain().plans[0].kernels}
    for module_, kind in ((convolution, ir.Convolution), (winograd_filters, ir.WinogradFilters)):
        module = llvm_ir.Module()
        module_.emit(module, "kernel", kernels[kind], target)
        assert len(machine.emit_object(optimize(module, target, machine))) > 0
