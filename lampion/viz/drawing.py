"""A graph as text: SVG, which every browser draws, and DOT, the language of Graphviz."""

from __future__ import annotations

from html import escape
from typing import Any, cast

import numpy as np

from lampion.viz.layout import Arrow, Group, Placement, arrange
from lampion.viz.reading import Box, Reading, Scope

#: By kind of box: fill, outline. Of the colours by M. Okabe and K. Ito, made light.
_COLOURS = {
    "operation": ("#eaf3fa", "#0072b2"), "parameter": ("#e6f5ef", "#009e73"),
    "data": ("#f4f4f4", "#8a8a8a"), "module": ("#fbf0dc", "#b97f00"),
}  # fmt: skip
_RESULT = ("#fdeee5", "#d55e00")
_FRAMES = ("#fafafa", "#f1f1f4")
_FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"
_MARGIN = 12.0
_LINE, _TITLE = 14.0, 17.0

#: Widths of characters in a font of size 1, at least as wide as those of the fonts named above.
_NARROW, _WIDE = "iIjlft.,:;'|!()[] ", "mwMW@%×÷+−=…∂→"


def text_width(text: str, size: float) -> float:
    """About as wide as a line of text is; rather more."""
    return size * sum(0.4 if c in _NARROW else 0.92 if c in _WIDE else 0.65 for c in text)


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")


def summary_of(array: Any) -> str:
    """The numbers of an array in a line: all of them where they are few, otherwise from where to where."""
    if array is None or array.dtype.kind not in "fiubcV":
        return ""
    if not array.size:
        return "empty"
    flat = array.reshape(-1)
    if array.dtype.kind == "c":
        return str(flat[0]) if flat.size == 1 else "complex"
    if array.dtype.kind == "V":
        flat = flat.astype(np.float32)
    if flat.size <= 3:
        return ", ".join(_number(float(x)) for x in flat)
    finite = flat[np.isfinite(flat)] if flat.dtype.kind == "f" else flat
    if not finite.size:
        return "no finite number"
    low, high = float(finite.min()), float(finite.max())
    text = f"all {_number(low)}" if low == high else f"{_number(low)} … {_number(high)}"
    return text if finite.size == flat.size else f"{text}, {flat.size - finite.size} not finite"


def lines_of(box: Box, show: tuple[str, ...]) -> list[tuple[str, str]]:
    """The text of a box: (kind, line), the title first."""
    title = box.title
    if box.kind == "module":
        title = f"{box.name}: {box.title}" if box.name else box.title
    elif box.name and box.kind == "operation":
        title = f"{box.title} → {box.name}"
    lines = [("title", title)]
    if "shapes" in show and box.shape:
        lines.append(("shape", " × ".join(map(str, box.shape))))
    if box.parameters:
        lines.append(("shape", f"{box.parameters:,} parameters"))
    if "values" in show and (text := summary_of(box.value)) and text != title:
        lines.append(("value", text))
    if "gradients" in show and (text := summary_of(box.gradient)):
        lines.append(("gradient", f"grad {text}"))
    return lines


def size_of(lines: list[tuple[str, str]], kind: str) -> tuple[float, float]:
    """The width and height of the box around some lines."""
    width = max(text_width(text, 12.5 if k == "title" else 10.5) for k, text in lines)
    return max(38.0, width + 18.0), 9.0 + _TITLE + _LINE * (len(lines) - 1)


def scope_title(scope: Scope) -> str:
    """What stands above the frame of a module."""
    return f"{scope.name}: {scope.kind}" if scope.name else scope.kind


def place(reading: Reading, texts: dict[int, list[tuple[str, str]]]) -> Placement:
    """Arrange the boxes, each module's in a frame; without frames where these would stand in a circle."""
    arrows = [Arrow(*arrow) for arrow in reading.arrows]
    sizes = {key: size_of(texts[key], box.kind) for key, box in reading.boxes.items()}
    root = Group()
    for key, box in reading.boxes.items():
        group = root
        for scope in box.scope:
            inner = group.members.get(("scope", scope, 0))
            if not isinstance(inner, Group):
                width = text_width(scope_title(reading.scopes[scope]), 11)
                inner = group.members[("scope", scope, 0)] = Group(width)
            group = inner
        group.members[key] = sizes[key]
    try:
        return arrange(root, arrows)
    except ValueError:  # a module whose own output comes back into it while it runs
        return arrange(Group(members=cast(Any, sizes)), arrows)


