"""The transforms beside torchvision's: the same numbers in, the same images out, the same printed form."""

import numpy as np
import pytest

import lampion as lp
from lampion.vision import transforms as T

torch = pytest.importorskip("torch")
try:
    pytest.importorskip("torchvision")
except RuntimeError as error:  # made for another PyTorch
    pytest.skip(str(error), allow_module_level=True)
Image = pytest.importorskip("PIL.Image")

import torchvision.transforms as tv  # noqa: E402
import torchvision.transforms.functional as tvf  # noqa: E402
import torchvision.transforms.v2 as tv2  # noqa: E402
from both import array_of, to_lampion  # noqa: E402

F = T.functional
PIXELS = np.random.default_rng(0).integers(0, 256, (3, 17, 22), np.uint8)
BYTES = torch.from_numpy(PIXELS)
FLOATS = torch.from_numpy(np.random.default_rng(1).random((2, 3, 17, 22)))  # float64
PICTURE = Image.fromarray(np.moveaxis(PIXELS, 0, -1))
GREY = Image.fromarray(PIXELS[0])

#: What both are called with behind the image. Not among them: "bilinear" with something filled in, where
#: torchvision weighs the places at the edge of the image twice, so that a dark line surrounds it.
CALLS = {
    "resize": [([9, 30],), ([25],), ([8], "bicubic"), ([8], "nearest"), ([8], "nearest-exact"),
               ([9, 30], "bilinear", None, False), ([10], "bilinear", 12)],
    "crop": [(2, 3, 9, 8), (-2, -3, 30, 30), (10, 15, 10, 10)],
    "center_crop": [([9, 8],), ([30, 30],), ([30, 5],), (6,)],
    "resized_crop": [(2, 3, 9, 8, [5, 20])],
    "pad": [(2,), ([1, 2],), ([1, 2, 3, 4], 7), ([1, 2, 3, 4], 0, "edge"), ([1, 2, 3, 4], 0, "reflect"),
            ([1, 2, 3, 4], 0, "symmetric"), ([-1, 2, -3, 4],)],
    "hflip": [()],
    "vflip": [()],
    "rotate": [(30.0,), (30.0, "bilinear"), (88.0,), (45.0, "bilinear", True), (20.0, "nearest", True),
               (-50.0, "bilinear", False, [3, 5]), (33.0, "nearest", False, None, [9.0, 8.0, 7.0])],
    "affine": [(20.0, [3, -2], 1.3, [5.0, 0.0]), (20.0, [3, -2], 0.7, [5.0, -8.0], "bilinear"),
               (-20.0, [0, 0], 0.7, [5.0, -8.0], "nearest", [9.0, 8.0, 7.0], [2, 2])],
    "rgb_to_grayscale": [(), (3,)],
    "adjust_brightness": [(0.3,), (1.7,), (0.0,)],
    "adjust_contrast": [(0.3,), (1.7,), (0.0,)],
    "adjust_saturation": [(0.3,), (1.7,), (0.0,)],
    "adjust_hue": [(0.3,), (-0.4,), (0.0,)],
    "adjust_gamma": [(0.3,), (1.7, 0.9)],
    "invert": [()],
}  # fmt: skip
CASES = [(name, call) for name, calls in CALLS.items() for call in calls]


def for_torchvision(call):
    return [tv.InterpolationMode(x) if isinstance(x, str) and x not in ("edge", "reflect", "symmetric") else x
            for x in call]  # fmt: skip


def theirs(name, image, call):
    return getattr(tvf, name)(image, *for_torchvision(call))


@pytest.mark.parametrize("name, call", CASES)
def test_tensors(name, call):
    for image, tolerance in ((BYTES, 1), (FLOATS, 2e-6)):
        expected = array_of(theirs(name, image, call))
        found = getattr(F, name)(to_lampion(image), *call).numpy()
        assert found.shape == expected.shape and found.dtype == expected.dtype
        difference = np.abs(found.astype(np.float64) - expected)
        # Where two places are as near, rounding decides which of them counts.
        assert (difference > tolerance).mean() < 0.005, (difference.max(), (difference > tolerance).mean())


@pytest.mark.parametrize("name, call", CASES)
def test_pillow_images(name, call):
    if False in call and name == "resize":
        pytest.skip("torchvision warns that Pillow has no such thing")
    for image in (PICTURE, GREY):
        if image is GREY and any(isinstance(x, list) and len(x) == 3 for x in call):
            continue  # three colours to fill in
        expected = np.asarray(theirs(name, image, call))
        np.testing.assert_array_equal(np.asarray(getattr(F, name)(image, *call)), expected)


