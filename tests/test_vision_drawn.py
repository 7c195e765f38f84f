"""Transforms that draw: every kind of image gets the same, what is drawn lies where it should, errors."""

import copy
import pickle

import numpy as np
import pytest

import lampion as lp
from lampion.errors import DTypeError, LampionError, OptionError, ShapeError
from lampion.vision import transforms as T

RNG = np.random.default_rng(0)
#: Smooth, so that colours of bytes, and places between places, differ little by how they are rounded.
ROWS, COLUMNS = np.mgrid[0:24, 0:28]
PIXELS = np.stack([120 + 60 * np.sin(ROWS / 5), 90 + 3 * COLUMNS, 40 + ROWS + COLUMNS], -1).astype(np.uint8)


def kinds():
    """The image as a tensor, an array and a Pillow image, and back from each to an array (H, W, C)."""
    image = pytest.importorskip("PIL.Image")
    tensor = lp.from_numpy(np.ascontiguousarray(np.moveaxis(PIXELS, -1, 0)))
    return {
        "tensor": (tensor, lambda x: np.moveaxis(x.numpy(), 0, -1)),
        "array": (PIXELS, lambda x: x),
        "Pillow": (image.fromarray(PIXELS), np.asarray),
    }


#: By how much Pillow may differ, which computes in its own way: 0 where nothing is computed.
DRAWN = {
    "RandomCrop": (T.RandomCrop((20, 30), 4, padding_mode="reflect"), 0),
    "RandomCrop filled": (T.RandomCrop(26, (2, 3), pad_if_needed=True, fill=(1, 2, 3)), 0),
    "RandomHorizontalFlip": (T.RandomHorizontalFlip(), 0),
    "RandomVerticalFlip": (T.RandomVerticalFlip(), 0),
    "RandomResizedCrop": (T.RandomResizedCrop(16), 2),
    "RandomRotation": (T.RandomRotation(40, "bilinear"), 12),  # at its edge
    "RandomRotation expanded": (T.RandomRotation((25, 35), expand=True), 4),
    "RandomAffine": (T.RandomAffine(20, (0.2, 0.1), (0.8, 1.3), (-5, 5, -5, 5), fill=9), 12),
    "ColorJitter": (T.ColorJitter(0.4, 0.4, 0.4), 4),
    "ColorJitter hue": (T.ColorJitter(hue=0.4), 12),  # of which Pillow keeps 8 bits
    "RandomGrayscale": (T.RandomGrayscale(0.5), 1),
    "RandomApply": (T.RandomApply([T.Pad((1, 2, 3, 4), 7), T.CenterCrop(20)]), 0),
    "RandomOrder": (T.RandomOrder([T.Pad(1), T.CenterCrop(20), T.RandomHorizontalFlip()]), 0),
    "RandomChoice": (T.RandomChoice([T.Pad(1), T.CenterCrop(20)], p=[1, 3]), 0),
    "Resize": (T.Resize(12, max_size=13), 2),
    "Grayscale": (T.Grayscale(3), 1),
}


@pytest.mark.parametrize("name", DRAWN)
def test_every_kind_of_image_gets_the_same(name):
    transform, tolerance = DRAWN[name]
    results = {}
    for kind, (image, back) in kinds().items():
        lp.manual_seed(4)
        results[kind] = [back(transform(image)) for _ in range(6)]
    for ours, same, theirs in zip(*results.values(), strict=True):
        assert ours.dtype == np.uint8
        np.testing.assert_array_equal(ours, same)
        assert ours.shape == theirs.shape
        # Places that are as near to two others, and those at the edge of a turned image, may be any.
        difference = np.abs(ours.astype(int) - theirs.astype(int))
        assert (difference > tolerance).mean() < (0.08 if tolerance > 2 else 1e-9), difference.max()
    assert name in ("Resize", "Grayscale") or len({x.tobytes() for x in results["tensor"]}) > 1


