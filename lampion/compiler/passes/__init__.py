"""Rewrites of a graph, one a file. Each takes a graph and returns an equivalent one."""

from __future__ import annotations

from collections.abc import Callable

from lampion.compiler.graph import Graph, check
from lampion.compiler.passes.algebra import simplify
from lampion.compiler.passes.dead import drop_dead
from lampion.compiler.passes.dedupe import dedupe
from lampion.compiler.passes.fold import fold
from lampion.compiler.passes.joins import join
from lampion.compiler.passes.labels import compare_labels
from lampion.compiler.passes.long_products import split_products
from lampion.compiler.passes.lookups import sum_by_row
from lampion.compiler.passes.loops import prune
from lampion.compiler.passes.probabilities import reuse_exponentials
from lampion.compiler.passes.turned_products import turn_products

PASSES: tuple[tuple[str, Callable[[Graph], Graph]], ...] = (
    ("drop dead code", drop_dead),
    ("products leave loops", lambda graph: leave_loops(graph)),
    ("fold constants", fold),
    ("simplify", simplify),
    ("join pieces", join),
    ("dedupe", dedupe),
    ("turn products", turn_products),
    ("compare labels", compare_labels),
    ("reuse exponentials", reuse_exponentials),
    ("sum lookups' gradients by row", sum_by_row),
    ("split long products", split_products),
    ("drop dead code again", drop_dead),
    ("prune loops", lambda graph: prune(graph, optimize)),
)


def leave_loops(graph: Graph) -> Graph:
    """Prune loops, write out those without machine code, and hoist what can leave the others."""
    if not any("loop" in equation.params for equation in graph):
        return graph
    from lampion.compiler.passes.hoist import hoist  # these need traces, which are made of graphs
    from lampion.compiler.scan.unroll import unroll

    return hoist(unroll(prune(graph, optimize)))


def optimize(graph: Graph, checking: bool = False) -> Graph:
    """Run all passes. With `checking` the graph is checked after each of them."""
    for _, rewrite in PASSES:
        graph = rewrite(graph)
        if checking:
            check(graph)
    return graph


__all__ = ["PASSES", "optimize"]
