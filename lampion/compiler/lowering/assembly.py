"""Parts of a concatenation are computed where they belong, where nothing speaks against it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from lampion.compiler.graph import Equation, Value
from lampion.compiler.schedule import Layout

if TYPE_CHECKING:
    from lampion.compiler.lowering.plan import Lowering


def assemble(lowering: Lowering) -> None:
    """Let maps write into the buffer of the concatenation that their results go to.

    Not if it is that of an input: what is written there early may still be read.
    """
    windows = Counter(layout.root for layout in lowering.layouts.values())
    inputs = {lowering.places[value] for value in lowering.graph.inputs}
    for group in lowering.schedule.groups:
        if group.main is None or group.main.primitive.name != "cat":
            continue
        out = group.main.output
        if lowering.places.get(out) in inputs:
            continue
        for part, place in zip(group.main.values, places(lowering, group.main), strict=True):
            if windows[part] == 1 and _is_free(lowering, part):
                lowering.layouts[part] = place


def places(lowering: Lowering, cat: Equation) -> list[Layout]:
    """Where each part of a concatenation belongs."""
    dim, out, start = cat.params["dim"], lowering.layouts[cat.output], 0
    found = []
    for part in cat.values:
        offset = out.offset + start * out.strides[dim]
        found.append(Layout(out.root, part.shape, out.strides, offset))
        start += part.shape[dim]
    return found


def _is_free(lowering: Lowering, part: Value) -> bool:
    """Whether a value may lie anywhere: a map makes it, and nobody has given it a place."""
    layout = lowering.layouts.get(part)
    number = lowering.schedule.position.get(part)
    return (
        layout is not None and layout.root is part and number is not None
        and lowering.schedule.groups[number].kind == "map"
        and part not in lowering.places and part not in lowering.graph.outputs
    )  # fmt: skip
