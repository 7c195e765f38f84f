"""Volume 1, chapter 7: a convolution as one matrix product, and pooling without a loop.

See: `unfold` (the book's im2col) lays every window of the image out as a column. A convolution is then a
product of the filters with the columns, and pooling a largest number of each; both agree with the layers,
and so do their gradients.
"""

import lampion
from lampion import Tensor
from lampion.nn import functional as F


def convolution(images: Tensor, filters: Tensor, bias: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
    """(N, C, H, W) and (K, C, h, w) -> (N, K, H', W')."""
    count, _, height, width = images.shape
    kernels, _, high, wide = filters.shape
    columns = F.unfold(images, (high, wide), stride=stride, padding=padding)  # (N, C * h * w, H' * W')
    flat = filters.reshape(kernels, -1) @ columns + bias[:, None]  # (N, K, H' * W')
    rows = (height + 2 * padding - high) // stride + 1
    return flat.reshape(count, kernels, rows, (width + 2 * padding - wide) // stride + 1)


def pooling(images: Tensor, size: int) -> Tensor:
    """The largest number of each window of size by size, for every channel."""
    count, channels, height, width = images.shape
    columns = F.unfold(images, size, stride=size).reshape(count, channels, size * size, -1)
    return columns.amax(2).reshape(count, channels, height // size, width // size)


def gradients(function, *inputs: Tensor) -> list[Tensor]:
    """The gradients of the sum of the squared outputs."""
    return list(lampion.autograd.grad((function(*inputs) ** 2).sum(), inputs))


def main() -> dict[str, object]:
    lampion.manual_seed(0)
    images = lampion.randn(10, 3, 7, 7, requires_grad=True)
    filters, bias = lampion.randn(8, 3, 5, 5, requires_grad=True), lampion.randn(8, requires_grad=True)
    columns = F.unfold(images, 5)
    print(f"{tuple(images.shape)} in windows of 5 x 5: columns {tuple(columns.shape)}")

    ways = {"by im2col": convolution, "layer": lambda x, w, b: F.conv2d(x, w, b)}
    found = {name: way(images, filters, bias) for name, way in ways.items()}
    slopes = {name: gradients(way, images, filters, bias) for name, way in ways.items()}
    apart = (found["by im2col"] - found["layer"]).abs().max().item()
    slopes_apart = [
        ((a - b).abs().max() / b.abs().max()).item() for a, b in zip(*slopes.values(), strict=True)
    ]
    print(f"convolution: {tuple(found['layer'].shape)}, at most {apart:.1e} apart, "
          f"gradients by {max(slopes_apart):.1e}")  # fmt: skip

    strided = (convolution(images, filters, bias, 2, 1) - F.conv2d(images, filters, bias, 2, 1)).abs().max()
    even = images[..., :6, :6]
    pools_equal = bool((pooling(even, 2) == F.max_pool2d(even, 2)).all())
    print(f"with stride 2 and padding 1: {strided.item():.1e} apart; pooling is equal: {pools_equal}")
    return {
        "columns": tuple(columns.shape), "apart": apart, "gradients apart": max(slopes_apart),
        "strided apart": strided.item(), "pooling equal": pools_equal,
    }  # fmt: skip


if __name__ == "__main__":
    main()
