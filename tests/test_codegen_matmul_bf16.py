"""Products of bfloat16 with sums of float32: by the processor's own instruction, and without it."""

import re
import sys

import ml_dtypes
import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="without llvmlite there is no code generator to test")

from codegen_harness import Elementwise, function, targets
from plan_harness import matmul, operand, window
from test_codegen_matmul import before_a_wall, matrix, run

import lampion
from lampion import dtype as dtypes
from lampion.compiler import kernel_ir as ir
from lampion.compiler.codegen import matmul as kernels
from lampion.compiler.codegen.builder import compile_module
from lampion.compiler.codegen.builder import ir as llvm_ir
from lampion.compiler.codegen.target import Target
from lampion.compiler.function import run_as
from lampion.nn import functional as F

LEVELS = [pytest.param(target, id=target.name) for target in targets("sse2", "avx2", "host")]
BF16 = ml_dtypes.bfloat16
has_dots = pytest.mark.skipif(
    not Target.host().multiplies_bfloat16, reason="this processor has no products of bfloat16"
)


def assert_close(actual, a, b):
    """Products of bfloat16 are exact in float32; each of the sums is rounded once, or not at all."""
    a, b = a.astype("f8"), b.astype("f8")
    size = np.abs(a) @ np.abs(b)
    # Twice what was measured; at worst it is a unit for each step, of which there are up to 512 in a row.
    np.testing.assert_array_less(np.abs(actual - a @ b), 8 * 2.0**-24 * size + 1e-30)


# Shapes on both sides of every size that the kernel knows: lanes, tiles, panels, strips, blocks of k.
SHAPES = [
    (1, 1, 1), (2, 3, 5), (15, 17, 33), (59, 160, 31), (30, 161, 64), (3, 400, 129), (130, 200, 1),
    (90, 1030, 35), (30, 515, 9),
]  # fmt: skip


@pytest.mark.parametrize("target", LEVELS)
@pytest.mark.parametrize("layouts", ["CC", "CF", "FC", "FF", "GC"])
def test_shapes(target, layouts):
    rng = np.random.default_rng(0)
    names = {"C": "C", "F": "F", "G": "gaps"}
    for m, k, n in SHAPES if target.name == "host" else SHAPES[5::2]:
        a = matrix(rng, m, k, layout=names[layouts[0]], dtype=BF16)
        b = matrix(rng, k, n, layout=names[layouts[1]], dtype=BF16)
        out = np.zeros((m, n), "f4")
        assert_close(run(matmul(a, b, out), (a, b, out), target, (1, 3)), a, b)


@pytest.mark.parametrize("target", [LEVELS[0], LEVELS[-1]])
def test_batches_and_rows_a_page_apart(target):
    rng = np.random.default_rng(3)
    a, b = matrix(rng, 2, 3, 30, 20, dtype=BF16), matrix(rng, 2, 3, 20, 40, dtype=BF16)
    out = np.zeros((2, 3, 30, 40), "f4")
    assert_close(run(matmul(a, b, out), (a, b, out), target), a, b)
    far = np.zeros((30, 4096), BF16)[:, :20]
    far[...] = a[0, 0]
    b, out = b[0, 0], np.zeros((30, 40), "f4")
    assert_close(run(matmul(far, b, out), (far, b, out), target), far, b)


@pytest.mark.skipif(sys.platform == "win32", reason="protects memory with POSIX calls")
@pytest.mark.parametrize("target", LEVELS)
def test_nothing_beyond_the_ends_is_touched(target):
    rng = np.random.default_rng(11)
    m, k, n = 31, 331, 67
    for transposed, depth in ((0, k + 1), (1, k), (2, k + 1), (3, k)):
        a, b = matrix(rng, m, depth, dtype=BF16), matrix(rng, depth, n, dtype=BF16)
        a = before_a_wall(a.T.copy()).T if transposed & 1 else before_a_wall(a)
        b = before_a_wall(b.T.copy()).T if transposed & 2 else before_a_wall(b)
        out = before_a_wall(np.zeros((m, n), "f4"))
        assert_close(run(matmul(a, b, out), (a, b, out), target, (2,)), a, b)


@pytest.mark.parametrize("target", [LEVELS[0], LEVELS[-1]])
@pytest.mark.parametrize("name", ["maximum", "tanh"])  # one short enough for registers, one not
@pytest.mark.parametrize("k", [20, 1100], ids=["one block of k", "several"])
def test_epilogue_in_bfloat16(target, name, k):
    rng = np.random.default_rng(5)
    n = 45 if k == 20 else 33  # many columns more than whole vectors, or one
    a, b = matrix(rng, 29, k, dtype=BF16), matrix(rng, k, n, dtype=BF16)
    bias, out = matrix(rng, 1, n, dtype=BF16)[0], np.zeros((29, n), BF16)
    f4, short = dtypes.float32, dtypes.bfloat16
    spread = ir.Window(3, (29, n), (0, 1))
    values = (
        ir.Result(0, f4),
        ir.Load(spread, short),
        ir.Compute(function("add"), (0, 1), f4),
        ir.Compute(function(name), (2, 2) if name == "maximum" else (2,), f4),
        ir.Compute(Elementwise(lambda xp, x: x, "cast"), (3,), short),
    )
    operands = (operand(a), operand(b), operand(out, True), operand(bias))
    store = ir.Store(window(2, out), len(values) - 1)
    kernel = ir.Matmul(window(0, a), window(1, b), f4, operands, values, (store,))
    exact = a.astype("f8") @ b.astype("f8") + bias.astype("f8")
    exact = np.tanh(exact) if name == "tanh" else exact
    got = run(kernel, (a, b, out, bias), target, (1, 3)).astype("f8")
    # Half a unit of bfloat16, and a little for the sum before.
    np.testing.assert_allclose(got, exact, rtol=2**-8, atol=1e-4)


