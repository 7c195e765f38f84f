"""A kernel function under construction: loops that carry values, typed loads and stores, intrinsics.

    i64 name(ptr operand0, ptr operand1, ..., i64 lo, i64 hi)

runs the chunks [lo, hi) and returns 0, or 1 + the flat position of the element that failed.

Vectors are emitted as such (there is no auto-vectorizer to please), of any width: LLVM splits a vector
that is wider than a register into several. A vector of one lane is a plain scalar. A bool is one byte in
memory and one bit in registers; a float16 or bfloat16 is two bytes in memory and a float32 in registers.
"""

from __future__ import annotations

import contextlib
import math
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import llvmlite.binding as llvm
import llvmlite.ir as ir
import numpy as np

from lampion.compiler.codegen import halves
from lampion.compiler.codegen.symbols import undefined_symbols
from lampion.compiler.codegen.target import ALLOWED_SYMBOLS, Target
from lampion.compiler.kernel_ir import Operand
from lampion.dtype import DType

IRValue = Any  # llvmlite has no type annotations: an LLVM value,
IRType = Any  # and an LLVM type

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
POINTER = ir.PointerType()


def element(dtype: DType) -> IRType:
    """The type of one element in registers."""
    if dtype.kind == "b":
        return I1
    if dtype.kind == "f":
        return ir.DoubleType() if dtype.itemsize == 8 else ir.FloatType()
    return ir.IntType(8 * dtype.itemsize)


def stored(dtype: DType) -> IRType:
    """The type of one element in memory."""
    return I8 if dtype.kind == "b" else I16 if dtype.is_half else element(dtype)


def register(dtype: DType, lanes: int) -> IRType:
    """The type of `lanes` elements in registers: a scalar where there is one."""
    return element(dtype) if lanes == 1 else ir.VectorType(element(dtype), lanes)


class Splat(ir.Constant):  # type: ignore[misc]  # llvmlite is not annotated
    """A constant vector with all lanes equal, written in short."""

    def __init__(self, typ: IRType, text: str, number: bool | int | float | None = None) -> None:
        self.type = typ
        self.constant = text
        self.number = number  # the Python number that it came from, where there was one

    def _get_reference(self) -> str:
        return str(self.constant)


class _FirstLane(ir.Constant):  # type: ignore[misc]  # as above
    """The shuffle mask that takes lane 0 everywhere, written in short."""

    def __init__(self, lanes: int) -> None:
        self.type = ir.VectorType(I32, lanes)
        self.constant = [ir.Constant(I32, 0)]  # llvmlite looks here for lanes that are out of range

    def _get_reference(self) -> str:
        return "zeroinitializer"


class Loop:
    """What `KernelBuilder.loop` hands to its body."""

    def __init__(self, index: IRValue, values: Sequence[IRValue]) -> None:
        self.index = index
        self.values = list(values)  # inside the body: at the start of this round
        self.results: list[IRValue] = []  # after the loop
        self._next = list(values)

    def carry(self, *values: IRValue) -> None:
        """Say what the carried values are at the end of this round."""
        if len(values) != len(self.values):
            raise ValueError(f"the loop carries {len(self.values)} values, got {len(values)}")
        self._next = list(values)


