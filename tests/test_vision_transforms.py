"""What images go through: the same for tensors and for Pillow images, and drawn by Lampion's generator."""

import numpy as np
import pytest

import lampion as lp
from lampion.errors import DTypeError, OptionError, ShapeError
from lampion.vision import transforms as T

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (7, 9, 3), np.uint8)  # (H, W, C)


def image_of(pixels):
    return pytest.importorskip("PIL.Image").fromarray(pixels)


def as_tensor(pixels):
    return lp.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, 0)))


def both(transform, pixels=PIXELS):
    """The results for a byte tensor and for a Pillow image, with the same draws, as arrays (H, W, C)."""
    lp.manual_seed(3)
    ours = np.moveaxis(transform(as_tensor(pixels)).numpy(), 0, -1)
    lp.manual_seed(3)
    theirs = np.asarray(transform(image_of(pixels)))
    return ours, theirs


def test_to_tensor():
    x = T.ToTensor()(PIXELS)
    assert x.dtype is lp.float32 and x.shape == (3, 7, 9)
    np.testing.assert_array_equal(x.numpy(), (np.moveaxis(PIXELS, -1, 0) / np.float32(255)))
    np.testing.assert_array_equal(T.ToTensor()(image_of(PIXELS)).numpy(), x.numpy())
    assert T.ToTensor()(image_of(PIXELS[..., 0])).shape == (1, 7, 9)
    black = T.ToTensor()(PIXELS[..., 0] > 99)
    assert black.dtype is lp.float32 and set(black.unique().tolist()) == {0.0, 1.0}
    floats = PIXELS[..., 0].astype(np.float64)
    np.testing.assert_array_equal(T.ToTensor()(floats).numpy(), floats[None])
    with pytest.raises(DTypeError, match="there is no image"):
        T.ToTensor()([1, 2])
    with pytest.raises(ShapeError, match="two or three dimensions"):
        T.ToTensor()(np.zeros(3))


def test_normalize():
    x = lp.rand(2, 3, 4, 5)
    out = T.Normalize([0.1, 0.2, 0.3], [1.0, 2.0, 4.0])(x)
    expected = (x.numpy() - np.float32([0.1, 0.2, 0.3])[:, None, None]) / np.float32([1, 2, 4])[:, None, None]
    np.testing.assert_array_equal(out.numpy(), expected)
    T.Normalize([0.1, 0.2, 0.3], [1.0, 2.0, 4.0], inplace=True)(x)
    np.testing.assert_array_equal(x.numpy(), expected)
    with pytest.raises(ShapeError, match="for each channel"):
        T.Normalize([0.0] * 2, [1.0] * 2)(x)
    with pytest.raises(OptionError, match="divided by"):
        T.Normalize([0.0], [0.0])
    with pytest.raises(DTypeError, match="expected floats"):
        T.Normalize([0.0], [1.0])(as_tensor(PIXELS))


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(4, 5), (12, 6), 3])
def test_resize_does_what_pillow_does(size, mode):
    ours, theirs = both(T.Resize(size, mode))
    # Pillow rounds to bytes after each dimension: half a byte there, times weights that add up to less
    # than 2, and half a byte at the end.
    assert np.abs(ours.astype(int) - theirs.astype(int)).max() <= 2
    assert np.abs(ours.astype(int) - theirs.astype(int)).mean() < 0.5
    assert ours.shape == theirs.shape


def test_resize():
    x = lp.rand(2, 3, 7, 9)
    assert T.Resize(14)(x).shape == (2, 3, 14, 18)
    assert T.Resize(14)(x.transpose(-1, -2)).shape == (2, 3, 18, 14)
    assert T.Resize((7, 9))(x) is x
    assert T.Resize(2, max_size=3)(lp.rand(1, 2, 1000)).shape == (1, 1, 3)  # no side becomes 0
    assert T.Resize(3, "nearest")(as_tensor(PIXELS)).dtype is lp.uint8
    with pytest.raises(OptionError, match="interpolation is not known"):
        T.Resize(3, "cubic")
    with pytest.raises(OptionError, match="a height and a width"):
        T.Resize((3, 4, 5))
    with pytest.raises(ShapeError, match=r"the array is no image(.|\n)*lampion.from_numpy"):
        T.Resize(3)(np.moveaxis(PIXELS, -1, 0))
    with pytest.raises(DTypeError, match="there is no image"):
        T.Resize(3)("cat.png")


@pytest.mark.parametrize("size", [3, (4, 6), (5, 12), 10])
def test_center_crop(size):
    ours, theirs = both(T.CenterCrop(size))
    np.testing.assert_array_equal(ours, theirs)
    if size == 3:
        np.testing.assert_array_equal(ours, PIXELS[2:5, 3:6])


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_random_crop(mode):
    np.testing.assert_array_equal(*both(T.RandomCrop((6, 5), (1, 2), fill=0, padding_mode=mode)))
    np.testing.assert_array_equal(*both(T.RandomCrop(10, pad_if_needed=True, padding_mode=mode)))
    places = {tuple(T.RandomCrop((7, 8))(as_tensor(PIXELS))[0, 0, :2].tolist()) for _ in range(40)}
    assert places == {tuple(PIXELS[0, i : i + 2, 0].tolist()) for i in (0, 1)}
    with pytest.raises(ShapeError, match="smaller than the part"):
        T.RandomCrop(8)(as_tensor(PIXELS))


