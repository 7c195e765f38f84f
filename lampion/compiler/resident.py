"""What compiling took from the system's memory goes back as soon as it is over.

Three things stay behind otherwise: llvmlite's objects, which are full of cycles; blocks that the GNU C
library, and Python under its own objects, keep because something that lives was put between them; and the
pages of LLVM's own code, 60 MiB of its library, which nobody needs before the next thing is compiled.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import itertools
import mmap
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: After so many compilations there will be more, and LLVM had better stay.
_DROPS = 8
_dropped = itertools.count()
# A mapping of the library that is not writable and of which no page is this process's own, in memory or
# swapped out: what is dropped of it is read from the file again. (What the loader has relocated is its own.)
_UNTOUCHED = re.compile(
    rb"^(\w+)-(\w+) r-.. .*/libllvmlite\.so\n(?:[A-Z].*\n)*?Anonymous: +0 kB\n(?:[A-Z].*\n)*?Swap: +0 kB\n",
    re.MULTILINE,
)


def drop_cycles() -> None:
    """Free the objects of a stage that is over, before the next one puts its own in between.

    They are all young: a program's other objects are not looked at.
    """
    gc.collect(0)


def give_back() -> None:
    """Hand the memory that compiling took, and that is free again, back to the system."""
    drop_cycles()
    if (trim := _from_libc("malloc_trim")) is not None:
        trim(ctypes.c_size_t(0))


def drop_compiler() -> None:
    """Let go of the pages of LLVM's library, which are a file's: the system keeps them for as long as it has
    no other use for the memory, and whoever compiles next finds them there.

    That costs the next one some milliseconds. So a process that compiles again and again keeps them.
    """
    if next(_dropped) >= _DROPS:
        return
    if (advise := _from_libc("madvise")) is not None:
        for start, nbytes in _mappings():
            advise(ctypes.c_void_p(start), ctypes.c_size_t(nbytes), ctypes.c_int(mmap.MADV_DONTNEED))


@functools.cache
def _mappings() -> list[tuple[int, int]]:
    """Where the library's code and constants are: (start, bytes)."""
    try:
        listing = Path("/proc/self/smaps").read_bytes()
    except OSError:  # a system that does not tell
        return []
    bounds = ((int(found[1], 16), int(found[2], 16)) for found in _UNTOUCHED.finditer(listing))
    return [(start, stop - start) for start, stop in bounds]


@functools.cache
def _from_libc(name: str) -> Callable[..., Any] | None:
    """A function of the C library where the system is Linux, and the library has it."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
