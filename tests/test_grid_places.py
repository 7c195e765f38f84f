"""Places of a grid that are infinite or NaN: PyTorch's answers (2.13), with and without compilation."""

import numpy as np
import pytest

import lampion as lp
from lampion.nn import functional as F

INF, NAN = float("inf"), float("nan")
#: Where a grid looks along x, in a volume of 3 x 4 x 5 places and an image of 4 x 5; in the middle otherwise.
LOOKS = (0.0, INF, -INF, NAN)

#: PyTorch's answers, by the mode, what is outside, and the dimensions.
ANSWERS = {
    ("bilinear", "zeros", 3): (29.5, 0, 0, 0),
    ("bilinear", "border", 3): (29.5, 31.5, 27.5, 31.5),
    ("bilinear", "reflection", 3): (29.5, 31.5, 31.5, 31.5),
    ("nearest", "zeros", 3): (32, 0, 0, 0),
    ("nearest", "border", 3): (32, 34, 30, 34),
    ("nearest", "reflection", 3): (32, 34, 34, 34),
    ("bilinear", "zeros", 2): (9.5, NAN, NAN, NAN),
    ("bilinear", "border", 2): (9.5, 11.5, 7.5, 7.5),
    ("bilinear", "reflection", 2): (9.5, 7.5, 7.5, 7.5),
    ("nearest", "zeros", 2): (12, 0, 0, 0),
    ("nearest", "border", 2): (12, 14, 10, 10),
    ("nearest", "reflection", 2): (12, 10, 10, 10),
    ("bicubic", "zeros", 2): (9.5, NAN, NAN, NAN),
}


def looked_at(dimensions):
    places = (3, 4, 5)[-dimensions:]
    x = lp.arange(float(np.prod(places))).view(1, 1, *places)
    grid = lp.zeros(1, *(1,) * (dimensions - 1), len(LOOKS), dimensions)
    grid[..., 0] = lp.tensor(LOOKS)
    return x.requires_grad_(), grid.requires_grad_()


@pytest.mark.parametrize(("mode", "outside", "dimensions"), ANSWERS)
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_infinite_places(mode, outside, dimensions, compiled):
    x, grid = looked_at(dimensions)

    def function(x, grid):
        return F.grid_sample(x, grid, mode, outside, align_corners=False)

    out = (lp.compile(function) if compiled else function)(x, grid)
    answers = ANSWERS[mode, outside, dimensions]
    np.testing.assert_allclose(out.detach().numpy().ravel(), answers, rtol=1e-6)
    out.sum().backward()
    assert bool(x.grad.isfinite().all())
    if mode == "nearest":
        assert not bool(grid.grad.any())
    elif np.isfinite(answers).all():
        assert not bool(grid.grad[..., 1:, 0].any()) and bool(grid.grad[..., 0, 0].any())
