"""What notebooks show of Lampion's objects: tables and trees, in HTML without scripts, and in Markdown."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from lampion.errors import ShapeError

if TYPE_CHECKING:
    from lampion.nn import Module
    from lampion.tensor import Tensor
    from lampion.training.history import History

_TABLE = 'style="border-collapse:collapse;font-size:90%"'
_CELL = 'style="padding:1px 8px;text-align:right;border:1px solid #8884"'
_HEAD = 'style="padding:1px 8px;text-align:left;border:1px solid #8884;font-weight:600"'
_QUIET = 'style="opacity:.65"'
_EDGES, _SHOWN = 4, 9  # of a dimension that is longer than `_SHOWN`, so many at each end


def facts_of(x: Tensor) -> list[tuple[str, str]]:
    """What is worth knowing of a tensor at a glance, as (word, value)."""
    facts = [("shape", " × ".join(map(str, x.shape)) or "scalar"), ("dtype", str(x.dtype))]
    array = x._array
    if not isinstance(array, np.ndarray):
        return [*facts, ("contents", "traced")]
    array = array.astype(np.float32) if array.dtype.kind == "V" else array
    if array.size and array.dtype.kind in "fiu":
        finite = array[np.isfinite(array)]
        if finite.size:
            facts.append(("range", f"{_number(finite.min())} … {_number(finite.max())}"))
            if array.size > 1:
                facts.append(("mean", _number(finite.astype(np.float64).mean())))
        for word, count in (("NaN", np.isnan(array).sum()), ("infinite", np.isinf(array).sum())):
            if count:
                facts.append((word, f"{int(count):,}"))
    elif array.size and array.dtype.kind == "b":
        facts.append(("true", f"{int(array.sum()):,} of {array.size:,}"))
    if x.grad_fn is not None:
        facts.append(("made by", x.grad_fn.name()))
    elif x.requires_grad:
        facts.append(("gradient", "wanted" if x.grad is None else "there"))
    return facts


def tensor_html(x: Tensor) -> str:
    """A line of facts, and the numbers of a tensor of at most two dimensions as a table."""
    facts = " · ".join(f"<span {_QUIET}>{escape(word)}</span> {escape(value)}" for word, value in facts_of(x))
    out = f"<div><b>{escape(type(x).__name__)}</b> · {facts}</div>"
    array = x._array
    if not isinstance(array, np.ndarray) or not array.size or array.ndim > 2:
        return out
    rows = array.reshape(1, -1) if array.ndim < 2 else array
    body = []
    for i in _some(rows.shape[0]):
        cells = [
            "⋮" if i is None and j is not None else "…" if i is None or j is None else _number(rows[i, j])
            for j in _some(rows.shape[1])
        ]
        body.append("<tr>" + "".join(f"<td {_CELL}>{escape(cell)}</td>" for cell in cells) + "</tr>")
    return f"{out}<table {_TABLE}>{''.join(body)}</table>"


def tensor_markdown(x: Tensor) -> str:
    """The facts in a line."""
    facts = ", ".join(f"{word} {value}" for word, value in facts_of(x))
    return f"**{_plain(type(x).__name__)}** ({_plain(facts)})"


def _some(n: int) -> list[int | None]:
    """The indices to show of a dimension; None for those left out."""
    if n <= _SHOWN:
        return list(range(n))
    return [*range(_EDGES), None, *range(n - _EDGES, n)]


def _number(value: Any) -> str:
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, bool | int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, complex):
        return f"{value:.3g}"
    return str(value)


def _plain(text: str) -> str:
    """Text that Markdown takes as it stands."""
    return "".join("\\" + c if c in "\\`*_{}[]<>#|~$" else c for c in text)


def _count(module: Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _own(module: Module) -> list[tuple[str, str, str]]:
    """A module's own parameters and buffers: (name, shape, note)."""
    found = []
    for kind, members in (("", module._parameters), ("buffer", module._buffers)):
        for name, member in members.items():
            if member is not None:
                note = kind or ("" if member.requires_grad else "frozen")
                found.append((name, " × ".join(map(str, member.shape)) or "scalar", note))
    return found


def module_html(module: Module, name: str = "", depth: int = 0) -> str:
    """A tree that opens and closes: each module with its settings, and its parameters' shapes and number."""
    count = _count(module)
    extra = module.extra_repr().replace("\n", ", ")
    head = f"<span {_QUIET}>{escape(name)}</span> " if name else ""
    head += f"<b>{escape(type(module).__name__)}</b>"
    if extra:
        head += f"({escape(extra)})"
    head += f" <span {_QUIET}>{count:,} parameter{'s' if count != 1 else ''}</span>" if count else ""
    inside = [
        f"<div {_QUIET}>{escape(own)}: {escape(shape)}{f' ({note})' if note else ''}</div>"
        for own, shape, note in _own(module)
    ]
    inside += [module_html(child, key, depth + 1) for key, child in module.named_children()]
    indent = 'style="margin-left:1.2em"'
    if not inside:
        return f"<div {indent}>{head}</div>"
    opened = " open" if depth < 2 else ""
    return (
        f"<details {indent}{opened}><summary>{head}</summary><div {indent}>{''.join(inside)}</div></details>"
    )


