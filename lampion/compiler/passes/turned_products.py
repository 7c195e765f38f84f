"""A product that is only read transposed, as what it is read as: ``(a @ b).T`` as ``b.T @ a.T``.

The same products are added up in the same order. Where something is computed with the result, point by point,
that becomes the end of the product, and no transposed array is walked through. (The gradient of keys in an
attention that is written out: it is added to that of values, where they are the same tensor.)
"""

from __future__ import annotations

from lampion.compiler.graph import Equation, Graph, Value
from lampion.ops.movement import permute


def turn_products(graph: Graph) -> Graph:
    """The graph with such products turned."""
    made_by = {equation.output: equation for equation in graph}
    readers: dict[Value, list[Equation]] = {}
    for equation in graph:
        for value in equation.values:
            readers.setdefault(value, []).append(equation)
    outputs = set(graph.outputs)
    kept: list[Equation] = []
    for equation in graph:
        product = made_by.get(equation.values[0]) if turns(equation) else None
        if (
            product is None
            or product.primitive.name != "matmul"
            or len(readers[product.output]) > 1
            or product.output in outputs
            or not any(reader.primitive.kind == "elementwise" for reader in readers.get(equation.output, ()))
        ):
            kept.append(equation)
            continue
        turned = []
        for value in reversed(product.values):
            if value in made_by and turns(made_by[value]):
                turned.append(made_by[value].values[0])
                continue
            dims = _swapped(len(value.shape))
            turned.append(graph.value(tuple(value.shape[d] for d in dims), value.dtype))
            kept.append(Equation(permute.primitive, (value,), {"dims": dims}, turned[-1], product.where))
        kept.append(
            Equation(product.primitive, tuple(turned), product.params, equation.output, product.where)
        )
    return graph.replaced(kept)


def _swapped(rank: int) -> tuple[int, ...]:
    return (*range(rank - 2), rank - 1, rank - 2)


def turns(equation: Equation) -> bool:
    """Whether it swaps the last two dimensions, and no others."""
    rank = len(equation.output.shape)
    return (
        equation.primitive is permute.primitive
        and rank >= 2
        and tuple(equation.params["dims"]) == _swapped(rank)
    )
