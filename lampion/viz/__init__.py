"""Pictures: graphs as SVG of Lampion's own; plots drawn by matplotlib, imported with the first one."""

from lampion.viz.attention import attention
from lampion.viz.canvas import Picture
from lampion.viz.convolutions import feature_maps, filters, heat_maps
from lampion.viz.curves import curves
from lampion.viz.gallery import misclassified
from lampion.viz.graph import Graph, graph
from lampion.viz.images import image_grid, image_rows, manifold
from lampion.viz.landscape import decision_boundary, optimizer_paths, scatter
from lampion.viz.layers import activations, gradient_flow, weights
from lampion.viz.notebook import Image, image
from lampion.viz.reading import modules
from lampion.viz.series import series
from lampion.viz.words import similarities

__all__ = [
    "Graph", "Image", "Picture", "activations", "attention", "curves", "decision_boundary",
    "feature_maps", "filters", "gradient_flow", "graph", "heat_maps", "image", "image_grid", "image_rows",
    "manifold", "misclassified", "modules", "optimizer_paths", "scatter", "series", "similarities",
    "weights",
]  # fmt: skip
