"""Getting the files of a dataset: from a folder of one's own, from the cache, or from the network.

What is used has been checked by its SHA-256 first, wherever it came from. Downloads go over HTTPS into a
temporary file beside the place where they belong, and are renamed when they are whole and right.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import sys
import urllib.request
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lampion.errors import LampionError

CHUNK = 1 << 20


@dataclass(frozen=True)
class File:
    """A file of a dataset.

    Args:
        name: as it is called on the mirrors; where it ends in .gz, the file without that is as good.
        size: of the packed file at most: a download that is longer is broken off.
        packed: the SHA-256 of the file as it is on the mirrors, if that is the same everywhere.
        unpacked_size: how many bytes it has without the gzip around it.
        unpacked: their SHA-256. One of the two digests is enough.
        md5: of the file as it is on the mirrors, where those who made it public gave no better digest. It
            finds damage; that nobody forged the file, it does not say.
    """

    name: str
    size: int
    packed: str | None = None
    unpacked_size: int = 0
    unpacked: str | None = None
    md5: str | None = None


def cache_folder() -> Path:
    """Where downloads are kept: LAMPION_HOME, or .cache/lampion in the home folder."""
    chosen = os.environ.get("LAMPION_HOME", "").strip()
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "lampion"


def folders(name: str, root: str | os.PathLike[str] | None) -> list[Path]:
    """Where the files of a dataset may lie already; the last is where a download goes.

    A root that the caller names is the only place. Without one: the folder that LAMPION_DATA names, then the
    cache.
    """
    if root is not None:
        return [Path(root) / name.lower(), Path(root) / name / "raw"]
    places = []
    if offline := os.environ.get("LAMPION_DATA", "").strip():
        base = Path(offline).expanduser()
        places += [base / name.lower(), base / name / "raw", base / name]
    return [*places, cache_folder() / "datasets" / name.lower()]


def find(dataset: str, names: list[str], root: str | os.PathLike[str] | None) -> Path | None:
    """The first of these files that there is."""
    for folder in folders(dataset, root):
        for name in names:
            if (folder / name).is_file():
                return folder / name
    return None


def obtain(
    dataset: str, file: File, mirrors: tuple[str, ...], root: str | os.PathLike[str] | None, download: bool
) -> Path:
    """A file of a dataset: its place on this machine, after a download if need be. Not yet checked."""
    found = find(dataset, [file.name, file.name.removesuffix(".gz")], root)
    if found is not None:
        return found
    target = folders(dataset, root)[-1] / file.name
    if not download:
        raise LampionError(dataset, f"{file.name} is not there, and download=False", expected=str(target),
                           fix=advice(file, mirrors, dataset, root))  # fmt: skip
    failures = []
    for mirror in mirrors:
        try:
            _download(mirror + file.name, target, file)
        except (OSError, LampionError) as error:
            failures.append(f"{mirror}: {str(error).splitlines()[0]}")
        else:
            return target
    raise LampionError(dataset, f"{file.name} could not be downloaded", got="\n    ".join(["", *failures]),
                       fix=advice(file, mirrors, dataset, root))  # fmt: skip


def advice(
    file: File, mirrors: tuple[str, ...], dataset: str, root: str | os.PathLike[str] | None = None
) -> str:
    place = f"FOLDER/{dataset.lower()}/ and set the environment variable LAMPION_DATA=FOLDER"
    if root is not None:  # which the variable would not change
        place = f"{folders(dataset, root)[0]}{os.sep}"
    got = f"get {mirrors[0]}{file.name} elsewhere, put it into {place}"
    return f"with a connection, try again; without one, {got}"


def _download(url: str, target: Path, file: File) -> None:
    if not url.startswith("https://"):
        raise LampionError("download", "the address is not HTTPS", got=url)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{os.urandom(6).hex()}.tmp"
    print(f"Downloading {url}", file=sys.stderr)
    try:
        with urllib.request.urlopen(url, timeout=30) as answer, open(temporary, "xb") as out:
            if not answer.geturl().startswith("https://"):  # where a redirection led
                raise LampionError("download", "redirected to an address that is not HTTPS",
                                   got=answer.geturl())  # fmt: skip
            taken = 0
            while chunk := answer.read(CHUNK):
                taken += len(chunk)
                if taken > file.size:
                    raise LampionError("download", "the file is longer than it should be",
                                       expected=f"{file.size} bytes at most")  # fmt: skip
                out.write(chunk)
            out.flush()
            os.fsync(out.fileno())
        check(file.name, temporary, file)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def check(dataset: str, path: Path, file: File) -> None:
    """Whether the bytes are the right ones."""
    whole = path.name == file.name or path.name.endswith(".tmp")
    packed = file.packed or file.md5
    kind = "SHA-256" if file.packed is not None or file.md5 is None else "MD5"
    digest = hashlib.sha256() if kind == "SHA-256" else hashlib.md5(usedforsecurity=False)
    if whole and packed is not None:
        with open(path, "rb") as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
        expected = packed
    elif file.unpacked is not None:
        for chunk in unpacked(dataset, path, file.unpacked_size):
            digest.update(chunk)
        expected = file.unpacked
    else:  # a file that somebody unpacked, and only the packed digest is known: its contents are checked
        return
    if digest.hexdigest() != expected:
        raise LampionError(
            dataset, f"{path} is not the file that it should be", expected=f"{kind} {expected}",
            got=digest.hexdigest(), fix="delete it and get it again: it is damaged, or something else",
        )  # fmt: skip


def unpacked(dataset: str, path: Path, limit: int) -> Iterator[bytes]:
    """The contents of a file, without the gzip around it if there is one, piece by piece.

    A file that unpacks to more than `limit` bytes is refused there, however small it is itself.
    """
    taken = 0
    try:
        with open_plain_or_gzip(path) as stream:
            while chunk := stream.read(CHUNK):
                taken += len(chunk)
                if taken > limit:
                    raise LampionError(dataset, f"{path} holds more than it should",
                                       expected=f"{limit} bytes at most")  # fmt: skip
                yield chunk
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise LampionError(dataset, f"{path} is not a whole gzip file", got=str(error),
                           fix="delete it and get it again") from None  # fmt: skip


def open_plain_or_gzip(path: Path) -> IO[bytes]:
    """A file for reading; what begins as gzip does is unpacked on the way."""
    stream: Any = open(path, "rb")  # noqa: SIM115  # the caller closes it
    start = stream.read(2)
    stream.seek(0)
    if start != b"\x1f\x8b":
        return stream  # type: ignore[no-any-return]
    stream.close()
    packed: Any = gzip.open(path, "rb")  # noqa: SIM115
    return packed  # type: ignore[no-any-return]
