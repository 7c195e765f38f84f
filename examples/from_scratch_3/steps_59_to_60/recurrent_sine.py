"""Volume 3, steps 59-60: a plain recurrent layer and an LSTM foretell the next point of a noisy sine.

See: both read the curve in pieces and keep their state from one to the next, without its history. Of the
loss that is left in the end, 0.0008 is noise, which nobody can foretell. The recipe `sine` (`lampion recipe
sine`) cuts the curve into rows that are read side by side.
"""

from pathlib import Path

import lampion
import lampion.nn.functional as F
from lampion import Tensor, nn, optim, viz
from lampion.datasets import SinCurve


class Foretell(nn.Module):
    """A recurrent layer, and one number from its state."""

    def __init__(self, kind: type[nn.Module], hidden: int = 32) -> None:
        super().__init__()
        self.layer, self.output = kind(1, hidden, batch_first=True), nn.Linear(hidden, 1)

    def forward(self, x: Tensor, state: object = None) -> tuple[Tensor, object]:
        h, state = self.layer(x, state)
        return self.output(h), state


def learn(kind: type[nn.Module], epochs: int, length: int = 37) -> tuple[Foretell, list[float]]:
    lampion.manual_seed(0)
    x, y = (part[None] for part in SinCurve(train=True).tensors)  # (1, 999, 1)
    model = Foretell(kind)
    optimizer = optim.Adam(model.parameters(), lr=5e-3)

    @lampion.compile
    def step(x: Tensor, y: Tensor, state: object) -> tuple[Tensor, object]:
        found, state = model(x, state)
        loss = F.mse_loss(found, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
        return loss, state

    losses = []
    for _ in range(epochs):
        zero = lampion.zeros(1, 1, 32)
        state: object = (zero, zero) if kind is nn.LSTM else zero
        pieces = zip(x.split(length, 1), y.split(length, 1), strict=True)
        values = []
        for piece, following in pieces:
            loss, state = step(piece, following, state)
            values.append(loss.item())
        losses.append(sum(values) / len(values))
    return model, losses


def main(out: str = "runs/examples", epochs: int = 30) -> dict[str, list[float]]:
    found, lines = {}, {"cosine": SinCurve(train=False).tensors[1].flatten()}
    for kind in (nn.RNN, nn.LSTM):
        model, found[kind.__name__] = learn(kind, epochs)
        with lampion.no_grad():
            lines[kind.__name__] = model(SinCurve(train=False).tensors[0][None])[0].flatten()
        print(f"{kind.__name__:5} loss {found[kind.__name__][0]:.3f} -> {found[kind.__name__][-1]:.5f}")
    Path(out).mkdir(parents=True, exist_ok=True)
    viz.series(lines, Path(out) / "recurrent_sine.png", "the next point of a curve that neither has seen")
    return found


if __name__ == "__main__":
    main()
