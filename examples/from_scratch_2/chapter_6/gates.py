"""Volume 2, chapter 6: an LSTM from its gates, and a GRU from its own.

See: both are a few lines, and give the numbers of the layers in `nn`, up to rounding; their gradients too,
which nobody wrote down.
"""

import lampion
from lampion import Tensor, nn


def lstm(cell: nn.LSTMCell, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """One step: what to take in, what to forget, what is new, and what to show of it."""
    gates = x @ cell.weight_ih.T + cell.bias_ih + h @ cell.weight_hh.T + cell.bias_hh
    take, keep, new, show = gates.chunk(4, 1)
    c = keep.sigmoid() * c + take.sigmoid() * new.tanh()
    return show.sigmoid() * c.tanh(), c


def gru(cell: nn.GRUCell, x: Tensor, h: Tensor) -> Tensor:
    """One step: without a memory apart from what it shows."""
    reset_x, keep_x, new_x = (x @ cell.weight_ih.T + cell.bias_ih).chunk(3, 1)
    reset_h, keep_h, new_h = (h @ cell.weight_hh.T + cell.bias_hh).chunk(3, 1)
    keep = (keep_x + keep_h).sigmoid()
    new = (new_x + (reset_x + reset_h).sigmoid() * new_h).tanh()
    return (1 - keep) * new + keep * h


def main(batch: int = 4, inputs: int = 3, hidden: int = 5) -> dict[str, float]:
    lampion.manual_seed(0)
    x, h, c = lampion.randn(batch, inputs), lampion.randn(batch, hidden), lampion.randn(batch, hidden)
    long, gated = nn.LSTMCell(inputs, hidden), nn.GRUCell(inputs, hidden)
    differences = {}
    for name, cell, ours, theirs in (
        ("LSTM", long, lambda: lstm(long, x, h, c)[0], lambda: long(x, (h, c))[0]),
        ("GRU", gated, lambda: gru(gated, x, h), lambda: gated(x, h)),
    ):
        found = ours()
        expected = theirs()
        slope = lampion.autograd.grad(found.sum(), cell.weight_hh)[0]
        wanted = lampion.autograd.grad(expected.sum(), cell.weight_hh)[0]
        differences[name] = (found - expected).abs().max().item()
        differences[f"{name}: gradient"] = (slope - wanted).abs().max().item()
    for name, difference in differences.items():
        print(f"{name}: largest difference {difference:.1e}")
    return differences


if __name__ == "__main__":
    main()
