"""What image layers say about calls that are wrong (see `image_errors.py`), and that rare ones are right."""

import copy
import pickle
import re

import numpy as np
import pytest
from image_errors import WRONG

import lampion as lp
from lampion.errors import LampionError, ShapeError


@pytest.mark.parametrize("name", WRONG)
def test_what_is_said(name):
    call, kind, words = WRONG[name]
    with pytest.raises(kind, match="(?s)" + ".*".join(map(re.escape, words))) as caught:
        call(lp)
    assert isinstance(caught.value, LampionError)
    message = str(caught.value)
    assert "\n  got: " in message or "\n  expected: " in message, message


def test_integers_of_numpy_are_integers():
    layer = lp.nn.Conv2d(3, 8, np.int64(3), stride=np.int32(2), padding=(np.int8(1), 1))
    assert layer(lp.zeros(2, 3, 5, 5)).shape == (2, 8, 3, 3)
    assert repr(layer) == "Conv2d(3, 8, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))"


def test_floats_of_numpy_are_ratios():
    x, samples = lp.rand(1, 2, 10, 8), lp.rand(1, 2, 2)
    expected = lp.nn.FractionalMaxPool2d(2, output_ratio=0.5, _random_samples=samples)(x)
    for ratio in (np.float32(0.5), (np.float64(0.5), np.float16(0.5))):
        layer = lp.nn.FractionalMaxPool2d(2, output_ratio=ratio, _random_samples=samples)
        np.testing.assert_array_equal(layer(x), expected)


def test_a_ratio_that_leaves_no_window():
    """PyTorch puts out an image without places; as a size, 0 is refused here too."""
    pool = lp.nn.FractionalMaxPool2d(1, output_ratio=(0.5, 0.1))
    with pytest.raises(ShapeError, match=r"(?s)the ratio leaves no window.*output_ratio \* \(5, 5\)"):
        pool(lp.zeros(2, 3, 5, 5))


#: Layers, and a sample for each.
LAYERS = [
    (lp.nn.Conv2d(3, 4, 3, padding=1, groups=1), (3, 6, 6)), (lp.nn.Conv1d(2, 4, 3, groups=2), (2, 8)),
    (lp.nn.Conv3d(2, 4, 2, padding="same"), (2, 4, 4, 4)), (lp.nn.ConvTranspose2d(3, 4, 3, 2), (3, 6, 6)),
    (lp.nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), (3, 6, 6)), (lp.nn.MaxPool2d(2), (3, 6, 6)),
    (lp.nn.AvgPool2d(3, 2, 1, ceil_mode=True), (3, 6, 6)), (lp.nn.LPPool2d(2, 2), (3, 6, 6)),
    (lp.nn.AdaptiveAvgPool2d((2, 5)), (3, 6, 7)), (lp.nn.AdaptiveMaxPool2d(4), (3, 6, 7)),
    (lp.nn.FractionalMaxPool2d(2, output_ratio=0.6), (3, 6, 7)), (lp.nn.BatchNorm2d(3), (3, 6, 6)),
    (lp.nn.InstanceNorm2d(3), (3, 6, 6)), (lp.nn.GroupNorm(3, 3), (3, 6, 6)),
    (lp.nn.LocalResponseNorm(3), (3, 6, 6)), (lp.nn.Upsample(scale_factor=2, mode="bicubic"), (3, 6, 6)),
    (lp.nn.Unfold(3), (3, 6, 6)), (lp.nn.Fold((5, 5), 3), (18, 9)), (lp.nn.PixelShuffle(2), (4, 6, 6)),
    (lp.nn.PixelUnshuffle(2), (3, 6, 6)), (lp.nn.ChannelShuffle(2), (4, 6, 6)),
    (lp.nn.ReplicationPad2d(2), (3, 6, 6)), (lp.nn.Dropout2d(), (3, 6, 6)), (lp.nn.AlphaDropout(), (3, 6)),
    (lp.vision.models.DeepConvNet(), (1, 28, 28)),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "sample"), LAYERS, ids=lambda x: type(x).__name__)
def test_empty_batches_are_batches(layer, sample):
    """As in PyTorch: the last batch of a filtered stream may have no samples."""
    layer.eval()
    for training in (False, True):
        layer.train(training)
        x = lp.zeros(0, *sample, requires_grad=True)
        out = layer(x)
        assert out.shape == (0, *layer.eval()(lp.zeros(1, *sample)).shape[1:])
        out.sum().backward()
        assert x.grad.shape == x.shape
        assert all(p.grad is None or not bool(p.grad.any()) for p in layer.parameters())


@pytest.mark.parametrize(("layer", "sample"), LAYERS, ids=lambda x: type(x).__name__)
def test_copies_and_other_processes(layer, sample):
    layer.eval()
    x = lp.rand(2, *sample)
    lp.manual_seed(0)
    expected = layer(x).detach().numpy()
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert repr(other) == repr(layer) and list(other.state_dict()) == list(layer.state_dict())
        assert not {id(p) for p in other.parameters()} & {id(p) for p in layer.parameters()}
        other.load_state_dict(layer.state_dict())
        lp.manual_seed(0)
        np.testing.assert_array_equal(other(x).detach().numpy(), expected)
