"""Safetensors files: round trips, and every way in which a file can be wrong."""

import json
import os
import struct
import subprocess
import sys

import numpy as np
import pytest

import lampion
from lampion import nn
from lampion.errors import LampionError
from lampion.utils import files

DTYPES = [
    lampion.float32, lampion.float64, lampion.int64, lampion.int32, lampion.int16, lampion.int8,
    lampion.uint8, lampion.bool,
]  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


def test_a_round_trip_keeps_bits_shapes_and_types(path):
    state = {f"x.{d}": lampion.tensor([[0, 1, 2], [3, 4, 5]], dtype=d) for d in DTYPES}
    special = np.array([np.nan, np.inf, -0.0, 1e-45, 3.4e38], np.float32)
    state |= {
        "special": lampion.from_numpy(special),
        "scalar": lampion.tensor(2.5),
        "empty": lampion.zeros(0, 3),
    }
    lampion.save(state, path)
    loaded = lampion.load(str(path))
    assert loaded.keys() == state.keys()
    for name, tensor in state.items():
        assert loaded[name].dtype is tensor.dtype and loaded[name].shape == tensor.shape
        assert loaded[name].numpy().tobytes() == tensor.numpy().tobytes(), name


def test_bfloat16_is_read_by_a_program_that_has_not_used_it(path):
    """NumPy learns of the type only when Lampion first asks for it: reading a file is such a moment."""
    lampion.save({"w": lampion.tensor([1.0, -2.5], dtype=lampion.bfloat16)}, path)
    code = "import sys, lampion; print(lampion.load(sys.argv[1])['w'])"
    shown = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "tensor([ 1.0000, -2.5000], dtype=lampion.bfloat16)"


def test_views_are_saved_in_index_order(path):
    x = lampion.arange(6).reshape(2, 3)
    lampion.save({"t": x.T, "part": x[:, 1:], "wide": lampion.ones(1).expand(4)}, path)
    loaded = lampion.load(path)
    assert loaded["t"].tolist() == [[0, 3], [1, 4], [2, 5]] and loaded["part"].tolist() == [[1, 2], [4, 5]]
    assert loaded["wide"].tolist() == [1.0] * 4


def test_a_model_comes_back(path):
    source = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    lampion.save(source.state_dict(), path)
    target = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    target.load_state_dict(lampion.load(path))
    x = lampion.randn(5, 3)
    assert source(x).tolist() == target(x).tolist()
    target[0].weight.detach().fill_(0.0)  # what was loaded can be written to


def test_parameters_may_be_saved_as_they_are(path):
    lampion.save(dict(nn.Linear(1, 1).named_parameters()), path)
    assert not lampion.load(path)["weight"].requires_grad


def test_other_libraries_can_read_it(path):
    numpy_files = pytest.importorskip("safetensors.numpy")
    lampion.save({"a": lampion.tensor([1.5, 2.5])}, path)
    assert numpy_files.load_file(path)["a"].tolist() == [1.5, 2.5]
    numpy_files.save_file({"b": np.arange(3)}, path, metadata={"made": "elsewhere"})
    assert lampion.load(path)["b"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        (nn.Linear(1, 1), r"(?s)save: not a dict of Tensors.*got: Linear.*model.state_dict\(\)"),
        ([1], "(?s)not a dict.*got: list"),
        ({"step": 3}, r"(?s)nothing nested.*'step': int"),
        ({"a": {"b": lampion.ones(1)}}, "(?s)nothing nested.*'a': dict.*flatten"),
        ({1: lampion.ones(1)}, "(?s)a str and a Tensor"),
    ],
)
def test_only_tensors_by_name_are_saved(thing, message, path):
    with pytest.raises(LampionError, match=message):
        lampion.save(thing, path)
    assert not path.exists()


# -- files that are wrong --------------------------------------------------------------------------------


def raw(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


BROKEN = {
    "empty": b"",
    "short": b"\x01",
    "text": b"this is not a file of tensors at all",
    "huge header": struct.pack("<Q", 2**62) + b"{}",
    "header too long": struct.pack("<Q", 100) + b"{}",
    "not json": raw(b"{not json}"),
    "no data": raw({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}),
    "size does not match": raw({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}}, b"\0" * 8),
    "shape overflows": raw(
        {"a": {"dtype": "F32", "shape": [2**62, 2**62], "data_offsets": [0, 8]}}, b"\0" * 8
    ),
    "negative offset": raw({"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}}, b"\0" * 4),
    "bytes left over": raw({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 8),
    "a pickle": b"\x80\x04\x95\x0c\x00\x00\x00\x00\x00\x00\x00\x8c\x08builtins\x94",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_refused(content, path):
    path.write_bytes(content)
    with pytest.raises(LampionError, match=r"model.safetensors is not a whole safetensors file"):
        lampion.load(path)


def test_every_truncation_is_refused(path):
    lampion.save({"a": lampion.arange(4), "b": lampion.ones(2)}, path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(LampionError):
            lampion.load(path)
    path.write_bytes(whole)
    assert len(lampion.load(path)) == 2


def test_types_that_lampion_lacks_are_listed(path):
    header = {name: {"dtype": kind, "shape": [2], "data_offsets": [2 * i, 2 * i + 2]}
              for i, (name, kind) in enumerate([("h", "F8_E4M3"), ("b", "F8_E5M2")])}  # fmt: skip
    path.write_bytes(raw(header, b"\0" * 4))
    with pytest.raises(
        LampionError, match=r"(?s)types that Lampion does not have.*F32.*(h \(F8_E4M3\)|b \(F8_E5M2\))"
    ):
        lampion.load(path)


def test_complex128_has_no_place_in_the_format(path):
    with pytest.raises(LampionError, match=r"(?s)has no complex128.*view_as_real"):
        lampion.save({"z": lampion.tensor([1j], dtype=lampion.complex128)}, path)


def test_a_missing_file_is_pythons_own_error(path):
    with pytest.raises(FileNotFoundError, match=r"model.safetensors"):
        lampion.load(path)
    with pytest.raises(FileNotFoundError):
        lampion.save({}, path.parent / "no such folder" / "model.safetensors")


# -- writing atomically ----------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(call, path, monkeypatch):
    lampion.save({"a": lampion.zeros(1)}, path)

    def fail(*args):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, call, fail)
        with pytest.raises(OSError, match="No space left"):
            lampion.save({"a": lampion.ones(1)}, path)
    assert lampion.load(path)["a"].tolist() == [0.0]
    assert os.listdir(path.parent) == [path.name]


def test_a_link_is_written_through(tmp_path):
    real, link = tmp_path / "real.txt", tmp_path / "link.txt"
    files.write_file(real, "old")
    try:
        link.symlink_to(real)
    except OSError:
        pytest.skip("this system does not let us make links")
    files.write_file(link, "new")
    assert link.is_symlink() and real.read_text() == "new"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such permissions")
def test_a_file_has_the_usual_permissions(path):
    files.write_file(path, b"")
    (path.parent / "plain").write_bytes(b"")
    assert path.stat().st_mode == (path.parent / "plain").stat().st_mode
