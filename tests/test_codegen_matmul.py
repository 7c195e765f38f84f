"""Products as machine code, beside NumPy, for every level of processor that runs here."""

import re
import sys
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="without llvmlite there is no code generator to test")

from codegen_harness import function, targets
from plan_harness import Built, matmul, operand, window

from lampion import dtype as dtypes
from lampion.compiler import kernel_ir as ir
from lampion.compiler.codegen import matmul as kernels
from lampion.compiler.codegen.builder import ir as llvm_ir
from lampion.compiler.codegen.target import Target

LEVELS = [pytest.param(target, id=target.name) for target in targets("sse2", "avx2", "host")]
THREADS = (1, 2, 3, 8)


def matrix(rng, *shape, layout="C", dtype="f4"):
    """Numbers of that shape. layout "F": the last two axes swapped in memory; "gaps": neither axis dense."""
    *batch, m, n = shape
    if layout == "F":
        return rng.standard_normal((*batch, n, m)).astype(dtype).swapaxes(-1, -2)
    if layout == "gaps":
        return rng.standard_normal((*batch, m, 2 * n + 3)).astype(dtype)[..., : 2 * n : 2]
    return rng.standard_normal(shape).astype(dtype)


def run(kernel, arrays, target, threads=THREADS):
    """Run with each number of threads; the results (in arrays[2]) must be the same to the bit."""
    run = Built().call(kernel, *arrays).compiled(target)
    first = None
    for count in threads:
        arrays[2][...] = 77
        assert run(count) is None
        if first is None:
            first = arrays[2].copy()
        np.testing.assert_array_equal(arrays[2], first, err_msg=f"{count} threads")
    return first


def assert_close(actual, a, b):
    """Within a small multiple of what rounding each product and sum once would give."""
    exact = a.astype("f8") @ b.astype("f8")
    size = np.abs(a).astype("f8") @ np.abs(b).astype("f8")
    unit = np.finfo(actual.dtype).eps
    np.testing.assert_array_less(np.abs(actual - exact), 12 * unit * size + 1e-300)


# Shapes on both sides of every size that the kernels know: lanes, tiles, panels, blocks of k.
SHAPES = [
    (1, 1, 1), (2, 3, 5), (14, 16, 32), (15, 17, 33), (29, 160, 31), (30, 161, 64), (57, 330, 70),
    (3, 400, 129), (130, 200, 1), (1, 300, 130), (100, 7, 100),
]  # fmt: skip


@pytest.mark.parametrize("target", [*LEVELS, *(pytest.param(t, id=t.name) for t in targets("avx"))])
@pytest.mark.parametrize("layouts", ["CC", "CF", "FC", "FF"])
def test_shapes(target, layouts):
    rng = np.random.default_rng(0)
    for m, k, n in SHAPES if layouts in ("CC", "CF") and target.name != "avx" else SHAPES[4:7]:
        a, b = matrix(rng, m, k, layout=layouts[0]), matrix(rng, k, n, layout=layouts[1])
        out = np.zeros((m, n), "f4")
        assert_close(run(matmul(a, b, out), (a, b, out), target, (1, 3)), a, b)


