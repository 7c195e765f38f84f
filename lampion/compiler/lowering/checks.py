"""Which groups can fail upon their data, so that what the user sees must not be written before they ran.

An index that an earlier group found in range cannot fail again: the gradient of an embedding adds at the very
places that the embedding was read from. So a step's last check is mostly in its forward pass, and updates can
be written in place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lampion.compiler.graph import Equation, Graph, Value
from lampion.compiler.lowering.registry import SAFE
from lampion.compiler.schedule import Group, has_machine_code

#: An index tensor, what it must be below, and whether negative numbers count from the end.
Check = tuple[Value, int, bool]


def last_check(groups: Sequence[Group], graph: Graph) -> int:
    """The number of the last group that can fail; -1 if none can."""
    known: set[Check] = set()
    bounds = _Bounds(graph)
    last = -1
    for number, group in enumerate(groups):
        for equation in group.equations:
            if _cannot_fail(group, equation):
                continue
            checks = _checks(equation)
            if checks is None or not all(_is_known(check, known) or bounds.keep(check) for check in checks):
                last = number
            if checks and equation.output.size:  # or else there may be no point at which it looks
                known.update(checks)
    return last


def _cannot_fail(group: Group, equation: Equation) -> bool:
    primitive = equation.primitive
    if primitive.name in _INDICES:
        return False
    if "loop" in equation.params:
        kernels = [e for e in equation.params["loop"].body if e.primitive.kind == "kernel"]
        return all(inside.primitive.name == "full" or _cannot_fail(group, inside) for inside in kernels)
    return group.kind != "other" or (primitive.name in SAFE and has_machine_code(equation))


def _is_known(check: Check, known: set[Check]) -> bool:
    index, size, wraps = check
    return check in known or (wraps and (index, size, False) in known)


class _Bounds:
    """What integers of a graph can be, whatever the data: those counted out by `arange`, put somewhere and
    picked again are still such (the gradient of an embedding finds by that which rows are the same).
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.makers = {equation.output: equation for equation in graph}
        self.found: dict[Value, tuple[int, int] | None] = {}

    def keep(self, check: Check) -> bool:
        """Whether an index is in range by what it was made of."""
        index, size, wraps = check
        bounds = self.of(index)
        return bounds is not None and bounds[0] >= (-size if wraps else 0) and bounds[1] < size

    def of(self, value: Value) -> tuple[int, int] | None:
        """The least and the largest that a value's elements can be; None if that is not known."""
        if value not in self.found:
            self.found[value] = self._of(value) if value.dtype.kind in "iu" and value.size else None
        return self.found[value]

    def _of(self, value: Value) -> tuple[int, int] | None:
        if value in self.graph.constants:
            array = self.graph.constants[value]
            return int(array.min()), int(array.max())
        maker = self.makers.get(value)
        if maker is None:
            return None
        if maker.primitive.name == "full":
            return (int(maker.params["value"]),) * 2
        if maker.primitive.name in ("order", "leading"):  # of sort() and topk()
            return 0, maker.values[0].shape[maker.params["dim"]] - 1
        if maker.primitive.kind == "movement" or maker.primitive.name == "index":
            return self.of(maker.values[0])
        if maker.primitive.name == "index_put" and not maker.params["accumulate"]:
            parts = [self.of(part) for part in maker.inputs[:2]]
            known = [part for part in parts if part is not None]
            return (min(low for low, _ in known), max(high for _, high in known)) if len(known) == 2 else None
        return None


def _checks(main: Equation) -> list[Check] | None:
    """The indices that a kernel checks; None if it may fail in other ways."""
    rule = _INDICES.get(main.primitive.name)
    return rule(main) if rule is not None and has_machine_code(main) else None


def _one(main: Equation) -> list[Check]:
    x, index = main.inputs[:2]
    return [(index, x.shape[main.params["dim"]], False)]


def _several(first: int) -> Callable[[Equation], list[Check]]:
    def rule(main: Equation) -> list[Check]:
        shape, wraps = main.inputs[0].shape, main.params.get("wraps", True)
        pairs = zip(main.params["dims"], main.inputs[first:], strict=True)
        return [(index, shape[dim], wraps) for dim, index in pairs]

    return rule


_INDICES: dict[str, Callable[[Equation], list[Check]]] = {
    "gather": _one,
    "scatter": _one,
    "scatter_add": _one,
    "index": _several(1),
    "index_put": _several(2),
}
