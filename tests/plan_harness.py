"""Makes plans of kernels over NumPy arrays, runs them as machine code, and says what they should give."""

import ctypes
from dataclasses import dataclass, field

import numpy as np

from lampion import dtype as dtypes
from lampion.compiler import kernel_ir as ir
from lampion.compiler.codegen.plan import compile_plan


def window(operand, array, offset=0):
    """A window onto an operand with the array's shape and strides."""
    strides = tuple(stride // array.itemsize for stride in array.strides)
    return ir.Window(operand, array.shape, strides, offset)


def operand(array, written=False):
    return ir.Operand(dtypes.of(array.dtype), written)


@dataclass
class Built:
    """A plan in the making: each array that is mentioned becomes an external pointer."""

    arrays: list = field(default_factory=list)
    calls: list = field(default_factory=list)

    def place(self, array):
        """An array's place. Arrays that look into one buffer count as that buffer, from its start."""
        for index, known in enumerate(self.arrays):
            if known is array:
                return ir.Place(False, index, _span(array))
        self.arrays.append(array)
        return ir.Place(False, len(self.arrays) - 1, _span(array))

    def call(self, kernel, *arrays, label=""):
        """Add a call whose operands are these arrays; a Place stands for itself."""
        places = tuple(a if isinstance(a, ir.Place) else self.place(a) for a in arrays)
        self.calls.append(ir.Call(kernel, places, label))
        return self

    def plan(self, arena_bytes=0):
        return ir.Plan(tuple(self.calls), arena_bytes, len(self.arrays))

    def compiled(self, target=None, serial=False, arena_bytes=0):
        return Runner(compile_plan(self.plan(arena_bytes), target, serial), self.arrays)


class Runner:
    """A compiled plan and the memory that it works on."""

    def __init__(self, compiled, arrays):
        self.compiled = compiled
        self.arrays = arrays
        self.memory = np.zeros(compiled.plan.arena_bytes + 64, np.uint8)
        self.arena = (self.memory.ctypes.data + 63) & ~63
        self.table = (ctypes.c_void_p * max(1, len(arrays)))(*(a.ctypes.data for a in arrays))

        self.address = ctypes.addressof(self.table)

    def __call__(self, threads=None):
        return self.compiled.run(self.address, self.arena, threads)

    def profile(self, threads=None):
        return self.compiled.profile(self.address, self.arena, threads)


def _span(array):
    """Bytes from the first element to behind the last one."""
    if array.size == 0:
        return 0
    return array.itemsize + sum((n - 1) * s for n, s in zip(array.shape, array.strides, strict=True))


def matmul(a, b, out, epilogue=None, extra=()):
    """A Matmul of two arrays into a third. `epilogue` makes the values after Result(0) from windows onto
    `extra`: a list of kernel_ir values."""
    dtype = dtypes.of(out.dtype)
    operands = [operand(a), operand(b), operand(out, True), *(operand(x) for x in extra)]
    values = [ir.Result(0, dtype), *(epilogue or [])]
    store = ir.Store(window(2, out), len(values) - 1)
    return ir.Matmul(window(0, a), window(1, b), dtype, tuple(operands), tuple(values), (store,))


def gather(source, index, out, axis):
    operands = (operand(source), operand(index), operand(out, True))
    return ir.Gather(window(0, source), window(1, index), window(2, out), axis, operands)


def scatter_add(out, index, source, axis):
    operands = (operand(out, True), operand(index), operand(source))
    return ir.ScatterAdd(window(0, out), window(1, index), window(2, source), axis, operands)


def copy(source, out, values=()):
    """A Map that writes `source` (through `values`) to `out`."""
    body = (ir.Load(window(0, source), dtypes.of(source.dtype)), *values)
    store = ir.Store(window(1, out), len(body) - 1)
    return ir.Map(out.shape, (operand(source), operand(out, True)), body, (store,))