@pytest.mark.parametrize("target", LEVELS)
def test_infinities_and_nans_stay_where_they_belong(target):
    a, b = np.ones((20, 31), BF16), np.ones((31, 40), BF16)
    a[3, 30], a[5, 2], b[7, 11] = np.inf, np.nan, -np.inf
    out = np.zeros((20, 40), "f4")
    with np.errstate(invalid="ignore"):
        wanted = a.astype("f4") @ b.astype("f4")
    np.testing.assert_array_equal(run(matmul(a, b, out), (a, b, out), target), wanted)


@has_dots
def test_subnormal_numbers_count_as_zero():
    a, b, out = np.full((16, 2), 1e-39, BF16), np.ones((2, 16), BF16), np.zeros((16, 16), "f4")
    assert (run(matmul(a, b, out), (a, b, out), Target.host()) == 0).all()


def test_chunks_and_buffers():
    for m, k, n in ((500, 1000, 1000), (128, 4096, 512), (5, 3000, 3000), (4096, 4096, 4096)):
        for transposed in range(4):
            a = np.empty((k, m), BF16).T if transposed & 1 else np.empty((m, k), BF16)
            b = np.empty((n, k), BF16).T if transposed & 2 else np.empty((k, n), BF16)
            kernel = matmul(a, b, np.empty((m, n), "f4"))
            assert len({kernels.chunks(kernel, target) for target in targets()}) == 1
            assert kernels.chunks(kernel) >= 7
            for target in targets("sse2", "host"):
                module = llvm_ir.Module()
                kernels.emit(module, "kernel", kernel, target)
                found = re.findall(r"alloca \[(\d+) x (float|i32)\]", str(module))
                assert sum(4 * int(count) for count, _ in found) <= 256 << 10


@has_dots
def test_the_processors_instruction_is_used():
    kernel = matmul(np.empty((64, 64), BF16), np.empty((64, 64), BF16), np.empty((64, 64), "f4"))
    module = llvm_ir.Module()
    kernels.emit(module, "kernel", kernel, Target.host())
    assert "dpbf16ps" in str(module)
    compile_module(module, Target.host())  # nothing undefined


# From functions -------------------------------------------------------------------------------------------


def products(explanation):
    """The types of the operands of all products of a compiled function."""
    kernels = [call.kernel for call in explanation.plans[0].kernels]
    return [
        {kernel.operands[w.operand].dtype for w in (kernel.a, kernel.b)}
        for kernel in kernels if isinstance(kernel, ir.Matmul)
    ]  # fmt: skip


@has_dots
def test_all_products_of_a_step_take_bfloat16():
    layer = lampion.nn.Linear(40, 24)
    x = lampion.randn(30, 40).requires_grad_()

    @lampion.compile
    def step():
        with lampion.autocast("cpu"):
            loss = F.mse_loss(layer(x), lampion.zeros(30, 24))
        layer.zero_grad()
        loss.backward()
        return loss

    x.grad = lampion.zeros(30, 40)
    step()
    assert products(step.explain()) == [{dtypes.bfloat16}] * 3
    assert step.explain().callouts == 0


@pytest.mark.parametrize("shape", [(1, 64, 64), (20, 64, 30)])
def test_compiled_is_eager(shape):
    m, k, n = shape
    x, y = lampion.randn(m, k).bfloat16(), lampion.randn(n, k).bfloat16()

    def product(x, y):
        return x @ y.T, lampion.relu(x @ y.T) * 2

    for target in targets("avx2", "host"):
        for ours, theirs in zip(run_as("compiled", product, x, y, target=target), product(x, y), strict=True):
            # The sums differ in the last digits of float32, so that some are rounded the other way.
            np.testing.assert_allclose(ours.double().numpy(), theirs.double().numpy(), rtol=2**-7, atol=1e-4)
            assert lampion.eq(ours, theirs).float().mean() > 0.98


@pytest.mark.parametrize("dtype", ["int16", "uint8", "float16", "bfloat16"])
def test_one_column_more_than_whole_vectors(dtype):
    """Cut to fewer bits, the last column went over the first one of the next row, too."""
    x, y = lampion.randint(0, 3, (9, 20)).float(), lampion.randint(0, 3, (20, 33)).float()

    def product(x, y):
        return (x @ y).to(getattr(lampion, dtype))

    assert lampion.equal(run_as("compiled", product, x, y), product(x, y))
