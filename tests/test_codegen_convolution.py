"""Convolution, its gradients and pooling as machine code, beside NumPy."""

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="without llvmlite there is no code generator to test")

from codegen_harness import targets

import lampion as lp
from lampion.compiler.codegen import convolution_few
from lampion.compiler.function import run_as
from lampion.nn import functional as F
from lampion.ops.convolution import convolution

LEVELS = [pytest.param(target, id=target.name) for target in targets("sse2", "avx2", "host")]
FEW = [pytest.param(target, id=target.name) for target in targets("host")]


def step(x, w, b, *geometry):
    """A convolution with what follows it, and the gradients of all three."""
    x, w, b = (t.detach().requires_grad_() for t in (x, w, b))
    out = (convolution(x, w, *geometry) + b).relu()
    return (out.detach(), *lp.autograd.grad((out * out).sum(), (x, w, b)))


def check(
    images, channels, sizes, outputs, taps, stride=1, pad=1, dilation=1, groups=1, dtype="f4", target=None
):
    rng = np.random.default_rng(0)
    count = len(sizes)
    padding = pad if isinstance(pad, tuple) else ((pad, pad),) * count
    geometry = ((stride,) * count, padding, (dilation,) * count, groups)
    shapes = ((images, channels, *sizes), (outputs, channels // groups, *taps), (outputs, *(1,) * count))
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    exact = step(*(lp.tensor(a.astype("f8")) for a in arrays), *geometry)
    tensors = [lp.tensor(a) for a in arrays]
    found = run_as("compiled", lambda *ts: step(*ts, *geometry), *tensors, target=target)
    for name, a, b in zip(("out", "x", "w", "b"), exact, found, strict=True):
        # Sums of up to some thousand products, each rounded: far below the size of the largest.
        error = np.abs(a.numpy() - b.numpy()).max() / max(1.0, np.abs(a.numpy()).max())
        assert error < 300 * np.finfo(dtype).eps, (name, shapes, geometry)


@pytest.mark.parametrize("target", LEVELS)
def test_every_kind_of_geometry(target):
    for number, (stride, pad, dilation, groups) in enumerate(
        (s, p, d, g) for s in (1, 2, 3) for p in (0, 2) for d in (1, 2) for g in (1, 2, 4)
    ):
        count = number % 3 + 1
        if target.name != "host" and number % 5:
            continue
        sizes, taps = (8, 7, 9)[:count], (2, 3, 2)[:count]
        check(2, 4, sizes, 8, taps, stride, pad, dilation, groups, target=target)


@pytest.mark.parametrize("target", FEW)
@pytest.mark.parametrize(
    ("channels", "outputs", "size"),
    [(1, 16, 28), (3, 40, 17), (16, 33, 14), (64, 64, 7), (5, 7, 33), (150, 140, 6)],
)
def test_sizes_on_both_sides_of_tiles_and_blocks(target, channels, outputs, size):
    check(3, channels, (size, size + 1), outputs, (3, 3), target=target)
    check(2, channels, (size, size), outputs, (5, 3), 2, 2, dtype="f8", target=target)
    check(2, channels, (size, size), outputs, (1, 1), 2, 0, target=target)


def test_blocks_of_images_and_of_columns():
    check(20, 300, (6, 40), 20, (3, 3))
    check(2, 4, (30,), 8, (3,), 2, ((-2, 3),), 2)
    check(40, 8, (4, 4), 8, (3, 3))


def test_threads_do_not_change_bits():
    x, w, b = lp.randn(9, 16, 14, 14), lp.randn(40, 16, 3, 3), lp.randn(40, 1, 1)
    compiled = lp.compile(lambda x, w, b: step(x, w, b, (1, 1), ((1, 1), (1, 1)), (1, 1), 1))
    before = lp.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3, 8):
            lp.set_num_threads(threads)
            results.append([t.numpy().copy() for t in compiled(x, w, b)])
    finally:
        lp.set_num_threads(before)
    assert compiled.explain().callouts == 0
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_nothing_is_turned_between_convolutions():
    """What comes out of a convolution has the channels last, and stays so until something else is wanted."""

    def two(x, v, w):
        x = F.max_pool2d(F.relu(F.conv2d(x, v, padding=1)), 2)
        return F.conv2d(x, w, padding=1).sum()

    compiled = lp.compile(two)
    compiled(lp.randn(2, 3, 8, 8), lp.randn(16, 3, 3, 3), lp.randn(8, 16, 3, 3))
    kernels = [call.kernel for call in compiled.explain().plans[0].kernels]
    labels = [call.label for call in compiled.explain().plans[0].kernels]
    convolutions = [kernel for kernel in kernels if type(kernel).__name__ == "Convolution"]
    assert len(convolutions) == 2 and convolutions[1].x.strides[-1] == 1
    assert not any("channels last" in label for label in labels), labels


@pytest.mark.parametrize("target", LEVELS)
def test_pooling_is_the_same_to_the_bit(target):
    rng = np.random.default_rng(1)
    for count, size, stride, pad, ceil, dilation, channels in (
        (1, 2, None, 0, False, 1, 3), (1, 3, 2, 1, True, 1, 20), (2, 2, None, 0, False, 1, 20),
        (2, 3, 1, 1, False, 2, 5), (2, 3, 2, 1, True, 1, 33), (3, 2, 1, 1, True, 2, 3),
    ):  # fmt: skip
        x = rng.standard_normal((2, channels, *(7, 8, 9)[:count])).astype("f4")
        x[0, 0], x[1, 1], x[1, 2, ..., 2] = 1, -np.inf, np.nan
        pool = getattr(F, f"max_pool{count}d")

        def both(x, pool=pool, options=(size, stride, pad, dilation, ceil, True)):
            x = x.detach().requires_grad_()
            out, indices = pool(x, *options)
            # Whole numbers, whose sums are exact in any order.
            slopes = lp.arange(out.numel()).float().view(out.shape)
            return out.detach(), indices, *lp.autograd.grad(out, x, slopes)

        eager, compiled = (
            run_as("eager", both, lp.tensor(x)), run_as("compiled", both, lp.tensor(x), target=target)
        )  # fmt: skip
        for a, b in zip(eager, compiled, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("target", LEVELS)
def test_one_filter_for_each_channel(target):
    """Channels in the lanes: whole registers, parts of one; every edge."""
    check(2, 21, (9, 8), 21, (3, 3), groups=21, target=target)
    check(2, 17, (9, 8), 17, (3, 2), 2, 2, 2, groups=17, target=target)
    if target.name == "host":
        check(2, 32, (6, 20), 32, (3, 3), groups=32, target=target)
        check(1, 70, (3, 3), 70, (5, 7), pad=3, groups=70, target=target)
        check(2, 6, (9,), 6, (4,), 3, groups=6, target=target)
        check(2, 5, (4, 5, 6), 5, (2, 3, 2), 2, groups=5, dtype="f8", target=target)
        check(2, 4, (5, 5), 4, (3, 3), pad=((-1, 2), (0, -1)), groups=4, target=target)
        check(1, 18, (3, 44), 18, (1, 3), 1, 20, 20, groups=18, target=target)  # edges of many tiles


@pytest.mark.parametrize("target", LEVELS)
def test_few_outputs(target):
    """Channels in the lanes, whose sums are added up at the end; parts of registers."""
    for outputs, channels, dtype in ((6, 16, "f4"), (1, 21, "f4"), (2, 13, "f8")):
        assert convolution_few.suits(outputs, channels, (3, 5), np.dtype(dtype).itemsize)
        check(2, channels, (7, 8), outputs, (3, 5), 1, 2, dtype=dtype, target=target)
    if target.name == "host":
        for outputs in (4, 5, 8):
            check(2, 64, (5, 6), outputs, (3, 3), 2, 1, 2, target=target)
        check(1, 64, (40,), 3, (1,), pad=0, target=target)
        check(2, 40, (6, 7), 4, (3, 3), 2, groups=2, target=target)
        check(1, 32, (3, 4, 5), 2, (2, 2, 2), 1, 0, 1, target=target)
        check(1, 600, (4, 4), 3, (3, 3), target=target)  # blocks of channels, whose sums wait


@pytest.mark.parametrize("target", FEW)
@pytest.mark.parametrize(("channels", "outputs", "groups"), [(24, 3, 1), (20, 20, 20)])
def test_infinity_stays_where_it_is(target, channels, outputs, groups):
    """What the lanes of a register hold besides does not matter; zeros around an image do."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((2, channels, 6, 9)).astype("f4")
    w = rng.standard_normal((outputs, channels // groups, 3, 3)).astype("f4")
    x[0, 2, 3, 4], x[1, 1, 0, 8], x[1, 7, 5, 0] = np.inf, np.nan, -np.inf
    w[1, 0, 1, 2] = np.inf

    def both(x, w):
        return F.conv2d(x, w, padding=1, groups=groups)

    eager, compiled = (
        run_as(how, both, lp.tensor(x), lp.tensor(w), **more).numpy()
        for how, more in (("eager", {}), ("compiled", {"target": target}))
    )
    for kind in (np.isnan, np.isposinf, np.isneginf):
        np.testing.assert_array_equal(kind(eager), kind(compiled))


@pytest.mark.parametrize("target", LEVELS)
def test_small_groups(target):
    """Groups smaller than a register, and larger; registers filled in part."""
    for stride, size, channels in ((1, 2, 6), (2, 4, 40), (1, 8, 24)):
        check(2, channels, (7, 8), channels, (3, 3), stride, groups=channels // size, target=target)
    check(2, 16, (5, 6), 16, (3, 2), 1, 1, 2, groups=2, dtype="f8", target=target)


@pytest.mark.parametrize("target", FEW)
def test_one_block_of_images(target):
    """The filters' gradient comes out of the kernel as (C, *taps, O): taps lie closer than channels."""
    for channels, outputs, size, taps, groups in (
        (4, 5, 6, 3, 1), (8, 8, 6, 3, 4), (150, 40, 4, 3, 1), (1, 7, 6, 3, 1), (70, 33, 3, 1, 1),
    ):  # fmt: skip
        check(1, channels, (size, size), outputs, (taps, taps), pad=taps // 2, groups=groups, target=target)


@pytest.mark.parametrize("target", LEVELS)
def test_few_channels(target):
    """The filters' gradient takes all rows of taps at once."""
    check(3, 1, (9, 9), 6, (5, 5), pad=2, target=target)
    check(2, 3, (9, 7), 40, (3, 3), 2, target=target)
    if target.name == "host":
        check(2, 2, (8, 8), 20, (3, 3), groups=2, target=target)
        check(2, 1, (8, 9), 3, (3, 2), 3, 0, 2, target=target)
        check(2, 2, (4, 5, 6), 5, (2, 3, 2), 2, dtype="f8", target=target)


def test_means_of_windows_stay_channels_last():
    """The gradient of such a mean spreads each number over its window, in the order of the images."""

    def pooled(x, w):
        x, w = (t.detach().requires_grad_() for t in (x, w))
        out = F.avg_pool2d(F.conv2d(x, w).tanh(), 2).tanh().flatten(1)
        return (out.detach(), *lp.autograd.grad((out * out).sum(), (x, w)))

    rng = np.random.default_rng(4)
    x, w = (lp.tensor(rng.standard_normal(shape).astype("f4")) for shape in ((3, 2, 10, 8), (20, 2, 3, 3)))
    compiled = lp.compile(pooled)
    for a, b in zip(compiled(x, w), pooled(x, w), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-5)
    for call in compiled.explain().plans[0].kernels:
        if type(call.kernel).__name__ == "ConvolutionWeight":
            assert call.kernel.y.strides[-1] == 1
            assert "channels last" not in [call.label for call in compiled.explain().plans[0].kernels]


@pytest.mark.parametrize("channels_last", [False, True])
def test_bits_do_not_depend_on_threads(channels_last):
    rng = np.random.default_rng(2)
    before = lp.get_num_threads()
    x = lp.tensor(rng.standard_normal((5, 9, 8, 24)).astype("f4")).permute(0, 3, 1, 2)
    x = x if channels_last else x.contiguous()
    try:
        for groups, width in ((1, 24), (24, 1), (4, 6)):
            w = lp.tensor(rng.standard_normal((24, width, 3, 3)).astype("f4"))
            b = lp.zeros(24, 1, 1)
            found = []
            for threads in (1, 2, 3, 8):
                lp.set_num_threads(threads)
                geometry = (1, 1), ((1, 1),) * 2, (1, 1), groups
                made = run_as("compiled", lambda *ts, g=geometry: step(*ts, *g), x, w, b)
                found.append([t.numpy().tobytes() for t in made])
            assert all(one == found[0] for one in found), groups
    finally:
        lp.set_num_threads(before)
