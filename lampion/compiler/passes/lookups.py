"""Gradients through rows that were looked up: summed by row first, multiplied afterwards.

Where words of a small vocabulary, or characters, go through an embedding into a linear map,
``y = table[words] @ w.T``, the gradients are two products with as many rows as there are words:

    dw     = dy.T @ table[words]
    dtable = zeros, and row i of dy @ w added at words[i]

But equal words have equal rows. With s = zeros, and row i of dy added at words[i], which has as few rows as
the table, they are ``s.T @ table`` and ``s @ w``; and the bias's gradient, the sum of dy's rows, is that of
s. Only dy is read as before, once, and not by three.

A row of the table that was not looked up must not matter, and gets no gradient: neither where there are
infinities, which times the zeros of s would be no numbers. So such rows of the table count as zeros, and
what is written are the rows that were looked up.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from lampion.compiler.graph import Equation, Graph, Value
from lampion.compiler.passes.dead import drop_dead
from lampion.compiler.passes.turned_products import turns
from lampion.ops.advanced_indexing import index_, index_put_
from lampion.ops.creation import full
from lampion.ops.movement import permute
from lampion.primitive import Primitive

_TIMES = 4  # how often a row is looked up, on average, where it is worth it
_LEAST = 1 << 16  # elements of dy
_NARROW = 8  # columns of a table below which a product is as quick as a sum


@dataclass(frozen=True)
class _Words:
    """Which rows were looked up, out of how many."""

    index: Value
    rows: int

    def suit(self, gradient: Value, width: int) -> bool:
        """Whether to sum that gradient by them, where a table has so many columns."""
        return (
            len(gradient.shape) == 2
            and gradient.dtype.kind == "f"
            and gradient.dtype.itemsize >= 4  # a sum of many short numbers loses digits
            and gradient.size >= _LEAST
            and width >= _NARROW
            and self.index.shape[0] >= _TIMES * self.rows > 0
        )


def sum_by_row(graph: Graph) -> Graph:
    """The graph with such gradients summed first."""
    if not any(equation.primitive is index_.primitive for equation in graph):
        return graph
    living = drop_dead(graph)  # what nobody reads would count as a second reader
    rewriter = _Rewriter(living)
    if not rewriter.words:
        return graph
    for equation in living:
        rewriter.take(equation)
    return living.replaced(rewriter.kept)


class _Rewriter:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.made_by = {equation.output: equation for equation in graph}
        self.uses = Counter(value for equation in graph for value in equation.values)
        self.uses.update(graph.outputs)
        self.words: dict[Value, _Words] = {}  # by what each gradient is summed
        self.tables: dict[Value, tuple[Value, Value]] = {}  # gradients of tables: dy and w
        self.weights: dict[Value, tuple[Value, Equation, bool]] = {}  # of weights: dy and the other factor
        for equation in graph:
            if table := self._table_gradient(equation):
                dy, words, w = table
                if self.words.setdefault(dy, words) == words:
                    self.tables[equation.output] = dy, w
            elif weight := self._weight_gradient(equation):
                dy, words, lookup, left = weight
                if self.words.setdefault(dy, words) == words:
                    self.weights[equation.output] = dy, lookup, left
        self.sums: dict[Value, Value] = {}
        self.kept: list[Equation] = []
        self.there = {*graph.inputs, *graph.constants}

    def take(self, equation: Equation) -> None:
        """Keep an equation, or what computes the same."""
        if equation.output in self.tables:
            self._write_table_gradient(equation, *self.tables[equation.output])
        elif equation.output in self.weights:
            self._write_weight_gradient(equation, *self.weights[equation.output])
        elif self._is_bias_gradient(equation):
            inputs = (self._sum(equation.values[0], equation),)
            self._keep(equation.primitive, inputs, equation.params, equation.output, equation)
        else:
            self.kept.append(equation)
        self.there.add(equation.output)

    # -- what there is ------------------------------------------------------------------------------

    def _table_gradient(self, equation: Equation) -> tuple[Value, _Words, Value] | None:
        """dy, what was looked up, and w, if it is zeros to which rows of ``dy @ w`` are added."""
        if equation.primitive is not index_put_.primitive or not equation.params["accumulate"]:
            return None
        base, value, *index = equation.values
        product, zeros = self.made_by.get(value), self.made_by.get(base)
        if (
            not _is_by_row(equation, base, index)
            or zeros is None
            or zeros.primitive is not full.primitive
            or zeros.params["value"]
            or product is None
            or product.primitive.name != "matmul"
            or self.uses[value] > 1
            or value.shape != (*index[0].shape, base.shape[1])  # it is not spread out
            or value.dtype is not base.dtype
        ):
            return None
        (dy, w), words = product.values, _Words(index[0], base.shape[0])
        return (dy, words, w) if words.suit(dy, w.shape[-1]) else None

    def _weight_gradient(self, equation: Equation) -> tuple[Value, _Words, Equation, bool] | None:
        """dy, what was looked up, how, and whether that is the left factor, if it is ``dy.T @ table[words]``,
        or ``table[words].T @ dy``.
        """
        if equation.primitive.name != "matmul" or len(equation.output.shape) != 2:
            return None
        turned = self.made_by.get(equation.values[0])
        if turned is None or not turns(turned):
            return None
        pair = turned.values[0], equation.values[1]
        for i, value in enumerate(pair):
            lookup = self.made_by.get(value)
            if lookup is None or lookup.primitive is not index_.primitive:
                continue
            table, *index = lookup.values
            if _is_by_row(lookup, table, index):
                words = _Words(index[0], table.shape[0])
                if words.suit(pair[1 - i], table.shape[1]):
                    return pair[1 - i], words, lookup, i == 0
        return None

    def _is_bias_gradient(self, equation: Equation) -> bool:
        if equation.primitive.name != "sum" or equation.params["axis"] != (0,):
            return False
        words = self.words.get(equation.values[0])
        return words is not None and words.index in self.there

    # -- what is written instead --------------------------------------------------------------------

    def _keep(
        self, primitive: Primitive, inputs: tuple[Value, ...], params: dict[str, object], output: Value,
        instead: Equation,
    ) -> Value:  # fmt: skip
        self.kept.append(Equation(primitive, inputs, params, output, instead.where))
        return output

    def _sum(self, dy: Value, user: Equation) -> Value:
        """dy, summed by row; first here, for that user."""
        if dy not in self.sums:
            words = self.words[dy]
            to = self._zeros((words.rows, dy.shape[1]), dy, user)
            self.sums[dy] = self._put(to, dy, words, user, accumulate=True)
        return self.sums[dy]

    def _zeros(self, shape: tuple[int, ...], like: Value, user: Equation) -> Value:
        params = {"shape": shape, "value": 0, "dtype": like.dtype}
        return self._keep(full.primitive, (), params, self.graph.value(shape, like.dtype), user)

    def _put(self, to: Value, rows: Value, words: _Words, user: Equation, *, accumulate: bool) -> Value:
        params = {"dims": (0,), "accumulate": accumulate}
        out = self.graph.value(to.shape, to.dtype)
        return self._keep(index_put_.primitive, (to, rows, words.index), params, out, user)

    def _write_table_gradient(self, equation: Equation, dy: Value, w: Value) -> None:
        words = self.words[dy]
        product = self.made_by[equation.values[1]]
        base, width = equation.values[0], w.shape[1]
        rows = self.graph.value((words.rows, width), dy.dtype)
        self._keep(product.primitive, (self._sum(dy, equation), w), product.params, rows, equation)
        picked = self.graph.value((words.index.shape[0], width), dy.dtype)
        self._keep(index_.primitive, (rows, words.index), {"dims": (0,)}, picked, equation)
        params = equation.params | {"accumulate": False}
        self._keep(equation.primitive, (base, picked, words.index), params, equation.output, equation)

    def _write_weight_gradient(self, equation: Equation, dy: Value, lookup: Equation, left: bool) -> None:
        table = self._zeros(lookup.values[0].shape, lookup.output, equation)
        table = self._put(table, lookup.output, self.words[dy], equation, accumulate=False)
        first, second = (table, self._sum(dy, equation)) if left else (self._sum(dy, equation), table)
        turned = self.graph.value(first.shape[::-1], first.dtype)
        self._keep(permute.primitive, (first,), {"dims": (1, 0)}, turned, equation)
        self._keep(equation.primitive, (turned, second), equation.params, equation.output, equation)


def _is_by_row(equation: Equation, table: Value, index: list[Value]) -> bool:
    """Whether rows of a matrix are meant, by one list of numbers."""
    return (
        equation.params["dims"] == (0,) and len(table.shape) == 2 and len(index) == 1
        and len(index[0].shape) == 1
    )  # fmt: skip