def test_what_is_filled_in_meets_the_image():
    x = lp.full((1, 3, 9, 9), 0.25)
    out = T.functional.rotate(x, 30, "bilinear", fill=0.25)
    np.testing.assert_allclose(out.numpy(), 0.25, rtol=1e-6)
    out = T.functional.affine(x, 30, (2, 1), 0.5, 10, fill=(0.25, 0.5, 0.75))
    assert out[0, :, 0, 0].tolist() == [0.25, 0.5, 0.75] and float(out[0, 2, 4, 4]) == 0.25


def test_where_an_affine_map_puts_things():
    """One bright place, 1 to the right of the middle and 3 above it."""
    x = lp.zeros(1, 11, 13)
    x[0, 2, 7] = 1.0

    def place(*args):
        found = T.functional.affine(x, *args)
        lit = np.argwhere(found[0].numpy() > 0)
        return tuple(lit.mean(0).tolist()), len(lit)

    assert place(0, (0, 0), 1.0, 0) == ((2, 7), 1)
    assert place(0, (4, 1), 1.0, 0) == ((3, 11), 1)  # to the right, and down
    assert place(90, (0, 0), 1.0, 0) == ((6, 9), 1)  # clockwise
    assert place(90, (1, 2), 1.0, 0) == ((8, 10), 1)  # turned first, shifted then
    (row, column), count = place(0, (0, 0), 1.5, 0)
    assert abs(row - 0.5) <= 0.5 and abs(column - 7.5) <= 0.5 and count in (1, 2, 4)
    assert place(0, (0, 0), 1.0, 45) == ((2, 10), 1)  # what is above leans to the right
    assert place(0, (0, 0), 1.0, (0, 45)) == ((1, 7), 1)  # what is to the right rises
    assert place(90, (0, 0), 1.0, 0, "nearest", 0, (7.5, 5.5)) == ((5, 10), 1)  # around (7, 5)


def test_turns_by_right_angles_are_exact():
    x = lp.arange(32.0).view(2, 4, 4)
    for quarter in range(4):
        expected = np.rot90(x.numpy(), quarter, (1, 2))
        for mode in ("nearest", "bilinear"):
            out = T.functional.rotate(x, 90 * quarter, mode)
            np.testing.assert_allclose(out.numpy(), expected, rtol=1e-5, atol=1e-5)
    assert T.functional.rotate(x[:, :2], 90, expand=True).shape == (2, 4, 2)


def test_gradients_pass_through():
    x = lp.rand(1, 3, 6, 7, dtype=lp.float64).requires_grad_()
    F = T.functional
    for function in (
        lambda x: F.rotate(x, 20, "bilinear"),
        lambda x: F.affine(x, 10, (1, 2), 1.2, 3, "bilinear"),
        lambda x: F.resize(x, (4, 9)),
        lambda x: F.pad(F.crop(x, -1, 2, 5, 9), 2, padding_mode="reflect"),
        lambda x: F.adjust_contrast(F.adjust_saturation(x, 0.7), 0.8),
    ):
        assert lp.autograd.gradcheck(function, (x,))


def test_parts_of_images_lie_where_they_should():
    lp.manual_seed(0)
    areas, forms = [], []
    transform = T.RandomResizedCrop(8, scale=(0.2, 0.5), ratio=(0.5, 2.0))
    for _ in range(200):
        top, left, height, width = transform._part(40, 60)
        assert 0 <= top <= 40 - height and 0 <= left <= 60 - width
        areas.append(height * width / 2400)
        forms.append(width / height)
    assert 0.19 < min(areas) < 0.25 and 0.45 < max(areas) < 0.52
    assert 0.45 < min(forms) < 0.7 and 1.4 < max(forms) < 2.2
    assert abs(np.mean(np.log(forms))) < 0.15  # half as probable as double
    _, _, height, width = T.RandomResizedCrop(8, (0.2, 0.3), (1.8, 2.0))._part(60, 60)
    assert 1.7 < width / height < 2.1  # widths in heights, not the other way round
    # Nothing fits: the largest part in the middle.
    assert T.RandomResizedCrop(8, (5, 6))._part(40, 60) == (0, 3, 40, 53)
    assert T.RandomResizedCrop(8, (5, 6))._part(60, 40) == (3, 0, 53, 40)
    assert T.RandomResizedCrop(8, (5, 6), (5, 6))._part(1, 1) == (0, 0, 1, 1)  # no part has no height


