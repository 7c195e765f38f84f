#!/usr/bin/env python
"""Damaged files: each is an error of Lampion's own or loads; no crash, no memory beyond twice its size.

    python scripts/fuzz_files.py --count 100000 --seed 0

makes good files of every kind that Lampion reads, changes some of their bytes, and loads them. A kind's good
files and the change follow from the seed and the case's number: `--first N --count 1` repeats case N.

What is packed is noise, which hardly becomes smaller: a packed file of zeros is rightly a thousand times as
large in memory. Loading happens in a process of its own, so that a crash is noticed, under a limit of the
operating system (Linux) on all of its memory; what each load takes is measured by tracemalloc, which NumPy
reports to.
"""

from __future__ import annotations

import argparse
import gzip
import io
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import tracemalloc
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

#: What reading takes whatever the size of the file: Python's objects, buffers of 64 KiB, and zipfile's error
#: with a name of up to 64 KiB that is no text (four letters a byte, twice).
ROOM = 800_000
KINDS = ("safetensors", "npz", "packed npz", "idx", "packed idx", "cifar", "tar")


# -- good files ------------------------------------------------------------------------------------------


def large(rng: np.random.Generator) -> bool:
    """Some files are so large that what they take cannot hide in `ROOM`."""
    return bool(rng.integers(40) == 0)


def arrays(rng: np.random.Generator) -> dict[str, np.ndarray]:
    found = {}
    for i in range(rng.integers(0, 5)):
        shape = tuple(int(n) for n in rng.integers(0, 40, rng.integers(0, 4)))
        kind = rng.choice(["f4", "f8", "i8", "i4", "u1", "f2", "b1", "c8"])
        if large(rng):
            shape, kind = (300_000,), "f4"
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        noise = np.frombuffer(rng.bytes(size), "u1") & (1 if kind == "b1" else 255)
        found[f"layer{i}.weight"] = noise.view(kind).reshape(shape)
    return found


def good(kind: str, rng: np.random.Generator) -> bytes:
    out = io.BytesIO()
    if kind == "safetensors":
        from safetensors.numpy import save

        return save(arrays(rng))
    if kind in ("npz", "packed npz"):
        (np.savez if kind == "npz" else np.savez_compressed)(out, **arrays(rng))
        return out.getvalue()
    if kind in ("idx", "packed idx"):
        code, dtype = list({8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}.items())[
            rng.integers(6)
        ]
        shape = (1000, 1000) if large(rng) else tuple(rng.integers(1, 30, rng.integers(1, 4)))
        data = bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
        data += rng.bytes(int(np.prod(shape)) * np.dtype(dtype).itemsize)
        return gzip.compress(data, 6, mtime=0) if kind == "packed idx" else data
    if kind == "cifar":
        records = rng.integers(0, 256, (400 if large(rng) else rng.integers(1, 4), 3073)).astype("u1")
        records[:, 0] %= 10
        return records.tobytes()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name in ("set/a.bin", "set/b.bin"):
            member = tarfile.TarInfo(name)
            member.size = 1000
            archive.addfile(member, io.BytesIO(rng.bytes(1000)))
    return out.getvalue()


# -- damage ----------------------------------------------------------------------------------------------

NUMBERS = [0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1]
TEXTS = [
    b"0",
    b"-1",
    b"9" * 9,
    b"9" * 30,
    b"1e9",
    b"[]",
    b"{}",
    b"'",
    b'"',
    b"(",
    b"\\",
    b"null",
    b"|O",
    b"F64",
]


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        size = len(changed)
        # Headers and lists of contents stand at the ends: half of the damage goes there.
        place = int(rng.choice([rng.integers(size + 1), min(rng.integers(160), size),
                                max(0, size - rng.integers(1, 400))]))  # fmt: skip
        how = rng.integers(9)
        if how == 0 and place < size:
            changed[place] ^= 1 << rng.integers(8)
        elif how == 1 and place < size:
            changed[place] = rng.integers(256)
        elif how in (2, 3):
            width = int(rng.choice([1, 2, 4, 8]))
            number = NUMBERS[rng.integers(len(NUMBERS))] % 256**width
            changed[place : place + width] = number.to_bytes(width, "little" if how == 2 else "big")
        elif how == 4:
            del changed[place:]
        elif how == 5:
            changed += rng.bytes(rng.integers(1, 200))
        elif how == 6:
            text = TEXTS[rng.integers(len(TEXTS))]
            changed[place : place + (len(text) if rng.integers(2) else 0)] = text
        elif how == 7:
            del changed[place : place + rng.integers(1, 64)]
        else:
            start = int(rng.integers(size + 1))
            changed[place:place] = changed[start : start + rng.integers(1, 200)]
    return bytes(changed)


