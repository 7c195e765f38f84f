"""The names that an object file leaves for the loader to find: ELF (Linux, Windows) and Mach-O (macOS)."""

from __future__ import annotations

import struct


def undefined_symbols(code: bytes) -> set[str]:
    """Names of the undefined symbols of 64-bit little-endian object code."""
    if code[:4] == b"\x7fELF":
        return _elf(code)
    if code[:4] == b"\xcf\xfa\xed\xfe":
        return _mach_o(code)
    raise ValueError(f"undefined_symbols: neither ELF nor 64-bit Mach-O: {code[:4]!r}")


def _elf(code: bytes) -> set[str]:
    """System V ABI, chapter 4: the section header table, and the one section of type SYMTAB (2)."""
    (start,) = struct.unpack_from("<Q", code, 0x28)
    size, count = struct.unpack_from("<HH", code, 0x3A)
    headers = [struct.unpack_from("<IIQQQQIIQQ", code, start + i * size) for i in range(count)]
    names = set()
    for _, kind, _, _, offset, length, link, _, _, entry in headers:
        if kind != 2:
            continue
        strings = headers[link][4]
        for at in range(offset + entry, offset + length, entry):  # entry 0 is a placeholder
            name, _, _, section = struct.unpack_from("<IBBH", code, at)
            if section == 0 and name:
                names.add(_string(code, strings + name))
    return names


def _mach_o(code: bytes) -> set[str]:
    """Apple's loader.h and nlist.h: load command LC_SYMTAB (2); type bits 0x0e are 0 if undefined."""
    (commands,) = struct.unpack_from("<I", code, 16)
    at, names = 32, set()
    for _ in range(commands):
        command, size = struct.unpack_from("<II", code, at)
        if command == 2:
            symbols, count, strings, _ = struct.unpack_from("<IIII", code, at + 8)
            for i in range(count):
                name, kind = struct.unpack_from("<IB", code, symbols + 16 * i)
                if kind & 0x0E == 0 and not kind & 0xE0:
                    names.add(_string(code, strings + name).removeprefix("_"))
        at += size
    return names


def _string(code: bytes, at: int) -> str:
    return code[at : code.index(b"\0", at)].decode()
