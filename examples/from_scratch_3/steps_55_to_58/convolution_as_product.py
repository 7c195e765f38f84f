"""Volume 3, steps 55-57: convolution, deconvolution and pooling as matrix products of windows.

See: with the window of every place as a column (im2col, which is `unfold`), convolution is one product
of matrices. Put back where they came from, and added up where they overlap (col2im, which is `fold`), columns
give the deconvolution, which is convolution's gradient; and the largest number of each column is max pooling.
The picture: two filters that find edges in digits, and what pooling leaves of them.
"""

from pathlib import Path

import lampion
import lampion.nn.functional as F
from lampion import Tensor, viz
from lampion.datasets import Digits


def out_size(size: int, kernel: int, stride: int, padding: int) -> int:
    """How often a window fits."""
    return (size + 2 * padding - kernel) // stride + 1


def convolution(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """(N, C, H, W) with filters (OC, C, K, K) to (N, OC, OH, OW)."""
    kernel = weight.shape[2]
    columns = F.unfold(x, kernel, padding=padding, stride=stride)  # (N, C * K * K, OH * OW)
    height, width = (out_size(size, kernel, stride, padding) for size in x.shape[2:])
    return (weight.flatten(1) @ columns).reshape(len(x), len(weight), height, width)


def deconvolution(y: Tensor, weight: Tensor, size: tuple[int, int], stride: int, padding: int) -> Tensor:
    """(N, OC, OH, OW) with the same filters back to (N, C, *size)."""
    columns = weight.flatten(1).T @ y.flatten(2)
    return F.fold(columns, size, weight.shape[2], padding=padding, stride=stride)


def max_pooling(x: Tensor, kernel: int, stride: int) -> Tensor:
    """The largest number of each window, channel by channel."""
    n, channels, *size = x.shape
    columns = F.unfold(x, kernel, stride=stride).reshape(n, channels, kernel * kernel, -1)
    height, width = (out_size(length, kernel, stride, 0) for length in size)
    return columns.amax(2).reshape(n, channels, height, width)


def edges(images: Tensor, path: Path) -> None:
    """Digits, their upper and left edges, and these pooled."""
    filters = lampion.tensor([[[[-1.0, -1, -1], [0, 0, 0], [1, 1, 1]]],
                              [[[-1.0, 0, 1], [-1, 0, 1], [-1, 0, 1]]]])  # fmt: skip
    found = convolution(images, filters, 1, 1).relu() / 3
    pooled = F.interpolate(max_pooling(found, 2, 2), scale_factor=2)  # drawn as large as the others
    rows = {"digits": images, "upper edges": found[:, :1], "left edges": found[:, 1:],
            "upper, pooled": pooled[:, :1], "left, pooled": pooled[:, 1:]}  # fmt: skip
    viz.image_rows(rows, path, title="Two filters of 3 x 3, and max pooling")


def main(out: str = "runs/examples") -> dict[str, object]:
    lampion.manual_seed(0)
    x = lampion.randn(2, 3, 7, 9, dtype=lampion.float64, requires_grad=True)
    weight = lampion.randn(4, 3, 3, 3, dtype=lampion.float64)
    sizes, largest = {}, 0.0
    for stride, padding in ((1, 0), (1, 1), (2, 1)):
        y = convolution(x, weight, stride, padding)
        sizes[stride, padding] = tuple(y.shape)
        (gradient,) = lampion.autograd.grad(F.conv2d(x, weight, stride=stride, padding=padding).sum(), x)
        back = deconvolution(lampion.ones_like(y), weight, (7, 9), stride, padding)
        for difference in (y - F.conv2d(x, weight, stride=stride, padding=padding), back - gradient):
            largest = max(largest, difference.abs().max().item())
        print(f"stride {stride}, padding {padding}: (2, 3, 7, 9) -> {sizes[stride, padding]}")
    print(f"largest difference from Lampion's own convolution and its gradient: {largest:.2g}")
    pooling = lampion.equal(max_pooling(x, 2, 2), F.max_pool2d(x, 2))
    print(f"max pooling is the same: {pooling}")
    edges(Digits(train=False).images[:10], Path(out) / "edges.png")
    return {"sizes": sizes, "largest difference": largest, "pooling": pooling}


if __name__ == "__main__":
    main()
