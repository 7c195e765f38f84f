"""Runs kernels two ways, as machine code and as NumPy, for the tests of the code generator."""

import ctypes
import itertools
from dataclasses import dataclass, replace
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numpy.lib.stride_tricks import as_strided

from lampion.compiler.codegen import map as map_kernels
from lampion.compiler.codegen import reduce as reduce_kernels
from lampion.compiler.codegen.builder import compile_module, ir
from lampion.compiler.codegen.loader import Library
from lampion.compiler.codegen.target import Target
from lampion.compiler.kernel_ir import (
    Compute,
    Literal,
    Load,
    Map,
    Operand,
    Reduce,
    Reduction,
    Result,
    Store,
    Window,
)


def targets(*names):
    """Those of the named targets that this machine can run."""
    found = []
    for name in names or ("sse2", "avx", "avx2", "host"):
        try:
            target = Target.named(name)
        except ValueError:  # not an x86 machine
            continue
        if target.runs_here:
            found.append(target)
    return found


def arm():
    """A processor that is not this one, and what makes object code for it: nothing here runs that."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    triple = llvm.Target.from_triple("aarch64-unknown-linux-gnu")
    machine = triple.create_target_machine(features="+neon", opt=3, reloc="pic", codemodel="small")
    return Target("arm", "", "+neon", 16, 32, True), machine


@dataclass(frozen=True)
class Elementwise:
    """Stands in for an elementwise Primitive."""

    forward: Any
    name: str = "test"
    lower: Any = None


def function(name):
    """The elementwise primitive that is NumPy's function of that name."""
    return Elementwise(lambda xp, *args: getattr(xp, name)(*args), name)


@dataclass(frozen=True)
class Reducing:
    """Stands in for a reduction Primitive."""

    combine: Any
    identity: Any
    name: str = "test"


def _lowest(dtype):
    return -np.inf if dtype.kind == "f" else int(np.iinfo(dtype.numpy).min)


SUM = Reducing(lambda xp, a, b: xp.add(a, b), lambda dtype: 0, "sum")
MAX = Reducing(lambda xp, a, b: xp.maximum(a, b), _lowest, "max")
ANY = Reducing(lambda xp, a, b: xp.logical_or(a, b), lambda dtype: False, "any")


def strides_of(shape, order=None):
    """The strides of a contiguous array, whose axes lie in memory in that order."""
    strides, size = [0] * len(shape), 1
    for axis in reversed(order or range(len(shape))):
        strides[axis] = size
        size *= shape[axis]
    return tuple(strides)


def window(operand, shape, strides=None, offset=0):
    return Window(operand, tuple(shape), tuple(strides or strides_of(shape)), offset)


def mapping(primitive, inputs, output, shape, windows=None):
    """A Map of one primitive: operands 0.. of types `inputs`, and then the output."""
    windows = windows or [window(n, shape) for n in range(len(inputs) + 1)]
    loads = tuple(Load(w, dtype) for w, dtype in zip(windows, inputs, strict=False))
    body = (*loads, Compute(primitive, tuple(range(len(inputs))), output))
    operands = (*(Operand(dtype) for dtype in inputs), Operand(output, True))
    return Map(tuple(shape), operands, body, (Store(windows[-1], len(inputs)),))


def reducing(reductions, dtype, shape, axes, strides=None):
    """A Reduce of operand 0 by (primitive, dtype) pairs into operands 1.. ."""
    kept = tuple(n for axis, n in enumerate(shape) if axis not in axes)
    body = (Load(window(0, shape, strides), dtype),)
    epilogue = tuple(Result(n, kind) for n, (_, kind) in enumerate(reductions))
    stores = tuple(Store(window(n + 1, kept), n) for n in range(len(reductions)))
    operands = (Operand(dtype), *(Operand(kind, True) for _, kind in reductions))
    combined = tuple(Reduction(p, 0, kind) for p, kind in reductions)
    return Reduce(tuple(shape), tuple(axes), operands, body, combined, epilogue, stores)


def emitter(kernel):
    return map_kernels if isinstance(kernel, Map) else reduce_kernels


def compiled(kernel, target):
    """A Python function (buffers, lo, hi) -> status."""
    return call_of(emitter(kernel), kernel, target)