class KernelBuilder:
    """A function with the kernel signature, and shorthand for what kernels are made of.

    `ir` is llvmlite's IRBuilder; `operands` are the pointers, `dtypes` their element types. End with
    `finish()`.
    """

    def __init__(self, module: ir.Module, name: str, operands: Sequence[Operand], target: Target) -> None:
        self.module = module
        self.target = target
        self.dtypes = [operand.dtype for operand in operands]
        signature = ir.FunctionType(I64, [POINTER] * len(operands) + [I64, I64])
        self.function = ir.Function(module, signature, name)
        self.function.attributes.add("nounwind")
        self.operands = list(self.function.args[:-2])
        self.lo, self.hi = self.function.args[-2:]
        self.ir = ir.IRBuilder(self.function.append_basic_block("entry"))

    def finish(self, status: IRValue | None = None) -> None:
        self.ir.ret(self.i64(0) if status is None else status)

    # Control flow ------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def loop(
        self, lo: IRValue | int, hi: IRValue | int, step: int = 1, carried: Sequence[IRValue] = ()
    ) -> Iterator[Loop]:
        """for (i = lo; i < hi; i += step), carrying values from round to round.

            with k.loop(0, n, carried=[zero]) as loop:
                loop.carry(k.ir.fadd(loop.values[0], f(loop.index)))
            total, = loop.results

        The test stands at the end of the body; the one before the first round is left out where
        constant bounds show that there is a first round.
        """
        b, fn = self.ir, self.function
        surely = isinstance(lo, int) and isinstance(hi, int) and lo < hi
        lo, hi = self.i64(lo), self.i64(hi)
        before, body, after = b.block, fn.append_basic_block("loop"), fn.append_basic_block("end")
        if surely:
            b.branch(body)
        else:
            b.cbranch(b.icmp_signed("<", lo, hi), body, after)
        b.position_at_end(body)
        index = self._phi(I64, lo, before)
        phis = [self._phi(value.type, value, before) for value in carried]
        loop = Loop(index, phis)
        yield loop
        following = b.add(index, self.i64(step), flags=("nsw",))
        end = b.block
        index.add_incoming(following, end)
        for phi, value in zip(phis, loop._next, strict=True):
            phi.add_incoming(value, end)
        b.cbranch(b.icmp_signed("<", following, hi), body, after)
        b.position_at_end(after)
        if surely:
            loop.results = loop._next
        else:
            loop.results = [self._phi(value.type, value, before) for value in carried]
            for phi, value in zip(loop.results, loop._next, strict=True):
                phi.add_incoming(value, end)

    def _phi(self, typ: IRType, value: IRValue, block: ir.Block) -> IRValue:
        phi = self.ir.phi(typ)
        phi.add_incoming(value, block)
        return phi

    # Numbers -----------------------------------------------------------------------------------------

    def i64(self, value: IRValue | int) -> IRValue:
        return ir.Constant(I64, value) if isinstance(value, int) else value

    def constant(self, dtype: DType, value: bool | int | float, lanes: int = 1) -> IRValue:
        """A Python number as `dtype`, in every lane. Integers wrap around, floats round."""
        text = _constant_text(dtype, value)
        typ = element(dtype)
        return (
            Splat(typ, text, value)
            if lanes == 1
            else Splat(ir.VectorType(typ, lanes), f"splat ({typ} {text})")
        )

    def affine(self, base: IRValue | int, *terms: tuple[IRValue | int, int]) -> IRValue:
        """base + sum of value * constant, for i64s; what is known already is not emitted."""
        known = 0
        total = None
        for value, scale in ((base, 1), *terms):
            if isinstance(value, int):
                known += value * scale
            elif scale != 0:
                part = value if scale == 1 else self.ir.mul(value, self.i64(scale), flags=("nsw",))
                total = part if total is None else self.ir.add(total, part, flags=("nsw",))
        if total is None:
            return self.i64(known)
        return total if known == 0 else self.ir.add(total, self.i64(known), flags=("nsw",))

    def smaller(self, x: IRValue | int, y: IRValue | int) -> IRValue | int:
        """The minimum of two i64s; a Python int where both are."""
        if isinstance(x, int) and isinstance(y, int):
            return min(x, y)
        x, y = self.i64(x), self.i64(y)
        return self.ir.select(self.ir.icmp_signed("<", x, y), x, y)

    def larger(self, x: IRValue | int, y: IRValue | int) -> IRValue | int:
        """The maximum of two i64s; a Python int where both are."""
        if isinstance(x, int) and isinstance(y, int):
            return max(x, y)
        x, y = self.i64(x), self.i64(y)
        return self.ir.select(self.ir.icmp_signed(">", x, y), x, y)

    def share(self, chunk: IRValue, chunks: int, items: int) -> IRValue:
        """The first item of a chunk, where `items` items are dealt out evenly to `chunks` chunks."""
        if items == chunks:
            return chunk
        return self.ir.udiv(self.ir.mul(chunk, self.i64(items)), self.i64(chunks))

    def unravel(self, flat: IRValue, shape: Sequence[int]) -> list[IRValue]:
        """The indices of the flat position, for an array of that shape."""
        indices = []
        for n in reversed(shape[1:]):
            if n == 1:
                indices.append(self.i64(0))
                continue
            # Unsigned: positions are never negative, and the division by a constant is then shorter.
            indices.append(self.ir.urem(flat, self.i64(n)))
            flat = self.ir.udiv(flat, self.i64(n))
        return [flat, *reversed(indices)] if shape else []

    # Vectors -----------------------------------------------------------------------------------------

    def splat(self, scalar: IRValue, lanes: int) -> IRValue:
        """The scalar in every lane."""
        if lanes == 1:
            return scalar
        vector = ir.VectorType(scalar.type, lanes)
        undef = ir.Constant(vector, ir.Undefined)
        one = self.ir.insert_element(undef, scalar, ir.Constant(I32, 0))
        return self.ir.shuffle_vector(one, undef, _FirstLane(lanes))

    def shuffle(self, x: IRValue, y: IRValue, lanes: Sequence[int]) -> IRValue:
        """A vector of those lanes of x and y put end to end (a scalar, if that is one)."""
        if len(lanes) == 1:
            which, n = divmod(lanes[0], x.type.count)
            return self.lane((x, y)[which], n)
        return self.ir.shuffle_vector(x, y, ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes)))

    def lane(self, vector: IRValue, n: int) -> IRValue:
        """One element of a vector (or of a scalar, its only one)."""
        return self.ir.extract_element(vector, ir.Constant(I32, n)) if is_vector(vector) else vector

    def vector(self, scalars: Sequence[IRValue]) -> IRValue:
        """A vector of these scalars."""
        if len(scalars) == 1:
            return scalars[0]
        out = ir.Constant(ir.VectorType(scalars[0].type, len(scalars)), ir.Undefined)
        for n, scalar in enumerate(scalars):
            out = self.ir.insert_element(out, scalar, ir.Constant(I32, n))
        return out

    def mask(self, lanes: Sequence[bool]) -> IRValue:
        """A mask known now."""
        return ir.Constant(ir.VectorType(I1, len(lanes)), [int(lane) for lane in lanes])

    def first(self, count: IRValue, lanes: int) -> IRValue:
        """A mask of the first `count` lanes (an i64; at least `lanes` gives all of them)."""
        if isinstance(count, ir.Constant):
            return self.mask([lane < count.constant for lane in range(lanes)])
        counts = self.splat(self.smaller(count, lanes), lanes)
        steps = ir.Constant(ir.VectorType(I64, lanes), list(range(lanes)))
        return self.ir.icmp_signed("<", steps, counts)

    def count_from(self, start: IRValue | int, dtype: DType, lanes: int) -> IRValue:
        """start, start + 1, ... as integers of that type."""
        start = self.i64(start)
        if dtype.itemsize < 8:
            start = self.ir.trunc(start, element(dtype))
        if lanes == 1:
            return start
        steps = ir.Constant(ir.VectorType(element(dtype), lanes), list(range(lanes)))
        return self.ir.add(self.splat(start, lanes), steps)

    # Memory ------------------------------------------------------------------------------------------

    def room(self, dtype: DType, count: int) -> IRValue:
        """A pointer to memory on the stack for so many elements. To be asked for ahead of all loops."""
        place = self.ir.alloca(ir.ArrayType(stored(dtype), max(1, count)))
        place.align = 64
        place.type = POINTER  # llvmlite would keep the type of what it points to
        return place

    def at(self, operand: int, offset: IRValue | int) -> IRValue:
        """A pointer to that element of an operand."""
        return self.address(self.operands[operand], self.dtypes[operand], offset)

    def address(self, base: IRValue, dtype: DType, offset: IRValue | int) -> IRValue:
        return self.ir.gep(base, [self.i64(offset)], inbounds=True, source_etype=stored(dtype))

    def load(self, pointer: IRValue, dtype: DType, lanes: int = 1, mask: IRValue | None = None) -> IRValue:
        """`lanes` adjacent elements, aligned as one of them; 0 where the mask is off."""
        typ = stored(dtype) if lanes == 1 else ir.VectorType(stored(dtype), lanes)
        if mask is None:
            value = self.ir.load(pointer, typ=typ, align=dtype.itemsize)
        else:
            load = self._masked("load", typ, typ, [POINTER, I32, mask.type, typ])
            align = ir.Constant(I32, dtype.itemsize)
            value = self.ir.call(load, [pointer, align, mask, Splat(typ, "zeroinitializer")])
        if dtype.kind == "b":
            return self.ir.icmp_unsigned("!=", value, Splat(typ, "zeroinitializer" if lanes > 1 else "0"))
        return halves.widen(self, value, dtype) if dtype.is_half else value

    def store(
        self,
        value: IRValue,
        pointer: IRValue,
        dtype: DType,
        mask: IRValue | None = None,
        *,
        is_rounded: bool = False,
    ) -> None:
        """Write a scalar or a vector of adjacent elements; none where the mask is off.

        A float16 or bfloat16 is rounded, unless it `is_rounded` already.
        """
        if dtype.kind == "b":
            value = self.ir.zext(value, ir.VectorType(I8, value.type.count) if is_vector(value) else I8)
        elif dtype.is_half:
            value = halves.narrow(self, value, dtype, is_rounded=is_rounded)
        only = None if mask is None else _only_lane(mask)
        if only is not None:
            # LLVM (20 to 22, for AVX-512) makes a store of one lane of it, too: but where the lanes were cut
            # to 8 or 16 bits just before, it writes what they were cut from, over its neighbours.
            pointer = self.ir.gep(pointer, [self.i64(only)], inbounds=True, source_etype=stored(dtype))
            value, mask = self.lane(value, only), None
        if mask is None:
            self.ir.store(value, pointer, align=dtype.itemsize)
            return
        store = self._masked("store", value.type, ir.VoidType(), [value.type, POINTER, I32, mask.type])
        self.ir.call(store, [value, pointer, ir.Constant(I32, dtype.itemsize), mask])

    def prefetch(self, pointer: IRValue, nbytes: int) -> None:
        """Have the memory from there on brought into the second-level cache (any address is harmless)."""
        fetch = self.declare("llvm.prefetch.p0", ir.VoidType(), [POINTER, I32, I32, I32])
        read, level, data = (ir.Constant(I32, flag) for flag in (0, 2, 1))
        for offset in range(0, nbytes, 64):
            line = self.ir.gep(pointer, [self.i64(offset)], source_etype=I8)
            self.ir.call(fetch, [line, read, level, data])

    def _masked(self, what: str, typ: IRType, returns: IRType, args: list[IRType]) -> ir.Function:
        return self.declare(f"llvm.masked.{what}.{_mangled(typ)}.p0", returns, args)

    # Calls -------------------------------------------------------------------------------------------

    def declare(self, name: str, returns: IRType, args: Sequence[IRType]) -> ir.Function:
        """A function defined elsewhere: an LLVM intrinsic, or one of ALLOWED_SYMBOLS."""
        found = self.module.globals.get(name)
        if found is None:
            found = ir.Function(self.module, ir.FunctionType(returns, list(args)), name)
        return found

    def intrinsic(self, name: str, *args: IRValue) -> IRValue:
        """An LLVM intrinsic such as ``fma``: overloaded on one type, and on those that differ from it."""
        typ, *others = (arg.type for arg in args)
        overloads = ".".join(_mangled(t) for t in (typ, *(other for other in others if other != typ)))
        function = self.declare(f"llvm.{name}.{overloads}", typ, [typ, *others])
        return self.ir.call(function, args)


