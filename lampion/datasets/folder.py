"""Files in folders, a folder for each class: one's own images."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lampion.errors import IndexRangeError, LampionError, OptionError
from lampion.utils.data import Dataset

#: What the names of images end with.
IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def open_image(path: str | os.PathLike[str], mode: str = "RGB") -> Any:
    """An image of Pillow's, from a file, read to its end.

    Args:
        mode: what it is converted to: "RGB" for three channels, "L" for one, "RGBA" for four.

    Raises:
        LampionError: it is no image, or not a whole one, or so large that Pillow refuses it.
    """
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise LampionError("open_image", "images are read by Pillow, which is not installed",
                           fix='pip install ".[data]"') from None  # fmt: skip
    name = os.fspath(path)
    try:
        with Image.open(path) as image:
            return image.convert(mode)
    except UnidentifiedImageError:
        with open(path, "rb") as stream:
            start = stream.read(8)
        raise LampionError("open_image", f"{name} is not an image", expected="JPEG, PNG, ...",
                           got=f"a file that begins with {start!r}" if start else "an empty file",
                           fix="remove it, or get it again") from None  # fmt: skip
    except FileNotFoundError:
        raise LampionError("open_image", f"{name} is not there any more") from None
    except Image.DecompressionBombError as error:
        raise LampionError("open_image", f"{name} is too large", got=str(error)) from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # whatever a decoder may raise
        raise LampionError("open_image", f"{name} is not a whole image", got=str(error),
                           fix="remove it, or get it again") from None  # fmt: skip


class DatasetFolder(Dataset):
    """Files in folders: root/CLASS/..., with any folders below.

    Args:
        root: the folder that holds a folder for each class.
        loader: makes a sample of the path of a file.
        extensions: what the names of samples end with, in small letters; files of other names are left out.
        transform, target_transform: called with each sample and label.
        is_valid_file: instead of `extensions`: says of a path whether it is a sample's.
        allow_empty: whether a class may be without samples.

    A sample is what the loader makes, and the number of its class: the classes are in the order of their
    names, and so are the files of each. `classes` has their names, `class_to_idx` their numbers, `samples`
    all paths with their numbers, `targets` the numbers alone.

    Raises:
        LampionError: there is no such folder, there are no folders in it, or one of them has no samples.
    """

    def __init__(
        self, root: str | os.PathLike[str], loader: Callable[[str], Any],
        extensions: str | Sequence[str] | None = None, transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        is_valid_file: Callable[[str], bool] | None = None, allow_empty: bool = False,
    ) -> None:  # fmt: skip
        if (extensions is None) is (is_valid_file is None):
            raise OptionError(type(self).__name__, "samples are known by extensions, or by is_valid_file",
                              expected="one of the two", got="neither" if extensions is None else "both",
                              )  # fmt: skip
        self.root, self.loader = os.fspath(root), loader
        self.extensions = (extensions,) if isinstance(extensions, str) else extensions
        self.transform, self.target_transform = transform, target_transform
        self.classes, self.class_to_idx = self.find_classes(self.root)
        endings = tuple(self.extensions or ())
        is_sample = is_valid_file or (lambda path: path.lower().endswith(endings))
        self.samples = [
            (path, number)
            for name, number in self.class_to_idx.items()
            for path in self._files(name, is_sample, allow_empty)
        ]
        self.targets = [number for _, number in self.samples]

    def find_classes(self, directory: str | os.PathLike[str]) -> tuple[list[str], dict[str, int]]:
        """The names of the classes, and their numbers. A subclass may find them in another way."""
        folder = Path(directory)
        if not folder.is_dir():
            raise LampionError(type(self).__name__, f"there is no folder {folder}")
        entries = list(folder.iterdir())
        classes = sorted(entry.name for entry in entries if entry.is_dir())
        if not classes:
            raise LampionError(type(self).__name__, f"{folder} has no folders, which are the classes",
                               expected="root/CLASS/image.png", got=f"{len(entries)} files in it",
                               fix="a folder for each class, with its images in it")  # fmt: skip
        return classes, {name: number for number, name in enumerate(classes)}

    def _files(self, name: str, is_sample: Callable[[str], bool], allow_empty: bool) -> list[str]:
        """The samples of a class, in order."""
        found = [
            os.path.join(place, file)
            for place, _, files in sorted(os.walk(os.path.join(self.root, name), followlinks=True))
            for file in sorted(files)
        ]
        samples = [path for path in found if is_sample(path)]
        if not samples and not allow_empty:
            wanted = (
                "files that is_valid_file takes" if self.extensions is None else " ".join(self.extensions)
            )
            raise LampionError(type(self).__name__, f"the class {name!r} has no samples", expected=wanted,
                               got=f"{len(found)} other files in {os.path.join(self.root, name)}",
                               fix="remove the folder, or allow_empty=True")  # fmt: skip
        return samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if not -len(self) <= index < len(self):
            raise IndexRangeError(type(self).__name__, "there is no such sample",
                                  expected=f"below {len(self)}", got=str(index))  # fmt: skip
        path, label = self.samples[index]
        sample, target = self.loader(path), label
        if self.transform is not None:
            sample = self.transform(sample)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return sample, target


class ImageFolder(DatasetFolder):
    """Images in folders: root/dog/1.png, root/cat/2.jpg, ...

    Args:
        root, transform, target_transform, is_valid_file, allow_empty: see `DatasetFolder`.
        loader: makes an image of the path of a file; by default `open_image`, in colours.

    A sample is an image of Pillow's, until a transform such as `vision.transforms.ToTensor()` makes a tensor
    of it, and the number of its class.

    >>> import pathlib, tempfile
    >>> import lampion
    >>> from lampion.vision import transforms as T
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("cat", "dog"):
    ...         pathlib.Path(folder, name).mkdir()
    ...         T.ToPILImage()(lampion.rand(3, 8, 8)).save(pathlib.Path(folder, name, "1.png"))
    ...     data = lampion.datasets.ImageFolder(folder, T.ToTensor())
    ...     data.classes, data[1][0].shape, data[1][1]
    (['cat', 'dog'], (3, 8, 8), 1)
    """

    def __init__(
        self, root: str | os.PathLike[str], transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None, loader: Callable[[str], Any] = open_image,
        is_valid_file: Callable[[str], bool] | None = None, allow_empty: bool = False,
    ) -> None:  # fmt: skip
        extensions = IMG_EXTENSIONS if is_valid_file is None else None
        super().__init__(
            root, loader, extensions, transform, target_transform, is_valid_file, allow_empty
        )  # fmt: skip

    @property
    def imgs(self) -> list[tuple[str, int]]:
        """The samples, by torchvision's other name."""
        return self.samples
