"""lampion.load of NumPy's .npz: plain arrays, and nothing else."""

import io
import struct
import zipfile

import numpy as np
import pytest

import lampion
from lampion.errors import LampionError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "arrays.npz"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_every_plain_array_comes_back(save, path):
    arrays = {
        "a": np.arange(6).reshape(2, 3), "scalar": np.float32(3), "big_endian": np.array([1.5, -2], ">f4"),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "empty": np.zeros((0, 3), "u1"),
        "bool": np.array([True, False]), "complex": np.array([1 + 2j], "c8"), "one": np.arange(3, dtype="i2"),
    }  # fmt: skip
    save(path, **arrays)
    loaded = lampion.load(path)
    assert list(loaded) == list(arrays)
    for name, array in arrays.items():
        assert loaded[name].tolist() == array.tolist() and loaded[name].shape == array.shape
        assert loaded[name].numpy().dtype == array.dtype.newbyteorder("=")
    loaded["a"].fill_(0)  # what was loaded can be written to


def member(descr="'<f4'", shape="(2,)", data=bytes(8), order="False"):
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + data


def zipped(*members, kind=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def with_bytes(data, place, new):
    return data[:place] + new + data[place + len(new) :]


GOOD = zipped(("a.npy", member()))
CENTRAL = GOOD.rindex(b"PK\1\2")
PICKLE = io.BytesIO()
np.savez(PICKLE, a=np.array([{}], dtype=object))
WRONG = {
    "objects": PICKLE.getvalue(),
    "texts": zipped(("a.npy", member("'<U2'"))),
    "records": zipped(("a.npy", member("[('x', '<f4')]"))),
    "code": zipped(("a.npy", member("__import__('os')"))),
    "too few": zipped(("a.npy", member(data=bytes(7)))),
    "too many": zipped(("a.npy", member(data=bytes(9)))),
    "claims 4 TB": zipped(("a.npy", member(shape="(1000000000000,)"))),
    "overflows": zipped(("a.npy", member(shape="(" + "9" * 30 + ", 9)"))),
    "truth values": zipped(("a.npy", member("'|b1'", data=b"\1\2"))),
    "no array": zipped(("a.npy", b"hello")),
    "another packing": zipped(("a.npy", member()), kind=zipfile.ZIP_BZIP2),
    "contents": with_bytes(GOOD, GOOD.index(b"NUMPY") + 130, b"\7"),
    "claims a size": with_bytes(GOOD, CENTRAL + 24, struct.pack("<I", 2**31)),
    "encrypted": with_bytes(GOOD, CENTRAL + 8, b"\1"),
    "no contents": GOOD[:CENTRAL],
    "version of the zip": with_bytes(GOOD, CENTRAL + 6, b"\xff"),
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_refused(data, path):
    path.write_bytes(data)
    with pytest.raises(LampionError, match=r"arrays.npz is not a whole .npz file of plain arrays"):
        lampion.load(path)


def test_an_error_does_not_show_the_whole_file(path):
    path.write_bytes(
        with_bytes(zipped(("a.npy", member(data=bytes(50_000), shape="(12500,)"))), 26, b"\xff\xff")
    )
    with pytest.raises(LampionError) as caught:
        lampion.load(path)
    assert len(str(caught.value)) < 1000


def test_every_truncation_is_refused(path):
    for length in range(4, len(GOOD)):
        path.write_bytes(GOOD[:length])
        with pytest.raises(LampionError):
            lampion.load(path)
    path.write_bytes(GOOD)
    assert lampion.load(path)["a"].tolist() == [0, 0]


def test_names_that_come_twice(path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path.write_bytes(zipped(("a.npy", member()), ("a.npy", member())))
    with pytest.raises(LampionError, match="a name that comes twice"):
        lampion.load(path)