def test_shares_of_choices():
    lp.manual_seed(0)
    choice = T.RandomChoice(
        [T.Lambda(lambda x: 0), T.Lambda(lambda x: 1), T.Lambda(lambda x: 2)], p=[1, 0, 3]
    )
    counts = np.bincount([choice(None) for _ in range(400)], minlength=3)
    assert counts[1] == 0 and abs(counts[0] - 100) < 36  # four standard deviations


def test_every_order_occurs():
    lp.manual_seed(0)
    words = T.RandomOrder([lambda text: text + "a", lambda text: text + "b", lambda text: text + "c"])
    assert {words("") for _ in range(60)} == {"abc", "acb", "bac", "bca", "cab", "cba"}
    x = lp.rand(1, 4, 4)
    jitter = T.ColorJitter(
        brightness=(0.5, 0.5), contrast=(3, 3)
    )  # of which the order decides what is cut off
    assert len({jitter(x).numpy().tobytes() for _ in range(20)}) == 2


def test_mixed_batches():
    lp.manual_seed(1)
    images, labels = lp.rand(6, 3, 16, 16), lp.tensor([0, 1, 2, 3, 0, 1])
    for kind in (T.MixUp, T.CutMix):
        shares = []
        for _ in range(20):
            out, mixed = kind(num_classes=4)(images, labels)
            assert out.shape == images.shape and mixed.shape == (6, 4)
            np.testing.assert_allclose(mixed.sum(1).numpy(), 1, rtol=1e-6)
            share = float(mixed[1, 1])
            assert float(mixed[1, 0]) == pytest.approx(1 - share, abs=1e-6)  # of the one before it
            shares.append(share)
        assert min(shares) < 0.5 and max(shares) > 0.7
        rounds = kind(num_classes=4)(images, lp.nn.functional.one_hot(labels, 4).float())
        assert rounds[1].shape == (6, 4)
    with pytest.raises(OptionError, match=r"how many classes there are(.|\n)*num_classes=..."):
        T.MixUp()(images, labels)
    with pytest.raises(DTypeError, match="use it on batches"):
        T.CutMix(num_classes=4)(PIXELS, 3)
    with pytest.raises(ShapeError, match=r"expected: \(N, C, H, W\)"):
        T.CutMix(num_classes=4)(images[0], labels)
    with pytest.raises(ShapeError, match="another number of classes"):
        T.CutMix(num_classes=5)(images, lp.zeros(6, 4))
    with pytest.raises(DTypeError, match=r"expected floats(.|\n)*ToTensor"):
        T.MixUp(num_classes=4)((images * 255).to(lp.uint8), labels)


def test_numbers_of_numpy_are_numbers():
    F, half, x = T.functional, np.float32(0.5), lp.rand(3, 9, 9)
    for one, other in (
        (F.pad(x, 1, half), F.pad(x, 1, 0.5)),
        (F.rotate(x, 20, fill=half), F.rotate(x, 20, fill=0.5)),
        (F.rotate(x, 20, fill=np.array([0.5, 1, 2])), F.rotate(x, 20, fill=(0.5, 1, 2))),
        (F.pad(x, 1, lp.tensor([0.5, 1, 2])), F.pad(x, 1, (0.5, 1, 2))),
        (F.affine(x, 0, (0, 0), 1.0, np.float32(30)), F.affine(x, 0, (0, 0), 1.0, 30)),
    ):
        np.testing.assert_array_equal(one, other)
    assert T.RandomRotation(np.float32(5)).degrees == (-5, 5)
    assert T.RandomAffine(0, shear=np.int64(5)).shear == (-5, 5)
    assert T.ColorJitter(half).brightness == (0.5, 1.5)
    assert bool((T.RandomErasing(1.0, value=half)(x + 1) == 0.5).any())
    picture = np.asarray(F.pad(image_of_pixels(), 1, np.uint8(7)))
    assert (picture[0] == 7).all()


