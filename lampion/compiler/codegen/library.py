"""The C library's functions: where vector arithmetic does not reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llvmlite import ir

from lampion.compiler.codegen.builder import register

if TYPE_CHECKING:
    from lampion.compiler.codegen.emitter import Emitter
    from lampion.compiler.codegen.lanes import Lanes


def libm(xp: Emitter, name: str, *args: Lanes) -> Lanes:
    """Call the function lane by lane."""
    k, x = xp.k, args[0]
    typ = register(x.dtype, 1)
    function = k.declare(name + ("f" if x.dtype.itemsize == 4 else ""), typ, [typ] * len(args))
    calls = [k.ir.call(function, [k.lane(arg.value, n) for arg in args]) for n in range(x.count)]
    return xp.made(k.vector(calls), x)


def or_library(xp: Emitter, out: Lanes, reached: Lanes, name: str, *args: Lanes) -> Lanes:
    """`out` where that is reached by all lanes, and otherwise what the library says of all of them."""
    b, x = xp.k.ir, args[0]
    missing = b.not_(reached.value)
    if x.count > 1:
        bits = ir.IntType(x.count)
        missing = b.icmp_unsigned("!=", b.bitcast(missing, bits), ir.Constant(bits, 0))
    before = b.block
    with b.if_then(missing, likely=False):
        slow = libm(xp, name, *args)
        inside = b.block
    chosen = b.phi(register(x.dtype, x.count))
    chosen.add_incoming(out.value, before)
    chosen.add_incoming(slow.value, inside)
    return xp.made(chosen, x)
