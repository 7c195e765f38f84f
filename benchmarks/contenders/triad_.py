"""A loop that moves the bytes of an Adam step and does next to nothing with them: what memory allows.

Four streams are read (parameter, gradient, both moments) and three written, by one thread a core, each
with an equal and contiguous share.
"""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import llvmlite.binding as llvm
import llvmlite.ir as ir
import numpy as np

from benchmarks.machine import cores
from benchmarks.peak import native_machine
from benchmarks.training import Training

F32, I64 = ir.FloatType(), ir.IntType(64)
LANES = 16


def emit() -> ir.Module:
    """``void move(float *p, float *g, float *m, float *v, int64 start, int64 stop)``, 16 floats at a time."""
    vector = ir.VectorType(F32, LANES)
    module = ir.Module("triad")
    module.triple = llvm.get_default_triple()
    pointer = F32.as_pointer()
    move = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer] * 4 + [I64] * 2), "move")
    *arrays, start, stop = move.args
    for array in arrays:
        array.add_attribute("noalias")
    entry, body, done = (move.append_basic_block(name) for name in ("entry", "body", "done"))
    b = ir.IRBuilder(entry)
    b.cbranch(b.icmp_signed("<", start, stop), body, done)

    b.position_at_end(body)
    i = b.phi(I64)
    i.add_incoming(start, entry)
    places = [b.bitcast(b.gep(array, [i]), vector.as_pointer()) for array in arrays]
    p, g, m, v = (b.load(place, align=4) for place in places)
    half = ir.Constant(vector, [0.5] * LANES)
    m, v = b.fmul(b.fadd(m, g), half), b.fmul(b.fadd(v, g), half)  # they settle at g: no denormals
    for value, place in ((b.fmul(b.fadd(p, m), half), places[0]), (m, places[2]), (v, places[3])):
        b.store(value, place, align=4)
    following = b.add(i, ir.Constant(I64, LANES))
    i.add_incoming(following, body)
    b.cbranch(b.icmp_signed("<", following, stop), body, done)
    b.position_at_end(done)
    b.ret_void()
    return module


class TriadSession:
    def __init__(self, training: Training, weights: dict[str, np.ndarray]) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        features = llvm.get_host_cpu_features()
        module = llvm.parse_assembly(str(emit()))
        module.verify()
        machine = native_machine(features, bool(features.get("avx512f")))
        self._engine = llvm.create_mcjit_compiler(module, machine)  # kept: it owns the code
        self._engine.finalize_object()
        kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, ctypes.c_int64, ctypes.c_int64)
        self.move = kind(self._engine.get_function_address("move"))
        count = sum(int(np.prod(shape)) for shape in training.shapes.values()) // LANES * LANES
        rng = np.random.default_rng(5)
        self.arrays = [rng.standard_normal(count, dtype=np.float32) for _ in range(4)]
        self.pointers = [array.ctypes.data for array in self.arrays]
        share = -(-count // LANES // cores()) * LANES
        self.shares = [(start, min(start + share, count)) for start in range(0, count, share)]
        self.pool = ThreadPoolExecutor(max(1, cores() - 1))

    def prepare(self, arrays: tuple[np.ndarray, np.ndarray]) -> tuple[Any, Any]:
        return arrays

    def step(self, x: Any, y: Any) -> Any:
        others = [self.pool.submit(self.move, *self.pointers, *share) for share in self.shares[1:]]
        self.move(*self.pointers, *self.shares[0])
        for other in others:
            other.result()

    def value(self, loss: Any) -> float:
        return float(self.arrays[0][0])

    def facts(self) -> dict[str, Any]:
        return {"bytes": 7 * self.arrays[0].nbytes, "threads": len(self.shares)}


build = TriadSession
