"""Volume 3, steps 25-26 and 35: the computational graph as a picture.

See: boxes are operations and variables, arrows the way of the data, and each box has its value and its
gradient. Goldstein-Price's has 40 boxes; the graph of a derivative of tanh grows with each order. The SVG
files open in any browser; the DOT text is for Graphviz, if you have it.
"""

from pathlib import Path

import lampion
from lampion import viz


def goldstein_price(x, y):
    left = 1 + (x + y + 1) ** 2 * (19 - 14 * x + 3 * x**2 - 14 * y + 6 * x * y + 3 * y**2)
    inner = 18 - 32 * x + 12 * x**2 + 48 * y - 36 * x * y + 27 * y**2
    return left * (30 + (2 * x - 3 * y) ** 2 * inner)


def main(out: str = "runs/examples", order: int = 3) -> dict[str, viz.Graph]:
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    x, y = lampion.tensor(1.0, requires_grad=True), lampion.tensor(1.0, requires_grad=True)
    graphs = {
        "sphere": viz.graph(x**2 + y**2, {"x": x, "y": y}, title="x² + y²"),
        "goldstein_price": viz.graph(goldstein_price(x, y), {"x": x, "y": y}, title="Goldstein-Price"),
    }
    derivative = lampion.tanh(x)
    for number in range(1, order + 1):
        (derivative,) = lampion.autograd.grad(derivative, x, create_graph=True)
        graphs[f"tanh_{number}"] = viz.graph(derivative, {"x": x}, title=f"tanh, derivative {number}")
    for name, graph in graphs.items():
        graph.save(folder / f"graph_{name}.svg")
        print(f"{name}: {len(graph.boxes)} boxes, {len(graph.arrows)} arrows")
    print(graphs["sphere"].dot)
    return graphs


if __name__ == "__main__":
    main()
