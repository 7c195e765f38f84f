"""What `Module.__call__` adds to a shape error that passes through it: the layer, and how the data got there.

Nothing is kept for this while all goes well. The shapes on the way are read from the tape (each node knows
the shape of its output, and a parameter among its inputs says to which layer it belongs); where there is no
tape, under `no_grad`, from what each of the modules on the way was called with.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lampion.autograd.tape import Node
from lampion.debug.places import path_of
from lampion.errors import ShapeError
from lampion.nn.module import Module
from lampion.tensor import Tensor

_LONGEST = 16  # lines of the trail: the last ones are of interest


def add_layer(error: ShapeError, module: Module, args: tuple[Any, ...]) -> None:
    """Note in the error that it passed through this module, which was called with these arguments."""
    calls: list[tuple[Module, tuple[Any, ...]]] = error.__dict__.setdefault("calls", [])
    if not calls:
        fix = _fix(module, args)
        error.notes["try"] = fix or error.notes["try"]
    calls.append((module, args))
    chain = [called for called, _ in reversed(calls)]
    innermost, given = calls[0]
    fix = error.notes.pop("try")  # it comes last
    extra = innermost.extra_repr()
    error.notes["layer"] = _named(chain, extra)
    error.notes["its input"] = _shapes(given)
    error.notes["trail"] = "\n" + "\n".join(_trail(calls, chain[0]))
    error.notes["try"] = fix
    error.args = (error.layout(),)


def _named(chain: list[Module], extra: str) -> str:
    """``fc: Linear(in_features=5, out_features=2, bias=True)``."""
    path, kind = path_of(chain), type(chain[-1]).__name__
    return f"{path.removesuffix(f' ({kind})')}: {kind}({extra})" if extra and len(chain) > 1 else path


def _shapes(args: tuple[Any, ...]) -> str:
    return ", ".join(str(tuple(x.shape)) for x in args if isinstance(x, Tensor)) or "no tensors"


def _trail(calls: list[tuple[Module, tuple[Any, ...]]], root: Module) -> list[str]:
    """A line for each step from the model's input to the layer that failed."""
    chain = [module for module, _ in reversed(calls)]
    rows = [(f"input of {type(root).__name__}", _shapes(calls[-1][1]))]
    given = next((x for x in calls[0][1] if isinstance(x, Tensor)), None)
    steps = [] if given is None else _steps(given, root, _nodes_of(calls[-1][1]))
    if steps:
        rows += steps
        rows.append((f"{path_of(chain)}, which fails", ""))
    else:
        for depth, (_, args) in list(enumerate(reversed(calls)))[1:]:
            rows.append((f"input of {path_of(chain[: depth + 1])}", _shapes(args)))
    if len(rows) > _LONGEST:
        rows[1 : len(rows) - _LONGEST + 2] = [("...", "")]
    width = max(len(name) for name, _ in rows)
    return [f"    {name:<{width}}  {shape}".rstrip() for name, shape in rows]


def _nodes_of(args: tuple[Any, ...]) -> set[int]:
    edges = (x._edge() for x in args if isinstance(x, Tensor))
    return {id(edge) for edge in edges if isinstance(edge, Node)}


def _steps(tensor: Tensor, root: Module, ends: set[int]) -> list[tuple[str, str]]:
    """The operations that made a tensor, from the model's input on: by layer, where they read a parameter."""
    owners = {id(p): path for path, module in root.named_modules() for p in module._parameters.values()
              if p is not None}  # fmt: skip
    kinds = {path: type(module).__name__ for path, module in root.named_modules()}
    found: list[tuple[str, str]] = []
    node: Any = tensor._edge()
    while isinstance(node, Node) and id(node) not in ends:
        owner = next((owners[p] for p in _parameters(node) if p in owners), None)
        name = node.primitive.name if owner is None else f"{owner or 'itself'} ({kinds[owner]})"
        if not found or found[-1][0] != name or owner is None:  # several operations of one layer are one step
            found.append((name, str(tuple(node.output_shape))))
        node = _source(node, owners)
    return found[::-1]


def _source(node: Node, owners: dict[int, str]) -> Any:
    """The edge along which the data came: not one that leads to nothing but a layer's own parameters."""
    candidates = [edge for edge in node.edges if isinstance(edge, Node)]
    return next((edge for edge in candidates if not _is_parameter(edge, owners)), None)


def _is_parameter(edge: Any, owners: dict[int, str]) -> bool:
    """Whether this is a parameter, or a view of one."""
    while isinstance(edge, Node) and len(edge.edges) == 1:
        edge = edge.edges[0]
    return id(edge) in owners


def _parameters(node: Node) -> Iterator[int]:
    """The ids of the parameters that an operation reads, directly or as views."""
    for edge in node.edges:
        if isinstance(edge, Node) and edge.primitive.is_movement:
            while isinstance(edge, Node) and len(edge.edges) == 1 and edge.primitive.is_movement:
                edge = edge.edges[0]
        if isinstance(edge, Tensor):
            yield id(edge)


def _fix(module: Module, args: tuple[Any, ...]) -> str:
    """What to write instead, in terms of the layer; empty where it is not the layer's size that is wrong."""
    given = next((x for x in args if isinstance(x, Tensor)), None)
    kind = type(module).__name__
    if given is None or not given.ndim:
        return ""
    shape = tuple(given.shape)
    wanted = getattr(module, "in_features", None)
    if wanted is not None and shape[-1] != wanted:
        fix = f"{kind}(in_features={shape[-1]}, out_features={getattr(module, 'out_features', '...')})"
        flat = given.numel() // shape[0] if shape[0] else 0
        if flat == wanted and len(shape) > 2:
            return f"flatten the input: nn.Flatten() before this layer, or x.flatten(1): {(shape[0], flat)}"
        if len(shape) == 2 and shape[0] == wanted:
            return f"transpose the input (x.T), or {fix}"
        return f"{fix}, or give it an input whose last size is {wanted}"
    if fix := _fix_channels(module, kind, shape):
        return fix
    sizes = getattr(module, "normalized_shape", None)
    if isinstance(sizes, tuple) and shape[-len(sizes) :] != sizes:
        return f"{kind}(normalized_shape={shape[-len(sizes) :]}), or give it an input that ends in {sizes}"
    return ""


def _fix_channels(module: Module, kind: str, shape: tuple[int, ...]) -> str:
    """What to write where the input has another number of channels than the layer."""
    places = getattr(module, "count", None)  # of a convolution: how many dimensions it slides along
    axis = 1 if places is None else len(shape) - places - 1
    if axis not in (0, 1) or len(shape) < 2:
        return ""
    for name in ("num_features", "num_channels", "in_channels"):
        wanted = getattr(module, name, None)
        if wanted is None or shape[axis] == wanted:
            continue
        if places is not None and shape[-1] == wanted:
            order = (*range(axis), len(shape) - 1, *range(axis, len(shape) - 1))
            return f"the channels come before the places: x.permute{order}"
        which = "second" if axis else "first"
        return f"{kind}({name}={shape[axis]}, ...), or give it an input whose {which} size is {wanted}"
    return ""
