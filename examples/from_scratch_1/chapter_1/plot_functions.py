"""Volume 1, chapter 1: tensors instead of lists, and a first picture.

See: arithmetic goes through all elements at once, a single row stretches over a matrix, and two curves
land in one picture.
"""

from pathlib import Path

import lampion
from lampion.viz import canvas


def main(out: str = "runs/examples") -> dict[str, lampion.Tensor]:
    matrix = lampion.tensor([[1.0, 2.0], [3.0, 4.0]])
    stretched = matrix * lampion.tensor([10.0, 20.0])  # the row is used for both rows of the matrix
    large = matrix[matrix > 2]  # only the elements for which it holds
    print(f"{stretched = }\n{large = }")

    x = lampion.arange(0, 6, 0.1)
    with canvas.style():
        picture = canvas.figure(6, 4)
        axes = picture.subplots()
        axes.plot(x.numpy(), x.sin().numpy(), label="sin", color=canvas.BLUE)
        axes.plot(x.numpy(), x.cos().numpy(), label="cos", color=canvas.ORANGE, linestyle="--")
        axes.set(title="Sine and cosine", xlabel="x", ylabel="y")
        axes.legend(frameon=False)
        canvas.save(picture, Path(out) / "sine_and_cosine.png")
    return {"stretched": stretched, "large": large}


if __name__ == "__main__":
    main()
