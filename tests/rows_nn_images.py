"""Rows for what resizes images, cuts them into patches and pools them in less common ways."""

from __future__ import annotations

import itertools
import math

import numpy as np
from rows_core import FLOATS, NUMBERS, index, ones
from rows_nn_pooling import _all, mean

import lampion as lp
from lampion.errors import DTypeError, OptionError, ShapeError
from lampion.nn import functional as F
from lampion.testing import Bad, Row, call


def adaptive_max(count):
    def reference(x, output_size):
        sizes = [
            n if m is None else m for m, n in zip(_all(output_size, count), x.shape[-count:], strict=True)
        ]
        out = np.zeros((*x.shape[:-count], *sizes), x.dtype)
        for place in itertools.product(*map(range, sizes)):
            axes = zip(place, sizes, x.shape[-count:], strict=True)
            seen = tuple(slice(i * n // m, -(-(i + 1) * n // m)) for i, m, n in axes)
            out[(..., *place)] = x[(..., *seen)].max(tuple(range(-count, 0)))
        return out

    return reference


def norms(count):
    def reference(x, p, taps, stride=None, ceil_mode=False):
        total = mean(count)(x**p, taps, stride, 0, 1, ceil_mode) * math.prod(_all(taps, count))
        return (total ** (1 / p)).astype(x.dtype)

    return reference


def put_back(x, indices, taps, stride=None, padding=0, output_size=None):
    """Of the row's one way to call it."""
    out = np.zeros((*x.shape[:-1], output_size[0]), x.dtype)
    np.put_along_axis(out, indices, x, -1)
    return out


def put_back_images(x, indices, taps):
    height, width = (2 * n for n in x.shape[-2:])
    out = np.zeros((*x.shape[:-2], height * width), x.dtype)
    np.put_along_axis(out, indices.reshape(*x.shape[:-2], -1), x.reshape(*x.shape[:-2], -1), -1)
    return out.reshape(*x.shape[:-2], height, width)


def put_back_volumes(x, indices, taps):
    out = np.zeros((*x.shape[:-3], 8 * math.prod(x.shape[-3:])), x.dtype)
    np.put_along_axis(out, indices.reshape(*x.shape[:-3], -1), x.reshape(*x.shape[:-3], -1), -1)
    return out.reshape(*x.shape[:-3], *(2 * n for n in x.shape[-3:]))


def patches(x, taps, dilation=1, padding=0, stride=1):
    k, d, p, s = (_all(value, 2) for value in (taps, dilation, padding, stride))
    x = np.pad(x, [(0, 0)] * (x.ndim - 2) + [(n, n) for n in p])
    counts = [(n - d * (k - 1) - 1) // s + 1 for n, d, k, s in zip(x.shape[-2:], d, k, s, strict=True)]
    columns = []
    for i, j in itertools.product(*map(range, counts)):
        rows = slice(i * s[0], i * s[0] + d[0] * (k[0] - 1) + 1, d[0])
        seen = x[..., rows, j * s[1] : j * s[1] + d[1] * (k[1] - 1) + 1 : d[1]]
        columns.append(seen.reshape(*x.shape[:-3], -1))
    return np.stack(columns, -1)


def added(x, size, taps, dilation=1, padding=0, stride=1):
    """The transpose of `patches`, which is linear: its matrix from what it does to one place at a time."""
    size, channels = _all(size, 2), x.shape[-2] // math.prod(_all(taps, 2))
    basis = np.eye(channels * math.prod(size)).reshape(-1, channels, *size)
    matrix = patches(basis, taps, dilation, padding, stride).reshape(len(basis), -1)
    flat = x.reshape(*x.shape[:-2], -1)
    return (flat @ matrix.T.astype(x.dtype)).reshape(*x.shape[:-2], channels, *size)


def cubic(t, a=-0.75):
    t = abs(t)
    near, far = (a + 2) * t**3 - (a + 3) * t**2 + 1, a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a
    return near if t <= 1 else far if t < 2 else 0.0


CURVES = {"linear": lambda t: max(0.0, 1 - abs(t)), "bilinear": lambda t: max(0.0, 1 - abs(t)),
          "trilinear": lambda t: max(0.0, 1 - abs(t)), "bicubic": cubic}  # fmt: skip


def weights(n, m, mode, corners, factor):
    """How much each of n places counts for each of m."""
    matrix = np.zeros((m, n))
    ratio = (n - 1) / max(m - 1, 1) if corners else 1 / factor if factor else n / m
    for i in range(m):
        if mode == "area":
            start, stop = i * n // m, -(-(i + 1) * n // m)
            matrix[i, start:stop] = 1 / (stop - start)
        elif mode.startswith("nearest"):
            matrix[i, min(int((i + 0.5 * (mode == "nearest-exact")) * ratio), n - 1)] = 1
        else:
            at = i * ratio if corners else (i + 0.5) * ratio - 0.5
            for j in range(math.floor(at) - 1, math.floor(at) + 3):
                matrix[i, min(max(j, 0), n - 1)] += CURVES[mode](at - j)
    return matrix


def resized(x, size=None, scale_factor=None, mode="nearest", align_corners=None):
    count, dtype = x.ndim - 2, x.dtype
    factors = (scale_factor,) * count
    x = x.astype(np.float64)
    for axis, factor in enumerate(factors, 2):
        n = x.shape[axis]
        m = int(n * factor) if factor else _all(size, count)[axis - 2]
        matrix = weights(n, m, mode, align_corners, factor)
        x = np.moveaxis(np.moveaxis(x, axis, -1) @ matrix.T, -1, axis)
    return x.astype(dtype)


def looked_at(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False):
    """Each place of the grid by itself; of images."""
    sizes = x.shape[2:]
    out = np.zeros((*x.shape[:2], *grid.shape[1:-1]), np.float64)
    for place in np.ndindex(grid.shape[:-1]):
        at = [
            (u + 1) / 2 * (n - 1) if align_corners else ((u + 1) * n - 1) / 2
            for u, n in zip(grid[place].astype(np.float64)[::-1], sizes, strict=True)
        ]
        if padding_mode == "border":
            at = [min(max(u, 0), n - 1) for u, n in zip(at, sizes, strict=True)]
        if mode == "nearest":
            at = [round(u) for u in at]
        curve = cubic if mode == "bicubic" else CURVES["linear"]
        for near in itertools.product(*(range(math.floor(u) - 1, math.floor(u) + 3) for u in at)):
            share = math.prod(curve(u - j) for u, j in zip(at, near, strict=True))
            if all(0 <= j < n for j, n in zip(near, sizes, strict=True)):
                out[(place[0], slice(None), *place[1:])] += share * x[(place[0], slice(None), *near)]
    return out.astype(x.dtype)


def grids(theta, size, align_corners=False):
    sides = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in size[2:]]
    sides = [side if align_corners else side * (len(side) - 1) / len(side) for side in sides]
    points = np.stack([*np.meshgrid(*sides, indexing="ij")[::-1], np.ones(size[2:])], -1)
    return np.einsum("...j,nij->n...i", points, theta.astype(np.float64)).astype(theta.dtype)


def within(d, *shape):
    """A grid, half of whose places are outside; all away from where the function has a corner."""
    steps = np.arange(math.prod(shape)).reshape(shape) * 0.37 % 2.6 - 1.29
    return steps.astype(d.dtype.numpy if d.dtype.is_floating_point else np.float32)


POSITIVE = (0.5, 2.0)
FLAT = Bad(ShapeError, ones(4), 2, match="another number of dimensions")
IMAGE = ones(1, 1, 4, 4)

ROWS = [
    *(Row(f"F.adaptive_max_pool{n}d", getattr(F, f"adaptive_max_pool{n}d"), adaptive_max(n), dtypes=NUMBERS,
          samples=samples, errors=[FLAT, Bad(OptionError, ones(1, *(3,) * n), -1, match="output_size")])
      for n, samples in (
          (1, lambda d: [call(d(2, 3, 7), 3), call(d(2, 6), 2)]),
          (2, lambda d: [call(d(2, 3, 4, 6), 1), call(d(2, 5, 4), (2, 3)), call(d(2, 5, 4), (None, 2))]),
          (3, lambda d: [call(d(1, 2, 3, 4, 3), 2)]))),
    # A sum, its root: and the power of the numbers before.
    *(Row(f"F.lp_pool{n}d", getattr(F, f"lp_pool{n}d"), norms(n), dtypes=FLOATS, ulps=64, domain=POSITIVE,
          samples=samples,
          errors=[Bad(ShapeError, ones(4), 2.0, 2, match="another number of dimensions"),
                  Bad(OptionError, ones(1, *(3,) * n), 0, 2, match="power of the norm")])
      for n, samples in (
          (1, lambda d: [call(d(2, 3, 7), 2.0, 2), call(d(2, 7), 3.0, 3, 2)]),
          (2, lambda d: [call(d(2, 3, 4, 6), 2.0, 2), call(d(2, 5, 4), 1.0, (3, 2), 1)]),
          (3, lambda d: [call(d(1, 2, 3, 4, 3), 2.0, 2, 1)]))),
    Row("F.max_unpool1d", F.max_unpool1d, put_back,
        samples=lambda d: [call(d(1, 2, 2), index([[1, 2], [0, 3]]), 2, None, 0, (5,))],
        errors=[Bad(ShapeError, ones(1, 2), index([0]), 2, match="an index for each number"),
                Bad(OptionError, ones(1, 1), index([0]), 2, None, 0, (9,), match="output_size")]),
    Row("F.max_unpool2d", F.max_unpool2d, put_back_images,
        samples=lambda d: [call(d(1, 1, 2), index([[1, 6]]), 2)],
        errors=[Bad(ShapeError, ones(2), index(0, 0), 2, match="another number of dimensions")]),
    Row("F.max_unpool3d", F.max_unpool3d, put_back_volumes,
        samples=lambda d: [call(d(1, 1, 1, 2), index([[[4, 3]]]), 2)],
        errors=[Bad(ShapeError, ones(2), index(0, 0), 2, match="another number of dimensions")]),
    Row("F.unfold", F.unfold, patches,
        samples=lambda d: [call(d(2, 3, 4, 5), 2), call(d(2, 5, 4), (3, 2), (1, 2), (1, 0), 2)],
        errors=[FLAT, Bad(ShapeError, IMAGE, 5, match="a patch is larger than the padded image")]),
    Row("F.fold", F.fold, added, dtypes=NUMBERS, ulps=32,
        samples=lambda d: [call(d(2, 12, 12), (4, 5), 2), call(d(6, 3), (5, 4), (3, 2), (1, 2), (1, 0), 2)],
        errors=[Bad(ShapeError, ones(4, 3), 4, 2, match="the columns do not fit the image")]),
    Row("F.interpolate: neighbours", F.interpolate, resized, dtypes=(lp.uint8, *FLOATS),
        samples=lambda d: [
            call(d(2, 3, 5), 8), call(d(1, 2, 4, 3), (2, 5)), call(d(1, 2, 4, 3), scale_factor=2.0),
            call(d(1, 1, 4, 5), (6, 3), mode="nearest-exact"),
        ],
        errors=[Bad(OptionError, IMAGE, 2, mode="cubic", match="the mode is not known"),
                Bad(OptionError, IMAGE, match="one of size and scale_factor"),
                Bad(OptionError, IMAGE, 2, None, "nearest", True, match="align_corners is for"),
                Bad(OptionError, IMAGE, 2, antialias=True, match="antialias is for two modes"),
                Bad(ShapeError, IMAGE, 2, mode="linear", match="is for other shapes"),
                Bad(ShapeError, IMAGE, (2, 2, 2), match="one size for each dimension"),
                Bad(ShapeError, IMAGE, scale_factor=0.1, match="nothing is left"),
                Bad(DTypeError, IMAGE.astype(np.int64), 2, match="the type is not one that images have"),
                Bad(DTypeError, IMAGE.astype(np.uint8), 2, mode="bilinear", match="x.round()")]),
    Row("F.interpolate: curves", F.interpolate, resized, dtypes=FLOATS, ulps=64,
        samples=lambda d: [
            call(d(1, 2, 5), 3, mode="linear"),
            call(d(1, 2, 4, 3), (7, 5), mode="bilinear", align_corners=True),
            call(d(1, 1, 2, 3, 2), scale_factor=1.7, mode="trilinear"),
            call(d(1, 1, 4, 5), (6, 3), mode="bicubic"), call(d(1, 1, 4, 5), (3, 2), mode="area"),
        ]),
    *(Row(f"F.{name}", getattr(F, name), resized, dtypes=(lp.uint8, *FLOATS),
          samples=lambda d: [call(d(1, 2, 3, 4), (5, 2))],
          errors=[Bad(OptionError, IMAGE, match="one of size and scale_factor")])
      for name in ("upsample", "upsample_nearest")),
    Row("F.upsample_bilinear", F.upsample_bilinear, lambda x, size: resized(x, size, None, "bilinear", True),
        dtypes=FLOATS, ulps=64, samples=lambda d: [call(d(1, 2, 3, 4), (5, 2))]),
    Row("F.affine_grid", F.affine_grid, grids, dtypes=FLOATS, ulps=64,
        samples=lambda d: [call(d(2, 2, 3), (2, 1, 3, 4)), call(d(1, 3, 4), (1, 1, 2, 3, 1), True)],
        errors=[Bad(ShapeError, ones(2, 3), (1, 1, 2, 2), match="theta has a matrix for each image"),
                Bad(ShapeError, ones(1, 2, 3), (1, 1, 0, 2), match="sizes are positive")]),
    # Weights made of differences of places.
    Row("F.grid_sample", F.grid_sample, looked_at, dtypes=FLOATS, ulps=256,
        samples=lambda d: [
            call(d(2, 2, 3, 4), within(d, 2, 2, 3, 2)),
            call(d(1, 2, 3, 4), within(d, 1, 2, 3, 2), "bilinear", "border", True),
            call(d(1, 2, 3, 4), within(d, 1, 2, 2, 2), "bicubic"),
            call(d(1, 1, 2, 3, 2), within(d, 1, 2, 1, 2, 3)),
        ],
        errors=[Bad(OptionError, IMAGE, ones(1, 2, 2, 2), "cubic", match="the mode is not known"),
                Bad(ShapeError, IMAGE, ones(1, 2, 2, 3), match="the grid does not fit the input"),
                Bad(DTypeError, IMAGE, ones(1, 2, 2, 2).astype(np.float64), match="floats of one type")]),
]  # fmt: skip
