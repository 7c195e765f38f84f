"""How a tensor prints: in PyTorch's layout, to the character."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from lampion import dtype as dtypes
from lampion.errors import LampionError


@dataclass
class _Options:
    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_PROFILES = {
    "default": _Options(), "short": _Options(precision=2, edgeitems=2), "full": _Options(threshold=math.inf),
}  # fmt: skip
_options = _Options()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """How tensors print from now on.

    Args:
        precision: digits after the point (4).
        threshold: with more elements than these (1000), only the edges are shown.
        edgeitems: how many elements at each edge (3).
        linewidth: characters in a line (80).
        profile: "default", "short" or "full": what is not given is as in there.
        sci_mode: whether numbers are written as 1.0000e+00; None, where they differ widely.
    """
    if profile is not None:
        if profile not in _PROFILES:
            raise LampionError("set_printoptions", "there is no such profile", got=repr(profile),
                               expected=", ".join(_PROFILES))  # fmt: skip
        given = _PROFILES[profile]
        _options.precision, _options.threshold = given.precision, given.threshold
        _options.edgeitems, _options.linewidth = given.edgeitems, given.linewidth
    if precision is not None:
        _options.precision = precision
    if threshold is not None:
        _options.threshold = threshold
    if edgeitems is not None:
        _options.edgeitems = edgeitems
    if linewidth is not None:
        _options.linewidth = linewidth
    _options.sci_mode = sci_mode


def format_tensor(tensor: Any) -> str:
    """``tensor([[1., 2.], [3., 4.]], requires_grad=True)``."""
    array = tensor._array
    name = type(tensor).__name__
    head = "tensor(" if name == "Tensor" else f"{name}("
    notes = []
    if not isinstance(array, np.ndarray):
        body = f"<traced: shape {tuple(tensor.shape)}>"
    elif not array.size:
        body = "[]"
        if array.ndim != 1:
            notes.append(f"size={tuple(array.shape)}")
    else:
        body = _body(array.astype(np.float32) if tensor.dtype.is_half else array, len(head))
    default = dtypes.get_default_dtype()
    silent = (default, default.to_complex(), dtypes.int64, dtypes.bool_) if body != "[]" else (default,)
    if tensor.dtype not in silent:
        notes.append(f"dtype={tensor.dtype}")
    if tensor.grad_fn is not None:
        notes.append(f"grad_fn=<{tensor.grad_fn.name()}>")
    elif tensor.requires_grad:
        notes.append("requires_grad=True")
    return _with_notes(head, body, notes)


def _with_notes(head: str, body: str, notes: list[str]) -> str:
    """The notes go on in the last line as long as it has room."""
    text = head + body
    room = _options.linewidth - (len(text) - text.rfind("\n") + 1)
    for note in notes:
        if len(note) + 2 > room:
            text += ",\n" + " " * len(head) + note
            room = _options.linewidth - len(head) - len(note)
        else:
            text += ", " + note
            room -= len(note) + 2
    return text + ")"


def _body(array: Any, indent: int) -> str:
    shown = array
    if array.size > _options.threshold:
        shown = array[np.ix_(*(_edges(n) for n in array.shape))]
    style = _ComplexStyle(shown) if array.dtype.kind == "c" else _Style(shown)
    return _nested(array, indent, style, array.size > _options.threshold)


def _edges(n: int) -> list[int]:
    """The indices that are shown of a dimension, where a tensor is too large to show all."""
    edge = _options.edgeitems
    return list(range(n)) if n <= 2 * edge else [*range(edge), *range(n - edge, n)]


def _nested(array: Any, indent: int, style: _Style | _ComplexStyle, shortened: bool) -> str:
    """The elements in brackets: rows in lines, with as many empty lines between blocks as PyTorch has."""
    if not array.ndim:
        return style(array.item())
    indices = _edges(len(array)) if shortened else range(len(array))
    gap = _options.edgeitems if len(indices) < len(array) else None
    if array.ndim == 1:
        words = [style(array[i].item()) for i in indices]
        if gap is not None:
            words.insert(gap, " ...")
        per_line = max(1, (_options.linewidth - indent) // (style.width + 2))
        rows = [", ".join(words[i : i + per_line]) for i in range(0, len(words), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(rows) + "]"
    blocks = [_nested(array[i], indent + 1, style, shortened) for i in indices]
    if gap is not None:
        blocks.insert(gap, "...")
    between = "\n" * int(array.ndim - 1) + " " * (indent + 1)
    return "[" + f",{between}".join(blocks) + "]"


class _Style:
    """How the numbers of one tensor are written, all alike: as wide as the widest that is not 0."""

    def __init__(self, array: Any) -> None:
        self.is_float = array.dtype.kind == "f"
        self.whole, self.scientific = True, False
        self.width = 1
        values = array.ravel()
        if self.is_float:
            values = values[np.isfinite(values) & (values != 0)].astype(np.float64)
            if not values.size:
                return
            sizes = np.abs(values)
            least, largest = float(sizes.min()), float(sizes.max())
            self.whole = bool(np.all(values == np.ceil(values)))
            self.scientific = largest > least * 1000 or largest > 1e8 or least < 1e-4
            if _options.sci_mode is not None:
                self.scientific = _options.sci_mode
        self.width = max(len(self._written(value)) for value in values.tolist())

    def _written(self, value: Any) -> str:
        if not self.is_float:
            return str(value)
        if self.scientific:
            return f"{value:.{_options.precision}e}"
        if not self.whole:
            return f"{value:.{_options.precision}f}"
        return f"{value:.0f}." if math.isfinite(value) else str(value)

    def __call__(self, value: Any) -> str:
        return self._written(value).rjust(self.width)


class _ComplexStyle:
    """Real and imaginary parts, each in a style of its own."""

    def __init__(self, array: Any) -> None:
        self.real, self.imag = _Style(array.real), _Style(array.imag)
        self.width = self.real.width + self.imag.width + 1

    def __call__(self, value: complex) -> str:
        imag = (self.imag(value.imag) + "j").lstrip()
        return self.real(value.real) + ("" if imag[0] in "+-" else "+") + imag
