"""IMDB: 50,000 reviews of films, half of them kind."""

from __future__ import annotations

import gzip
import os
import re
import tarfile
import zlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lampion.datasets.fetch import File, check, obtain
from lampion.datasets.formats import Limited, check_member
from lampion.errors import IndexRangeError, LampionError
from lampion.tensor import Tensor, from_numpy
from lampion.utils.data import Dataset

_REVIEW = re.compile(r"aclImdb/(train|test)/(neg|pos)/(\d+)_\d+\.txt")


class IMDB(Dataset):
    """Reviews of films: 25,000 to learn from, 25,000 to test on, half of each kind and half unkind.

    Args:
        root: the folder in which imdb/, with the archive, lies or is made. By default, what lies in the
            folder that the environment variable LAMPION_DATA names comes first, then Lampion's cache
            (LAMPION_HOME, or ~/.cache/lampion).
        train: the reviews to learn from, or those to test on.
        download: whether to get the archive from the network if it is not there.

    A sample is a text, and 0 for an unkind one or 1. The archive (84 MB) is checked before it is read;
    nothing is unpacked to the disk. First come the unkind ones, then the others, each in the order of their
    numbers.

    Source: A. Maas et al.: "Learning word vectors for sentiment analysis" (2011); Grokking Deep Learning,
    chapter 11.
    """

    mirrors: ClassVar[tuple[str, ...]] = (
        "https://ai.stanford.edu/~amaas/data/sentiment/",
        "https://dataset.bj.bcebos.com/imdb%2F",
    )
    # The MD5 is the one that others publish: no SHA-256 is.
    archive: ClassVar[File] = File(
        "aclImdb_v1.tar.gz", size=100_000_000, md5="7c2ac02c03563afcf9b574c7e56c153a"
    )
    limit: ClassVar[int] = 1_000_000_000  # bytes that it may unpack to
    each: ClassVar[int] = 12_500  # reviews of a part and kind
    classes = ("neg", "pos")

    def __init__(
        self, root: str | os.PathLike[str] | None = None, train: bool = True, download: bool = True
    ) -> None:
        path = obtain("IMDB", self.archive, self.mirrors, root, download)
        check("IMDB", path, self.archive)
        found = _reviews(path, "train" if train else "test", self.limit)
        if any(len(found[kind]) != self.each for kind in self.classes):
            raise LampionError("IMDB", f"{path} does not hold all reviews", expected=f"{self.each} of each",
                               got=" and ".join(str(len(found[kind])) for kind in self.classes))  # fmt: skip
        self.train = train
        self.texts = [text for kind in self.classes for _, text in sorted(found[kind].items())]
        self.labels: Tensor = from_numpy(np.repeat(np.arange(2), self.each))

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> tuple[str, Tensor]:
        if not -len(self) <= index < len(self):
            raise IndexRangeError(
                "IMDB", "there is no such sample", expected=f"below {len(self)}", got=str(index)
            )
        return self.texts[index], self.labels[index]


def _reviews(path: Path, part: str, limit: int) -> dict[str, dict[int, str]]:
    """The texts of a part of the archive, by kind and number."""
    found: dict[str, dict[int, str]] = {"neg": {}, "pos": {}}
    try:
        with gzip.open(path, "rb") as stream:
            limited: Any = Limited(stream, limit)
            with tarfile.open(fileobj=limited, mode="r|") as archive:
                for member in archive:
                    check_member(path, member, None, limit)
                    name = _REVIEW.fullmatch(member.name)
                    if name and name[1] == part and member.isreg() and (file := archive.extractfile(member)):
                        found[name[2]][int(name[3])] = file.read().decode()
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
        raise LampionError(
            "IMDB", f"{path} is not a whole archive", got=str(error), fix="get it again"
        ) from None
    return found
