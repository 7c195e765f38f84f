"""Datasets: their files are fetched, checked and read; damaged and hostile ones are refused."""

import gzip
import hashlib
import io
import os
import struct
import tarfile
import urllib.error
import urllib.request

import numpy as np
import pytest

import lampion
from lampion.datasets import (
    CIFAR10,
    MNIST,
    FashionMNIST,
    SinCurve,
    Spiral,
    fetch,
    read_cifar,
    read_idx,
)
from lampion.datasets.fetch import File
from lampion.datasets.formats import read_tar
from lampion.datasets.images import Images
from lampion.errors import IndexRangeError, LampionError, OptionError
from lampion.utils.data import DataLoader


@pytest.fixture(autouse=True)
def folders_of_its_own(tmp_path, monkeypatch):
    """No test sees the user's cache or folder, or reaches the network."""
    real = os.environ.get("LAMPION_DATA")
    monkeypatch.setenv("LAMPION_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LAMPION_DATA", raising=False)
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    return real


def offline(url, timeout):
    raise urllib.error.URLError("no network")


def idx(array, kind=8):
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


# -- fetching --------------------------------------------------------------------------------------------


class Answer(io.BytesIO):
    def __init__(self, data, url):
        super().__init__(data)
        self.url = url

    def geturl(self):
        return self.url


MIRRORS = ("https://one/", "https://two/")


def served(monkeypatch, answers):
    def urlopen(url, timeout):
        data = answers[url.removesuffix("f.gz")]
        if isinstance(data, Exception):
            raise data
        return Answer(*data) if isinstance(data, tuple) else Answer(data, url)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)


def test_mirrors_are_tried_until_one_has_the_right_file(tmp_path, monkeypatch):
    file = File("f.gz", 10, packed=sha256(b"right"))
    for wrong in (OSError("refused"), b"wrong", b"far too long a file", (b"right", "http://elsewhere/")):
        served(monkeypatch, {"https://one/": wrong, "https://two/": b"right"})
        path = fetch.obtain("Set", file, MIRRORS, None, True)
        assert path == tmp_path / "home" / "datasets" / "set" / "f.gz" and path.read_bytes() == b"right"
        assert os.listdir(path.parent) == ["f.gz"]
        served(monkeypatch, {})
        assert fetch.obtain("Set", file, MIRRORS, None, True) == path  # without the network
        path.unlink()
    served(monkeypatch, {"https://one/": b"wrong", "https://two/": OSError("refused")})
    with pytest.raises(
        LampionError,
        match=r"(?s)Set: f.gz could not be down.*one/: .*not the file.*two/: refused.*LAMPION_DATA=FOLDER",
    ):
        fetch.obtain("Set", file, MIRRORS, None, True)
    assert os.listdir(path.parent) == []
    with pytest.raises(LampionError, match=r"(?s)is not there, and download=False.*f\.gz"):
        fetch.obtain("Set", file, MIRRORS, None, False)
    with pytest.raises(LampionError, match=r"(?s)could not be downloaded.*not HTTPS"):
        fetch.obtain("Set", file, ("http://one/",), None, True)


def test_an_interrupted_download_leaves_nothing(tmp_path, monkeypatch):
    class Interrupted(Answer):
        def read(self, size):
            if self.tell():
                raise KeyboardInterrupt
            return super().read(2)

    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: Interrupted(b"right", url))
    with pytest.raises(KeyboardInterrupt):
        fetch.obtain("Set", File("f.gz", 10, packed=sha256(b"right")), MIRRORS, tmp_path, True)
    assert os.listdir(tmp_path / "set" if (tmp_path / "set").exists() else tmp_path / "Set/raw") == []


