"""bAbI, task 1: small stories about who went where, with questions."""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

from lampion.datasets.fetch import File, check, find, folders, obtain
from lampion.datasets.formats import read_tar
from lampion.errors import IndexRangeError, LampionError
from lampion.utils.data import Dataset
from lampion.utils.files import write_file

_FOLDER = "tasks_1-20_v1-2/en"


class BAbI(Dataset):
    """The first of bAbI's tasks: where a person is, by the one sentence of the story that says so.

    Args:
        root: the folder in which babi/, with the files, lies or is made. By default, what lies in the folder
            that the environment variable LAMPION_DATA names comes first, then Lampion's cache (LAMPION_HOME,
            or ~/.cache/lampion).
        train: the 1,000 questions to learn from, or the 1,000 to test on.
        download: whether to get the archive from the network if the files are not there.

    A sample is a story, a question and an answer: a list of sentences, each a list of words, up to the
    question; the words of the question; a word. All words are in small letters, without full stops and
    question marks. `support` has, for each sample, the place in its story of the sentence that answers it.
    `lines` are the lines of the file one by one, for foretelling the next word as in the book: sentences and
    questions as lists of words, a question with its answer as the last word.

    Source: J. Weston et al.: "Towards AI-complete question answering: a set of prerequisite toy tasks"
    (2015); Grokking Deep Learning, chapter 12.
    """

    mirrors: ClassVar[tuple[str, ...]] = ("https://s3.amazonaws.com/text-datasets/",)
    # Of the archive the digest is not needed: the two files that are taken from it are checked.
    archive: ClassVar[File] = File("babi_tasks_1-20_v1-2.tar.gz", size=20_000_000)
    files: ClassVar[dict[bool, File]] = {
        train: File(f"qa1_single-supporting-fact_{name}.txt", size=size, packed=digest)
        for train, name, size, digest in (
            (True, "train", 94_346, "c64ba9b1a49bbb111ffc4cd2ae4f129d25c012399dd7ade9679eea464b9afb05"),
            (False, "test", 94_477, "55acf66cef2f6d798e2aa1d056e1ec8f24e910ea9215b639450574321132959b"),
        )
    }

    def __init__(
        self, root: str | os.PathLike[str] | None = None, train: bool = True, download: bool = True
    ) -> None:
        file = self.files[train]
        path = self._place(file, root)
        if path is None:
            self._unpack(obtain("BAbI", self.archive, self.mirrors, root, download), root)
            path = self._place(file, root)
            assert path is not None
        check("BAbI", path, file)
        self.train = train
        self.samples: list[tuple[list[list[str]], list[str], str]] = []
        self.support: list[int] = []
        self.lines: list[list[str]] = []
        self._read(path)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[list[list[str]], list[str], str]:
        if not -len(self) <= index < len(self):
            raise IndexRangeError(
                "BAbI", "there is no such sample", expected=f"below {len(self)}", got=str(index)
            )
        return self.samples[index]

    def _read(self, path: Path) -> None:
        """Read lines such as "1 Mary moved to the bathroom." and "3 Where is Mary? TAB bathroom TAB 1"."""
        story: dict[int, list[str]] = {}
        for row, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            number, _, rest = line.partition(" ")
            text, *answer = rest.split("\t")
            words = text.lower().replace(".", " ").replace("?", " ").split()
            if not number.isdecimal() or not words or len(answer) not in (0, 2):
                raise LampionError("BAbI", f"line {row} of {path} is none of the task", got=repr(line[:80]))
            if number == "1":
                story = {}
            if not answer:
                story[int(number)] = words
                self.lines.append(words)
            elif answer[1].strip().isdecimal() and int(answer[1]) in story:
                self.samples.append((list(story.values()), words, answer[0].lower()))
                self.support.append(list(story).index(int(answer[1])))
                self.lines.append([*words, answer[0].lower()])
            else:
                raise LampionError("BAbI", f"line {row} of {path} names a sentence that is not there",
                                   got=repr(line[:80]))  # fmt: skip

    @classmethod
    def _place(cls, file: File, root: str | os.PathLike[str] | None) -> Path | None:
        return find("BAbI", [file.name, f"{_FOLDER}/{file.name}"], root)

    @classmethod
    def _unpack(cls, path: Path, root: str | os.PathLike[str] | None) -> None:
        target = folders("BAbI", root)[-1]
        target.mkdir(parents=True, exist_ok=True)
        wanted = {f"{_FOLDER}/{file.name}": file.size for file in cls.files.values()}
        for name, data in read_tar(path, wanted, limit=200_000_000).items():
            write_file(target / Path(name).name, data)