def is_vector(value: IRValue) -> bool:
    return isinstance(value.type, ir.VectorType)


def _only_lane(mask: IRValue) -> int | None:
    """The lane that a mask known now has on, if it is the only one."""
    on = [n for n, lane in enumerate(mask.constant) if lane.constant] if isinstance(mask, ir.Constant) else []
    return on[0] if len(on) == 1 else None


def _mangled(typ: IRType) -> str:
    """How LLVM spells a type in the name of an intrinsic: v16f32."""
    if isinstance(typ, ir.VectorType):
        return f"v{typ.count}{_mangled(typ.element)}"
    if isinstance(typ, ir.IntType):
        return f"i{typ.width}"
    return "f32" if isinstance(typ, ir.FloatType) else "f64"


def _constant_text(dtype: DType, value: bool | int | float) -> str:
    if dtype.kind == "b":
        return "true" if value else "false"
    if dtype.kind != "f":
        bits = 8 * dtype.itemsize
        wrapped = int(value) % (1 << bits)
        return str(wrapped - (1 << bits) if wrapped >> (bits - 1) else wrapped)
    number = float(value)
    if dtype.is_half:
        number = _rounded(dtype, number)
    elif dtype.itemsize == 4 and math.isfinite(number):
        try:
            number = struct.unpack("f", struct.pack("f", number))[0]
        except OverflowError:  # beyond float32
            number = math.copysign(math.inf, number)
    # LLVM wants a float written as the bits of the double that it equals.
    return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"


