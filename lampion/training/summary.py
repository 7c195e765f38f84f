"""A table of a model: its layers, what comes out of each, how many parameters it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from lampion.errors import LampionError
from lampion.mode import no_grad, uncompiled
from lampion.nn import Embedding, EmbeddingBag, LayerNorm, Module
from lampion.nn.parameter import UninitializedParameter
from lampion.ops import Generator, get_rng_state, randn, set_rng_state, zeros
from lampion.tensor import Tensor

__all__ = ["Layer", "Summary", "summary"]


class Layer(NamedTuple):
    """A row of the table.

    Attributes:
        name: its place in the model, dotted; kind: its class; depth: how deep it is nested.
        number: the how manieth of its depth.
        shape: of its first output; None if it was not called.
        params: how many numbers it learns itself, without the layers that have rows of their own.
        mult_adds: multiplications with these in one forward pass.
        again: whether it stands in the table already: the same module in another place.
    """

    name: str
    kind: str
    depth: int
    number: int
    shape: tuple[int, ...] | None
    params: int
    mult_adds: int
    again: bool


class Summary:
    """What `summary` returns: it prints as a table, and has the numbers as attributes."""

    def __init__(self, layers: list[Layer], inputs: Sequence[Any], model: Module, outputs: int) -> None:
        self.layers = layers
        known = [p for p in model.parameters() if not isinstance(p, UninitializedParameter)]
        self.total_params = sum(p.numel() for p in known)
        self.trainable_params = sum(p.numel() for p in known if p.requires_grad)
        self.total_mult_adds = sum(layer.mult_adds for layer in layers)
        self.param_bytes = sum(p.numel() * p.element_size() for p in known)
        self.input_bytes = sum(x.numel() * x.element_size() for x in inputs if isinstance(x, Tensor))
        self.output_bytes = 2 * outputs  # of layers without parts: forward, and as large a gradient
        self.was_run = bool(inputs)

    def __repr__(self) -> str:
        names = [_branch(layer) for layer in self.layers]
        shapes = ["--" if layer.shape is None else str(list(layer.shape)) for layer in self.layers]
        wide = max(40, *(len(name) + 2 for name in names))
        columns = [("Layer (type:depth-idx)", names, wide), ("Output Shape", shapes, 25),
                   ("Param #", [_params(layer) for layer in self.layers], 23)]  # fmt: skip
        if not self.was_run:
            columns.pop(1)
        double = "=" * (sum(width for *_, width in columns) + len(columns) - 1)
        rows = zip(*(cells for _, cells, _ in columns), strict=True)
        widths = [width for *_, width in columns]
        lines = [double, _line([title for title, *_ in columns], widths), double]
        lines += [_line(row, widths) for row in rows]
        lines += [
            double,
            f"Total params: {self.total_params:,}",
            f"Trainable params: {self.trainable_params:,}",
            f"Non-trainable params: {self.total_params - self.trainable_params:,}",
        ]
        if self.was_run:
            total = self.input_bytes + self.output_bytes + self.param_bytes
            lines += [
                f"Total mult-adds (M): {self.total_mult_adds / 1e6:.2f}",
                double,
                f"Input size (MB): {self.input_bytes / 1e6:.2f}",
                f"Forward/backward pass size (MB): {self.output_bytes / 1e6:.2f}",
                f"Params size (MB): {self.param_bytes / 1e6:.2f}",
                f"Estimated Total Size (MB): {total / 1e6:.2f}",
            ]
        return "\n".join([*lines, double])


def summary(
    model: Module, input_size: Any = None, input_data: Any = None, *, depth: int = 3, dtypes: Any = None,
) -> Summary:  # fmt: skip
    """A table of a model's layers, like torchinfo's.

    Args:
        model: nothing of it is changed; it is run once, as in evaluation.
        input_size: the shape of its input, with the batch; a list of shapes for several inputs.
        input_data: a Tensor, or a tuple or list of inputs, instead. With neither, there are no output shapes.
        depth: how deep to look into nested modules.
        dtypes: of the inputs that are made from `input_size`: one, or a list.

    Multiplications are counted for each parameter and each place of the output where it is used; looking up a
    row of an embedding is none.

    >>> import lampion
    >>> model = lampion.nn.Sequential(lampion.nn.Linear(8, 4), lampion.nn.ReLU(), lampion.nn.Linear(4, 2))
    >>> table = lampion.training.summary(model, (1, 8))
    >>> table.total_params, table.total_mult_adds, [layer.shape for layer in table.layers]
    (46, 46, [(1, 2), (1, 4), (1, 4), (1, 2)])
    """
    if not isinstance(model, Module):
        raise LampionError("summary", "not a module", got=type(model).__name__)
    model = getattr(model, "_orig_mod", model)  # what a compiled module was made of
    inputs = _inputs(input_size, input_data, dtypes)
    outputs = _run(model, inputs) if inputs else {}
    layers = list(_layers(model, outputs, depth))
    leaves = [x for part in model.modules() if not _has_children(part) for x in outputs.get(id(part), ())]
    return Summary(layers, inputs, model, sum(x.numel() * x.element_size() for x in leaves if x is not None))


def _inputs(sizes: Any, given: Any, dtypes: Any) -> tuple[Any, ...]:
    if given is not None:
        return tuple(given) if isinstance(given, tuple | list) else (given,)
    if sizes is None:
        return ()
    several = len(sizes) > 0 and not isinstance(sizes[0], int)
    shapes = list(sizes) if several else [sizes]
    kinds = list(dtypes) if isinstance(dtypes, tuple | list) else [dtypes] * len(shapes)
    generator = Generator().manual_seed(0)  # the default one is not touched
    made = []
    for shape, kind in zip(shapes, kinds, strict=True):
        floating = kind is None or kind.is_floating_point
        made.append(randn(*shape, generator=generator, dtype=kind) if floating else zeros(*shape, dtype=kind))
    return tuple(made)


def _run(model: Module, inputs: Sequence[Any]) -> dict[int, list[Tensor | None]]:
    """What each module put out at each of its calls (of several outputs, the first), by its id."""
    outputs: dict[int, list[Tensor | None]] = {}

    def note(module: Module, args: Any, output: Any) -> None:
        outputs.setdefault(id(module), []).append(_first_tensor(output))

    parts = list(model.modules())
    handles = [part.register_forward_hook(note) for part in parts]
    flags = [part.training for part in parts]
    state = get_rng_state()
    try:
        model.eval()
        with no_grad(), uncompiled():
            model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
        for part, training in zip(parts, flags, strict=True):
            part.training = training
        set_rng_state(state)
    return outputs


def _first_tensor(output: Any) -> Tensor | None:
    while isinstance(output, tuple | list | dict) and output:
        output = next(iter(output.values())) if isinstance(output, dict) else output[0]
    return output if isinstance(output, Tensor) else None


def _layers(model: Module, outputs: dict[int, list[Tensor | None]], depth: int) -> Iterator[Layer]:
    seen: set[int] = set()
    counted: set[int] = set()
    numbers = [0] * (depth + 1)

    def walk(name: str, part: Module, level: int) -> Iterator[Layer]:
        numbers[level] += level > 0
        again = id(part) in seen
        seen.add(id(part))
        own = part if level < depth else None  # at the last level: with all that is below
        parameters = [] if again else _own(part, own is None, counted)
        out = outputs.get(id(part), [None])[0]
        uses = (_uses(home, key, p, x) for key, p, home in parameters for x in outputs.get(id(home), ()))
        yield Layer(
            name, type(part).__name__, level, numbers[level], None if out is None else tuple(out.shape),
            sum(p.numel() for _, p, _ in parameters),
            sum(uses), again,
        )  # fmt: skip
        if own is not None and not again:
            for key, child in part._modules.items():
                if child is not None:
                    yield from walk(f"{name}.{key}" if name else key, child, level + 1)

    yield from walk("", model, 0)


def _own(part: Module, deep: bool, counted: set[int]) -> list[tuple[str, Any, Module]]:
    """The parameters that a row counts, each only once in the table."""
    found = []
    for home in part.modules() if deep else [part]:
        for key, p in home._parameters.items():
            if p is None or isinstance(p, UninitializedParameter) or id(p) in counted:
                continue
            counted.add(id(p))
            found.append((key, p, home))
    return found


def _uses(home: Module, key: str, p: Any, out: Tensor | None) -> int:
    """How many multiplications a parameter takes part in."""
    if out is None or isinstance(home, Embedding | EmbeddingBag) or not ("weight" in key or "bias" in key):
        return 0
    if key not in ("weight", "bias"):  # recurrent layers: once for each step of each sequence
        return int(p.numel() * (out.numel() // max(out.shape[-1], 1)))
    weight = home._parameters.get("weight")
    width = p.numel() if weight is None or isinstance(home, LayerNorm) else weight.shape[0]
    return int(p.numel() * (out.numel() // max(width, 1)))


def _has_children(part: Module) -> bool:
    return any(child is not None for child in part._modules.values())


def _branch(layer: Layer) -> str:
    if not layer.depth:
        return layer.kind
    start = "│    " * (layer.depth - 1) + ("├" if layer.depth == 1 else "└")
    return f"{start}─{layer.kind}: {layer.depth}-{layer.number}"


def _params(layer: Layer) -> str:
    return "(recursive)" if layer.again else f"{layer.params:,}" if layer.params else "--"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return " ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
