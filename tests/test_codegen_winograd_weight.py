"""The gradient of 3x3 filters by Winograd's algorithm, beside float64 and beside the direct kernel."""

import functools
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="without llvmlite there is no code generator to test")

from codegen_harness import arm, call_of, strides_of, targets, window
from llvmlite import ir as llvm_ir
from numpy.lib.stride_tricks import as_strided

import lampion as lp
from lampion.compiler.codegen import convolution_weight
from lampion.compiler.codegen.builder import optimize
from lampion.compiler.kernel_ir import ConvolutionWeight, Operand
from lampion.compiler.switches import is_on
from lampion.dtype import float32
from lampion.nn import functional as F

LEVELS = [pytest.param(target, id=target.name) for target in targets("sse2", "avx2", "host")]
HOST = targets("host")[0]
ONE = ((1, 1), (1, 1))


def record(x, y, pad=ONE, blocks=1, transformed=True):
    """The kernel for images (N, H, W, C) and slopes (N, H', W', O)."""
    images = -(-len(x) // blocks)
    shape = (-(-len(x) // images), 3, 3, x.shape[-1], y.shape[-1])
    windows = (window(number, shape) for number, shape in enumerate((x.shape, y.shape, shape)))
    padding = tuple(before for before, _ in pad)
    operands = Operand(float32), Operand(float32), Operand(float32, True)
    return ConvolutionWeight(
        *windows, images, (1, 1), padding, (1, 1), 1, float32, operands, transformed=transformed
    )


machine_code = functools.cache(functools.partial(call_of, convolution_weight))


def run(kernel, x, y, target=HOST):
    """What the kernel writes: its chunks one by one, the last one first."""
    out = np.full(kernel.out.shape, np.nan, "f4")
    call = machine_code(kernel, target)
    for chunk in reversed(range(convolution_weight.chunks(kernel))):
        assert call([x, y, out], chunk, chunk + 1) == 0
    return out


def products(x, y, pad):
    """The gradient as nine products of matrices."""
    x = np.pad(x, ((0, 0), *pad, (0, 0)))
    rows, columns = y.shape[1:3]
    taps = [
        x[:, i : i + rows, j : j + columns].reshape(-1, x.shape[-1]).T @ y.reshape(-1, y.shape[-1])
        for i in range(3) for j in range(3)
    ]  # fmt: skip
    return np.reshape(taps, (3, 3, x.shape[-1], y.shape[-1]))


def numbers(images, sizes, channels, outputs, pad=ONE, seed=0):
    rng = np.random.default_rng(seed)
    slopes = [n + sum(p) - 2 for n, p in zip(sizes, pad, strict=True)]
    x = rng.standard_normal((images, *sizes, channels), "f4")
    return x, rng.standard_normal((images, *slopes, outputs), "f4")


def check_errors(found, x, y, pad):
    """At most twice what NumPy's products lose: in the mean and an ulp of the largest, at worst and 4 ulp."""
    exact = products(x.astype("f8"), y.astype("f8"), pad)
    ours, theirs = np.abs(found - exact), np.abs(products(x, y, pad) - exact)
    ulp = np.finfo("f4").eps * np.abs(exact).max()
    assert ours.max() <= 2 * theirs.max() + 4 * ulp
    assert np.sqrt((ours**2).mean()) <= 2 * np.sqrt((theirs**2).mean()) + ulp


@pytest.mark.parametrize("target", LEVELS)
@pytest.mark.parametrize(
    ("images", "sizes", "channels", "outputs", "pad"),
    [
        (3, (8, 8), 16, 16, ONE),
        (2, (7, 9), 48, 32, ONE),
        (2, (9, 6), 32, 80, ((0, 0), (2, 1))),
        (3, (1, 5), 16, 48, ((2, 1), (0, 2))),
        (5, (4, 4), 80, 144, ((2, 2), (2, 2))),
    ],
)
def test_sizes_on_both_sides_of_tiles_and_blocks(target, images, sizes, channels, outputs, pad):
    x, y = numbers(images, sizes, channels, outputs, pad)
    found = run(record(x, y, pad, blocks=2), x, y, target)
    check_errors(found.sum(0), x, y, pad)


@pytest.mark.parametrize("width", [2, 47, 49, 150])
def test_rows_longer_than_a_sum(width):
    x, y = numbers(2, (3, width), 16, 16)
    check_errors(run(record(x, y), x, y)[0], x, y, ONE)


@pytest.mark.parametrize("offset", [0.0, 2.0])
@pytest.mark.parametrize(("channels", "transformed"), [(16, True), (16, False), (3, False)])
def test_long_sums_keep_their_digits(channels, transformed, offset):
    """Sums over 25,000 places, of numbers around zero or all positive; the direct kernel's too."""
    x, y = numbers(5, (50, 100), channels, 32)
    x, y = x + np.float32(offset), y + np.float32(offset)
    check_errors(run(record(x, y, transformed=transformed), x, y)[0], x, y, ONE)


def test_windows_of_any_strides():
    """Rows and columns exchanged, turned round, far apart; a result whose taps lie within its channels."""
    x, y = numbers(2, (6, 70), 16, 16)
    expected = run(record(x, y), x, y)[0]
    kernel = record(x, y)
    order = (2, 1, 0, 3)  # columns are outermost in memory
    turned = np.ascontiguousarray(x.transpose(order))
    by_x = [strides_of(turned.shape)[axis] for axis in order]
    by_image, by_row, by_column, _ = strides_of(y.shape)
    by_y, last = (by_image, -by_row, -by_column, 1), 5 * by_row + 69 * by_column
    out = strides_of((1, 3, 3, 16, 16), (0, 3, 1, 2, 4))
    kernel = replace(
        kernel, x=window(0, x.shape, by_x), y=window(1, y.shape, by_y, last),
        out=window(2, kernel.out.shape, out),
    )  # fmt: skip
    found = run(kernel, turned, np.ascontiguousarray(y[:, ::-1, ::-1]))
    found = as_strided(found, found.shape, [4 * step for step in out])
    np.testing.assert_array_equal(found[0], expected)

    far = np.zeros((2, 6, 70, 5000), "f4")
    far[..., 100:116] = x
    kernel = replace(record(x, y), x=window(0, x.shape, strides_of(far.shape), 100))
    np.testing.assert_array_equal(run(kernel, far, y)[0], expected)


def test_whole_numbers_stay_exact_and_zeros_zeros():
    rng = np.random.default_rng(3)
    x, y = (rng.integers(-8, 9, (4, 9, 9, 16)).astype("f4") for _ in range(2))
    x[..., 5], y[..., 7] = 0, 0
    found = run(record(x, y), x, y)[0]
    np.testing.assert_array_equal(found, products(x, y, ONE))
    assert not found[:, :, 5].any() and not found[..., 7].any()


def _strange(kind):
    """Numbers some of which are not finite, or too large for their sums."""
    x, y = numbers(4, (7, 8), 16, 48)
    rng = np.random.default_rng(4)
    some_x, some_y = rng.random(x.shape) < 1e-3, rng.random(y.shape) < 1e-3
    match kind:
        case "infinity in a corner":
            x[0, 0, 0, 3] = np.inf
        case "large at a border":
            x[0, -1, 5, 3] = 3e38
        case "infinities":
            x[some_x] = np.inf
        case "infinities of both signs":
            x[some_x], y[some_y] = np.inf, -np.inf
        case "an infinite slope in a corner":
            y[0, 0, 0, 5] = np.inf
        case "slopes that are no numbers":
            y[some_y] = np.nan
        case "infinity times zero":
            x[1, 3, 3], y[...] = np.inf, 0
        case "nothing else":
            x[...] = np.nan
    return x, y  # fmt: skip


@pytest.mark.parametrize("target", LEVELS)
@pytest.mark.parametrize("kind", [
    "infinity in a corner", "large at a border", "infinities", "infinities of both signs",
    "an infinite slope in a corner", "slopes that are no numbers", "infinity times zero", "nothing else",
])  # fmt: skip
def test_what_is_not_finite_is_where_direct_convolution_has_it(kind, target):
    x, y = _strange(kind)
    with np.errstate(all="ignore"):
        found, direct = (
            run(record(x, y, blocks=2, transformed=way), x, y, target).sum(0) for way in (True, False)
        )
    finite = np.isfinite(direct)
    assert not finite.all()
    np.testing.assert_array_equal(found[~finite], direct[~finite])
    largest = max(1.0, np.abs(direct[finite]).max(initial=0))
    # Sums of a few hundred products.
    np.testing.assert_allclose(found[finite], direct[finite], rtol=0, atol=1e-5 * largest)


def gradient(x, w):
    w = w.detach().requires_grad_()
    return lp.autograd.grad(F.conv2d(x, w, padding=1).square().sum(), w)[0]


def test_threads_do_not_change_bits():
    x, w = lp.randn(9, 32, 14, 15), lp.randn(48, 32, 3, 3)
    compiled = lp.compile(gradient)
    before = lp.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3, 8):
            lp.set_num_threads(threads)
            results.append(compiled(x, w).numpy().copy())
    finally:
        lp.set_num_threads(before)
    kernels = [call.kernel for call in compiled.explain().plans[0].kernels]
    found = [kernel.transformed for kernel in kernels if isinstance(kernel, ConvolutionWeight)]
    assert found == [is_on("LAMPION_WINOGRAD")]
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


@pytest.mark.skipif(not is_on("LAMPION_WINOGRAD"), reason="LAMPION_WINOGRAD=0")
@pytest.mark.parametrize(
    ("channels", "outputs", "size", "taken"),
    [(16, 16, 16, True), (64, 48, 8, True), (3, 64, 16, False), (16, 20, 16, False), (16, 16, 7, False)],
)
def test_which_filters_go_this_way(channels, outputs, size, taken):
    compiled = lp.compile(gradient)
    compiled(lp.randn(4, channels, size, size), lp.randn(outputs, channels, 3, 3))
    kernels = [call.kernel for call in compiled.explain().plans[0].kernels]
    found = [kernel.transformed for kernel in kernels if isinstance(kernel, ConvolutionWeight)]
    assert found == [taken]


def test_arm_can_be_emitted_for():
    """No machine code that runs here, but it must compile."""
    target, machine = arm()
    module = llvm_ir.Module()
    convolution_weight.emit(module, "kernel", record(*numbers(2, (7, 60), 48, 16)), target)
    assert len(machine.emit_object(optimize(module, target, machine))) > 0