# -- loading ---------------------------------------------------------------------------------------------


def load(kind: str, path: Path) -> int:
    """Load a file; the number of bytes that came of it."""
    import lampion
    from lampion.datasets import read_cifar, read_idx
    from lampion.datasets.formats import read_tar

    if kind in ("safetensors", "npz", "packed npz"):
        return sum(x.numpy().nbytes for x in lampion.load(path).values())
    if kind in ("idx", "packed idx"):
        return read_idx(path).nbytes
    if kind == "cifar":
        return sum(part.nbytes for part in read_cifar(path))
    return sum(map(len, read_tar(path, {"set/a.bin": 1000, "set/b.bin": 1000}, 100_000).values()))


def case(number: int, seed: int) -> tuple[str, bytes]:
    rng = np.random.default_rng((seed, number))
    kind = KINDS[number % len(KINDS)]
    return kind, damaged(good(kind, rng), rng)


def child(first: int, count: int, seed: int, end: float) -> None:
    """Load the cases; tell the parent about each before and after."""
    import lampion

    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        path = Path(folder, "file")
        for kind in KINDS:  # whatever is imported at the first use
            rng = np.random.default_rng(0)
            path.write_bytes(good(kind, rng))
            load(kind, path)
        limit_memory(256 << 20)
        tracemalloc.start()
        for number in range(first, first + count):
            if time.time() > end:
                break
            kind, data = case(number, seed)
            path.write_bytes(data)
            print("case", number, kind, len(data), sep="\t", flush=True)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            try:
                load(kind, path)
                outcome = "loaded"
            except lampion.errors.LampionError:
                outcome = "refused"
            except BaseException as error:
                outcome = f"FAILED {type(error).__name__}: {str(error)[:200]!r}"
            taken = tracemalloc.get_traced_memory()[1] - before
            if taken > 2 * len(data) + ROOM:
                outcome = f"FAILED it took {taken} bytes for a file of {len(data)}"
            print("done", taken, outcome, sep="\t", flush=True)


def limit_memory(more: int) -> None:
    """From here on, no more than this above what the process has now."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):
        return
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3600, help="stop after so long")
    parser.add_argument("--child", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        child(options.first, options.count, options.seed, options.child)
        return 0
    end = time.time() + options.seconds
    results: dict[str, dict[str, int]] = {kind: {"loaded": 0, "refused": 0} for kind in KINDS}
    failures, most, number, stop = [], 0.0, options.first, options.first + options.count
    while number < stop and time.time() < end:
        process = subprocess.Popen(
            [sys.executable, __file__, "--child", str(end), "--first", str(number),
             "--count", str(stop - number), "--seed", str(options.seed)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        kind, size, begun, began = "", 0, False, number
        for line in process.stdout:
            what, *rest = line.rstrip("\n").split("\t")
            if what == "case":
                number, kind, size, begun = int(rest[0]), rest[1], int(rest[2]), True
                continue
            taken, outcome, begun, number = int(rest[0]), rest[1], False, number + 1
            if outcome in results[kind]:
                results[kind][outcome] += 1
                most = max(most, max(0, taken - ROOM) / max(size, 1))
            else:
                failures.append(f"case {number - 1} ({kind}, {size} bytes): {outcome}")
        if process.wait() != 0 or begun:
            failures.append(
                f"case {number} ({kind}, {size} bytes): the process ended with {process.returncode}"
            )
            number += 1
            if not begun and number == began + 1:
                break  # it did not even start
    done = sum(sum(counts.values()) for counts in results.values())
    for kind, counts in results.items():
        print(f"{kind:12} {counts['refused']:7} refused {counts['loaded']:7} loaded")
    print(
        f"{done} files, {len(failures)} failures; beyond {ROOM} bytes, at most {most:.2f} times a file's size"
    )
    for failure in failures[:20]:
        print(failure)
    return 1 if failures or not done else 0


if __name__ == "__main__":
    sys.exit(main())
