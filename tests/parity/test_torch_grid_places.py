"""Grids with places that are infinite or NaN, in `grid_sample`."""

import itertools

import numpy as np
import pytest

import lampion as lp

torch = pytest.importorskip("torch")

LOOKS = (0.0, 0.3, -1.7, 1e20, -1e20, float("inf"), float("-inf"), float("nan"))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("outside", ["zeros", "border", "reflection"])
@pytest.mark.parametrize(("mode", "dimensions"), [
    ("bilinear", 2), ("nearest", 2), ("bicubic", 2), ("bilinear", 3), ("nearest", 3),
])  # fmt: skip
def test_infinite_places(mode, dimensions, outside, corners, dtype):
    places = (3, 4, 5)[-dimensions:]
    pixels = np.arange(np.prod(places), dtype=dtype).reshape(1, 1, *places)
    looks = np.array(list(itertools.product(LOOKS, repeat=dimensions)), dtype)
    if outside != "zeros" and mode == "bicubic":
        looks = looks[np.abs(looks).max(1) < 1e20]  # PyTorch turns these into any integer
    looks = looks.reshape(1, *(1,) * (dimensions - 1), len(looks), dimensions)

    def computed(L, make):
        x, grid = (make(array).requires_grad_() for array in (pixels, looks))
        out = L.nn.functional.grid_sample(x, grid, mode, outside, corners)
        # In images, PyTorch's backward pass reads outside of them where places are folded: it may crash.
        if dimensions == 3 or outside == "zeros":
            out.sum().backward()
        return [None if y is None else y.detach().numpy() for y in (out, x.grad, grid.grad)]

    ours, theirs = computed(lp, lp.tensor), computed(torch, torch.tensor)
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5, atol=1e-4)
    for mine, other in zip(ours[1:], theirs[1:], strict=True):
        assert other is None or bool(np.isfinite(mine[np.isfinite(other)]).all())
