"""Writing a file so that a crash at any instant leaves the old one or the new one, never half of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path


def write_file(path: str | os.PathLike[str], data: bytes | str) -> None:
    """Write a whole file: to a temporary one beside it, flushed to the disk, then renamed."""
    target = Path(os.path.realpath(path))  # a link stays a link to the file that is replaced
    if isinstance(data, str):
        data = data.encode()
    temporary = target.parent / f".{target.name}.{os.urandom(6).hex()}.tmp"
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


def write_folder(path: str | os.PathLike[str], files: Mapping[str, bytes]) -> None:
    """Write a new folder of files: under another name beside it, all flushed to the disk, then renamed.

    It must not exist yet. A crash leaves the whole folder or none, and perhaps one named ``.NAME.*.tmp``.
    """
    target = Path(path)
    temporary = target.parent / f".{target.name}.{os.urandom(6).hex()}.tmp"
    try:
        temporary.mkdir()
        for name, data in files.items():
            with open(temporary / name, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        _sync_folder(temporary)
        if target.exists():
            raise FileExistsError(f"{target} exists already")
        os.rename(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    """Have the renaming itself on the disk. Windows has no such call, and does it unasked."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
