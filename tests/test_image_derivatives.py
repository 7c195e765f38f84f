"""Derivatives of any order through the layers for images: here the second and third, against differences."""

import pytest

import lampion as lp
from lampion import autograd
from lampion.nn import functional as F


def draw(*shape):
    return lp.rand(*shape, dtype=lp.float64) * 2 - 1


SAMPLES = lp.tensor([[[0.2, 0.7], [0.6, 0.4]]], dtype=lp.float64)
#: Functions of an image and of what the layer has learned, and the shapes of the two.
FUNCTIONS = {
    "conv1d": (lambda x, w: F.conv1d(x, w, stride=2, padding=1), (1, 2, 5), (2, 2, 3)),
    "conv2d": (lambda x, w: F.conv2d(x, w, padding="same", dilation=2), (1, 2, 4, 4), (2, 2, 2, 2)),
    "conv2d of groups": (lambda x, w: F.conv2d(x, w, groups=2), (1, 2, 3, 4), (4, 1, 2, 2)),
    "conv3d": (lambda x, w: F.conv3d(x, w), (1, 1, 2, 3, 2), (2, 1, 2, 2, 1)),
    "conv_transpose2d": (lambda x, w: F.conv_transpose2d(x, w, stride=2, output_padding=1), (1, 2, 2, 2),
                         (2, 1, 2, 3)),
    "batch_norm": (lambda x, w: F.batch_norm(x, None, None, w, training=True), (2, 2, 2, 2), (2,)),
    "instance_norm": (lambda x, w: F.instance_norm(x, weight=w), (1, 2, 2, 3), (2,)),
    "group_norm": (lambda x, w: F.group_norm(x, 1, w), (1, 2, 2, 2), (2,)),
    "local_response_norm": (lambda x, w: F.local_response_norm(x * w, 3), (1, 3, 2, 2), (3, 1, 1)),
    "max_pool2d": (lambda x, w: F.max_pool2d(x * w, 2, 1, 1), (1, 2, 3, 3), (2, 1, 1)),
    "avg_pool2d": (lambda x, w: F.avg_pool2d(x * w, 3, 2, 1, ceil_mode=True), (1, 2, 4, 3), (2, 1, 1)),
    "lp_pool2d": (lambda x, w: F.lp_pool2d(2 + x * w, 3.0, 2), (1, 2, 4, 2), (2, 1, 1)),
    "adaptive_max_pool2d": (lambda x, w: F.adaptive_max_pool2d(x * w, 2), (1, 2, 3, 5), (2, 1, 1)),
    "fractional_max_pool2d": (
        lambda x, w: F.fractional_max_pool2d(x * w, 2, 2, _random_samples=SAMPLES), (1, 2, 4, 5), (2, 1, 1)),
    "unfold and fold": (lambda x, w: F.fold(F.unfold(x, 2) ** 2, (3, 4), 2) * w, (1, 2, 3, 4), (2, 1, 1)),
    "bicubic": (lambda x, w: F.interpolate(x * w, size=(3, 5), mode="bicubic"), (1, 1, 4, 4), (1, 1, 1)),
    "antialias": (lambda x, w: F.interpolate(x * w, size=2, mode="bilinear", antialias=True), (1, 1, 4, 4),
                  (1, 1, 1)),
    "grid_sample": (lambda x, w: F.grid_sample(x, w * 0.3, align_corners=True), (1, 1, 3, 3), (1, 2, 2, 2)),
    "affine_grid": (lambda x, w: F.grid_sample(x, F.affine_grid(w * 0.3, (1, 1, 2, 2), align_corners=False),
                                               align_corners=False), (1, 1, 3, 3), (1, 2, 3)),
    "pixel_shuffle": (lambda x, w: F.pixel_shuffle(x * w, 2), (1, 4, 1, 2), (4, 1, 1)),
    "circular": (lambda x, w: F.conv2d(F.pad(x, (1, 1, 1, 0), "circular"), w), (1, 1, 3, 3), (1, 1, 2, 3)),
    "reflect": (lambda x, w: F.pad(x * w, (2, 1), "reflect"), (1, 2, 4), (2, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_second_and_third_derivatives(name):
    lp.manual_seed(1)
    function, *shapes = FUNCTIONS[name]
    inputs = [draw(*shape).requires_grad_() for shape in shapes]
    first, second = draw(*shapes[0]), draw(*shapes[1])

    def cubed(x, w):
        """What has third derivatives even where the layer is linear."""
        return (function(x, w) ** 3).sum()

    assert autograd.gradgradcheck(cubed, inputs)

    def twice(x, w):
        """A second derivative: of the slope along x, by w."""
        (slope,) = autograd.grad(cubed(x, w), x, create_graph=True)
        return (autograd.grad((slope * first).sum(), w, create_graph=True)[0] * second).sum()

    assert autograd.gradcheck(twice, inputs, atol=1e-4, rtol=1e-3)