def svg(reading: Reading, show: tuple[str, ...], title: str) -> str:
    """The whole picture. Nothing in it is loaded from elsewhere, and nothing in it runs."""
    texts = {key: lines_of(box, show) for key, box in reading.boxes.items()}
    placed = place(reading, texts)
    legend = _legend(reading, show)
    width, height = max(placed.width, legend[1], 40.0) + 2 * _MARGIN, placed.height + 2 * _MARGIN
    left = (width - placed.width) / 2
    if legend[0]:
        height += 26
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_n(width)}" height="{_n(height)}" '
        f'viewBox="0 0 {_n(width)} {_n(height)}" font-family="{_FONT}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_n(width)}" height="{_n(height)}" fill="#ffffff"/>',
        f'<g transform="translate({_n(left)} {_n(_MARGIN)})">',
    ]
    frames = sorted(placed.groups.items(), key=lambda pair: _depth(reading, pair[0]))
    for key, at in frames:
        shade = _FRAMES[_depth(reading, key) % 2]
        out.append(f'<rect class="module" x="{_n(at.x)}" y="{_n(at.y)}" width="{_n(at.width)}" '
                   f'height="{_n(at.height)}" rx="7" fill="{shade}" stroke="#b9b9c3" '
                   'stroke-dasharray="4 3"/>')  # fmt: skip
    for points in placed.arrows:
        out.append(
            f'<path class="arrow" d="{_path(points)}" fill="none" stroke="#6b6b6b" stroke-width="1.1"/>'
        )
        x, y = points[-1]
        out.append(f'<path class="head" d="M{_n(x)} {_n(y)}l-3.6 -7h7.2z" fill="#6b6b6b"/>')
    for key, at in frames:
        name = scope_title(reading.scopes[_scope_of(key)])
        width = text_width(name, 11)
        x = _clear_of(placed.arrows, at, width)
        shade = _FRAMES[_depth(reading, key) % 2]  # behind the name, where an arrow may pass
        out.append(f'<rect x="{_n(x - 2)}" y="{_n(at.y + 5)}" width="{_n(0.9 * width + 4)}" '
                   f'height="14" fill="{shade}"/>')  # fmt: skip
        out.append(f'<text class="module" x="{_n(x)}" y="{_n(at.y + 15.5)}" font-size="11" '
                   f'fill="#55555f">{escape(name)}</text>')  # fmt: skip
    for key, box in reading.boxes.items():
        out += _drawn(box, texts[key], placed.boxes[key])
    out.append("</g>")
    out += _placed_legend(legend[0], _MARGIN, height - 14)
    out.append("</svg>")
    return "\n".join(out) + "\n"


def _clear_of(arrows: list[list[tuple[float, float]]], at: Any, width: float) -> float:
    """Where a frame's name begins: at the left, unless an arrow enters there and none does at the right."""
    entering = [x for points in arrows for x, y in points if abs(y - at.y) < 0.01]
    left, right = at.x + 9, at.x + at.width - width - 5
    for start in (left, right):
        if not any(start - 6 < x < start + width + 2 for x in entering):
            return float(start)
    return float(left)