def call_of(emitter, kernel, target):
    """The same for the kernel of any module that emits them."""
    module = ir.Module()
    emitter.emit(module, "kernel", kernel, target)
    library = Library(compile_module(module, target), target)
    types = [ctypes.c_void_p] * len(kernel.operands) + [ctypes.c_int64] * 2
    code = ctypes.CFUNCTYPE(ctypes.c_int64, *types)(library.address("kernel"))

    def call(buffers, lo, hi):
        assert library is not None  # which owns the code
        return code(*(buffer.ctypes.data for buffer in buffers), lo, hi)

    return call


def run(kernel, buffers, target):
    """Copies of the buffers, after the kernel's chunks have run one by one, the last one first."""
    buffers = [buffer.copy() for buffer in buffers]
    call = compiled(kernel, target)
    for chunk in reversed(range(emitter(kernel).chunks(kernel))):
        assert call(buffers, chunk, chunk + 1) == 0
    return buffers


def reference(kernel, buffers):
    """Copies of the buffers, after NumPy has done what the kernel says."""
    buffers = [buffer.copy() for buffer in buffers]
    with np.errstate(all="ignore"):
        values = _evaluate(kernel.body, buffers, ())
        if isinstance(kernel, Reduce):
            values = _evaluate(
                kernel.epilogue, buffers, [_reduced(kernel, r, values) for r in kernel.reductions]
            )
        for store in kernel.stores:
            _view(store.window, buffers)[...] = values[store.value]
    return buffers


def _evaluate(body, buffers, results):
    values = []
    for value in body:
        if isinstance(value, Load):
            made = _view(value.window, buffers).copy()
        elif isinstance(value, Literal):
            made = np.array(value.value, value.dtype.numpy)
        elif isinstance(value, Result):
            made = results[value.index]
        else:
            made = value.primitive.forward(np, *(values[n] for n in value.args), **dict(value.params))
        values.append(np.asarray(made).astype(value.dtype.numpy))
    return values


def _reduced(kernel, reduction, values):
    name, axes = reduction.primitive.name, kernel.axes
    x = np.broadcast_to(values[reduction.value], kernel.shape).astype(reduction.dtype.numpy)
    if name == "max":
        return x.max(axes, initial=_lowest(reduction.dtype))
    return x.any(axes) if name == "any" else x.sum(axes, dtype=reduction.dtype.numpy)


def _view(w, buffers):
    buffer = buffers[w.operand]
    strides = [stride * buffer.itemsize for stride in w.strides]
    return as_strided(buffer[w.offset :], w.shape, strides)


def assert_same(actual, expected):
    """Equal to the bit, but for which NaN a NaN is."""
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
        if ours.dtype.kind == "f":
            number = ~np.isnan(theirs)
            np.testing.assert_array_equal(np.signbit(ours)[number], np.signbit(theirs)[number])


def special(dtype):
    """The values of a type that are most often got wrong."""
    if dtype.kind == "b":
        return np.array([False, True])
    if dtype.kind == "f":
        info = np.finfo(dtype.numpy)
        some = [0.0, 0.5, 1.0, 1.5, 2.5, 3.0, 7.0, 1e5, info.max, info.tiny, info.smallest_subnormal, np.inf]
        return np.array([*some, *(-x for x in some), np.nan], dtype.numpy)
    info = np.iinfo(dtype.numpy)
    some = [0, 1, 2, 3, 7, 8, 31, 32, 63, 64, 100, info.max - 1, info.max, info.min, info.min + 1]
    return np.array(some + ([-1, -2, -3, -7, -8] if dtype.kind == "i" else []), dtype.numpy)


def pairs(x, y):
    """All pairs, as two arrays."""
    both = list(itertools.product(range(len(x)), range(len(y))))
    return x[[i for i, _ in both]], y[[j for _, j in both]]


def in_place(kernel, operand):
    """A Map that writes over one of its inputs instead of a buffer of its own."""
    (store,) = kernel.stores
    operands = tuple(Operand(o.dtype, n == operand) for n, o in enumerate(kernel.operands[:-1]))
    return replace(
        kernel, operands=operands, stores=(Store(replace(store.window, operand=operand), store.value),)
    )
