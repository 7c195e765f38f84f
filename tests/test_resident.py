"""What compiling took goes back: LLVM's pages, and the objects of each stage before the next."""

import gc
import itertools
import re
import sys
from pathlib import Path

import llvmlite.ir
import numpy as np
import pytest

import lampion as lp
from lampion.compiler import resident
from lampion.compiler.codegen import plan as plans

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def mapping(start, rights, name, anonymous=0, swap=0):
    return (
        f"{start:x}-{start + 0x3000:x} {rights} 00005000 fe:00 77    {name}\n"
        f"Size:                 12 kB\nRss:                  12 kB\nAnonymous:            {anonymous} kB\n"
        f"AnonHugePages:         0 kB\nSwap:                 {swap} kB\nVmFlags: rd ex mr mw me \n"
    )


def resident_kib(listing):
    """KiB in memory of the library's mappings that are not writable and hold nothing of this process."""
    found = 0
    for part in re.split(r"^(?=[0-9a-f]+-)", listing, flags=re.MULTILINE):
        if "libllvmlite" in part and part.split()[1][1] == "-" and re.search(r"Anonymous: +0 kB", part):
            found += int(re.search(r"Rss: +(\d+)", part)[1])
    return found


def test_only_what_is_in_the_file_too_is_dropped():
    library = "/somewhere else/llvmlite/binding/libllvmlite.so"
    listing = (
        mapping(0x10000, "r--p", library)
        + mapping(0x20000, "r-xp", library)
        + mapping(0x30000, "r--p", library, anonymous=8)  # relocated
        + mapping(0x40000, "r--p", library, swap=8)  # relocated, then swapped out
        + mapping(0x50000, "rw-p", library)
        + mapping(0x60000, "r-xp", "/usr/lib/libc.so.6")
        + mapping(0x70000, "r--p", "")
    )
    found = [int(match[1], 16) for match in resident._UNTOUCHED.finditer(listing.encode())]
    assert found == [0x10000, 0x20000]


@on_linux
def test_the_compiler_s_code_does_not_stay(monkeypatch):
    monkeypatch.setenv("LAMPION_CACHE", "0")
    monkeypatch.setattr(resident, "_dropped", itertools.count())  # others have compiled in this process
    seen = []
    drop = resident.drop_compiler

    def watched():
        seen.append(resident_kib(Path("/proc/self/smaps").read_text()))
        drop()

    monkeypatch.setattr("lampion.compiler.engine.drop_compiler", watched)
    x = lp.tensor(np.arange(3.0))
    for function in (lambda x: x * 2 + 1, lambda x: x * 3 - 1):  # LLVM still works after the first
        np.testing.assert_array_equal(lp.compile(function)(x).numpy(), function(x).numpy())
        # A few pages come back at once: calls into LLVM that free things. A compilation needs 50 MiB.
        assert resident_kib(Path("/proc/self/smaps").read_text()) < 8 << 10
    assert min(seen) > 8 << 10


def test_who_compiles_again_and_again_keeps_the_compiler(monkeypatch):
    dropped = []
    monkeypatch.setattr(resident, "_dropped", itertools.count())
    monkeypatch.setattr(resident, "_from_libc", lambda name: dropped.append)
    monkeypatch.setattr(resident, "_mappings", lambda: dropped.append(1) or [])
    for _ in range(50):
        resident.drop_compiler()
    assert len(dropped) == resident._DROPS


def test_no_object_of_the_ir_lives_while_llvm_compiles(monkeypatch):
    monkeypatch.setenv("LAMPION_CACHE", "0")
    before, living = modules(), []
    compile_module = plans.compile_module

    def watched(module, target):
        assert isinstance(module, str)
        living.append(modules() - before)
        return compile_module(module, target)

    monkeypatch.setattr(plans, "compile_module", watched)
    x = lp.tensor(np.arange(3.0))
    lp.compile(lambda x: x.exp() + 1)(x)
    assert living == [0]


def modules():
    return sum(type(thing) is llvmlite.ir.Module for thing in gc.get_objects())