@pytest.mark.parametrize("target", LEVELS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_strides_of_all_three(target, dtype):
    rng = np.random.default_rng(1)
    for a_layout, b_layout, out_layout in (("gaps", "gaps", "C"), ("C", "gaps", "F"), ("F", "F", "gaps")):
        a, b = (
            matrix(rng, 37, 200, layout=a_layout, dtype=dtype),
            matrix(rng, 200, 45, layout=b_layout, dtype=dtype),
        )
        out = matrix(rng, 37, 45, layout=out_layout, dtype=dtype)
        assert_close(run(matmul(a, b, out), (a, b, out), target), a, b)


@pytest.mark.parametrize("target", LEVELS)
@pytest.mark.parametrize(("dtype", "out_dtype"), [("f4", "f4"), ("f4", "f2"), ("f8", "f8")])
def test_results_whose_columns_are_adjacent(target, dtype, out_dtype):
    """Tiles are turned before they are written, or else written one by one: the numbers are the same."""
    rng = np.random.default_rng(12)
    for m, n in ((48, 32), (25, 70), (130, 48), (9, 33)):
        a, b, c = (
            matrix(rng, m, 300, layout="gaps", dtype=dtype),
            matrix(rng, 300, n, dtype=dtype),
            matrix(rng, m, n),
        )
        kind = dtypes.of(a.dtype)
        add = [ir.Load(window(3, c), dtypes.float32), ir.Compute(function("add"), (0, 1), kind)]
        plain, turned = np.zeros((m, n), out_dtype), np.zeros((n, m), out_dtype).T
        kernels = [replace(matmul(a, b, out, add, [c]), dtype=kind) for out in (plain, turned)]
        kernels = [replace(x, epilogue=(ir.Result(0, kind), *x.epilogue[1:])) for x in kernels]
        want = run(kernels[0], (a, b, plain, c), target, (1,))
        np.testing.assert_array_equal(run(kernels[1], (a, b, turned, c), target, (1, 3)), want)
        np.testing.assert_allclose(
            want, a.astype("f8") @ b + c, rtol=2e-3 if out_dtype == "f2" else 1e-4, atol=1e-3
        )


@pytest.mark.parametrize("target", LEVELS[-1:])
@pytest.mark.parametrize("flips", ["a", "b", "out", "all"])
def test_strides_below_zero(target, flips):
    rng = np.random.default_rng(10)
    a, b, out = matrix(rng, 40, 190), matrix(rng, 190, 50), np.zeros((40, 50), "f4")
    a, b, out = (
        x[::-1, ::-1] if flips in (name, "all") else x for name, x in (("a", a), ("b", b), ("out", out))
    )
    assert_close(run(matmul(a, b, out), (a, b, out), target), a, b)


@pytest.mark.parametrize("target", LEVELS)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_gradients_of_layers(target, dtype):
    """dy.T @ x and dy @ w: read in place, the next block of k fetched ahead; tiles of one height or two."""
    rng = np.random.default_rng(12)
    for m, k, n in ((65, 640, 33), (56, 323, 128), (100, 161, 40)):
        for layout in "FC":
            a, b = matrix(rng, m, k, layout=layout, dtype=dtype), matrix(rng, k, n, dtype=dtype)
            out = np.zeros((m, n), dtype)
            assert_close(run(matmul(a, b, out), (a, b, out), target, (1, 3)), a, b)


@pytest.mark.parametrize("target", LEVELS)
def test_a_small_batch_and_a_weight(target):
    """x @ w.T on both sides of where vectors run along k, with odd rests of rows, columns and k."""
    rng = np.random.default_rng(13)
    for m, k, n in ((20, 100, 41), (20, 333, 41), (4, 65, 7), (32, 256, 70)):
        a, b, out = matrix(rng, m, k), matrix(rng, k, n, layout="F"), np.zeros((m, n), "f4")
        assert_close(run(matmul(a, b, out), (a, b, out), target, (1, 3)), a, b)


@pytest.mark.parametrize("target", [LEVELS[0], LEVELS[-1]])
def test_heads_of_attention(target):
    """Batches that are views of one array: queries, keys and values side by side."""
    rng = np.random.default_rng(14)
    q, k, v = matrix(rng, 2, 37, 3 * 3 * 32).reshape(2, 37, 3, 3, 32).transpose(2, 0, 3, 1, 4)
    scores, mixed = np.zeros((2, 3, 37, 37), "f4"), np.zeros((2, 37, 3, 32), "f4").transpose(0, 2, 1, 3)
    assert_close(run(matmul(q, k.swapaxes(-1, -2), scores), (q, k.swapaxes(-1, -2), scores), target),
                 q, k.swapaxes(-1, -2))  # fmt: skip
    assert_close(run(matmul(scores, v, mixed), (scores, v, mixed), target), scores, v)
    turned = np.ascontiguousarray(scores).swapaxes(-1, -2)
    assert_close(run(matmul(turned, v, mixed), (turned, v, mixed), target), turned, v)


@pytest.mark.parametrize("target", [LEVELS[0], LEVELS[-1]])
def test_rows_a_page_apart(target):
    """Rows that would share a few cache sets are packed."""
    rng = np.random.default_rng(2)
    a, b = np.zeros((40, 1024), "f4")[:, :300], matrix(rng, 300, 50)
    a[...] = matrix(rng, 40, 300)
    out = np.zeros((40, 50), "f4")
    assert_close(run(matmul(a, b, out), (a, b, out), target), a, b)


@pytest.mark.parametrize("target", [LEVELS[0], LEVELS[-1]])
def test_batches(target):
    rng = np.random.default_rng(3)
    a, b, out = matrix(rng, 2, 3, 30, 20), matrix(rng, 2, 3, 20, 40), np.zeros((2, 3, 30, 40), "f4")
    assert_close(run(matmul(a, b, out), (a, b, out), target), a, b)  # panels of b are packed anew
    a, b, out = matrix(rng, 2, 3, 17, 20), matrix(rng, 2, 3, 20, 40), np.zeros((2, 3, 17, 40), "f4")
    assert_close(run(matmul(a, b, out), (a, b, out), target), a, b)  # b is read in place
    shared = np.broadcast_to(matrix(rng, 20, 40), (2, 3, 20, 40))  # as in a linear layer on sequences
    assert_close(run(matmul(a, shared, out), (a, shared, out), target), a, shared)
    apart = a.transpose(1, 0, 2, 3)  # the batch cannot be joined to the rows
    out = np.zeros((3, 2, 17, 40), "f4")
    shared = np.broadcast_to(shared[0, 0], (3, 2, 20, 40))
    assert_close(run(matmul(apart, shared, out), (apart, shared, out), target), apart, shared)
    one = np.broadcast_to(a[:1, :1], (2, 3, 17, 20))
    out = np.zeros((2, 3, 17, 40), "f4")
    assert_close(run(matmul(one, b, out), (one, b, out), target), one, b)


@pytest.mark.parametrize("target", [LEVELS[0], LEVELS[-1]])
@pytest.mark.parametrize("k", [20, 200], ids=["one block of k", "several"])
def test_nothing_else_is_written(target, k):
    rng = np.random.default_rng(4)
    a, b, whole = matrix(rng, 31, k), matrix(rng, k, 35), np.full((40, 60), 5.0, "f4")
    out = whole[4:35, 3:38]
    run(matmul(a, b, out), (a, b, out), target)
    assert_close(out, a, b)
    whole[4:35, 3:38] = 5
    assert (whole == 5).all()


def before_a_wall(array):
    """A copy whose last byte is followed by memory that must not be touched."""
    import ctypes
    import mmap

    pages = -(-array.nbytes // mmap.PAGESIZE)
    memory = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
    whole = np.frombuffer(memory, np.uint8)
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    wall = ctypes.c_void_p(whole.ctypes.data + pages * mmap.PAGESIZE)
    assert protect(wall, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0  # PROT_NONE
    end = pages * mmap.PAGESIZE
    copy = whole[end - array.nbytes : end].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


@pytest.mark.skipif(sys.platform == "win32", reason="protects memory with POSIX calls")
@pytest.mark.parametrize("target", LEVELS)
def test_nothing_beyond_the_ends_is_touched(target):
    rng = np.random.default_rng(11)
    for m, k, n in ((31, 331, 67), (5, 37, 9)):
        for transposed in range(4) if m == 31 else (0, 2):
            a, b = before_a_wall(matrix(rng, m, k)), before_a_wall(matrix(rng, k, n))
            if transposed & 1:
                a = before_a_wall(matrix(rng, k, m)).T
            if transposed & 2:
                b = before_a_wall(matrix(rng, n, k)).T
            out = before_a_wall(np.zeros((m, n), "f4"))
            assert_close(run(matmul(a, b, out), (a, b, out), target, (2,)), a, b)


@pytest.mark.parametrize("target", [LEVELS[0], LEVELS[-1]])
@pytest.mark.parametrize("m, k, n", [(29, 20, 45), (29, 170, 45), (5, 80, 9)])
@pytest.mark.parametrize("name", ["maximum", "tanh"])  # one short enough for registers, one not
def test_epilogue(target, m, k, n, name):
    rng = np.random.default_rng(5)
    for layout in "CF" if m == 5 else "C":
        a, b = matrix(rng, m, k), matrix(rng, k, n, layout=layout)
        out, bias, scale = np.zeros((m, n), "f4"), matrix(rng, 1, n)[0], matrix(rng, 1, m)[0]
        operands = (*(operand(x) for x in (a, b)), operand(out, True), operand(bias), operand(scale))
        f4 = dtypes.float32
        values = (
            ir.Result(0, f4),
            ir.Load(ir.Window(3, (m, n), (0, 1)), f4),
            ir.Load(ir.Window(4, (m, n), (1, 0)), f4),
            ir.Compute(function("add"), (0, 1), f4),
            ir.Compute(function("multiply"), (3, 2), f4),
            ir.Literal(0.0, f4),
            ir.Compute(function("maximum"), (4, 5), f4)
            if name == "maximum"
            else ir.Compute(function("tanh"), (4,), f4),
        )
        kernel = ir.Matmul(window(0, a), window(1, b), f4, operands, values, (ir.Store(window(2, out), 6),))
        actual = run(kernel, (a, b, out, bias, scale), target)
        linear = (a.astype("f8") @ b + bias) * scale[:, None]
        np.testing.assert_allclose(
            actual, np.maximum(linear, 0) if name == "maximum" else np.tanh(linear), atol=2e-4
        )


@pytest.mark.parametrize("target", [LEVELS[0], LEVELS[-1]])
def test_several_stores_and_an_update_in_place(target):
    rng = np.random.default_rng(6)
    a, b, total, mask = (
        matrix(rng, 33, 190),
        matrix(rng, 190, 47),
        matrix(rng, 33, 47),
        np.zeros((33, 47), bool),
    )
    f4, before = dtypes.float32, total.copy()
    operands = (operand(a), operand(b), operand(total, True), operand(mask, True))
    values = (
        ir.Result(0, f4),
        ir.Load(window(2, total), f4),
        ir.Compute(function("add"), (0, 1), f4),
        ir.Literal(0.0, f4),
        ir.Compute(function("greater"), (0, 3), dtypes.bool_),
    )
    stores = (ir.Store(window(2, total), 2), ir.Store(window(3, mask), 4))
    kernel = ir.Matmul(window(0, a), window(1, b), f4, operands, values, stores)
    assert Built().call(kernel, a, b, total, mask).compiled(target)(3) is None
    exact = a.astype("f8") @ b
    np.testing.assert_allclose(total, before + exact, atol=2e-4)
    sure = np.abs(exact) > 1e-3
    np.testing.assert_array_equal(mask[sure], exact[sure] > 0)


@pytest.mark.parametrize("target", LEVELS[:1])
@pytest.mark.parametrize("dtype", ["i4", "i8", "u1", "?"])
def test_integers_and_booleans(target, dtype):
    rng = np.random.default_rng(7)
    a, b = (rng.integers(0, 2 if dtype == "?" else 200, shape).astype(dtype) for shape in ((9, 40), (40, 21)))
    out = np.zeros((9, 21), dtype)
    np.testing.assert_array_equal(run(matmul(a, b, out), (a, b, out), target), a @ b)


def test_operands_of_another_type_are_converted():
    rng = np.random.default_rng(8)
    a, b, out = matrix(rng, 5, 30), matrix(rng, 30, 7, dtype="f8"), np.zeros((5, 7), "f8")
    np.testing.assert_allclose(
        run(matmul(a, b, out), (a, b, out), Target.host()), a.astype("f8") @ b, rtol=1e-12
    )


def test_empty_sizes():
    for m, k, n in ((0, 3, 4), (3, 0, 4), (3, 4, 0)):
        a, b, out = np.zeros((m, k), "f4"), np.zeros((k, n), "f4"), np.zeros((m, n), "f4")
        np.testing.assert_array_equal(run(matmul(a, b, out), (a, b, out), None), a @ b)


@pytest.mark.parametrize("target", LEVELS)
def test_long_sums_lose_no_digits(target):
    """Compared with one float32 sum from end to end, whose error grows with the length."""
    rng = np.random.default_rng(9)
    for layout in "CF":
        a, b = matrix(rng, 40, 4000) + 1, matrix(rng, 4000, 40, layout=layout) + 1
        out = np.zeros((40, 40), "f4")
        actual, exact = run(matmul(a, b, out), (a, b, out), target, (2,)), a.astype("f8") @ b
        assert np.abs(actual / exact - 1).max() < 4e-6


def test_infinities_and_nans_stay_where_they_belong():
    a, b, out = np.ones((20, 200), "f4"), np.ones((200, 37), "f4"), np.zeros((20, 37), "f4")
    a[3, 150], b[7, 11], b[160, 36] = np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(run(matmul(a, b, out), (a, b, out), None), a @ b)


def test_chunks_depend_on_the_shape_alone():
    a, b, out = np.zeros((100, 784), "f4"), np.zeros((1000, 784), "f4").T, np.zeros((100, 1000), "f4")
    kernel = matmul(a, b, out)
    assert kernels.chunks(kernel) >= 32
    assert len({kernels.chunks(kernel, target) for target in targets()}) == 1
    small = matmul(a[:2, :3], b[:3, :4], out[:2, :4])
    assert kernels.chunks(small) == 1


@pytest.mark.parametrize("target", LEVELS[-1:])
def test_buffers_fit_on_the_stack(target):
    for m, k, n in ((4096, 4096, 4096), (3, 5000, 3000), (300, 100, 3)):
        for dtype in ("f4", "f8"):
            for transposed in range(4) if m == 4096 else (0, 3):
                a, b = (np.empty((n_, m_), dtype).T if transposed >> i & 1 else np.empty((m_, n_), dtype)
                        for i, (m_, n_) in enumerate(((m, k), (k, n))))  # fmt: skip
                kernel = matmul(a, b, np.empty((m, n), dtype))
                # The sums of a product that reads what it writes cannot wait there.
                load = ir.Load(kernel.stores[0].window, kernel.dtype)
                for epilogue in (kernel.epilogue, (*kernel.epilogue, load)):
                    module = llvm_ir.Module()
                    kernels.emit(module, "kernel", replace(kernel, epilogue=epilogue), target)
                    found = re.findall(r"alloca \[(\d+) x (float|double)\]", str(module))
                    assert (
                        sum(int(count) * {"float": 4, "double": 8}[kind] for count, kind in found)
                        <= 256 << 10
                    )
