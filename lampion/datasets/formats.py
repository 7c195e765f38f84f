"""Readers of the formats that datasets come in. What a file claims is checked before memory is taken."""

from __future__ import annotations

import gzip
import math
import os
import struct
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from lampion.datasets.fetch import open_plain_or_gzip
from lampion.errors import LampionError

_CHUNK = 1 << 16

#: The types of an IDX file, by the third byte of the file.
_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | os.PathLike[str], limit: int | None = None) -> Any:
    """The array in an IDX file, the format of MNIST; gzip around it is taken off.

    Two zeros, a byte for the type, one for the number of dimensions, their sizes as big-endian 32-bit
    numbers, then the elements.

    Args:
        limit: how many bytes the array may have. Without one: of a plain file, as many as the file has; of a
            packed one, 1,032 times as many, the most that gzip can pack.

    Raises:
        LampionError: it is no IDX file, or has not as many bytes as it claims.

    >>> import pathlib, tempfile
    >>> from lampion.datasets import read_idx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "numbers")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 10, 20, 30]))
    ...     read_idx(path).tolist()
    [10, 20, 30]
    """
    path = Path(path)
    size = path.stat().st_size
    try:
        with open_plain_or_gzip(path) as stream:
            packed = isinstance(stream, gzip.GzipFile)
            shape, dtype = _header(path, stream)
            count = math.prod(shape)
            nbytes = count * dtype.itemsize
            room = size * 1032 if packed else size - 4 - 4 * len(shape)
            if nbytes > room or (not packed and nbytes < room) or (limit is not None and nbytes > limit):
                raise LampionError(
                    "read_idx", f"{path} does not hold what it claims to",
                    expected=f"{nbytes} bytes for {shape}",
                    got=f"{room} at most" if limit is None or limit > room else f"a limit of {limit}",
                )  # fmt: skip
            data = bytearray() if packed else bytearray(nbytes)
            if packed:
                while len(data) <= nbytes and (chunk := stream.read(min(_CHUNK, nbytes + 1 - len(data)))):
                    data += chunk
            elif stream.readinto(data) != nbytes or stream.read(1):  # type: ignore[attr-defined]
                raise EOFError("it changed meanwhile")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _broken(path, str(error)) from None
    if len(data) != nbytes:
        raise _broken(path, f"{len(data)} bytes or more for {shape}" if data else "no elements")
    array = np.frombuffer(data, dtype).reshape(shape)
    return array if dtype.isnative else array.byteswap(inplace=True).view(dtype.newbyteorder("="))


def _header(path: Path, stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    start = stream.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _TYPES:
        raise LampionError("read_idx", f"{path} is not an IDX file",
                           expected="0, 0, a type and a number of dimensions in front",
                           got=start.hex(" ") or "an empty file")  # fmt: skip
    dims = stream.read(4 * start[3])
    if len(dims) < 4 * start[3] or start[3] > 32:  # NumPy takes 64, but nobody writes more than 4
        raise _broken(path, f"a header of {len(dims) + 4} bytes for {start[3]} dimensions")
    return struct.unpack(f">{start[3]}I", dims), np.dtype(_TYPES[start[2]])


def _broken(path: Path, got: str) -> LampionError:
    return LampionError("read_idx", f"{path} is not a whole IDX file", got=got, fix="get it again")


def read_cifar(
    path: str | os.PathLike[str], records: int | None = None, classes: Sequence[int] = (10,)
) -> tuple[Any, Any]:
    """Images (N, 3, 32, 32) and labels of a file of CIFAR's binary version: one record after another.

    A record is its labels, a byte each, and 3,072 bytes of pixels.

    Args:
        records: how many there must be; None: as many as there are.
        classes: how many classes each of the labels may name: one label for CIFAR-10, and two, (20, 100), for
            CIFAR-100. The labels are (N,), or (N, 2) where there are two.
    """
    name = os.fspath(path)
    length = len(classes) + 3072
    size = os.stat(path).st_size
    count, rest = divmod(size, length)
    if rest or not count or (records is not None and count != records):
        wanted = f"records of {length:,} bytes"
        raise LampionError("read_cifar", f"{name} is not a whole file of CIFAR", got=f"{size} bytes",
                           expected=wanted if records is None else f"{records} {wanted}")  # fmt: skip
    data = np.fromfile(path, np.uint8, count * length).reshape(count, length)
    labels = data[:, : len(classes)].astype(np.int64)
    largest = labels.max(0)
    if (largest >= np.array(classes)).any():
        raise LampionError("read_cifar", f"{name} is not a file of CIFAR",
                           expected="labels to " + ", ".join(str(n - 1) for n in classes),
                           got=", ".join(map(str, largest)))  # fmt: skip
    images = data[:, len(classes) :].reshape(count, 3, 32, 32)
    return images, labels[:, 0] if len(classes) == 1 else labels


class Limited:
    """A stream that fails when more than so many bytes are asked of it: for what unpacks without end."""

    def __init__(self, stream: gzip.GzipFile, left: int) -> None:
        self.stream, self.left = stream, left

    def read(self, size: int) -> bytes:
        data = self.stream.read(min(size, self.left + 1))
        self.left -= len(data)
        if self.left < 0:
            raise tarfile.ReadError("it unpacks to more than the limit")
        return data


def read_tar(path: str | os.PathLike[str], wanted: dict[str, int], limit: int) -> dict[str, bytes]:
    """Some files of a .tar.gz, by name: read into memory, nothing is unpacked to the disk.

    An archive that holds links, devices, or paths out of its folder is refused, wanted or not.

    Args:
        wanted: the names and sizes of the files.
        limit: how many bytes the archive may unpack to, all in all.
    """
    found: dict[str, bytes] = {}
    try:
        with gzip.open(path, "rb") as stream:
            limited: Any = Limited(stream, limit)
            with tarfile.open(fileobj=limited, mode="r|") as archive:
                for member in archive:
                    check_member(path, member, wanted.get(member.name), limit)
                    if member.name in wanted and member.isreg() and (file := archive.extractfile(member)):
                        found[member.name] = file.read()
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
        raise LampionError("read_tar", f"{os.fspath(path)} is not a whole archive", got=str(error),
                           fix="get it again") from None  # fmt: skip
    wrong = [name for name, size in wanted.items() if len(found.get(name, b"")) != size]
    if wrong:
        raise LampionError("read_tar", f"{os.fspath(path)} lacks files, or not all of them are whole",
                           got=", ".join(wrong))  # fmt: skip
    return found


def check_member(path: Any, member: tarfile.TarInfo, size: int | None, limit: int) -> None:
    parts = member.name.replace("\\", "/").split("/")
    if member.name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
        problem = "a path out of its folder"
    elif not (member.isreg() or member.isdir()):
        problem = "something that is neither a file nor a folder"
    elif member.size > limit or (size is not None and member.size != size):
        problem = f"a file of the wrong size ({member.size} bytes)"
    else:
        return
    raise LampionError("read_tar", f"{os.fspath(path)} holds {problem}", got=repr(member.name),
                       fix="do not use it: it is not what it should be")  # fmt: skip
