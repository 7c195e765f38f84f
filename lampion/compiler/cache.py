"""Object code on disk, so that a program compiles once for a machine and not once a run.

An entry is named by the SHA-256 of all that the code depends on. Code from the cache is run, so it is
trusted only as far as the folder is: folder and file must belong to the user and be writable by nobody
else, and the file must carry its own checksum and key. Anything else is a miss: deleted and compiled anew.

Environment: ``LAMPION_CACHE=0`` switches the cache off; ``LAMPION_CACHE_DIR`` says where it is.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

_MAGIC = b"LAMPION1"
_HEADER = len(_MAGIC) + 32 + 32  # magic, key, checksum of the payload
_SUFFIX = ".o"
LIMIT = 512 << 20  # bytes; beyond it, the entries that were not used for longest go

_warned: set[str] = set()


def key(*parts: str) -> str:
    """A name for code that depends on these texts, on llvmlite and on Lampion's own sources."""
    import llvmlite
    import numpy

    digest = hashlib.sha256()
    for part in (sources(), llvmlite.__version__, numpy.__version__, *parts):
        text = part.encode()
        digest.update(len(text).to_bytes(8, "little") + text)  # so that "ab", "c" is not "a", "bc"
    return digest.hexdigest()


@functools.cache
def sources() -> str:
    """A digest of the parts of Lampion that decide what code is emitted."""
    return _digest(Path(__file__).resolve().parent.parent)


def _digest(package: Path) -> str:
    digest = hashlib.sha256()
    rooms = ("compiler", "numerics", "ops")
    files = [*package.glob("*.py"), *(path for room in rooms for path in package.glob(f"{room}/**/*.py"))]
    if not files:  # the package is not a folder: what cannot be told apart must never be found again
        digest.update(os.urandom(32))
    for path in sorted(files):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def load(name: str) -> bytes | None:
    """The code stored under that key, or None."""
    folder = _folder()
    if folder is None:
        return None
    path = folder / (name + _SUFFIX)
    try:
        # O_NOFOLLOW: a link could lead to a file that was never checked.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        code = _checked(file.read(), name) if _private(os.fstat(descriptor), stat.S_ISREG) else None
    with contextlib.suppress(OSError):
        if code is None:
            path.unlink()
        else:
            os.utime(path)  # the time of last use
    return code


def store(name: str, code: bytes) -> None:
    """Keep the code under that key."""
    folder = _folder()
    if folder is None:
        return
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=folder, suffix=".tmp")  # readable by the owner alone
        with open(descriptor, "wb") as file:
            file.write(_MAGIC + bytes.fromhex(name) + hashlib.sha256(code).digest() + code)
        os.replace(temporary, folder / (name + _SUFFIX))  # whole or not at all
        temporary = None
        _trim(folder)
    except OSError as problem:
        _warn(f"compiled code is not kept in {folder}: {problem}")
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _checked(data: bytes, name: str) -> bytes | None:
    code = data[_HEADER:]
    good = _MAGIC + bytes.fromhex(name) + hashlib.sha256(code).digest()
    return code if data[:_HEADER] == good else None


def _folder() -> Path | None:
    """Where entries are, made if need be; None where there is no cache to trust."""
    if os.environ.get("LAMPION_CACHE", "").strip() == "0":
        return None
    folder = default_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError as problem:
        _warn(f"compiled code is not kept in {folder}: {problem}")
        return None
    if not _private(status, stat.S_ISDIR):
        _warn(
            f"compiled code is not kept in {folder}: it must be a folder that belongs to you and that nobody "
            f"else may write to (chmod go-w, or set LAMPION_CACHE_DIR)"
        )
        return None
    return folder


def default_folder() -> Path:
    """LAMPION_CACHE_DIR, or the platform's place for caches."""
    chosen = os.environ.get("LAMPION_CACHE_DIR", "").strip()
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "lampion" / "kernels"


def _private(status: os.stat_result, is_kind: Callable[[int], bool]) -> bool:
    """Whether it is of that kind, is the user's own and nobody else can write to it."""
    if not is_kind(status.st_mode):
        return False
    if sys.platform == "win32":  # the folder is under the user's profile, which others cannot write to
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _trim(folder: Path, limit: int | None = None) -> None:
    """Delete what was not used for longest, until the rest fits the limit."""
    limit = LIMIT if limit is None else limit
    entries = []
    with os.scandir(folder) as found:
        for entry in found:
            with contextlib.suppress(OSError):  # another process may be trimming too
                status = entry.stat(follow_symlinks=False)
                entries.append((status.st_mtime, status.st_size, entry.path))
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= limit:
            return
        with contextlib.suppress(OSError):
            os.unlink(path)
        total -= size


def _warn(message: str) -> None:
    if message not in _warned:
        _warned.add(message)
        warnings.warn(message, RuntimeWarning, stacklevel=3)
