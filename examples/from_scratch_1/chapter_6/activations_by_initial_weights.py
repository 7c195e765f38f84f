"""Volume 1, chapter 6: what five layers make of random data, by the size of their initial weights.

See: with weights of size 1 the sigmoid's outputs crowd at 0 and 1, where it has no slope; with 0.01 all are
near 0.5 and say the same; Xavier's spread them. ReLU dies away from layer to layer with 0.01, slowly with
Xavier's, and keeps its spread with He's.
"""

from pathlib import Path

import lampion
from lampion import Tensor, nn
from lampion.viz import canvas

WAYS = {
    ("sigmoid", "1"): lambda w: nn.init.normal_(w, std=1.0),
    ("sigmoid", "0.01"): lambda w: nn.init.normal_(w, std=0.01),
    ("sigmoid", "Xavier"): nn.init.xavier_normal_,
    ("relu", "0.01"): lambda w: nn.init.normal_(w, std=0.01),
    ("relu", "Xavier"): nn.init.xavier_normal_,
    ("relu", "He"): lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
}


def activations(name: str, initialize, layers: int = 5, width: int = 100) -> list[Tensor]:
    """The outputs of each layer, each (1000, width)."""
    lampion.manual_seed(0)
    x, found = lampion.randn(1000, width), []
    for _ in range(layers):
        x = getattr(lampion, name)(x @ initialize(lampion.empty(width, width)).T)
        found.append(x)
    return found


def main(out: str = "runs/examples") -> dict[tuple[str, str], list[float]]:
    spreads = {}
    with canvas.style():
        picture = canvas.figure(11, 11)
        cells = picture.subplots(6, 5, sharex=True)
        for row, (way, initialize) in zip(cells, WAYS.items(), strict=True):
            layers = activations(way[0], initialize)
            spreads[way] = [x.std().item() for x in layers]
            for number, (axes, x) in enumerate(zip(row, layers, strict=True), 1):
                axes.hist(x.flatten().numpy(), bins=30, range=(0, 1), color=canvas.BLUE)
                axes.set(title=f"layer {number}" if way == ("sigmoid", "1") else "", yticks=[])
                axes.set_ylim(0, 40_000 if way[0] == "sigmoid" else 8_000)
                axes.grid(False)
            row[0].set_ylabel(f"{way[0]}, weights {way[1]}")
        canvas.save(picture, Path(out) / "activations_by_initial_weights.png")
    for (name, size), values in spreads.items():
        print(f"{name:8} weights {size:7} spread: " + "  ".join(f"{value:.3f}" for value in values))
    return spreads


if __name__ == "__main__":
    main()
