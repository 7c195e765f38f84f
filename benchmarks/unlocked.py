"""Builds the small library that lets PyTorch's MKL use all of an AMD processor. See mkl_unlocked.c."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name("mkl_unlocked.c")


@functools.cache
def preload_library() -> Path:
    """Compile it with the system's C compiler, once a run, into a folder that goes with this process."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise RuntimeError(
            "the contenders named 'unlocked' need a C compiler (cc, gcc or clang); none was found. "
            "Install one, or leave them out with --without unlocked"
        )
    made = Path(_folder().name) / "libmkl_unlocked.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", str(made), str(SOURCE)], check=True)
    return made


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="lampion-benchmarks-")
