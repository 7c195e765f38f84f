"""From Python to machine code, in reading order:

capture/   watches the one traced run: what was read becomes a guard, effects end it
trace      the backend that records instead of computing
graph      what was recorded: typed, printable, checked, interpreted
passes/    rewrites of the graph
schedule   which equations become one kernel; merge: of its groups, those that read the same (rows, sums)
recompute  what is rather computed twice than stored
lowering/  kernels and places in memory: a plan
codegen/   kernels and plans as LLVM, and the emitters of each kind
runtime    the threads; cache: object code on disk; entries: whole plans there, by their graphs
bind       a plan tied to the user's tensors; function: `lampion.compile` itself; module: of a Module
backward   gradients that are asked for outside: tape, partition, gradients, recording
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name in ("CompiledFunction", "compile"):
        from lampion.compiler import function

        return getattr(function, name)
    if name == "dump":
        from lampion.compiler.explain import dump

        return dump
    raise AttributeError(f"module 'lampion.compiler' has no attribute {name!r}")


__all__ = ["CompiledFunction", "compile", "dump"]
