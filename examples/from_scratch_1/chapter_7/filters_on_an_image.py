"""Volume 1, chapter 7: what filters make of a photograph.

See: a filter whose left half is positive and whose right half is negative answers to upright edges, the same
lying down to level ones; a filter of equal numbers blurs; and one that is large in its middle and negative
around it sharpens. A convolution learns filters of these kinds by itself: `lampion train mnist-cnn` draws
them before and after training.
"""

from pathlib import Path

import numpy as np

import lampion
from lampion import Tensor
from lampion.nn import functional as F
from lampion.viz import canvas

FILTERS = {
    "upright edges": [[1, 0, -1], [2, 0, -2], [1, 0, -1]],
    "level edges": [[1, 2, 1], [0, 0, 0], [-1, -2, -1]],
    "blurred": [[1 / 9] * 3] * 3,
    "sharpened": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
}


def photograph() -> Tensor:
    """(H, W), a temple in China, from 0 (black) to 1 (white)."""
    from sklearn.datasets import load_sample_image

    colours = load_sample_image("china.jpg")[::2, ::2].astype(np.float32) / 255
    return lampion.from_numpy(colours @ np.array([0.299, 0.587, 0.114], np.float32))


def main(out: str = "runs/examples") -> dict[str, Tensor]:
    image = photograph()
    weight = lampion.tensor(list(FILTERS.values())).unsqueeze(1)  # (4, 1, 3, 3)
    answers = F.conv2d(image[None, None], weight)[0]  # (4, H - 2, W - 2)
    found = dict(zip(FILTERS, answers, strict=True))
    with canvas.style():
        picture = canvas.figure(13, 3.2)
        cells = picture.subplots(2, 5, height_ratios=[5, 2])
        for number, (name, pixels) in enumerate({"photograph": image, **found}.items()):
            above, below = cells[:, number]
            edges = "edges" in name  # which are white where nothing is, and blue and red otherwise
            look = (
                {"cmap": "RdBu", "vmin": -2, "vmax": 2} if edges else {"cmap": "gray", "vmin": 0, "vmax": 1}
            )
            above.imshow(pixels.numpy(), **look)
            above.set_title(name, fontsize=10)
            if number:
                below.imshow(weight[number - 1, 0].numpy(), cmap="RdBu", vmin=-7, vmax=7)
                for (row, column), value in np.ndenumerate(weight[number - 1, 0].numpy()):
                    text = f"{value:.2g}".removeprefix("0").replace("-", "−")
                    below.text(column, row, text or "0", ha="center", va="center", fontsize=7)
            for axes in (above, below):
                axes.axis("off")
        canvas.save(picture, Path(out) / "filters_on_an_image.png")
    for name, pixels in found.items():
        print(f"{name:14} mean {pixels.mean().item():6.3f}, spread {pixels.std().item():.3f}")
    return {"photograph": image, **found}


if __name__ == "__main__":
    main()
