"""The tape of a compiled function, kept: what its gradients are derived from.

While a function is recorded, the tape is recorded too, on tensors that hold Values of the graph. If a result
still needs its gradient when the function returns, that tape is cut loose from everything outside: where it
ended in a parameter or an argument, it ends in a stand-in of that from now on. So it can be walked later, as
often as gradients are asked for, in a trace of its own that goes on writing the same graph, and no object of
the user's takes part in it.

Walking it is what eager back-propagation does, with the rules that eager has: what was detached stays so, and
a gradient that the user wrote is taken as he wrote it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from lampion.autograd.function import FunctionNode
from lampion.autograd.recompute import Frame
from lampion.autograd.tape import Node
from lampion.autograd.walk import reachable
from lampion.compiler.border import Border
from lampion.compiler.capture import CaptureError
from lampion.compiler.graph import Graph
from lampion.compiler.scan.record import LoopNode, Recorded, inside_of
from lampion.compiler.trace import Source, Trace, Tracer
from lampion.tensor import Tensor, wrap


class Knife:
    """Cuts a tape loose: it gets ends of its own, and versions that nothing raises any more.

    Attributes:
        leaves: by id of a tensor outside at which the tape ended: that tensor, and its stand-in.
        storages: by id of a storage's version list: the list that replaces it.
        runs_user_code: whether the tape has gradients that the user wrote.
        loops: the scans on the tape.
    """

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.leaves: dict[int, tuple[Tensor, Tensor]] = {}
        self.storages: dict[int, list[Any]] = {}
        self.runs_user_code = False
        self.loops: list[Recorded] = []
        self._inside: set[int] = set()  # ids of what stands for carries and slices in the bodies of loops
        self._keep: list[Any] = []  # what those ids belong to

    def cut(self, outs: Sequence[Tensor]) -> list[Tensor]:
        """The same tensors, on a tape that is no longer tied to anything."""
        nodes, _ = reachable(list(outs), None, borders=Border)
        for node in nodes:
            self._loosen(node)
        return [self._copy(out, out._edge()) for out in outs]

    def storage(self, versions: list[Any]) -> list[Any]:
        """The version list that stands for a storage's in the kept tape."""
        found = self.storages.get(id(versions))
        if found is None:
            self._keep.append(versions)
            found = self.storages[id(versions)] = list(versions)
        return found

    def _copy(self, tensor: Tensor, node: Node | None) -> Tensor:
        """A tensor of the value that this one has now."""
        now = self.trace.read(tensor)
        copy = wrap(Tracer(now.value, now.strides))
        copy._version = self.storage(tensor._version)
        copy._array.version = copy._version[0]
        copy._node, copy._requires_grad = node, True
        return copy

    def _loosen(self, node: Node) -> None:
        if node.hooks is not None:
            self._take_back(node)
        node.edges = [self._end(edge) for edge in node.edges]
        node.versions = [
            None if pair is None or array is None else (self.storage(pair[0]), pair[1])
            for pair, array in zip(node.versions, node.saved or (), strict=False)
        ]
        if isinstance(node, LoopNode):
            self._loosen_body(node.recorded)
        if isinstance(node, FunctionNode):
            self.runs_user_code = True
            for saved in node.ctx._saved or ():
                if saved is not None and saved.unpack is not None:
                    self._take_back_saved(node, saved)
                if saved is not None:
                    saved.edge = self._end(saved.edge)
                    saved.storage = self.storage(saved.storage)

    def _loosen_body(self, recorded: Recorded) -> None:
        """The same for the tape of a loop's body, which has ends outside of the loop and in it."""
        self.loops.append(recorded)
        self._inside.update(map(id, recorded.leaves))
        for node in inside_of(recorded):
            self._loosen(node)
        recorded.edges = [self._end(edge) for edge in recorded.edges]
        recorded.outside = [self._end(edge) for edge in recorded.outside]

    def _end(self, edge: Any) -> Any:
        """The edge itself inside of the tape; at its end a stand-in of the tensor there."""
        if isinstance(edge, Border):
            outside = edge.tensor
        elif isinstance(edge, Tensor):
            outside = edge
        else:
            return edge
        if id(outside) in self._inside:
            return edge
        if type(outside._array) is Tracer:
            if outside._hooks is not None:
                self._refuse_hooks(None)
            return None  # a leaf made inside: nobody will see its gradient
        if id(outside) not in self.leaves:
            self.leaves[id(outside)] = (outside, self._copy(outside, None))
        return self.leaves[id(outside)][1]

    def _take_back(self, node: Node) -> None:
        """Undo a checkpoint: what to keep and what to compute again is for the plan to choose."""
        hooks = node.hooks
        assert hooks is not None and node.saved is not None
        for position, (kept, unpack) in list(hooks.packed.items()):
            frame = getattr(unpack, "__self__", None)
            if isinstance(frame, Frame):
                node.saved[position] = frame.traced[kept]._array
                del hooks.packed[position]
        if any(getattr(hooks, name) for name in hooks.__slots__):
            self._refuse_hooks(node)
        node.hooks = None

    def _take_back_saved(self, node: Node, saved: Any) -> None:
        """The same for what an `autograd.Function` has saved."""
        frame = getattr(saved.unpack, "__self__", None)
        if not isinstance(frame, Frame):
            self._refuse_hooks(node)
        saved.array, saved.unpack = frame.traced[saved.kept]._array, None

    def _refuse_hooks(self, node: Node | None) -> NoReturn:
        what = "has a hook on, or retains, a gradient that is computed outside"
        fix = "return the tensor, and listen to it outside"
        if node is not None and node.hooks is not None and node.hooks.packed:
            what = "uses saved_tensors_hooks, and its backward pass is outside"
            fix = "call backward() inside, or leave them away: the compiler keeps little by itself"
        at = None if node is None else node.where
        if at is None:
            self.trace.refuse(what, fix)
        raise CaptureError(what, at.code.co_filename, at.line, fix)


class GradientTrace(Trace):
    """The trace in which a kept tape is walked. It goes on writing the graph of the recorded function, and
    refuses whatever is neither of that graph nor made in the walk.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph

    def _input(self, array: Any, source: Source) -> Tracer:
        self.refuse(
            "has a gradient of its own that reads "
            + ("random numbers" if source.kind == "generator" else "a tensor that was not saved for it"),
            "save what it needs with ctx.save_for_backward",
        )

    def walks(self, nodes: list[Node]) -> None:
        """A kept tape is older than the trace in which it is walked."""

    def changing(self, tensor: Tensor, attribute: str) -> None:
        """Only what the walk has made may be changed."""
        if type(tensor._array) is not Tracer:
            self.refuse(f"changes {attribute.strip('_')} of a tensor in its gradient", "do that outside")


__all__ = ["GradientTrace", "Knife"]