def module_markdown(module: Module) -> str:
    """A table of modules, as in `module_html`."""
    lines = ["| module | class | own parameters | parameters |", "|---|---|---|---:|"]
    for name, child in module.named_modules():
        own = "; ".join(f"{n} {shape}" for n, shape, _ in _own(child))
        cells = (name or "(model)", type(child).__name__, own, f"{_count(child):,}")
        lines.append("| " + " | ".join(map(_plain, cells)) + " |")
    return "\n".join(lines)


def _rows(history: History) -> tuple[list[str], list[dict[str, Any] | None]]:
    names = list(history.rows[0]) if len(history) else []
    return names, [None if i is None else history.rows[i] for i in _some(len(history))]


def history_html(history: History) -> str:
    """The first and the last epochs as a table; the best loss in bold."""
    names, rows = _rows(history)
    if not names:
        return "<div><b>History</b> · empty</div>"
    best = {name: min(_finite(history[name]), default=None) for name in names if name.endswith("loss")}
    body = "".join(f"<th {_HEAD}>{escape(name)}</th>" for name in names)
    body = f"<thead><tr>{body}</tr></thead>"
    for row in rows:
        cells = []
        for name in names:
            text = "⋮" if row is None else escape(_number(row[name]))
            bold = row is not None and best.get(name) is not None and row[name] == best[name]
            cells.append(f"<td {_CELL}>{f'<b>{text}</b>' if bold else text}</td>")
        body += f"<tr>{''.join(cells)}</tr>"
    return f"<div><b>History</b> · {len(history)} epochs</div><table {_TABLE}>{body}</table>"


def history_markdown(history: History) -> str:
    """The same in Markdown."""
    names, rows = _rows(history)
    if not names:
        return "**History** (empty)"
    lines = ["| " + " | ".join(map(_plain, names)) + " |", "|" + "---:|" * len(names)]
    for row in rows:
        cells = ["⋮" if row is None else _plain(_number(row[name])) for name in names]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _finite(values: list[Any]) -> list[Any]:
    return [v for v in values if isinstance(v, int | float) and math.isfinite(v)]


class Image:
    """A tensor as the picture that it is: shown by notebooks, saved as PNG. Needs nothing but NumPy."""

    def __init__(self, pixels: Any, scale: int) -> None:
        self.pixels, self.scale = pixels, scale

    @property
    def png(self) -> bytes:
        """The picture as a PNG file."""
        large = self.pixels.repeat(self.scale, 0).repeat(self.scale, 1)
        height, width, channels = large.shape
        rows = np.concatenate([np.zeros((height, 1), np.uint8), large.reshape(height, -1)], 1)
        header = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
        parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")]
        return b"\x89PNG\r\n\x1a\n" + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in parts
        )

    def save(self, path: Any) -> None:
        """Write the PNG file."""
        from lampion.utils.files import write_file

        write_file(path, self.png)

    def _repr_png_(self) -> bytes:
        return self.png

    def _repr_html_(self) -> str:
        return f'<img alt="image" src="data:image/png;base64,{base64.b64encode(self.png).decode()}">'


def image(x: Tensor, *, scale: int | None = None, columns: int = 8) -> Image:
    """Look at a tensor as a picture: its least value black, its greatest white; integers 0-255 as they are.

    Args:
        x: (height, width), (channels, height, width) with 1, 3 or 4 channels, or a batch of such, which
            become a grid.
        scale: how many points a pixel is wide; by default so that the picture is about 200 points high.
        columns: of the grid.

    >>> import lampion
    >>> from lampion import viz
    >>> viz.image(lampion.eye(4), scale=1).png[1:4]
    b'PNG'
    """
    array = x.detach().numpy()
    if array.ndim == 2:
        array = array[None]
    if array.ndim == 3:
        array = array[None]
    if array.ndim != 4 or array.shape[1] not in (1, 3, 4) or not array.size:
        raise ShapeError("image", "the tensor is no picture", got=str(tuple(x.shape)),
                         expected="(H, W), (1 | 3 | 4, H, W), or (N, 1 | 3 | 4, H, W)")  # fmt: skip
    if array.dtype != np.uint8:
        array = array.astype(np.float64)
        finite = array[np.isfinite(array)]
        low, high = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
        array = np.nan_to_num((array - low) / ((high - low) or 1.0), posinf=1.0, neginf=0.0)
        array = (array.clip(0, 1) * 255).round().astype(np.uint8)
    count, channels, height, width = array.shape
    across = min(columns, count)
    down = -(-count // across)
    gap = 1 if count > 1 else 0
    pixels = np.full((down * (height + gap) - gap, across * (width + gap) - gap, channels), 255, np.uint8)
    for i, one in enumerate(array):
        top, left = (i // across) * (height + gap), (i % across) * (width + gap)
        pixels[top : top + height, left : left + width] = one.transpose(1, 2, 0)
    return Image(pixels, scale or max(1, round(200 / pixels.shape[0])))
