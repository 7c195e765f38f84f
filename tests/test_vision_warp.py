"""RandomWarp, against places computed by hand; and that a compiled step warps as an eager one."""

import math

import numpy as np
import pytest

import lampion as lp
from lampion.errors import DTypeError, OptionError, ShapeError
from lampion.vision import RandomWarp


def blob(count=1, size=(29, 29), at=(14, 14)):
    """A smooth spot, whose middle can be found again."""
    y, x = np.mgrid[: size[0], : size[1]]
    spot = np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / 8).astype(np.float32)
    return lp.from_numpy(np.tile(spot, (count, 1, 1, 1)))


def middles(images):
    """(N, 2): the row and the column of each image's centre of mass."""
    pixels = images.numpy()[:, 0].astype(np.float64)
    y, x = np.mgrid[: pixels.shape[1], : pixels.shape[2]]
    mass = pixels.sum((1, 2))
    return np.stack([(pixels * y).sum((1, 2)) / mass, (pixels * x).sum((1, 2)) / mass], 1)


def test_nothing_is_changed_without_limits_or_in_evaluation():
    images = lp.rand(3, 2, 8, 9)
    np.testing.assert_allclose(RandomWarp()(images).numpy(), images.numpy(), atol=1e-5)  # read at the places
    assert RandomWarp(degrees=30, bend=0.2, flip=1.0).eval()(images) is images


def test_shifts_are_as_long_as_asked_for_and_each_image_has_its_own():
    lp.manual_seed(0)
    moved = middles(RandomWarp(translate=0.1)(blob(200))) - 14
    assert np.abs(moved).max() <= 0.1 * 29 + 1e-3 and np.abs(moved).max() > 0.09 * 29
    assert len(np.unique(moved.round(4), axis=0)) == 200
    assert abs(np.corrcoef(moved.T)[0, 1]) < 0.25  # drawn apart: 3.5 deviations of chance


@pytest.mark.parametrize("width", [29, 49])
def test_turns(width):
    lp.manual_seed(0)
    middle = (width - 1) / 2  # a spot right of the middle
    y, x = (middles(RandomWarp(degrees=30)(blob(200, (29, width), (14, middle + 6)))) - (14, middle)).T
    np.testing.assert_allclose(np.hypot(x, y), 6, atol=0.02)  # which goes around it
    angles = np.degrees(np.arctan2(y, x))
    assert 28 < angles.max() <= 30.2 and -30.2 <= angles.min() < -28


def test_stretches_and_slants():
    lp.manual_seed(0)
    y, x = (middles(RandomWarp(scale=0.2)(blob(100, at=(10, 18)))) - 14).T
    assert y.min() < -4 / 0.85 and y.max() > -4 / 1.15 and x.max() > 4 / 0.85  # read at 0.8 to 1.2 of the way
    assert np.abs(y).max() <= 4 / 0.8 + 0.05 and abs(np.corrcoef(x, y)[0, 1]) < 0.35
    y, x = (middles(RandomWarp(shear=0.2)(blob(100, at=(6, 14)))) - 14).T
    np.testing.assert_allclose(y, -8, atol=0.03)  # its outermost tail is cut off
    assert 1.45 < x.max() <= 1.62 and -1.62 <= x.min() < -1.45


def test_bends_and_mirrors():
    lp.manual_seed(0)
    moved = middles(RandomWarp(bend=0.05)(blob(400))) - 14
    # In the middle of 3 x 3 fields four knots count a quarter each: half their deviation, on 14.5 pixels.
    assert np.allclose(moved.std(0), 0.05 * 14.5 / 2, rtol=0.15)
    right = middles(RandomWarp(flip=0.3)(blob(400, at=(14, 20))))[:, 1]
    np.testing.assert_allclose(np.abs(right - 14), 6, atol=0.01)
    assert 0.2 < (right < 14).mean() < 0.4


def test_compiled_as_eager():
    warp = RandomWarp(degrees=20, translate=0.1, scale=0.1, shear=0.1, bend=0.05, flip=0.5)
    images = blob(4)
    found = []
    for function in (warp, lp.compile(lambda x: warp(x))):
        lp.manual_seed(3)
        found.append(function(images).numpy())
    np.testing.assert_allclose(*found, atol=2e-5)  # slopes of the spot times places a few ulp apart


def test_half_floats_stay_half():
    assert RandomWarp(degrees=10)(blob().half()).dtype is lp.float16


def test_empty_batches():
    empty = lp.zeros(0, 1, 10, 12)  # as the last batch of a filtered stream may be
    assert RandomWarp(degrees=10, bend=0.1, flip=0.5)(empty).shape == empty.shape


def test_what_is_wrong_is_said():
    with pytest.raises(ShapeError, match=r"(?s)not a batch of images.*\(N, C, H, W\).*unsqueeze"):
        RandomWarp()(lp.rand(1, 8, 8))
    with pytest.raises(DTypeError, match=r"(?s)expected floats.*uint8.*/ 255"):
        RandomWarp()(lp.zeros(1, 1, 8, 8, dtype=lp.uint8))
    for bad in ({"degrees": -1}, {"bend": math.inf}, {"translate": math.nan}):
        with pytest.raises(OptionError, match=f"(?s){next(iter(bad))} says how much at most"):
            RandomWarp(**bad)
    with pytest.raises(OptionError, match="scale below 1"):
        RandomWarp(scale=1)
    with pytest.raises(OptionError, match="flip is a probability"):
        RandomWarp(flip=1.5)
    assert "degrees=3" in repr(RandomWarp(degrees=3))
