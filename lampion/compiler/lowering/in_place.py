"""A few elements written into a tensor where it lies: ``table[i] += x`` moves the rows named, and no others.

As an operation, a scatter makes a new tensor, with all the rest copied. Where that tensor is to replace the
old one, and nobody reads the old one any more, there is nothing to copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lampion.compiler.graph import Equation, Value

if TYPE_CHECKING:
    from lampion.compiler.lowering.plan import Lowering

_SCATTERS = ("index_put",)


def scattered(lowering: Lowering, value: Value, target: Value) -> list[Value]:
    """The tensors on the way from the input `target` to `value`, each the one before with elements written.

    Nothing, if there is no such way, or if they may not all lie in the memory of `target`: because somebody
    still reads what is to be written over, or an error may come to light after the first of them.
    """
    makers = {e.output: e for e in lowering.graph.equations if e.primitive.name in _SCATTERS}
    way: list[Value] = []
    while value is not target:
        if value not in makers or not lowering.is_plain(value):
            return []
        way.append(value)
        value = makers[value].inputs[0]
    if not way or not lowering.is_plain(target):
        return []
    way.reverse()
    if lowering.schedule.position[way[0]] <= lowering.last_check:
        return []
    olds = [target, *way[:-1]]
    if any(not _is_last_reader(lowering, makers[new], old) for old, new in zip(olds, way, strict=True)):
        return []
    return way if all(lowering.root(output) not in olds for output in lowering.graph.outputs) else []


def _is_last_reader(lowering: Lowering, scatter: Equation, old: Value) -> bool:
    """Whether nothing reads the old tensor later than the scatter, nor the scatter as what it writes."""
    own = lowering.schedule.position[scatter.output]
    if any(value is not old and lowering.root(value) is old for value in scatter.values):
        return False
    readers = lowering.reads.get(old, ())
    return all(index < own or equation is scatter for index, _, equation, _ in readers) and (
        sum(value is old for value in scatter.values) == 1
    )