def _rounded(dtype: DType, number: float) -> float:
    """The number of a short type nearest to it."""
    with np.errstate(over="ignore"):
        return float(np.array(number).astype(dtype.numpy))


# Calls that leave the module go by a table of addresses, also those of functions that LLVM brings in itself
# (memset, memcpy). A direct call would need a stub and a table made while the code is loaded, for which
# llvmlite's memory manager has set no room aside: it ends the process (see `loader`).
_CALLS_BY_TABLE = """
!llvm.module.flags = !{!1000000000}
!1000000000 = !{i32 7, !"RtLibUseGOT", i32 1}
"""


def optimize(module: Any, target: Target, machine: Any = None) -> Any:
    """Verify a module (llvmlite's, or its text): an llvmlite ModuleRef, ready for the code generator.

    LLVM's passes over the IR are left out. What they would find is emitted well to begin with (vectors,
    rotated loops, invariants outside of them), and strength reduction is the code generator's own work:
    they doubled the time to compile, and no kernel ran faster for them.
    """
    machine = machine or target.machine()
    text = str(module)
    by_table = machine.triple.startswith("x86_64") and "darwin" not in machine.triple
    if by_table:
        text += _CALLS_BY_TABLE
    # A context of its own: what LLVM keeps of types and constants goes when the module does.
    parsed = llvm.parse_assembly(text, llvm.create_context())
    if by_table:
        for function in parsed.functions:
            if function.is_declaration and not function.name.startswith("llvm."):
                function.add_function_attribute("nonlazybind")
    parsed.triple = machine.triple
    parsed.data_layout = str(machine.target_data)
    parsed.verify()
    return parsed


def emit_object(module: Any, machine: Any) -> bytes:
    """The object code of a verified module.

    Without LLVM's loop strength reduction: it takes up to half of the time to compile, to find
    addresses that processors with scaled addressing modes compute for nothing; no kernel was slower.
    (LLVM has no other way to say so than an option of the process, so it is set back at once. It ends
    the process if it does not know an option, hence the list of versions.)
    """
    known = llvm.llvm_version_info[0] in (20, 21, 22)
    if known:
        llvm.set_option("", "--disable-lsr")
    try:
        code: bytes = machine.emit_object(module)
    finally:
        if known:
            llvm.set_option("", "--disable-lsr=false")
    return code


def compile_module(module: Any, target: Target) -> bytes:
    """Object code, which calls nothing but ALLOWED_SYMBOLS."""
    machine = target.machine()
    code = emit_object(optimize(module, target, machine), machine)
    unknown = undefined_symbols(code) - ALLOWED_SYMBOLS
    if unknown:
        raise RuntimeError(f"compiled code calls functions that are not allowed: {sorted(unknown)}")
    return code
