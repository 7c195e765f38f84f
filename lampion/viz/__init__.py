"""Pictures: graphs as SVG of Lampion's own; plots drawn by matplotlib, imported with the first one."""

from lampion.viz.curves import curves
from lampion.viz.gallery import misclassified
from lampion.viz.graph import Graph, graph
from lampion.viz.reading import modules

__all__ = ["Graph", "curves", "graph", "misclassified", "modules"]