def test_flatten():
    """One row, the same for every kind of image: channel after channel."""
    x = as_tensor(PIXELS)
    row = np.moveaxis(PIXELS, -1, 0).reshape(-1)
    array = T.Flatten()(PIXELS)
    assert isinstance(array, np.ndarray)
    for out in (T.Flatten()(x), array, T.Flatten()(image_of(PIXELS))):
        np.testing.assert_array_equal(np.asarray(out), row)
    np.testing.assert_array_equal(T.Flatten()(PIXELS[..., 0]), PIXELS[..., 0].reshape(-1))
    batch = T.Flatten()(lp.stack([x, x + 1]))
    assert batch.shape == (2, 189) and batch.dtype is lp.uint8
    np.testing.assert_array_equal(batch[1].numpy(), (x + 1).numpy().reshape(-1))
    floats = lp.rand(1, 2, 3, requires_grad=True)
    T.Flatten()(floats).sum().backward()
    assert floats.grad.shape == (1, 2, 3) and repr(T.Flatten()) == "Flatten()"
    assert T.Compose([T.ToTensor(), T.Flatten()])(PIXELS).shape == (189,)
    with pytest.raises(DTypeError, match="Flatten: there is no image"):
        T.Flatten()([1, 2])
    with pytest.raises(ShapeError, match=r"Flatten: there is no image(.|\n)*got: \(4,\)"):
        T.Flatten()(lp.zeros(4))


@pytest.mark.parametrize("kind", [T.Compose, T.RandomApply, T.RandomOrder, T.RandomChoice])
def test_transforms_stand_in_a_list(kind):
    name = kind.__name__
    with pytest.raises(
        DTypeError, match=rf"(?s){name}: .* in a list.*try: {name}\(\[CenterCrop\(size=\(3, 3"
    ):
        kind(T.CenterCrop(3))
    with pytest.raises(DTypeError, match=rf"(?s)in a list.*try: {name}\(\[Resize\(...\)\]\)"):
        kind(T.Resize(3))
    with pytest.raises(DTypeError, match=rf"(?s){name}: .* in a list.*got: function\(...\)"):
        kind(lambda x: x)
    with pytest.raises(DTypeError, match=rf"(?s)in a list.*got: 3.*try: {name}\(\[Resize"):
        kind(3)
    with pytest.raises(DTypeError, match=r"(?s)transform 1 is no function.*functions of an image.*got: 5"):
        kind([T.CenterCrop(3), 5])
    x = as_tensor(PIXELS)
    for some in ((T.CenterCrop(3),), iter([T.CenterCrop(3)]), lp.nn.ModuleList([T.CenterCrop(3)])):
        transform = kind(some)
        lp.manual_seed(0)
        assert [transform(x).shape for _ in range(3)].count((3, 3, 3)) >= (1 if kind is T.RandomApply else 3)


def test_flips():
    np.testing.assert_array_equal(*both(T.RandomHorizontalFlip(1.0)))
    np.testing.assert_array_equal(both(T.RandomHorizontalFlip(1.0))[0], PIXELS[:, ::-1])
    lp.manual_seed(0)
    x = as_tensor(PIXELS)
    flipped = sum(T.RandomHorizontalFlip(0.25)(x) is not x for _ in range(400))
    assert 60 < flipped < 140  # 100, and more than four standard deviations
    with pytest.raises(OptionError, match="probability"):
        T.RandomHorizontalFlip(2)


def test_erasing():
    lp.manual_seed(0)
    x, shares = lp.ones(3, 20, 30), []
    for _ in range(50):
        out = T.RandomErasing(1.0, value=(2.0, 3.0, 4.0))(x).numpy()
        rows, columns = np.nonzero(out[0] == 2)
        block = out[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert (block == np.float32([2, 3, 4])[:, None, None]).all()
        assert (out == 1).sum() + block.size == out.size
        shares.append(len(rows) / 600)
    assert min(shares) > 0.01 and max(shares) < 0.36 and max(shares) - min(shares) > 0.15
    assert bool((x == 1).all()) and T.RandomErasing(0.0)(x) is x
    assert T.RandomErasing(1.0, value="random", inplace=True)(x) is x and not bool((x == 1).all())
    with pytest.raises(DTypeError, match="expected a tensor"):
        T.RandomErasing()(PIXELS)


def test_the_same_seed_the_same_images():
    transform = T.Compose(
        [T.RandomCrop(5, 2), T.RandomHorizontalFlip(), lambda x: x / 255, T.RandomErasing(value="random")]
    )

    def drawn():
        lp.manual_seed(11)
        return np.stack([transform(as_tensor(PIXELS)).numpy() for _ in range(8)])

    first = drawn()
    np.testing.assert_array_equal(first, drawn())
    assert len({image.tobytes() for image in first}) > 4
    assert repr(T.Compose([T.CenterCrop(2)])) == "Compose(\n    CenterCrop(size=(2, 2))\n)"
