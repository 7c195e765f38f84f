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
    _evaluate,
    _view,
    function,
    strides_of,
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
        # Sums of up to 100,000 numbers in other orders (relative to a sum of positive ones), and two logarithms.
        np.testing.assert_allclose(ours, theirs, rtol=3e-6 if ours.dtype == np.float32 else 1e-14, atol=3e-6)


@each_target
@pytest.mark.parametrize("columns", [1, 2, 3, 7, 8, 10, 16, 31, 33, 64, 65, 128, 200, 257, 1000])
def test_lengths(target, columns):
    shape = (5, columns)
    check(cross_entropy(shape), scores(shape), target)
