"""Object code into the process.

Code is loaded as an object file whether it was compiled a moment ago or read from the cache, so that
there is one path to test. Nothing is linked before its undefined symbols were found on a list and in this
process: LLVM's loader ends the process, or leaves a jump to address 0, where a symbol is missing.

It ends the process, too, where code and the constants that it reads by a distance of 32 bits are further
apart, and LLVM's own memory manager lets them be wherever the system has room: in a process with other large
libraries, terabytes away. llvmlite's manager (`use_lmm`) puts the sections of an object side by side.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from lampion.compiler.codegen.symbols import undefined_symbols
from lampion.compiler.codegen.target import ALLOWED_SYMBOLS, Target


class Library:
    """Loaded object code. Its functions live as long as it does."""

    def __init__(self, code: bytes, target: Target, allowed: Collection[str] = ALLOWED_SYMBOLS) -> None:
        import llvmlite.binding as llvm

        machine = target.machine()
        module = llvm.parse_assembly("")
        engine = llvm.create_mcjit_compiler(module, machine, use_lmm=True)
        engine.remove_module(module)  # an engine is made with one; it need not be compiled
        needed = sorted(undefined_symbols(code))
        refused = [name for name in needed if name not in allowed]
        if refused:
            raise RuntimeError(f"object code: it calls functions that are not allowed: {', '.join(refused)}")
        missing = [name for name in needed if not llvm.address_of_symbol(name)]
        if missing:
            raise RuntimeError(f"object code: this process lacks the functions {', '.join(missing)}")
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        self._engine: Any = engine

    def address(self, name: str) -> int:
        """Where an exported function is."""
        address = int(self._engine.get_function_address(name))
        if address == 0:
            raise RuntimeError(f"object code: there is no function {name!r} in it")
        return address

    def keep_forever(self) -> None:
        """Never unload, not even when the interpreter ends: a thread may still be inside. Call this
        last: it gives up the handle that `address` needs.
        """
        self._engine.detach()
