"""CIFAR-10: 60,000 colour images of 32 x 32 pixels, in ten classes. The binary version: no pickle."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from lampion.datasets.fetch import File, check, find, folders, obtain
from lampion.datasets.formats import read_cifar, read_tar
from lampion.datasets.images import Images
from lampion.utils.files import write_file

_RECORDS = 10_000
_SIZE = _RECORDS * 3073
_FOLDER = "cifar-10-batches-bin"


class CIFAR10(Images):
    """Animals and vehicles: 50,000 images to learn from, 10,000 to test on.

    Args:
        root, train, transform, target_transform, download: as those of `MNIST`. The folder under LAMPION_DATA
            is cifar10/, with the archive or with the .bin files in it.

    A sample is an image, (3, 32, 32) with values from 0 to 1, and its label, 0 to 9.

    Source: A. Krizhevsky: "Learning multiple layers of features from tiny images" (2009).
    """

    mirrors: ClassVar[tuple[str, ...]] = (
        "https://www.cs.toronto.edu/~kriz/",
        "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/",
    )
    archive: ClassVar[File] = File(
        "cifar-10-binary.tar.gz", size=170_052_171,
        packed="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    )  # fmt: skip
    files: ClassVar[tuple[File, ...]] = tuple(
        File(name, size=_SIZE, packed=digest)
        for name, digest in {
            "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
            "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
            "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
            "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
            "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
            "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
        }.items()
    )
    classes = (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip

    def __init__(
        self, root: str | os.PathLike[str] | None = None, train: bool = True,
        transform: Callable[[Any], Any] | None = None, target_transform: Callable[[Any], Any] | None = None,
        download: bool = True,
    ) -> None:  # fmt: skip
        name = type(self).__name__
        if any(self._place(file, root) is None for file in self.files):
            self._unpack(obtain(name, self.archive, self.mirrors, root, download), root)
        images, labels = [], []
        for file in self.files[:-1] if train else self.files[-1:]:
            path = self._place(file, root)
            assert path is not None
            check(name, path, file)
            some, their = read_cifar(path, _RECORDS)
            images.append(some)
            labels.append(their)
        super().__init__(np.concatenate(images), np.concatenate(labels), transform, target_transform)
        self.train = train

    @classmethod
    def _place(cls, file: File, root: str | os.PathLike[str] | None) -> Path | None:
        return find(cls.__name__, [file.name, f"{_FOLDER}/{file.name}"], root)

    @classmethod
    def _unpack(cls, path: Path, root: str | os.PathLike[str] | None) -> None:
        check(cls.__name__, path, cls.archive)
        target = folders(cls.__name__, root)[-1] / _FOLDER
        target.mkdir(parents=True, exist_ok=True)
        wanted = {f"{_FOLDER}/{file.name}": file.size for file in cls.files}
        for name, data in read_tar(path, wanted, limit=200_000_000).items():
            write_file(target / Path(name).name, data)
