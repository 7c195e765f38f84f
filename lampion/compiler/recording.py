"""The tape of a compiled function, tied to what its calls are given, read and return."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lampion.compiler.backward import Tape, choose
from lampion.compiler.gradients import attach
from lampion.compiler.graph import Graph, Value
from lampion.compiler.tape import Knife
from lampion.compiler.trace import Trace, Tracer
from lampion.tensor import Tensor, wrap

#: Where something is found after a call: ("argument", its number), ("captured", the tensor), or
#: ("output", the number of an output of the graph).
Place = tuple[str, Any]


@dataclass
class Recording:
    """The tape of a compiled function, tied to the arguments and results of its calls.

    Attributes:
        ends: which outputs of the graph are the ends of the tape.
        edges: the arguments and captured tensors to which the gradients go.
        kept: where the values are that a call keeps.
        storages: where the storages are whose versions it notes.
    """

    tape: Tape
    ends: list[int]
    edges: list[Place]
    kept: list[Place]
    storages: list[Place]

    def attach(self, leaves: list[Any], array_of: Callable[[int], Any], made: dict[int, Tensor]) -> None:
        """Put a call on the tape, whose results `made` holds."""
        kept = [
            wrap(array_of(what) if kind == "output" else _at(kind, what, leaves, made)._array)
            for kind, what in self.kept
        ]
        versions = []
        for kind, what in self.storages:
            storage = _at(kind, what, leaves, made)._version
            versions.append((storage, storage[0]))
        edges = [_at(kind, what, leaves, made)._edge() for kind, what in self.edges]
        attach(self.tape, edges, kept, versions, [made[number] for number in self.ends])

    def gradients(self) -> list[tuple[str, Any]]:
        """The plans of gradients that were made so far, each with a name."""
        found: list[tuple[str, Any]] = []
        tapes = [(1, self.tape)]
        for order, tape in tapes:
            for (_, wanted, _), derivative in tape.derivatives.items():
                name = "gradient" if order == 1 else f"gradient of order {order}"
                if not all(wanted):
                    name += f" for {sum(wanted)} of {len(wanted)} inputs"
                if derivative.plan is not None:
                    found.append((name, derivative.plan))
                if derivative.after is not None:
                    tapes.append((order + 1, derivative.after))
        return found


def _at(kind: str, what: Any, leaves: list[Any], made: dict[int, Tensor]) -> Tensor:
    """The tensor at a place."""
    tensor: Tensor = what if kind == "captured" else (leaves if kind == "argument" else made)[what]
    return tensor


def record_tape(
    trace: Trace, ends: dict[int, Tensor], arguments: dict[int, int], leaves: list[Any], results: list[Value]
) -> tuple[Graph, Recording]:
    """Keep the tape of a recorded function.

    Args:
        ends: by number of a result: the tensor whose gradient will be asked for outside.
        arguments: by id of an argument tensor: its number among the `leaves`.
        results: what the function computes.

    Returns: the graph of the function, with what it keeps for its gradients as further results; the tape.
    """
    knife = Knife(trace)
    outs = knife.cut(list(ends.values()))

    def place_of(outside: Tensor) -> Place:
        number = arguments.get(id(outside))
        return ("captured", outside) if number is None else ("argument", number)

    there: list[tuple[Place, Tensor]] = [(("argument", i), leaves[i]) for i in arguments.values()]
    for key, tensor in trace.owners.items():
        if key not in arguments and key not in trace.grad_owner and type(tensor._array) is not Tracer:
            there.append((("captured", tensor), tensor))
    there += [(("output", number), tensor) for number, tensor in ends.items()]
    there = [(place, tensor) for place, tensor in there if id(tensor._version) in knife.storages]
    storages: dict[int, tuple[int, Place]] = {}  # by id of a version list: its number, and who has it
    for place, tensor in there:
        storages.setdefault(id(tensor._version), (len(storages), place))
    tape = Tape(
        trace.graph, outs, [leaf for _, leaf in knife.leaves.values()],
        [knife.storages[key] for key in storages], knife.runs_user_code, knife.loops,
    )  # fmt: skip
    graph, numbers = choose(
        tape, results, [(trace.read(t).value, storages[id(t._version)][0]) for _, t in there]
    )
    fresh = iter(range(len(results), len(graph.outputs)))
    return graph, Recording(
        tape=tape, ends=list(ends), edges=[place_of(outside) for outside, _ in knife.leaves.values()],
        kept=[("output", next(fresh)) if number is None else there[number][0] for number in numbers],
        storages=[place for _, place in storages.values()],
    )  # fmt: skip


__all__ = ["Place", "Recording", "record_tape"]