def test_the_users_folder_comes_first(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMPION_DATA", str(tmp_path))
    file = File("f.gz", 10, unpacked_size=5, unpacked=sha256(b"right"))
    for place, data in [("Set/raw/f.gz", gzip.compress(b"right")), ("set/f", b"right")]:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(data)
        path = fetch.obtain("Set", file, MIRRORS, None, True)
        assert path == tmp_path / place
        fetch.check("Set", path, file)
    path.write_bytes(b"wrong")
    with pytest.raises(LampionError, match=r"(?s)not the file that it should be.*SHA-256"):
        fetch.check("Set", path, file)
    path.write_bytes(gzip.compress(bytes(100_000)))
    with pytest.raises(LampionError, match=r"(?s)holds more than it should.*5 bytes at most"):
        fetch.check("Set", path, file)
    path.write_bytes(gzip.compress(b"right")[:-3])
    with pytest.raises(LampionError, match="not a whole gzip file"):
        fetch.check("Set", path, file)


def test_a_root_that_is_given_comes_before_the_users_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LAMPION_DATA", str(tmp_path / "data"))
    file, root = File("f", 10, packed=sha256(b"right")), tmp_path / "root"
    for base in ("data", "root", "home/datasets"):
        (tmp_path / base / "set").mkdir(parents=True)
        (tmp_path / base / "set" / "f").write_bytes(b"right")
    assert fetch.obtain("Set", file, MIRRORS, None, True) == tmp_path / "data/set/f"
    assert fetch.obtain("Set", file, MIRRORS, str(root), True) == root / "set/f"
    (root / "set" / "f").unlink()  # nothing else is looked at, and the advice does not name the variable
    for download in (False, True):
        with pytest.raises(LampionError, match=r"Set: f (is not there|could not be downloaded)") as caught:
            fetch.obtain("Set", file, MIRRORS, root, download)
        assert f"put it into {root / 'set'}" in str(caught.value)
        assert "LAMPION_DATA" not in str(caught.value)


# -- formats ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("code", "kind"), [(8, "u1"), (9, "i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")]
)
def test_idx(code, kind, packed, tmp_path):
    array = np.arange(24).reshape(2, 3, 4).astype(kind)
    data = idx(array, code)
    (tmp_path / "f").write_bytes(gzip.compress(data) if packed else data)
    read = read_idx(tmp_path / "f")
    assert read.dtype == np.dtype(kind).newbyteorder("=") and read.tolist() == array.tolist()
    assert read.dtype.isnative and read.flags.writeable


WRONG = {
    "empty": b"",
    "text": b"not an IDX file",
    "type": b"\0\0\7\1\0\0\0\0",
    "header": b"\0\0\x08\3\0\0\0\1",
    "too few": idx(np.zeros(9, "u1"))[:-1],
    "too many": idx(np.zeros(9, "u1")) + b"\0",
    "claims 280 TB": b"\0\0\x08\3" + b"\0\1\0\0" * 3,
    "claims more than can be counted": b"\0\0\x0e\x20" + b"\xff" * 128,
    "dimensions": b"\0\0\x08\xff" + bytes(1020),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG.keys())
def test_wrong_idx_files_are_refused(data, packed, tmp_path):
    (tmp_path / "f").write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(LampionError, match="read_idx: "):
        read_idx(tmp_path / "f")


