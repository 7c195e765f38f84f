"""Pooling, resizing and folding that PyTorch's tables have no samples of: values and gradients."""

import pytest

import lampion as lp
from lampion.nn import functional as F

torch = pytest.importorskip("torch")

from both import assert_same, to_lampion  # noqa: E402


def compare(name, *args, **kwargs):
    """The function in both, and the gradients of the weighted sum of its results."""
    theirs = getattr(torch.nn.functional, name)(*args, **kwargs)
    mine = to_lampion(args)
    ours = getattr(F, name)(*mine, **to_lampion(kwargs))
    assert_same(ours, theirs, rtol=1e-9, atol=1e-12)
    weights = torch.linspace(-1, 2, theirs.numel(), dtype=theirs.dtype).reshape(theirs.shape)
    (theirs * weights).sum().backward()
    (ours * to_lampion(weights)).sum().backward()
    for a, b in zip(mine, args, strict=True):
        if isinstance(b, torch.Tensor) and b.requires_grad:
            assert_same(a.grad, b.grad, rtol=1e-9, atol=1e-12)


def draw(*shape):
    torch.manual_seed(len(shape))
    return torch.randn(shape, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_norms_of_windows(p, ceil):
    # An odd power of numbers below 0 has no root of PyTorch's either: it is NaN in both.
    x = draw(2, 3, 7) if p != 3.0 else draw(2, 3, 7).detach().abs().requires_grad_()
    compare("lp_pool1d", x, p, 3, 2, ceil)
    compare("lp_pool2d", x.detach().abs().requires_grad_(), p, (2, 3), 2, ceil)
    compare("lp_pool3d", x.detach()[None].abs().requires_grad_(), p, 2, 1, ceil)


def test_a_norm_of_zeros_has_the_gradient_of_pytorch():
    compare("lp_pool1d", torch.zeros(1, 4, dtype=torch.float64, requires_grad=True), 1.0, 2)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(3, 2), (9, 4), (5, 11)])
def test_resizing_as_pillow_does_it(mode, size):
    compare("interpolate", draw(2, 1, 7, 5), size, mode=mode, antialias=True)


def test_a_factor_that_is_not_recomputed():
    compare("interpolate", draw(1, 1, 7), scale_factor=1.3, mode="linear")
    compare("interpolate", draw(1, 1, 7), scale_factor=1.3, mode="linear", recompute_scale_factor=True)


def test_fold():
    compare("fold", draw(2, 12, 12), (4, 5), 2)
    compare("fold", draw(6, 3), (5, 4), (3, 2), (1, 2), (1, 0), 2)


@pytest.mark.parametrize("corners", [False, True])
def test_grids(corners):
    compare("affine_grid", draw(2, 2, 3), (2, 1, 3, 4), align_corners=corners)
    compare("affine_grid", draw(1, 3, 4), (1, 1, 2, 3, 2), align_corners=corners)


def test_a_grid_that_is_not_a_number():
    grid = torch.tensor([float("nan"), 0.0, float("inf"), 0.0], dtype=torch.float64).reshape(1, 1, 2, 2)
    x = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    ours = F.grid_sample(to_lampion(x), to_lampion(grid))
    assert_same(ours, torch.nn.functional.grid_sample(x, grid, align_corners=False))


def test_what_is_put_back_must_lie_in_the_image():
    with pytest.raises(lp.errors.LampionError):
        F.max_unpool1d(lp.ones(1, 1), lp.tensor([[7]]), 2)


AUTOCAST = {
    "grid_sample": lambda F, x: F.grid_sample(x, x.reshape(1, 2, 4, 2), align_corners=False),
    "adaptive_max_pool2d": lambda F, x: F.adaptive_max_pool2d(x, 3),
    "adaptive_max_pool3d": lambda F, x: F.adaptive_max_pool3d(x[None], (1, 3, 2)),
    "max_unpool1d": lambda F, x: F.max_unpool1d(*F.max_pool1d(x[0], 2, return_indices=True), 2),
    "max_unpool2d": lambda F, x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2),
    "interpolate": lambda F, x: F.interpolate(x, 2, mode="bilinear"),
    "lp_pool2d": lambda F, x: F.lp_pool2d(x, 2.0, 2),
    "unfold": lambda F, x: F.unfold(x, 2),
}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", AUTOCAST)
def test_types_under_autocast(name, dtype):
    call, x = AUTOCAST[name], torch.linspace(0, 1, 16, dtype=dtype).reshape(1, 1, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        theirs = call(torch.nn.functional, x)
    with lp.autocast("cpu", lp.bfloat16):
        ours = call(F, to_lampion(x))
    assert_same(ours, theirs, rtol=2**-7, atol=2**-7)  # of bfloat16, rounded in other places


@pytest.mark.parametrize("count", [2, 3])
def test_windows_at_random_distances(count):
    x, samples = draw(2, 3, *(9, 11, 8)[:count]), torch.rand(2, 3, count, dtype=torch.float64)
    name = f"fractional_max_pool{count}d"
    compare(name, x, 2, (4, 5, 6)[:count], _random_samples=samples)
