"""Arguments of derivatives: tensors inside a transform whose history begins (or goes on) with them."""

from __future__ import annotations

from typing import Any

from lampion.autograd.function import _Rules
from lampion.autograd.tape import Node, new_node
from lampion.errors import DTypeError
from lampion.func.levels import Level
from lampion.tensor import Tensor

_ARGUMENT: Any = _Rules("argument", lambda g: g)


def tracked(x: Tensor, name: str = "grad") -> Tensor:
    """The same tensor with a node of its own, at which a gradient can be asked for.

    Where `x` has a history the node leads on to it, so that derivatives can be differentiated.
    """
    if not isinstance(x, Tensor) or not x.dtype.is_inexact:
        raise DTypeError(name, "only floating and complex tensors can be differentiated with respect to",
                         got=str(x.dtype) if isinstance(x, Tensor) else type(x).__name__,
                         fix="leave it out of argnums, or convert it: x.float()")  # fmt: skip
    edge = x._edge()
    inner = x.detach()
    inner._inference = False
    edges, shapes = ([], []) if edge is None else ([edge], [x.shape])
    inner._node = new_node(Node, _ARGUMENT, edges, shapes, x.shape, [])
    inner._requires_grad = True
    return inner


def reaches_more(roots: list[Any], nodes: list[Node], level: Level | None) -> bool:
    """Whether a result's history has more in it than the arguments, whose nodes are given.

    Then its derivatives need a history too. What belongs to levels outside of `level`, where the function
    ran, is recorded there in any case. Arguments of other derivatives count if they were there before these:
    those made later belong to derivatives that have been taken already.
    """
    own = set(map(id, nodes))
    first = min((node.order for node in nodes), default=0)
    stack = [root._edge() for root in roots if isinstance(root, Tensor)]
    seen: set[int] = set()
    while stack:
        edge = stack.pop()
        if edge is None or id(edge) in seen:
            continue
        seen.add(id(edge))
        if id(edge) in own:
            if edge.edges:
                return True
        elif level is not None and level.is_outside(edge):
            continue
        elif isinstance(edge, Tensor) or (edge.primitive is _ARGUMENT and edge.order < first):
            return True
        else:
            stack += edge.edges
    return False
