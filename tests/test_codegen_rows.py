"""Row kernels as machine code, beside NumPy, for every level of processor that runs here."""

import ctypes
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="without llvmlite there is no code generator to test")

from codegen_harness import (
    MAX,
    SUM,
    Elementwise,
    Reducing,
    _view,
    function,
    targets,
    window,
)

from lampion.compiler.codegen import rows as row_kernels
from lampion.compiler.codegen.builder import compile_module, ir
from lampion.compiler.codegen.loader import Library
from lampion.compiler.codegen.walks import Walks
from lampion.compiler.kernel_ir import (
    Chosen,
    Compute,
    Literal,
    Load,
    Operand,
    Position,
    Reduction,
    Result,
    Rows,
    Store,
)
from lampion.dtype import float32, float64, int32, int64

TARGETS = targets()
HOST = targets("host")[0]
each_target = pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
rng = np.random.default_rng(0)


def compiled(kernel, target):
    module = ir.Module()
    row_kernels.emit(module, "kernel", kernel, target)
    library = Library(compile_module(module, target), target)
    types = [ctypes.c_void_p] * len(kernel.operands) + [ctypes.c_int64] * 2
    return library, ctypes.CFUNCTYPE(ctypes.c_int64, *types)(library.address("kernel"))


def run(kernel, buffers, target=HOST):
    """Copies of the buffers after the chunks have run, the last one first; and the least status but 0."""
    buffers = [buffer.copy() for buffer in buffers]
    _library, code = compiled(kernel, target)
    pointers = [buffer.ctypes.data for buffer in buffers]
    failed = [code(*pointers, n, n + 1) for n in reversed(range(row_kernels.chunks(kernel)))]
    return buffers, min(filter(None, failed), default=0)


def reference(kernel, buffers):
    """Copies of the buffers, after NumPy has done what the kernel says: each value when it is asked for."""
    buffers = [buffer.copy() for buffer in buffers]
    inside = tuple(range(kernel.outer, len(kernel.shape)))

    def one(value, args, shape):
        if isinstance(value, Load):
            made = _view(value.window, buffers)
        elif isinstance(value, Literal):
            made = value.value
        elif isinstance(value, Position):
            made = np.arange(shape[-1])
        else:
            made = value.primitive.forward(np, *args, **dict(value.params))
        return np.broadcast_to(made, shape).astype(value.dtype.numpy)

    def point(n):
        value = kernel.points[n]
        if isinstance(value, Result):
            return np.broadcast_to(row(value.index).reshape(*kernel.kept, *[1] * len(inside)), kernel.shape)
        return one(value, [point(a) for a in getattr(value, "args", ())], kernel.shape)

    def row(n):
        value = kernel.rows[n]
        if isinstance(value, Result):
            reduction = kernel.reductions[value.index]
            combine = np.maximum if reduction.primitive.name == "max" else np.add
            start = reduction.primitive.identity(reduction.dtype)
            return combine.reduce(point(reduction.value).astype(reduction.dtype.numpy), inside, initial=start)
        if isinstance(value, Chosen):
            return np.take_along_axis(point(value.value), row(value.index)[..., None], -1)[..., 0]
        return one(value, [row(a) for a in getattr(value, "args", ())], kernel.kept)

    with np.errstate(all="ignore"):
        for store in kernel.stores:
            _view(store.window, buffers)[...] = point(store.value)
        for store in kernel.row_stores:
            _view(store.window, buffers)[...] = row(store.value)
    return buffers


SUB, EXP, DIV, MUL, LOG = (function(name) for name in ("subtract", "exp", "divide", "multiply", "log"))
SHIFT = Elementwise(lambda xp, x, y: x - y)
WHERE = Elementwise(lambda xp, p, i, x: xp.where(p == i, x, 0.0))