def image_of_pixels(mode="RGB"):
    return pytest.importorskip("PIL.Image").fromarray(PIXELS).convert(mode)


def rgba():
    return image_of_pixels("RGBA")


#: What is wrong, and the words that say so.
WRONG = {
    "size": (lambda: T.RandomResizedCrop((1, 2, 3)), OptionError, "a height and a width"),
    "scale": (lambda: T.RandomResizedCrop(8, scale=(1, 0.1)), OptionError, "scale is a range"),
    "p": (lambda: T.RandomVerticalFlip(1.5), OptionError, "p is a probability"),
    "shares": (lambda: T.RandomChoice([len], p=[1, 2]), OptionError, "a share for each"),
    "half a pixel": (lambda: T.CenterCrop(2.5), OptionError, "a height and a width"),
    "half a size": (lambda: T.Resize(2.5), OptionError, "a height and a width"),
    "see-through": (lambda: T.functional.adjust_hue(rgba(), 0.1), ShapeError, "got: mode RGBA.*\\n.*convert"),
    "degrees": (lambda: T.RandomRotation(-3), OptionError, "degrees is a range"),
    "shear": (lambda: T.RandomAffine(3, shear=(1, 2, 3)), OptionError, "one number, two or four"),
    "translate": (lambda: T.RandomAffine(3, translate=(0.1, 2)), OptionError, "from 0 to 1"),
    "hue": (lambda: T.ColorJitter(hue=0.6), OptionError, "hue is a range.*\n.*within -0.5 and 0.5"),
    "brightness": (lambda: T.ColorJitter(brightness=-1), OptionError, "brightness is a range"),
    "mode": (lambda: T.RandomCrop(3, padding_mode="mirror"), OptionError, "padding mode is not known"),
    "padding": (lambda: T.Pad((1, 2, 3)), OptionError, "1, 2 or 4 integers"),
    "too much": (lambda: T.Pad(30, padding_mode="reflect")(PIXELS), ShapeError, "as wide as the image"),
    "nothing left": (lambda: T.Pad(-20)(PIXELS), ShapeError, "nothing is left"),
    "colours": (lambda: T.Pad(1, fill=(1, 2))(PIXELS), ShapeError, "fill has another number of channels"),
    "no height": (lambda: T.functional.crop(lp.rand(3, 5, 5), 0, 0, 0, 5), OptionError, "crop: a size"),
    "backwards": (lambda: T.functional.crop(lp.rand(3, 5, 5), 2, 2, -1, 5), OptionError, r"got: \(-1, 5\)"),
    "picture cut": (lambda: T.functional.crop(rgba(), 2, 2, 3, -2), OptionError, "crop: a size"),
    "colour": (lambda: T.functional.pad(image_of_pixels(), 1, "red"), OptionError, "fill is no number"),
    "no colour": (lambda: T.functional.rotate(lp.rand(3, 5, 5), 9, fill=[None]), OptionError, "fill is no"),
    "channels": (lambda: T.ColorJitter(0.1)(lp.rand(4, 5, 5)), ShapeError, "expected: 1 or 3"),
    "order": (lambda: T.CenterCrop(3)(np.moveaxis(PIXELS, -1, 0)), ShapeError, "the order of tensors"),
    "no image": (lambda: T.RandomRotation(3)([1, 2]), DTypeError, "there is no image"),
    "flat": (lambda: T.RandomCrop(3)(lp.rand(5, 5)), ShapeError, r"expected: \(..., C, H, W\)"),
    "empty": (lambda: T.Resize(3)(lp.rand(3, 0, 5)), ShapeError, "not empty"),
    "interpolation": (lambda: T.RandomRotation(3, "lanczos")(lp.rand(1, 5, 5)), OptionError, "nearest, bi"),
    "erased": (lambda: T.RandomErasing(1.0, value=(1, 2))(lp.rand(3, 9, 9)), ShapeError, "value has another"),
    "normal bytes": (
        lambda: T.RandomErasing(0.0, value="random")(lp.ones(3, 9, 9, dtype=lp.uint8)), DTypeError,
        r"(?s)RandomErasing: value=.random. writes normal.*uint8.*ConvertImageDtype\(\)",
    ),
    "half a circle": (lambda: T.functional.adjust_hue(lp.rand(1, 5, 5), 2), OptionError, "from -0.5 to 0.5"),
    "no function": (lambda: T.Lambda(3), DTypeError, "expected a function"),
    "grey": (lambda: T.Grayscale(2), OptionError, "1 or 3"),
    "max_size": (lambda: T.Resize(8, max_size=8), OptionError, "max_size is larger"),
    "picture": (lambda: T.ToPILImage()(lp.rand(2, 3, 5, 5)), ShapeError, "one image of the batch at a time"),
    "too bright": (lambda: T.ToPILImage()(lp.rand(3, 5, 5) + 1), OptionError, "0, black, and 1, white"),
    "no number": (lambda: T.ToPILImage()(lp.full((1, 2, 2), float("nan"))), OptionError, "got: nan to nan"),
    "longs": (lambda: T.ToPILImage()(lp.ones(3, 5, 5).long()), DTypeError, "no image of this kind"),
    "picture mode": (lambda: T.ToPILImage("RGB")(lp.rand(1, 5, 5)), OptionError, "mode='RGB' is not for 1"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(name):
    attempt, kind, words = WRONG[name]
    pytest.importorskip("PIL.Image")
    with pytest.raises(kind, match=words) as caught:
        attempt()
    assert isinstance(caught.value, LampionError) and "\n" in str(caught.value)


#: Functions of colours, and Pillow's modes that they would get wrong, or would say nothing of.
MODES = {
    "adjust_brightness": ("1", "P", "I", "F", "I;16"), "adjust_contrast": ("1", "P", "I", "F", "I;16"),
    "adjust_saturation": ("1", "P", "I", "F", "I;16"), "adjust_hue": ("P", "LAB"),
    "adjust_gamma": ("I", "F", "I;16", "LAB"), "invert": ("I", "F", "I;16", "HSV"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "mode"), [(name, mode) for name in MODES for mode in MODES[name]])
def test_modes_of_pictures(name, mode):
    if mode == "LAB":
        picture = pytest.importorskip("PIL.Image").new(mode, (3, 3))
    else:
        picture = image_of_pixels("I" if mode == "I;16" else mode).convert(mode)
    options = () if name == "invert" else (0.3,)
    fix = "ToTensor" if mode in ("I", "F", "I;16") else 'convert."RGB"'
    with pytest.raises(DTypeError, match=f"(?s){name}: Pillow images of this mode.*got: mode {mode}.*{fix}"):
        getattr(T.functional, name)(picture, *options)
    known = T.functional.convert_image_dtype(T.ToTensor()(picture)) if "T" in fix else image_of_pixels()
    getattr(T.functional, name)(known, *options)  # what is proposed


def test_grey_pictures_have_no_hue():
    for mode in ("1", "L", "I", "F"):
        picture = image_of_pixels(mode)
        assert T.functional.adjust_hue(picture, 0.3) is picture


def test_empty_batches():
    x = lp.zeros(0, 3, 8, 9)
    for transform in (
        T.Resize(4),
        T.CenterCrop(4),
        T.RandomRotation(30, "bilinear", fill=1),
        T.RandomCrop(4, 1),
    ):
        assert transform(x).shape[:2] == (0, 3)


def test_copies_and_processes():
    transform = T.Compose([
        T.RandomResizedCrop(16), T.RandomApply([T.ColorJitter(0.2, hue=0.1)]), T.ToTensor(),
        T.Normalize([0.5], [0.5]),
    ])  # fmt: skip
    for other in (copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))):
        assert repr(other) == repr(transform)
        lp.manual_seed(0)
        expected = transform(PIXELS)
        lp.manual_seed(0)
        np.testing.assert_array_equal(other(PIXELS).numpy(), expected.numpy())
