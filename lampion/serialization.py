"""Tensors in files: safetensors, a header of names, types and shapes, then the bytes. No code, no pickle."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from lampion import dtype as dtypes
from lampion.errors import LampionError
from lampion.tensor import Tensor, from_numpy
from lampion.utils.files import write_file


def save(state_dict: Any, path: str | os.PathLike[str]) -> None:
    """Write tensors by name to a safetensors file. A crash leaves the old file or the new one.

    Args:
        state_dict: a dict of Tensors by name, nothing nested: what ``model.state_dict()`` returns.
        path: by custom, it ends in ``.safetensors``.

    >>> import lampion, tempfile
    >>> model = lampion.nn.Linear(2, 1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     lampion.save(model.state_dict(), folder + "/model.safetensors")
    ...     model.load_state_dict(lampion.load(folder + "/model.safetensors"))
    <All keys matched successfully>
    """
    write_file(path, to_bytes(state_dict))


def to_bytes(state_dict: Any) -> bytes:
    """What `save` writes."""
    from safetensors.numpy import save as bytes_of

    if not isinstance(state_dict, Mapping):
        fix = "pass model.state_dict()" if hasattr(state_dict, "state_dict") else ""
        raise LampionError("save", "not a dict of Tensors by name", got=type(state_dict).__name__, fix=fix)
    arrays: dict[str, Any] = {}
    for name, value in state_dict.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise LampionError(
                "save",
                "a file holds Tensors by name, nothing nested",
                expected="a str and a Tensor for each entry",
                got=f"{name!r}: {type(value).__name__}",
                fix="save the parts apart, or flatten their names: 'optimizer.0.exp_avg'",
            )
        if value.dtype is dtypes.complex128:
            raise LampionError("save", "the format has no complex128", got=name,
                               fix="save lampion.view_as_real(x), or x.to(lampion.complex64)")  # fmt: skip
        arrays[name] = np.ascontiguousarray(value.detach().numpy()).reshape(value.shape)
    return bytes_of(arrays)


def load(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file, or of NumPy's .npz, by name.

    The header's claims are checked against the size of the file before any memory is taken.

    Raises:
        LampionError: the file is not whole, not safetensors, or has a type that Lampion lacks.
        OSError: it cannot be opened.
    """
    from safetensors import SafetensorError, safe_open

    with open(path, "rb") as opened:  # Python's own error for a missing file says more
        start = opened.read(256)
        if b"data.pkl" in start:
            raise LampionError(
                "load", f"{os.fspath(path)} is torch.save's: a pickle, which may hold code",
                expected="a safetensors file", fix="in PyTorch: safetensors.torch.save_file(tensors, path)",
            )  # fmt: skip
        if start[:4] in (b"PK\3\4", b"PK\5\6"):  # a zip, which no safetensors file begins like
            from lampion.utils.npz import read_npz

            return read_npz(path)
    try:
        with safe_open(os.fspath(path), framework="np") as file:
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118  # not a dict
            _check_kinds(path, kinds)
            if "BF16" in kinds.values():
                _ = dtypes.bfloat16.numpy  # NumPy knows the type from when Lampion first asks for it
            return {name: from_numpy(file.get_tensor(name)) for name in kinds}
    except SafetensorError as error:
        raise LampionError("load", f"{os.fspath(path)} is not a whole safetensors file", got=str(error),
                           fix="copy or download it again") from None  # fmt: skip


#: safetensors' names of the types that Lampion has: F32, I64, U8, BOOL...
_KINDS = {"BOOL" if d.kind == "b" else d.short.upper() for d in dtypes.ALL if d is not dtypes.complex128}


def _check_kinds(path: Any, kinds: dict[str, str]) -> None:
    unknown = [f"{name} ({kind})" for name, kind in kinds.items() if kind not in _KINDS]
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise LampionError("load", f"{os.fspath(path)} has types that Lampion does not have",
                           expected=", ".join(sorted(_KINDS)), got=", ".join(unknown[:5]) + more)  # fmt: skip