def cross_entropy(shape, dtype=float32, strides=None):
    """Operands: scores, labels, gradient (p - 1 at the label), probabilities, loss of each row."""
    kept = shape[:-1]
    labels = Operand(int64)
    points = (
        Load(window(0, shape, strides), dtype), Result(0, dtype), Compute(SUB, (0, 1), dtype),
        Compute(EXP, (2,), dtype), Result(1, dtype), Compute(DIV, (3, 4), dtype),
        Position(int64), Result(2, int64), Literal(1.0, dtype), Compute(WHERE, (6, 7, 8), dtype),
        Compute(SUB, (5, 9), dtype),
    )  # fmt: skip
    rows = (
        Result(0, dtype), Result(1, dtype), Load(window(1, kept), int64), Chosen(2, 2, dtype),
        Compute(LOG, (1,), dtype), Compute(SUB, (4, 3), dtype),
    )  # fmt: skip
    operands = (Operand(dtype), labels, Operand(dtype, True), Operand(dtype, True), Operand(dtype, True))
    return Rows(
        tuple(shape), len(kept), operands, points, rows,
        (Reduction(MAX, 0, dtype), Reduction(SUM, 3, dtype)),
        (Store(window(2, shape), 10), Store(window(3, shape), 5)), (Store(window(4, kept), 5),),
    )  # fmt: skip