def _drawn(box: Box, lines: list[tuple[str, str]], at: Any) -> list[str]:
    fill, outline = _RESULT if box.is_result else _COLOURS[box.kind]
    round_ = {"operation": 5, "module": 3}.get(box.kind, min(at.height / 2, 14))
    tip = escape(_tip(box))
    out = [
        f'<g class="{box.kind}"><title>{tip}</title>',
        f'<rect x="{_n(at.x)}" y="{_n(at.y)}" width="{_n(at.width)}" height="{_n(at.height)}" '
        f'rx="{_n(round_)}" fill="{fill}" stroke="{outline}" stroke-width="1.2"/>',
    ]
    x, y = at.x + at.width / 2, at.y + 17.0
    for kind, text in lines:
        style = {
            "title": 'font-size="12.5" font-weight="bold" fill="#222222"',
            "shape": 'font-size="10.5" fill="#6b6b6b"',
            "value": 'font-size="10.5" fill="#222222"',
            "gradient": 'font-size="10.5" fill="#b34e00"',
        }[kind]
        out.append(f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="middle" {style}>{escape(text)}</text>')
        y += _LINE
    return [*out, "</g>"]


def _tip(box: Box) -> str:
    """What a browser shows while the mouse rests on a box."""
    parts = [f"{box.title}, shape {tuple(box.shape)}"]
    return ", ".join(parts + ([f"run at {box.where}"] if box.where else []))


def _path(points: list[tuple[float, float]]) -> str:
    """Straight where two points lie above each other; else a curve that is upright at both ends."""
    (x, y), *rest = points
    path = f"M{_n(x)} {_n(y)}"
    rest[-1] = (rest[-1][0], rest[-1][1] - 5)  # the head covers the end
    for nx, ny in rest:
        if abs(nx - x) < 0.05:
            path += f"V{_n(ny)}"
        else:
            bend = (ny - y) * 0.55
            path += f"C{_n(x)} {_n(y + bend)} {_n(nx)} {_n(ny - bend)} {_n(nx)} {_n(ny)}"
        x, y = nx, ny
    return path


def _legend(reading: Reading, show: tuple[str, ...]) -> tuple[list[tuple[str, str]], float]:
    kinds = {box.kind for box in reading.boxes.values()}
    words = {"parameter": "leaf with a gradient", "data": "data", "operation": "operation",
             "module": "module"}  # fmt: skip
    entries = [(kind, word) for kind, word in words.items() if kind in kinds]
    if any(box.is_result for box in reading.boxes.values()):
        entries.append(("result", "result"))
    return (entries, sum(34 + text_width(word, 10) for _, word in entries)) if len(kinds) > 1 else ([], 0.0)


def _placed_legend(entries: list[tuple[str, str]], x: float, y: float) -> list[str]:
    out = []
    for kind, word in entries:
        fill, outline = _RESULT if kind == "result" else _COLOURS[kind]
        out.append(f'<rect class="legend" x="{_n(x)}" y="{_n(y - 8)}" width="12" height="9" rx="2" '
                   f'fill="{fill}" stroke="{outline}"/>')  # fmt: skip
        out.append(f'<text x="{_n(x + 17)}" y="{_n(y)}" font-size="10" fill="#6b6b6b">{word}</text>')
        x += 34 + text_width(word, 10)
    return out


def _scope_of(key: Any) -> int:
    return int(key[1])


def _depth(reading: Reading, key: Any) -> int:
    depth, parent = 0, reading.scopes[_scope_of(key)].parent
    while parent is not None and parent in reading.scopes:
        depth, parent = depth + 1, reading.scopes[parent].parent
    return depth


def _n(value: float) -> str:
    """Coordinates with one digit after the point: smaller files, and the same on every machine."""
    text = f"{value:.1f}"
    return text.removesuffix(".0").replace("-0", "0") if text in ("-0.0",) else text.removesuffix(".0")


def dot(reading: Reading, show: tuple[str, ...], title: str) -> str:
    """The same graph for Graphviz: modules as clusters."""
    out = [
        "digraph lampion {",
        f"  label={_quoted(title)}; rankdir=TB; fontname=Helvetica;",
        '  node [shape=box, style="rounded,filled", fontname=Helvetica, fontsize=11];',
        '  edge [color="#6b6b6b", arrowsize=0.7];',
    ]
    children: dict[int | None, list[int]] = {}
    for number, scope in reading.scopes.items():
        parent = scope.parent if scope.parent in reading.scopes else None
        children.setdefault(parent, []).append(number)

    def inside(scope: int | None, indent: str) -> None:
        for key, box in reading.boxes.items():
            if (box.scope[-1] if box.scope else None) == scope:
                fill, outline = _RESULT if box.is_result else _COLOURS[box.kind]
                label = _quoted("\n".join(text for _, text in lines_of(box, show)))
                out.append(f'{indent}n{key} [label={label}, fillcolor="{fill}", color="{outline}"];')
        for child in children.get(scope, []):
            out.append(f"{indent}subgraph cluster_{child} {{")
            out.append(
                f'{indent}  label={_quoted(scope_title(reading.scopes[child]))}; style="rounded,dashed";'
            )
            inside(child, indent + "  ")
            out.append(f"{indent}}}")

    inside(None, "  ")
    out += [f"  n{source} -> n{target};" for source, target, _ in reading.arrows]
    return "\n".join([*out, "}"]) + "\n"


def _quoted(text: str) -> str:
    """A string of DOT: quotes and backslashes escaped, so that it ends where it should."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