def test_conversions():
    for image in (
        PICTURE,
        GREY,
        GREY.convert("1"),
        GREY.convert("I"),
        GREY.convert("F"),
        PICTURE.convert("RGBA"),
    ):
        np.testing.assert_array_equal(F.to_tensor(image).numpy(), tvf.to_tensor(image).numpy())
        np.testing.assert_array_equal(F.pil_to_tensor(image).numpy(), tvf.pil_to_tensor(image).numpy())
        tensor = tvf.pil_to_tensor(image)
        if image.mode == "F":  # of which torchvision makes bytes modulo 256
            with pytest.raises(lp.errors.OptionError, match="between 0, black"):
                F.to_pil_image(to_lampion(tensor))
            back = F.to_pil_image(to_lampion(tensor), "F")
            np.testing.assert_array_equal(np.asarray(back), np.asarray(image))
        elif image.mode != "1":
            back = F.to_pil_image(to_lampion(tensor))
            assert back.mode == tvf.to_pil_image(tensor).mode
            np.testing.assert_array_equal(np.asarray(back), np.asarray(tvf.to_pil_image(tensor)))
    back, expected = F.to_pil_image(to_lampion(FLOATS[0])), tvf.to_pil_image(FLOATS[0])
    np.testing.assert_array_equal(np.asarray(back), np.asarray(expected))


@pytest.mark.parametrize("source", ["uint8", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("target", ["uint8", "int16", "int32", "float32", "float64"])
def test_types(source, target):
    x = torch.linspace(0, 1, 50, dtype=torch.float64)
    x = tvf.convert_image_dtype(x, getattr(torch, source))
    try:
        expected = tvf.convert_image_dtype(x, getattr(torch, target))
    except RuntimeError:
        with pytest.raises(lp.errors.DTypeError, match="more digits"):
            F.convert_image_dtype(to_lampion(x), getattr(lp, target))
        return
    found = F.convert_image_dtype(to_lampion(x), getattr(lp, target))
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-7)


#: How each is made in both; the printed form is compared.
SHOWN = [
    ("ToTensor", (), {}), ("PILToTensor", (), {}), ("ToPILImage", (), {}), ("ToPILImage", ("RGB",), {}),
    ("ConvertImageDtype", ("float32",), {}), ("Normalize", ([0.5], [0.25]), {}), ("Resize", (8,), {}),
    ("CenterCrop", (8,), {}), ("Pad", (2,), {}), ("Grayscale", (), {}), ("RandomCrop", (8,), {"padding": 4}),
    ("RandomResizedCrop", (8,), {}), ("RandomHorizontalFlip", (), {}), ("RandomVerticalFlip", (0.25,), {}),
    ("RandomRotation", (30,), {}), ("RandomRotation", ((1, 2),), {"center": (3, 4), "expand": True}),
    ("RandomAffine", (30,), {}), ("RandomErasing", (), {}), ("RandomGrayscale", (), {}),
    ("RandomAffine", (30, (0.1, 0.2), (0.5, 2.0), 10), {"fill": 1}),
    ("ColorJitter", (0.2, 0.3, 1.5, 0.1), {}), ("ColorJitter", ((0.5, 2), 0, 0, (-0.2, 0.1)), {}),
    ("Lambda", (len,), {}),
]  # fmt: skip


@pytest.mark.parametrize("name, args, kwargs", SHOWN)
def test_printed_form(name, args, kwargs):
    made = tuple(getattr(torch, x) if x == "float32" else x for x in args)
    assert repr(getattr(T, name)(*args, **kwargs)) == repr(getattr(tv, name)(*made, **kwargs))


def test_printed_form_of_what_is_made_of_others():
    for name in ("Compose", "RandomApply", "RandomOrder", "RandomChoice"):
        shown = [repr(getattr(home, name)([home.Resize(4), home.ToTensor()])) for home in (T, tv)]
        assert shown[0] == shown[1]


@pytest.mark.parametrize("kind", ["MixUp", "CutMix"])
def test_mixed_batches(kind):
    images, labels = torch.rand(6, 3, 8, 10, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0, 1])
    ours = getattr(T, kind)(alpha=0.7, num_classes=4)
    lp.manual_seed(5)
    found = ours(to_lampion(images), to_lampion(labels))
    share = float(found[1][1][1])  # of the second sample's own label
    other = getattr(tv2, kind)(alpha=0.7, num_classes=4)
    if kind == "MixUp":
        params = {"labels": labels, "batch_size": 6, "lam": share}
        expected = other.transform(images, params), other.transform(labels, params)
        np.testing.assert_allclose(found[0].numpy(), expected[0].numpy(), rtol=1e-6)
    else:
        changed = (found[0].numpy() != images.numpy()).any((0, 1))
        assert abs(1 - changed.mean() - share) < 1e-6
        rolled = np.roll(images.numpy(), 1, 0)
        np.testing.assert_array_equal(found[0].numpy()[..., changed], rolled[..., changed])
        expected = None, other.transform(labels, {"labels": labels, "batch_size": 6, "lam_adjusted": share})
    np.testing.assert_allclose(found[1].numpy(), expected[1].numpy(), rtol=1e-6)
