"""What the 1,000 classes of ImageNet are called: what a network trained on it has seen."""

from __future__ import annotations

import json
import os
from pathlib import Path

from lampion.datasets.fetch import File, check, obtain
from lampion.errors import LampionError

_MIRRORS = ("https://storage.googleapis.com/download.tensorflow.org/data/",)
# The MD5 is the one that Keras, whose file it is, publishes: no SHA-256 is.
_FILE = File("imagenet_class_index.json", size=100_000, md5="c2c37ea517e94d9795004a39431a14cb")
_COUNT = 1000


def imagenet_labels(root: str | os.PathLike[str] | None = None, download: bool = True) -> list[str]:
    """The names of ImageNet's classes, in the order in which networks name them: "tench", "goldfish", ...

    Args:
        root: the folder in which imagenet/, with the file, lies or is made. By default, what lies in the
            folder that the environment variable LAMPION_DATA names comes first, then Lampion's cache
            (LAMPION_HOME, or ~/.cache/lampion).
        download: whether to get the file from the network if it is not there.

    Source: O. Russakovsky et al.: "ImageNet large scale visual recognition challenge" (2015); Deep Learning
    from Scratch 3, step 58.
    """
    path = obtain("ImageNet", _FILE, _MIRRORS, root, download)
    check("ImageNet", path, _FILE)
    return _read(path)


def _read(path: Path) -> list[str]:
    """The names of a file {"0": ["n01440764", "tench"], ...}."""
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        return [str(index[str(number)][1]) for number in range(_COUNT)]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise LampionError("imagenet_labels", f"{path} is not what it should be", got=str(error),
                           expected=f"{_COUNT} entries such as \"0\": [\"n01440764\", \"tench\"]",
                           fix="delete it and get it again") from None  # fmt: skip
