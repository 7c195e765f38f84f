"""The processor that code is emitted for: its vector width, its registers, whether it has fma.

llvmlite is imported when a target is first asked for, so that `import lampion` does not pay for it.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from typing import Any

from lampion.dtype import DType

# What a kernel may call. Everything else must be in the kernel itself: an unknown symbol would be a
# jump to address 0 when the code runs, so objects are checked against this list before they are loaded.
ALLOWED_SYMBOLS = frozenset(
    name + suffix
    for name in (
        "acos",
        "asin",
        "atan",
        "atan2",
        "ceil",
        "cos",
        "exp2",
        "floor",
        "fma",
        "fmod",
        "log10",
        "log2",
        "pow",
        "rint",
        "roundeven",
        "sin",
        "tan",
        "trunc",
    )
    for suffix in ("", "f")
) | {"memcpy", "memmove", "memset", "bzero"}  # bzero: macOS

# name -> (LLVM's processor, features on top, bytes in a vector, vector registers, has fma)
_X86 = {
    "sse2": ("x86-64", "", 16, 16, False),
    "avx": ("sandybridge", "", 32, 16, False),  # the 2012 Mac mini: 256-bit floats, no fma
    "avx2": ("haswell", "", 32, 16, True),
    "avx512": ("skylake-avx512", "-prefer-256-bit", 64, 32, True),
}
# What the host must have to run each of those.
_NEEDS = {
    "sse2": ("sse2",),
    "avx": ("avx",),
    "avx2": ("avx2", "fma", "bmi", "bmi2", "lzcnt", "movbe", "f16c"),
    "avx512": ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx2", "fma", "bmi2"),
}


@dataclass(frozen=True)
class Target:
    """A processor. `features` is LLVM's string, such as ``+avx,+fma``."""

    name: str
    cpu: str
    features: str
    vector_bytes: int
    registers: int
    fma: bool

    @staticmethod
    def host() -> Target:
        """The processor that this runs on."""
        return _host()

    @staticmethod
    def named(name: str) -> Target:
        """``sse2``, ``avx``, ``avx2``, ``avx512`` (on an x86 machine), or ``host``."""
        if name == "host":
            return _host()
        if name not in _X86:
            raise ValueError(f"Target.named: expected one of {(*_X86, 'host')}, got {name!r}")
        if not _is_x86():
            raise ValueError(
                f"Target.named: {name!r} is a level of x86, which this machine is not; use 'host'"
            )
        return Target(name, *_X86[name])

    @property
    def runs_here(self) -> bool:
        """Whether this machine can run the code (it can always be emitted)."""
        return self.name == "host" or all(_host_features().get(name, False) for name in _NEEDS[self.name])

    @property
    def scales(self) -> bool:
        """Whether x * 2**k is one instruction (vscalef), and LLVM knows it."""
        return self.vector_bytes == 64 and _llvm().llvm_version_info[0] >= 22

    @property
    def converts_halves(self) -> bool:
        """Whether float16 to float32 and back is one instruction (F16C on x86; every 64-bit Arm has it)."""
        if not self.on_x86:
            return True
        return "+f16c" in self.features.split(",") or self.cpu in ("haswell", "skylake-avx512")

    @property
    def multiplies_bfloat16(self) -> bool:
        """Whether there are products of pairs of bfloat16, summed in float32 (vdpbf16ps), 16 at a time."""
        return self.vector_bytes == 64 and "+avx512bf16" in self.features.split(",")

    @property
    def on_x86(self) -> bool:
        return "neon" not in self.features and _is_x86()

    @property
    def key(self) -> str:
        """What object code depends on, for caches."""
        return f"{_llvm().get_process_triple()}|{self.cpu}|{self.features}|{self.vector_bytes}|{self.fma}"

    def lanes(self, dtype: DType) -> int:
        """How many elements one vector register holds (of floats of 16 bits: as float32)."""
        return self.vector_bytes // (4 if dtype.is_half else dtype.itemsize)

    def machine(self) -> Any:
        """A new llvmlite TargetMachine. Small and position-independent code: constants are read in
        place, relative to the instruction pointer, instead of through a register each.
        """
        llvm = _llvm()
        # The loader that llvmlite offers on Windows reads ELF objects only.
        triple = llvm.get_process_triple() + ("-elf" if os.name == "nt" else "")
        return llvm.Target.from_triple(triple).create_target_machine(
            cpu=self.cpu, features=self.features, opt=3, reloc="pic", codemodel="small"
        )


@functools.cache
def _llvm() -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


def _is_x86() -> bool:
    return bool(_llvm().get_process_triple().startswith(("x86_64", "amd64")))


@functools.cache
def _host_features() -> dict[str, bool]:
    return dict(_llvm().get_host_cpu_features())


@functools.cache
def _host() -> Target:
    llvm = _llvm()
    has = _host_features()
    cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    if not _is_x86():  # every 64-bit Arm has NEON, and fma in it
        return Target("host", cpu, features, 16, 32, True)
    if all(has.get(name, False) for name in _NEEDS["avx512"]):
        # LLVM shuns 512-bit registers on some processors, unless told not to.
        return Target("host", cpu, features + ",-prefer-256-bit", 64, 32, True)
    if has.get("avx", False):
        return Target("host", cpu, features, 32, 16, has.get("fma", False))
    return Target("host", cpu, features, 16, 16, False)
