"""Datasets of text: their files are checked and read, the made ones are what they should be."""

import datetime
import hashlib
import io
import os
import re
import tarfile
import urllib.error
import urllib.request

import numpy as np
import pytest

import lampion
from lampion.datasets import IMDB, PTB, Addition, BAbI, Dates, TinyShakespeare
from lampion.datasets.fetch import File
from lampion.errors import IndexRangeError, LampionError, OptionError
from lampion.text import UnknownWordError
from lampion.utils.data import DataLoader


@pytest.fixture(autouse=True)
def folders_of_its_own(tmp_path, monkeypatch):
    """No test sees the user's cache or folder, or reaches the network."""
    real = os.environ.get("LAMPION_DATA")
    monkeypatch.setenv("LAMPION_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LAMPION_DATA", str(tmp_path))
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    return real


def offline(url, timeout):
    raise urllib.error.URLError("no network")


@pytest.fixture
def real(folders_of_its_own, monkeypatch):
    """The folder of real files, for one dataset."""

    def folder(name):
        if not folders_of_its_own or not os.path.isdir(os.path.join(folders_of_its_own, name)):
            pytest.skip(f"LAMPION_DATA names no folder with {name}/ in it")
        monkeypatch.setenv("LAMPION_DATA", folders_of_its_own)

    return folder


