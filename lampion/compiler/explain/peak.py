"""The processor's floating-point peak: a loop of nothing but fused multiply-adds, on every core.

The share of this peak that a workload reaches says more than its milliseconds: shared and laptop machines
change speed from minute to minute, so the peak is measured in the same run as what is compared with it.
"""

from __future__ import annotations

import ctypes
import threading
import time
from typing import Any

import llvmlite.binding as llvm
import llvmlite.ir as ir

from lampion.compiler import runtime

F32, I64 = ir.FloatType(), ir.IntType(64)


def shape_for(features: dict[str, bool]) -> tuple[int, int]:
    """(lanes, chains): the vector width, and enough independent sums to hide an FMA's latency.

    Two FMA units of latency 4 need 8 chains; more keep them fed, as long as all fit in the registers.
    """
    if features.get("avx512f"):
        return 16, 24  # 32 registers
    if features.get("avx"):
        return 8, 12  # 16 registers
    return 4, 24 if features.get("neon") else 12


def emit(lanes: int, chains: int) -> ir.Module:
    """``float spin(int64 n, float x)``: n times, every chain = chain * x + x."""
    vector = ir.VectorType(F32, lanes)
    module = ir.Module("peak")
    module.triple = llvm.get_default_triple()
    spin = ir.Function(module, ir.FunctionType(F32, [I64, F32]), "spin")
    spin.attributes.add("nounwind")
    # muladd, not fma: a processor without fused multiply-add runs a multiply and an add, not a library call.
    muladd = ir.Function(module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{lanes}f32")
    entry, body, done = (spin.append_basic_block(name) for name in ("entry", "body", "done"))

    b = ir.IRBuilder(entry)
    undefined = ir.Constant(vector, ir.Undefined)
    one = b.insert_element(undefined, spin.args[1], ir.Constant(ir.IntType(32), 0))
    x = b.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes))
    b.branch(body)

    b.position_at_end(body)
    i = b.phi(I64)
    i.add_incoming(ir.Constant(I64, 0), entry)
    sums = []
    for start in range(chains):
        chain = b.phi(vector)
        chain.add_incoming(ir.Constant(vector, [float(start)] * lanes), entry)
        sums.append(chain)
    updated = [b.call(muladd, [chain, x, x]) for chain in sums]
    for chain, new in zip(sums, updated, strict=True):
        chain.add_incoming(new, body)
    following = b.add(i, ir.Constant(I64, 1))
    i.add_incoming(following, body)
    b.cbranch(b.icmp_signed("<", following, spin.args[0]), body, done)

    b.position_at_end(done)
    total = updated[0]
    for new in updated[1:]:
        total = b.fadd(total, new)  # every chain is used, so none is optimised away
    b.ret(b.extract_element(total, ir.Constant(ir.IntType(32), 0)))
    return module


def native_machine(features: Any, wide: bool) -> llvm.TargetMachine:
    """LLVM's machine for this processor; `wide`: with vectors as wide as the registers."""
    # Without this LLVM prefers half-width vectors on some AVX-512 processors.
    flags = features.flatten() + (",-prefer-256-bit" if wide else "")
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=flags, opt=3
    )


class Peak:
    """A compiled FMA loop. ``Peak().gflops()`` runs it on every core for a moment."""

    def __init__(self) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        features = llvm.get_host_cpu_features()
        self.lanes, self.chains = shape_for(features)
        machine = native_machine(features, self.lanes == 16)
        module = llvm.parse_assembly(str(emit(self.lanes, self.chains)))
        module.verify()
        self._engine = llvm.create_mcjit_compiler(module, machine)  # kept: it owns the code
        self._engine.finalize_object()
        address = self._engine.get_function_address("spin")
        self._spin = ctypes.CFUNCTYPE(ctypes.c_float, ctypes.c_int64, ctypes.c_float)(address)
        self._iterations = 1000
        while self._seconds(1) < 0.01:
            self._iterations *= 2

    def _seconds(self, threads: int) -> float:
        barrier = threading.Barrier(threads + 1)

        def work() -> None:
            barrier.wait()
            self._spin(self._iterations, 0.5)  # x*0.5 + 0.5 settles at 1: no overflow, no denormals
            barrier.wait()

        pool = [threading.Thread(target=work) for _ in range(threads)]
        for thread in pool:
            thread.start()
        barrier.wait()
        start = time.perf_counter()
        barrier.wait()
        seconds = time.perf_counter() - start
        for thread in pool:
            thread.join()
        return seconds

    def gflops(self, threads: int | None = None, trials: int = 15) -> float:
        """Billions of operations a second (a multiply-add counts two). The best trial: it is a peak."""
        threads = threads or runtime.usable_cores()
        work = 2 * self.lanes * self.chains * self._iterations * threads
        return work / min(self._seconds(threads) for _ in range(trials)) / 1e9
