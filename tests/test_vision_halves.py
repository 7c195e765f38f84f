"""The networks of `vision.models` in 16 bits: the same answers to fewer digits, in files half as large."""

import copy
import os

import numpy as np
import pytest

import lampion as lp
from lampion.errors import DTypeError
from lampion.vision import models

#: What an answer may be off by, in parts of the largest: some tens of roundings to 11 and to 8 bits. Behind
#: MobileNet's 53 layers, whose weights have learnt nothing that would average them out, ten times that.
TYPES = {"half": (lp.float16, 0.01), "bfloat16": (lp.bfloat16, 0.06)}
DEEP = {"mobilenet_v2": 10.0}
DIGITS, PHOTOS = (3, 1, 28, 28), (2, 3, 33, 36)
NETWORKS = {
    "LeNet": (models.LeNet, DIGITS),
    "SimpleConvNet": (models.SimpleConvNet, DIGITS),
    "DeepConvNet": (models.DeepConvNet, DIGITS),
    "resnet18": (models.resnet18, PHOTOS),
    "squeezenet1_1": (models.squeezenet1_1, PHOTOS),
    "mobilenet_v2": (models.mobilenet_v2, PHOTOS),
    "vgg11_bn": (lambda num_classes: models.vgg._convolutions(models.vgg.LAYERS[11], True), PHOTOS),
}


def trained(name):
    """A network whose running statistics are those of images, as after training; images; its answers."""
    lp.manual_seed(0)
    make, shape = NETWORKS[name]
    model, images = make(num_classes=5), lp.rand(*shape)
    if any(isinstance(module, lp.nn.BatchNorm2d) for module in model.modules()):
        with lp.no_grad():
            for module in model.modules():
                if isinstance(module, lp.nn.BatchNorm2d):
                    module.momentum = 1.0
            model(lp.rand(8, *shape[1:]))
    model.eval()
    with lp.no_grad():
        return model, images, model(images).numpy()


def assert_near(answers, expected, tolerance):
    assert np.abs(answers.detach().float().numpy() - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", NETWORKS)
def test_answers_and_files(name, kind, tmp_path):
    model, images, expected = trained(name)
    dtype, tolerance = TYPES[kind]
    tolerance *= DEEP.get(name, 1.0)
    short = getattr(copy.deepcopy(model), kind)()
    floats = [x for x in short.state_dict().values() if x.dtype.is_floating_point]
    assert all(x.dtype is dtype for x in floats)
    with lp.no_grad():
        answers = short(images.to(dtype))
    assert answers.dtype is dtype
    assert_near(answers, expected, tolerance)
    lp.save(model.state_dict(), tmp_path / "long.safetensors")
    lp.save(short.state_dict(), tmp_path / "short.safetensors")
    sizes = [os.path.getsize(tmp_path / f"{which}.safetensors") for which in ("short", "long")]
    assert sizes[0] / sizes[1] < 0.51  # the header stays as it is
    state = lp.load(tmp_path / "short.safetensors")
    again = getattr(copy.deepcopy(model), kind)()
    for parameter in again.parameters():
        lp.nn.init.zeros_(parameter)
    again.load_state_dict(state)
    with lp.no_grad():
        np.testing.assert_array_equal(again(images.to(dtype)).numpy(), answers.numpy())
        # In float32 again, the rounded weights: nothing was lost but their digits.
        model.load_state_dict(state)
        assert_near(model(images), expected, tolerance)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", ["LeNet", "DeepConvNet", pytest.param("resnet18", marks=pytest.mark.slow)])
def test_compiled(name, kind):
    model, images, expected = trained(name)
    dtype, tolerance = TYPES[kind]
    short = getattr(model, kind)()
    answers = lp.compile(short)(images.to(dtype))
    assert answers.dtype is dtype
    assert_near(answers, expected, tolerance)


def test_what_has_another_type_is_said():
    model = models.LeNet().half()
    with pytest.raises(DTypeError, match=r"(?s)conv2d: input and weight are of different types.*convert"):
        model(lp.rand(1, 1, 28, 28))
    with pytest.raises(lp.errors.LampionError, match=r"(?s)parameters are floats.*got: lampion.int8"):
        model.to(lp.int8)


def test_learning_in_bfloat16():
    """Gradients and steps work as well; the digits are few, so it is the direction that is checked."""
    lp.manual_seed(0)
    model = models.LeNet().bfloat16()
    images, labels = lp.rand(8, 1, 28, 28).bfloat16(), lp.arange(8)
    optimizer = lp.optim.SGD(model.parameters(), lr=0.5)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = lp.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] and model.features[0].weight.grad.dtype is lp.bfloat16
