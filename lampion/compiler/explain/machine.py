"""What this machine can do at most, measured once in a process: the roof that kernels are held against.

No kernel can take less time than its operations take at the processor's peak, or than its bytes take from
memory: the roofline. (Source: S. Williams et al.: "Roofline" (CACM 2009).) Where data is in a cache, a kernel
can be faster than memory, and its share is more than all of it.
"""

from __future__ import annotations

import ctypes
import functools
import time

import numpy as np

from lampion.compiler import kernel_ir as ir
from lampion.compiler import runtime
from lampion.compiler.address import address
from lampion.dtype import float32

_FLOATS = 1 << 23  # of each array: three of them are more than the caches hold
_TRIALS = 8


class Machine:
    """Billions of operations, and of bytes, a second, with as many threads as plans use.

    Attributes:
        gflops: float32 operations: a multiply-add is two.
        gbytes: to and from memory, in a + b -> c.
    """

    def __init__(self, gflops: float, gbytes: float) -> None:
        self.gflops, self.gbytes = gflops, gbytes

    @classmethod
    def measured(cls, threads: int | None = None) -> Machine:
        """This machine, with so many threads (`get_num_threads()`). The first call takes a moment."""
        return _measured(threads or runtime.get_num_threads())

    def least(self, operations: float, nbytes: float) -> float:
        """The nanoseconds that so many operations and bytes take at least."""
        return max(operations / self.gflops, nbytes / self.gbytes)

    def __str__(self) -> str:
        return f"this machine: {self.gflops:.0f} GFLOP/s, {self.gbytes:.1f} GB/s from memory"


@functools.cache
def _measured(threads: int) -> Machine:
    from lampion.compiler.explain.peak import Peak

    return Machine(Peak().gflops(threads), _bandwidth(threads))


def _bandwidth(threads: int) -> float:
    """Bytes a nanosecond in a sum of two large arrays, as a plan computes it."""
    from lampion.compiler.codegen.plan import compile_plan
    from lampion.ops.elementwise import add

    window = [ir.Window(n, (_FLOATS,), (1,)) for n in range(3)]
    loads = [ir.Load(window[n], float32) for n in range(2)]
    kernel = ir.Map(
        (_FLOATS,), (ir.Operand(float32), ir.Operand(float32), ir.Operand(float32, True)),
        (*loads, ir.Compute(add.primitive, (0, 1), float32)), (ir.Store(window[2], 2),),
    )  # fmt: skip
    places = tuple(ir.Place(False, n, 4 * _FLOATS) for n in range(3))
    plan = compile_plan(ir.Plan((ir.Call(kernel, places),), 0, 3))
    arrays = [np.ones(_FLOATS, np.float32) for _ in range(3)]
    table = (ctypes.c_size_t * 3)(*map(address, arrays))
    times = []
    for _ in range(_TRIALS):
        start = time.perf_counter_ns()
        plan.run(ctypes.addressof(table), 0, threads)
        times.append(time.perf_counter_ns() - start)
    return 12 * _FLOATS / min(times)
