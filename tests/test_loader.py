"""Object code is loaded wherever there is room, and calls what it needs from there."""

import subprocess
import sys

import pytest

pytest.importorskip("llvmlite", reason="without llvmlite there is no object code")

CROWDED = """
import ctypes
import mmap
import sys

import numpy as np

import lampion as lp
from lampion.compiler.codegen import compiled, loader, pool
from lampion.compiler.codegen.symbols import undefined_symbols
from lampion.compiler.codegen.target import Target

seen = []


class Library(loader.Library):
    def __init__(self, code, *rest):
        seen.append(code)
        super().__init__(code, *rest)


compiled.Library = Library
lp.set_num_threads(2)
step = lp.compile(lambda x, i: lp.zeros(9000, 9).index_add(0, i, x.exp() + x.sin()))
x, i = lp.rand(90000, 9), lp.randint(0, 9000, (90000,))
before = step(x, i).numpy()
target = Target.host()
workers = pool.pool_code(target)
assert undefined_symbols(workers)

libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
nowhere = ctypes.c_void_p(-1).value
flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # not reserved
taken = []
for bits in range(46, 11, -1):  # all of the address space
    while (start := libc.mmap(None, 1 << bits, 0, flags, -1, 0)) != nowhere:
        taken.append((start, 1 << bits))
start, size = max(taken, key=lambda piece: piece[1])
assert size > 1 << 33
libc.munmap(start, 1 << 30)  # room at the bottom
libc.munmap(start + size - mmap.PAGESIZE, mmap.PAGESIZE)  # and a page far above
kept = [loader.Library(code, target) for code in seen for _ in range(3)]
kept.append(loader.Library(workers, target, pool.POOL_SYMBOLS))
again = lp.compile(lambda x, i: lp.zeros(9000, 9).index_add(0, i, x.exp() + x.sin()))
np.testing.assert_array_equal(again(x, i).numpy(), before)
print("loaded", len(kept))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the address space is filled by Linux's calls")
def test_sections_stay_together_where_address_space_is_crowded():
    """Code reads its constants by distances of 32 bits; between two mappings there may be terabytes."""
    run = subprocess.run([sys.executable, "-c", CROWDED], capture_output=True, text=True, timeout=300)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("loaded")