def scores(shape, dtype=float32):
    size = int(np.prod(shape))
    labels = rng.integers(0, shape[-1], size // shape[-1])
    return [rng.standard_normal(size).astype(dtype.numpy) * 4, labels, *np.zeros((2, size), dtype.numpy),
            np.zeros(size // shape[-1], dtype.numpy)]  # fmt: skip


def check(kernel, buffers, target=HOST):
    actual, status = run(kernel, buffers, target)
    assert not status
    for ours, theirs in zip(actual, reference(kernel, buffers), strict=True):
        # Sums of up to 100,000 positive numbers in other orders, and two logarithms.
        np.testing.assert_allclose(ours, theirs, rtol=3e-6 if ours.dtype == np.float32 else 1e-14, atol=3e-6)


@each_target
@pytest.mark.parametrize("columns", [1, 2, 3, 7, 8, 10, 16, 31, 33, 64, 65, 128, 200, 257, 1000])
def test_lengths(target, columns):
    shape = (5, columns)
    check(cross_entropy(shape), scores(shape), target)


def test_a_huge_row():
    check(cross_entropy((2, 100_000)), scores((2, 100_000)))


@pytest.mark.parametrize("shape", [(0, 5), (4, 0), (1, 40), (3, 4, 50)], ids=str)
def test_shapes(shape):
    if 0 in shape:
        buffers, status = run(
            cross_entropy(shape), [np.zeros(4, op.dtype.numpy) for op in cross_entropy(shape).operands]
        )
        assert not status
        assert not any(buffer.any() for buffer in buffers)
    else:
        check(cross_entropy(shape), scores(shape))


@pytest.mark.parametrize("columns", [5, 37, 128, 500])
def test_float64(columns):
    check(cross_entropy((4, columns), float64), scores((4, columns), float64))


@each_target
@pytest.mark.parametrize("columns", [6, 90, 700])
def test_rows_apart_in_memory(target, columns):
    """Rows that have a gap between them, and points that have."""
    for strides in ((columns + 3, 1), (2 * columns, 2), (1, 5)):
        kernel = cross_entropy((5, columns), strides=strides)
        buffers = scores((5, columns))
        buffers[0] = rng.standard_normal(5 * 2 * columns + 50).astype(np.float32)
        check(kernel, buffers, target)


def moments(shape, outer, gain):
    """x minus its mean, divided by its deviation, times a gain that a window of these strides reads."""
    kept, count = shape[:outer], float(np.prod(shape[outer:]))
    square = Elementwise(lambda xp, x: x * x)
    scale = Elementwise(lambda xp, mean, squares, n: 1.0 / xp.sqrt(squares / n - mean * mean + 1e-3))
    points = (
        Load(window(0, shape), float32), Compute(square, (0,), float32),
        Result(2, float32), Result(4, float32), Compute(SUB, (0, 2), float32),
        Compute(MUL, (4, 3), float32), Load(window(1, shape, gain), float32),
        Compute(MUL, (5, 6), float32),
    )  # fmt: skip
    rows = (
        Result(0, float32), Literal(count, float32), Compute(DIV, (0, 1), float32), Result(1, float32),
        Compute(scale, (2, 3, 1), float32),
    )  # fmt: skip
    operands = (Operand(float32), Operand(float32), Operand(float32, True), Operand(float32, True))
    return Rows(
        shape, outer, operands, points, rows, (Reduction(SUM, 0, float32), Reduction(SUM, 1, float32)),
        (Store(window(2, shape), 7),), (Store(window(3, kept), 4),),
    )  # fmt: skip


@each_target
@pytest.mark.parametrize("sizes", [(3, 5), (2, 40), (7, 300), (40, 8), (65, 1)])
def test_rows_of_several_lines(target, sizes):
    """A gain for each line, as in group norm: the lines cannot be one."""
    lines, length = sizes
    shape = (6, lines, length)
    x, gain = rng.standard_normal(6 * lines * length), rng.standard_normal(6 * lines)
    buffers = [array.astype(np.float32) for array in (x, gain, 0 * x, np.zeros(6))]
    check(moments(shape, 1, (lines, 1, 0)), buffers, target)


def test_reductions_of_the_same_points_are_one_walk():
    kernel = moments((4, 100), 1, (0, 1))
    walks = Walks(kernel.points, kernel.rows, kernel.reductions, kernel.stores)
    assert walks.count == 2
    assert walks.reduced(0) == [0, 1]
    assert not walks.kept


def test_an_exponential_is_computed_once():
    kernel = cross_entropy((4, 100))
    walks = Walks(kernel.points, kernel.rows, kernel.reductions, kernel.stores)
    assert walks.count == 3
    assert walks.kept == {3: 1}
    assert walks.again == [[], [], [3]]


@each_target
@pytest.mark.parametrize("columns", [9, 3000])
@pytest.mark.parametrize("wrong", [-1, 9000, -(2**63), 2**62])
def test_an_index_out_of_range_is_reported(target, columns, wrong):
    shape = (40, columns)
    buffers = scores(shape)
    buffers[1][[17, 30]] = wrong
    _, status = run(cross_entropy(shape), buffers, target)
    assert status == 1 + 17


def test_chunks_are_whole_rows_and_each_row_has_the_same_bits_in_any():
    shape = (64, 1000)
    kernel, buffers = cross_entropy(shape), scores(shape)
    assert row_kernels.chunks(kernel) > 1
    together, _ = run(kernel, buffers)
    for row in (0, 31, 63):
        one = [buffer[row * buffer.size // 64 : (row + 1) * buffer.size // 64] for buffer in buffers]
        alone, _ = run(cross_entropy((1, 1000)), one)
        np.testing.assert_array_equal(alone[2], together[2].reshape(shape)[row])


def test_nothing_is_stored_over_what_is_loaded():
    kernel = cross_entropy((3, 8))
    over = replace(kernel, stores=(Store(window(0, (3, 8)), 5),))
    with pytest.raises(ValueError, match="stores nothing that it loads"):
        run(over, scores((3, 8)))


def test_positions_need_rows_of_one_axis():
    kernel = replace(cross_entropy((3, 4, 8)), outer=1)
    with pytest.raises(ValueError, match="only if it has one axis"):
        run(kernel, scores((3, 4, 8)))


def test_special_values():
    shape = (8, 70)
    buffers = scores(shape)
    x = buffers[0].reshape(shape)
    x[0], x[1], x[2, 3], x[3, 5], x[4, 69] = -np.inf, np.nan, np.inf, np.nan, -np.inf
    check(cross_entropy(shape), buffers)


def test_integers():
    shape, count = (5, 21), Reducing(lambda xp, a, b: xp.add(a, b), lambda dtype: 0, "sum")
    less = Elementwise(lambda xp, x, most: x * 3 - most)
    points = (Load(window(0, shape), int32), Result(0, int32), Compute(less, (0, 1), int32))
    kernel = Rows(
        shape, 1, (Operand(int32), Operand(int64, True), Operand(int32, True)), points,
        (Result(0, int32), Result(1, int64)), (Reduction(MAX, 0, int32), Reduction(count, 2, int64)),
        (Store(window(2, shape), 2),), (Store(window(1, (5,)), 1),),
    )  # fmt: skip
    x = rng.integers(-1000, 1000, 105).astype(np.int32)
    check(kernel, [x, np.zeros(5, np.int64), np.zeros(105, np.int32)])
