"""Reading NumPy's .npz: a zip of arrays. No pickle, no eval; claims are checked before memory is taken."""

from __future__ import annotations

import math
import os
import re
import struct
import zipfile
import zlib
from typing import IO, Any

import numpy as np

from lampion.errors import LampionError
from lampion.tensor import Tensor, from_numpy

#: The header as NumPy writes it: a type without fields, the order, the shape.
_HEADER = re.compile(
    rb"\{'descr': '([<>|])([biufc])(\d{1,2})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d+,?|\d+(?:, \d+)+)?)\), \}\s*"
)
_TYPES = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"}
_CHUNK = 1 << 16
_DENSEST = 1032  # bytes that one byte of deflate can stand for


class _Wrong(Exception):
    """What is wrong with a file."""


def read_npz(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The arrays of an .npz file, by name: what `lampion.load` does with one.

    Raises:
        LampionError: the file is damaged, claims what it does not hold, or holds Python objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check(members, os.stat(path).st_size)
            return {
                member.filename.removesuffix(".npy"): from_numpy(_read(archive, member)) for member in members
            }
    except (
        zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, OverflowError,
        NotImplementedError, OSError,
    ) as error:  # fmt: skip  # all of them are ways in which zipfile says that something is wrong
        if isinstance(error, OSError) and error.errno is not None and error.filename is not None:
            raise  # it cannot be opened
        raise _damaged(path, str(error)[:200] or type(error).__name__) from None  # zipfile may show all of it
    except _Wrong as error:
        raise _damaged(path, str(error)) from None


def _damaged(path: Any, got: str) -> LampionError:
    return LampionError("load", f"{os.fspath(path)} is not a whole .npz file of plain arrays", got=got,
                        fix="copy it again; objects, texts and records have no place in it")  # fmt: skip


def _check(members: list[zipfile.ZipInfo], size: int) -> None:
    """Whether the list of contents can be true."""
    if len({member.filename for member in members}) < len(members):
        raise _Wrong("a name that comes twice")
    if sum(member.compress_size for member in members) > size:
        raise _Wrong("contents that are larger than the file")
    for member in members:
        stored = member.compress_type == zipfile.ZIP_STORED
        if not stored and member.compress_type != zipfile.ZIP_DEFLATED:
            raise _Wrong(f"a way of packing that .npz does not have ({member.compress_type})")
        if member.flag_bits & 1:
            raise _Wrong("an encrypted file")
        if member.file_size > member.compress_size * (1 if stored else _DENSEST):
            raise _Wrong(f"a claim of {member.file_size} bytes in {member.compress_size}")


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Any:
    with archive.open(member) as stream:
        dtype, shape, fortran, taken = _header(stream)
        nbytes = math.prod(shape) * dtype.itemsize
        if nbytes != member.file_size - taken:
            raise _Wrong(f"{member.file_size - taken} bytes for {shape} of {dtype}")
        # What is packed may unpack to less than it claims: memory for it is taken as it comes.
        stored = member.compress_type == zipfile.ZIP_STORED
        data = bytearray(nbytes if stored else 0)
        done = 0
        while chunk := stream.read(min(_CHUNK, nbytes - done) if done < nbytes else 1):
            if done + len(chunk) > nbytes:
                raise _Wrong(f"more than {nbytes} bytes")
            data[done : done + len(chunk)] = chunk
            done += len(chunk)
        if done < nbytes:
            raise _Wrong(f"{done} bytes of {nbytes}")
    array = np.frombuffer(data, dtype).reshape(shape[::-1] if fortran else shape)
    if not dtype.isnative:
        array = array.byteswap(inplace=True).view(dtype.newbyteorder("="))
    if dtype.kind == "b" and array.view(np.uint8).max(initial=0) > 1:
        raise _Wrong("truth values that are neither 0 nor 1")
    return array.T if fortran else array


def _header(stream: IO[bytes]) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    start = stream.read(8)
    if start[:6] != b"\x93NUMPY" or start[6:7] not in (b"\1", b"\2", b"\3"):
        raise _Wrong("a part that is not an array")
    wide = 2 if start[6] == 1 else 4
    length = int.from_bytes(stream.read(wide), "little")
    text = stream.read(min(length, 10_000))
    found = _HEADER.fullmatch(text)
    if found is None or length > 10_000 or found[2].decode() + found[3].decode() not in _TYPES:
        raise _Wrong(f"an array of another kind: {text[:60]!r}")
    shape = tuple(int(n) for n in found[5].split(b",") if n.strip())
    if len(shape) > 32 or any(n > 2**48 for n in shape):
        raise _Wrong("a shape that is too large")
    dtype = np.dtype((found[1] + found[2] + found[3]).decode())
    return dtype, shape, found[4] == b"True", 8 + wide + length
