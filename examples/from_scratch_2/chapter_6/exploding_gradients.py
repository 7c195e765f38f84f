"""Volume 2, chapter 6: what becomes of a gradient on its way back through many steps.

See: one step back multiplies the gradient by the same matrix each time. If the largest singular value of
that is above 1, the gradient may grow without bound; below 1, it dies out. Clipping keeps its direction,
and limits its length.
"""

from pathlib import Path

import lampion
from lampion import nn
from lampion.viz import canvas


def norms(scale: float, steps: int) -> tuple[list[float], float]:
    """The length of the gradient at each step back, and the matrix's largest singular value."""
    lampion.manual_seed(3)
    weight = scale * lampion.randn(3, 3)
    states = [lampion.ones(2, 3).requires_grad_()]
    for _ in range(steps):
        states.append(states[-1] @ weight)
        states[-1].retain_grad()
    states[-1].sum().backward()
    lengths = [state.grad.norm().item() for state in reversed(states)]
    return lengths, lampion.linalg.svdvals(weight)[0].item()


def main(out: str = "runs/examples", steps: int = 20) -> dict[str, object]:
    found = {scale: norms(scale, steps) for scale in (1.0, 0.3)}
    parameter = nn.Parameter(lampion.zeros(2))
    parameter.grad = lampion.tensor([30.0, 40.0])
    before = nn.utils.clip_grad_norm_([parameter], 5.0)
    print(f"a gradient of length {before:.0f}, clipped to 5: {parameter.grad.tolist()}")

    with canvas.style():
        picture = canvas.figure(6, 4)
        axes = picture.subplots()
        for (lengths, largest), colour in zip(found.values(), (canvas.ORANGE, canvas.BLUE), strict=True):
            axes.plot(lengths, "o-", markersize=4, color=colour, label=f"singular value {largest:.2f}")
            print(f"largest singular value {largest:.2f}: {lengths[0]:.1f} -> {lengths[-1]:.3g}")
        axes.set_yscale("log")
        axes.set_xlabel("steps back")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_title("Length of the gradient")
        axes.legend(frameon=False)
        Path(out).mkdir(parents=True, exist_ok=True)
        canvas.save(picture, Path(out) / "exploding_gradients.png")
    return {"norms": {scale: lengths for scale, (lengths, _) in found.items()},
            "largest": {scale: largest for scale, (_, largest) in found.items()},
            "clipped": parameter.grad.tolist()}  # fmt: skip


if __name__ == "__main__":
    main()
