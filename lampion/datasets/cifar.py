"""CIFAR-10 and -100: 60,000 colour images of 32 x 32 pixels each. The binary versions: no pickle."""

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


def _files(digests: dict[str, str], record: int) -> tuple[File, ...]:
    """Files of 10,000 records each; the one called train.bin has 50,000."""
    return tuple(
        File(name, size=record * (50_000 if name == "train.bin" else 10_000), packed=digest)
        for name, digest in digests.items()
    )


class CIFAR10(Images):
    """Animals and vehicles: 50,000 images to learn from, 10,000 to test on.

    Args:
        root, train, transform, target_transform, download: as those of `MNIST`. The folder is cifar10/, with
            the archive or with the .bin files in it.

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
    #: The files; the last is the one to test on.
    files: ClassVar[tuple[File, ...]] = _files({
        "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    }, 3073)  # fmt: skip
    #: The folder of the archive, and how many classes each label of a record may name.
    folder: ClassVar[str] = "cifar-10-batches-bin"
    label_classes: ClassVar[tuple[int, ...]] = (10,)
    classes: tuple[str, ...] = (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip

    def __init__(
        self, root: str | os.PathLike[str] | None = None, train: bool = True,
        transform: Callable[[Any], Any] | None = None, target_transform: Callable[[Any], Any] | None = None,
        download: bool = True,
    ) -> None:  # fmt: skip
        images, labels = self._read(root, train, download)
        super().__init__(images, labels, transform, target_transform)
        self.train = train

    @classmethod
    def _read(cls, root: str | os.PathLike[str] | None, train: bool, download: bool) -> tuple[Any, Any]:
        """All images and labels, of files that have been checked."""
        name = cls.__name__
        if any(cls._place(file, root) is None for file in cls.files):
            cls._unpack(obtain(name, cls.archive, cls.mirrors, root, download), root)
        images, labels = [], []
        for file in cls.files[:-1] if train else cls.files[-1:]:
            path = cls._place(file, root)
            assert path is not None
            check(name, path, file)
            records = file.size // (len(cls.label_classes) + 3072)
            some, their = read_cifar(path, records, cls.label_classes)
            images.append(some)
            labels.append(their)
        return np.concatenate(images), np.concatenate(labels)

    @classmethod
    def _place(cls, file: File, root: str | os.PathLike[str] | None) -> Path | None:
        return find(cls.__name__, [file.name, f"{cls.folder}/{file.name}"], root)

    @classmethod
    def _unpack(cls, path: Path, root: str | os.PathLike[str] | None) -> None:
        check(cls.__name__, path, cls.archive)
        target = folders(cls.__name__, root)[-1] / cls.folder
        target.mkdir(parents=True, exist_ok=True)
        wanted = {f"{cls.folder}/{file.name}": file.size for file in cls.files}
        for name, data in read_tar(path, wanted, limit=200_000_000).items():
            write_file(target / Path(name).name, data)


class CIFAR100(CIFAR10):
    """A hundred kinds of things and creatures: 50,000 images to learn from, 10,000 to test on.

    Args:
        root, train, transform, target_transform, download: as those of `MNIST`. The folder is cifar100/, with
            the archive or with the .bin files in it.
        coarse: whether labels name one of 20 groups of classes, such as "fish", rather than a class.

    A sample is an image, (3, 32, 32) with values from 0 to 1, and its label, 0 to 99 (or 19).

    Source: A. Krizhevsky: "Learning multiple layers of features from tiny images" (2009).
    """

    mirrors = ("https://www.cs.toronto.edu/~kriz/",)
    archive = File(
        "cifar-100-binary.tar.gz", size=170_000_000,
        packed="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    )  # fmt: skip
    files = _files({
        "train.bin": "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29",
        "test.bin": "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a",
    }, 3074)  # fmt: skip
    folder = "cifar-100-binary"
    label_classes = (20, 100)
    coarse_classes = (
        "aquatic_mammals", "fish", "flowers", "food_containers", "fruit_and_vegetables",
        "household_electrical_devices", "household_furniture", "insects", "large_carnivores",
        "large_man-made_outdoor_things", "large_natural_outdoor_scenes", "large_omnivores_and_herbivores",
        "medium_mammals", "non-insect_invertebrates", "people", "reptiles", "small_mammals", "trees",
        "vehicles_1", "vehicles_2",
    )  # fmt: skip
    classes: tuple[str, ...] = (
        "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
        "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
        "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur",
        "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo",
        "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree",
        "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree",
        "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine", "possum", "rabbit",
        "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper",
        "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
        "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe",
        "whale", "willow_tree", "wolf", "woman", "worm",
    )  # fmt: skip

    def __init__(
        self, root: str | os.PathLike[str] | None = None, train: bool = True,
        transform: Callable[[Any], Any] | None = None, target_transform: Callable[[Any], Any] | None = None,
        download: bool = True, *, coarse: bool = False,
    ) -> None:  # fmt: skip
        images, labels = self._read(root, train, download)
        column = 0 if coarse else 1
        Images.__init__(self, images, np.ascontiguousarray(labels[:, column]), transform, target_transform)
        self.train = train
        if coarse:
            self.classes = self.coarse_classes