def place(folder, name, data, digest="sha256"):
    """Put a file there; and the record of it."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    kind = {"sha256": "packed", "md5": "md5"}[digest]
    return File(name, size=len(data), **{kind: hashlib.new(digest, data).hexdigest()})


# -- long texts ------------------------------------------------------------------------------------------


def test_ptb_from_files(tmp_path, monkeypatch):
    texts = {"train": b" a b \n b <unk> N \n", "valid": b" b c \n", "test": b" N \n"}
    place(tmp_path / "ptb", "ptb.train.txt", texts["train"])
    with pytest.raises(LampionError, match="not the file that it should be"):
        PTB()
    files = {split: place(tmp_path / "ptb", f"ptb.{split}.txt", text) for split, text in texts.items()}
    monkeypatch.setattr(PTB, "files", files)
    train = PTB()
    assert train.vocab.itos == ("a", "b", "<eos>", "<unk>", "N") and len(train) == 7
    assert train.corpus.tolist() == [0, 1, 2, 1, 3, 4, 2] and train.corpus.dtype is lampion.int64
    assert PTB("test").corpus.tolist() == [4, 2]
    with pytest.raises(UnknownWordError, match="'c'"):
        PTB("valid")
    with pytest.raises(OptionError, match="train, valid or test"):
        PTB("dev")
    (tmp_path / "ptb" / "ptb.test.txt").unlink()
    with pytest.raises(LampionError, match=r"(?s)PTB: ptb\.test\.txt could not.*no network.*LAMPION_DATA"):
        PTB("test")


def test_real_ptb(real):
    real("ptb")
    train, valid = PTB(), PTB("valid")
    assert len(train.vocab) == 10_000 and valid.vocab == train.vocab
    assert [len(train), len(valid), len(PTB("test"))] == [929_589, 73_760, 82_430]
    assert train.vocab.decode(train.corpus[:3]) == ["aer", "banknote", "berlitz"]


def test_shakespeare_from_a_file(tmp_path, monkeypatch):
    file = place(tmp_path / "tinyshakespeare", "input.txt", b"to be, or not to be:\n")
    monkeypatch.setattr(TinyShakespeare, "file", file)
    train, valid, whole = (TinyShakespeare(split) for split in ("train", "valid", "all"))
    assert train.text + valid.text == whole.text and (len(train), len(valid)) == (18, 3)
    assert "".join(valid.vocab) == "\n ,:benort" and valid.corpus.tolist() == [5, 3, 0]
    with pytest.raises(OptionError, match="train, valid or all"):
        TinyShakespeare("test")


def test_real_shakespeare(real):
    real("tinyshakespeare")
    train = TinyShakespeare()
    assert len(train.vocab) == 65 and len(train) == 1_003_854 and train.text.startswith("First Citizen:")


# -- stories and reviews ---------------------------------------------------------------------------------

STORY = (
    "1 Mary moved to the bathroom.\n2 John went home.\n3 Where is Mary? \tbathroom\t1\n4 Mary left.\n"
    "5 Where is John? \thome\t2\n1 Sandra sat.\n2 Where is Sandra? \tchair\t1\n"
)


def archive(members):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def test_babi_from_files(tmp_path, monkeypatch):
    name = "qa1_single-supporting-fact_{}.txt"
    folder = tmp_path / "babi"
    monkeypatch.setattr(BAbI, "files", {True: place(folder, name.format("train"), STORY.encode())})
    data = BAbI()
    assert len(data) == 3 and data.support == [0, 1, 0]
    story, question, answer = data[1]
    assert [" ".join(words) for words in story] == [
        "mary moved to the bathroom",
        "john went home",
        "mary left",
    ]
    assert (question, answer) == (["where", "is", "john"], "home")
    assert [len(line) for line in data.lines] == [5, 3, 4, 2, 4, 2, 4] and data.lines[2][-1] == "bathroom"
    with pytest.raises(IndexRangeError, match="below 3"):
        data[3]
    for wrong in ("no number\n", "1 \n", "1 a\tb\n", "1 Where? \there\t9\n", "1 Where? \there\tx\n"):
        monkeypatch.setattr(BAbI, "files", {True: place(folder, name.format("train"), wrong.encode())})
        with pytest.raises(LampionError, match=r"BAbI: line 1 of .*qa1"):
            BAbI()


def test_babi_from_its_archive(tmp_path, monkeypatch):
    name = "qa1_single-supporting-fact_{}.txt"
    files = {train: place(tmp_path, name.format(kind), STORY.encode()) for train, kind in
             ((True, "train"), (False, "test"))}  # fmt: skip
    members = {f"tasks_1-20_v1-2/en/{file.name}": STORY.encode() for file in files.values()}
    place(tmp_path / "babi", BAbI.archive.name, archive({"tasks_1-20_v1-2/README": b"read me", **members}))
    monkeypatch.setattr(BAbI, "files", files)
    assert len(BAbI(train=False)) == 3
    assert (tmp_path / "home/datasets/babi" / files[False].name).read_bytes() == STORY.encode()
    (tmp_path / "home/datasets/babi" / files[False].name).write_bytes(STORY.encode()[::-1])
    with pytest.raises(LampionError, match="not the file that it should be"):
        BAbI(train=False)


def test_real_babi(real):
    real("babi")
    for train in (True, False):
        data = BAbI(train=train)
        assert len(data) == 1000 and len(data.lines) == 3000
        assert len({answer for _, _, answer in data}) == 6
        for (story, _, answer), support in zip(data, data.support, strict=True):
            assert story[support][-1] == answer


def test_imdb_from_its_archive(tmp_path, monkeypatch):
    members = {f"aclImdb/{part}/{kind}/{number}_{number % 10}.txt": f"{part} {kind} {number} ö".encode()
               for part in ("train", "test") for kind in ("pos", "neg") for number in (10, 9)}  # fmt: skip
    members["aclImdb/train/unsup/3_0.txt"] = members["aclImdb/README"] = b"no review"
    packed = archive(members)
    place(tmp_path / "imdb", IMDB.archive.name, packed)
    with pytest.raises(LampionError, match=r"(?s)not the file that it should be.*MD5 7c2ac02c"):
        IMDB()
    monkeypatch.setattr(IMDB, "archive", place(tmp_path / "imdb", IMDB.archive.name, packed, "md5"))
    with pytest.raises(LampionError, match=r"(?s)12500 of each.*got: 2 and 2"):
        IMDB()
    monkeypatch.setattr(IMDB, "each", 2)
    data = IMDB()
    assert data.texts == ["train neg 9 ö", "train neg 10 ö", "train pos 9 ö", "train pos 10 ö"]
    assert data.labels.tolist() == [0, 0, 1, 1] and IMDB(train=False)[-1][0] == "test pos 10 ö"
    texts, labels = next(iter(DataLoader(data, 3)))
    assert list(texts) == data.texts[:3] and labels.tolist() == [0, 0, 1]
    with pytest.raises(IndexRangeError, match="below 4"):
        data[4]
    monkeypatch.setattr(IMDB, "limit", 100)
    with pytest.raises(LampionError, match="more than the limit"):
        IMDB()
    monkeypatch.setattr(IMDB, "limit", 10**6)
    for broken in (packed[:-30], b"text"):
        monkeypatch.setattr(IMDB, "archive", place(tmp_path / "imdb", IMDB.archive.name, broken, "md5"))
        with pytest.raises(LampionError, match="not a whole archive"):
            IMDB()
    members["aclImdb/../../evil"] = b"x"
    packed = archive(members)
    monkeypatch.setattr(IMDB, "archive", place(tmp_path / "imdb", IMDB.archive.name, packed, "md5"))
    with pytest.raises(LampionError, match="path out of its folder"):
        IMDB()


# -- made ones -------------------------------------------------------------------------------------------


def test_additions():
    train, test = Addition(samples=2000), Addition(train=False, samples=2000)
    assert (len(train), len(test)) == (1800, 200)
    assert [x.shape for x in train.tensors] == [(1800, 7), (1800, 5)]
    seen = set()
    for data in (train, test):
        for question, answer in zip(data.questions, data.answers, strict=True):
            a, b = map(int, question.split("+"))
            assert answer == f"_{a + b}".ljust(5) and question == f"{a}+{b}".ljust(7)
            seen.add((min(a, b), max(a, b)))
    assert len(seen) == 2000
    assert train.text(train[7][0]) == train.questions[7] and train.vocab == test.vocab
    assert train.questions == Addition(samples=2000).questions != Addition(samples=2000, seed=1).questions
    lengths = np.bincount([len(q.split("+")[0]) for q in train.questions])
    assert (lengths[1:] > 300).all()  # a third each, but for the zeros in front that are not written
    with pytest.raises(OptionError, match="1 to 9 digits"):
        Addition(digits=0)
    with pytest.raises(OptionError, match="10 to 27 samples"):
        Addition(samples=28, digits=1)
    with pytest.raises(UnknownWordError):
        train.vocab.encode("1-1")


FORMS = (
    r"\d\d?/\d\d?/\d\d", r"[A-Z][a-z]{2} \d\d?, \d{4}", r"[A-Z][a-z]+ \d\d?, \d{4}",
    r"[A-Z][a-z]+day, [A-Z][a-z]+ \d\d?, \d{4}",
)  # fmt: skip
STRPTIME = ("%m/%d/%y", "%b %d, %Y", "%B %d, %Y", "%A, %B %d, %Y")


def test_dates():
    train, test = Dates(samples=2000), Dates(train=False, samples=2000)
    assert [x.shape for x in train.tensors] == [(1800, 29), (1800, 11)] and len(test) == 200
    forms = dict.fromkeys(FORMS, 0)
    for question, answer in zip(train.questions, train.answers, strict=True):
        text = question.strip()
        form = next(i for i, form in enumerate(FORMS) if re.fullmatch(form, text, re.IGNORECASE))
        day = datetime.datetime.strptime(text, STRPTIME[form]).date()
        assert answer == f"_{day.isoformat()}" and (form != 3 or text[:3].title() == day.strftime("%a"))
        forms[FORMS[form]] += 1
    assert min(forms.values()) > 350
    assert len({*train.questions, *test.questions}) == 2000
    assert train.questions == Dates(samples=2000).questions != Dates(samples=2000, seed=1).questions
    assert any(q.isupper() for q in train.questions) and any(q.islower() for q in train.questions)
    with pytest.raises(OptionError, match="10 to 50000"):
        Dates(samples=50_001)