def test_packed_idx_files_are_refused_where_they_unpack_to_something_else(tmp_path):
    path = tmp_path / "f"
    data = gzip.compress(idx(np.zeros(10_000_000, "u1")))
    path.write_bytes(data)
    assert read_idx(path, limit=10_000_000).shape == (10_000_000,)
    with pytest.raises(LampionError, match=r"(?s)not hold what it claims.*a limit of 999"):
        read_idx(path, limit=999)
    for broken in (data[:-9], data[: len(data) // 2], data[:100] + b"\xff" * 50 + data[150:]):
        path.write_bytes(broken)
        with pytest.raises(LampionError, match="read_idx: "):
            read_idx(path)


def test_cifar_files(tmp_path):
    data = np.arange(2 * 3073, dtype=np.uint64).astype(np.uint8).reshape(2, 3073)
    data[:, 0] = [7, 9]
    data.tofile(tmp_path / "f")
    images, labels = read_cifar(tmp_path / "f")
    assert images.shape == (2, 3, 32, 32) and labels.tolist() == [7, 9]
    assert images[0, 0, 0, :3].tolist() == [1, 2, 3]
    with pytest.raises(LampionError, match="5 records of"):
        read_cifar(tmp_path / "f", 5)
    data[1, 0] = 10
    data.tofile(tmp_path / "f")
    with pytest.raises(LampionError, match="labels to 9"):
        read_cifar(tmp_path / "f")
    (tmp_path / "f").write_bytes(b"\0" * 3074)
    with pytest.raises(LampionError, match="got: 3074 bytes"):
        read_cifar(tmp_path / "f")


def archive(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def test_archives(tmp_path):
    path = tmp_path / "a.tar.gz"
    good = [("d/readme", b"hello"), ("d/a.bin", b"abc")]
    archive(path, good)
    assert read_tar(path, {"d/a.bin": 3}, 100_000) == {"d/a.bin": b"abc"}
    for member, message in [
        (("../../evil", b"x"), "path out of its folder"), (("/etc/evil", b"x"), "path out of its folder"),
        (("d\\..\\..\\evil", b"x"), "path out of its folder"), (("C:evil", b"x"), "path out of its folder"),
        (("d/link", "/etc/passwd"), "neither a file nor a folder"), (("d/b.bin", b"12"), "wrong size"),
        (("bomb", bytes(200_000)), "wrong size"),
    ]:  # fmt: skip
        archive(path, [*good, member])
        with pytest.raises(LampionError, match=message):
            read_tar(path, {"d/a.bin": 3, "d/b.bin": 3}, 100_000)
    archive(path, [*good, *((f"many{i}", bytes(50_000)) for i in range(5))])
    with pytest.raises(LampionError, match="more than the limit"):
        read_tar(path, {"d/a.bin": 3}, 100_000)
    archive(path, good)
    whole = path.read_bytes()
    with pytest.raises(LampionError, match=r"(?s)lacks files.*d/c\.bin"):
        read_tar(path, {"d/a.bin": 3, "d/c.bin": 3}, 100_000)
    for broken in (b"", b"text", whole[:-20], whole[:40], gzip.compress(b"no archive")):
        path.write_bytes(broken)
        with pytest.raises(LampionError, match="read_tar: "):
            read_tar(path, {"d/a.bin": 3}, 100_000)


# -- the datasets ----------------------------------------------------------------------------------------


def test_images():
    pixels = np.arange(4 * 3 * 2 * 2, dtype=np.uint8).reshape(4, 3, 2, 2) * 5
    data = Images(pixels, np.arange(4))
    image, label = data[-1]
    assert image.tolist() == (pixels[3] / np.float32(255)).tolist() and label.item() == 3
    assert data.images.dtype is lampion.float32 and data.data.shape == (4, 3, 2, 2)
    one_by_one = [image.tolist() for image, _ in data]
    assert one_by_one == data.images.tolist() == next(iter(DataLoader(data, 4)))[0].tolist()
    with pytest.raises(IndexRangeError):
        data[4]
    changed = Images(pixels, np.arange(4), transform=lambda x: x * 2, target_transform=lambda y: -y)
    x, y = next(iter(DataLoader(changed, 4)))
    assert x.tolist() == (data.images * 2).tolist() and y.tolist() == [0, -1, -2, -3]


def test_mnist_from_files(tmp_path, monkeypatch):
    images = idx(np.arange(10_000, dtype=np.uint16).astype("u1")[:, None, None] * np.ones((28, 28), "u1"))
    labels = idx((np.arange(10_000) % 10).astype("u1"))
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    (folder / "t10k-images-idx3-ubyte").write_bytes(images)
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    with pytest.raises(LampionError, match="not the file that it should be"):
        MNIST(tmp_path, train=False)
    files = {
        "t10k-images-idx3": File("t10k-images-idx3-ubyte.gz", 10**7, None, 7_840_016, sha256(images)),
        "t10k-labels-idx1": File("t10k-labels-idx1-ubyte.gz", 10**5, None, 10_008, sha256(labels)),
    }
    monkeypatch.setattr(MNIST, "files", files)
    data = MNIST(tmp_path, train=False)
    assert len(data) == 10_000 and data[255][0].amax().item() == 1.0 and data[13][1].item() == 3
    assert data.data.shape == (10_000, 28, 28) and data[0][0].shape == (1, 28, 28)
    with pytest.raises(LampionError, match=r"(?s)FashionMNIST: t10k.*download=False"):
        FashionMNIST(tmp_path, train=False, download=False)


def test_real_mnist(folders_of_its_own, monkeypatch):
    if not folders_of_its_own or not os.path.isdir(os.path.join(folders_of_its_own, "mnist")):
        pytest.skip("LAMPION_DATA names no folder with mnist/ in it")
    monkeypatch.setenv("LAMPION_DATA", folders_of_its_own)
    for train, count in ((True, 60_000), (False, 10_000)):
        data = MNIST(train=train)
        assert len(data) == count and len(data.labels.unique()) == 10
    assert data.labels[:5].tolist() == [7, 2, 1, 0, 4]


def test_cifar10_from_its_archive(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    files, members = [], []
    for file in CIFAR10.files:
        records = random.integers(0, 256, (4, 3073)).astype("u1")
        records[:, 0] %= 10
        members.append((f"cifar-10-batches-bin/{file.name}", records.tobytes()))
        files.append(File(file.name, 4 * 3073, packed=sha256(records.tobytes())))
    archive(tmp_path / "packed.tar.gz", members)
    packed = (tmp_path / "packed.tar.gz").read_bytes()
    monkeypatch.setattr(CIFAR10, "files", tuple(files))
    monkeypatch.setattr(CIFAR10, "archive", File("cifar-10-binary.tar.gz", 10**6, packed=sha256(packed)))
    with pytest.raises(LampionError, match=r"(?s)could not be downloaded.*no network.*LAMPION_DATA"):
        CIFAR10()
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: Answer(packed, url))
    train = CIFAR10()
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    test = CIFAR10(train=False)
    assert len(train) == 20 and len(test) == 4 and train[0][0].shape == (3, 32, 32)
    assert test.data.numpy().tobytes()[:100] == members[-1][1][1:101]
    place = tmp_path / "home/datasets/cifar10/cifar-10-batches-bin/test_batch.bin"
    place.write_bytes(place.read_bytes()[:-1] + b"\0\0"[:1])
    with pytest.raises(LampionError, match="not the file that it should be"):
        CIFAR10(train=False)


def test_spiral_and_sine_curve():
    train, test = Spiral(), Spiral(train=False)
    assert len(train) == 300 and np.bincount(train.labels.numpy()).tolist() == [100] * 3
    assert train.points.dtype is lampion.float32 and train.labels.dtype is lampion.int64
    assert train.points.tolist() == Spiral().points.tolist() != test.points.tolist()
    assert Spiral(seed=1).points.tolist() not in (train.points.tolist(), test.points.tolist())
    assert train.points.norm(dim=1).max().item() < 1
    assert len(Spiral(samples=10, classes=5)) == 50
    with pytest.raises(OptionError, match="Spiral"):
        Spiral(samples=0)
    noisy, clean = SinCurve(), SinCurve(train=False)
    x = np.linspace(0, 2 * np.pi, 1000)
    assert np.abs(noisy.tensors[0].numpy()[:, 0] - np.sin(x[:-1])).max() < 0.0501
    assert np.allclose(clean.tensors[1].numpy()[:, 0], np.cos(x[1:]), atol=1e-6)  # float32's angles
    assert noisy.tensors[0][1:].tolist() == noisy.tensors[1][:-1].tolist()
    with pytest.raises(OptionError, match="two points"):
        SinCurve(samples=1)
