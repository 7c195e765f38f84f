"""Layers that learn the size of their input from the first one."""

import copy
import pickle

import numpy as np
import pytest

import lampion as lp
from lampion import nn
from lampion.errors import LampionError, OptionError, ShapeError

#: How each lazy layer is made, an input, and the ordinary layer that it becomes.
LAYERS = {
    "LazyLinear": ((4,), (2, 3), "Linear(in_features=3, out_features=4, bias=True)"),
    "LazyConv1d": ((4, 3), (2, 3, 9), "Conv1d(3, 4, kernel_size=(3,), stride=(1,))"),
    "LazyConv2d": ((4, 3), (3, 9, 9), "Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1))"),
    "LazyConv3d": ((4, 2), (2, 3, 4, 4, 4), "Conv3d(3, 4, kernel_size=(2, 2, 2), stride=(1, 1, 1))"),
    "LazyConvTranspose1d": ((4, 3), (2, 3, 9), "ConvTranspose1d(3, 4, kernel_size=(3,), stride=(1,))"),
    "LazyConvTranspose2d": ((4, 3), (2, 3, 5, 5),
                            "ConvTranspose2d(3, 4, kernel_size=(3, 3), stride=(1, 1))"),
    "LazyConvTranspose3d": ((4, 2), (3, 4, 4, 4),
                            "ConvTranspose3d(3, 4, kernel_size=(2, 2, 2), stride=(1, 1, 1))"),
}  # fmt: skip
for count, sizes in ((1, (5,)), (2, (5, 4)), (3, (3, 2, 4))):
    for kind in ("BatchNorm", "InstanceNorm"):
        shown = (f"{kind}{count}d(3, eps=1e-05, momentum=0.1, affine=True, bias=True, "
                 "track_running_stats=True)")  # fmt: skip
        LAYERS[f"Lazy{kind}{count}d"] = ((), (2, 3, *sizes), shown)


@pytest.mark.parametrize("name", LAYERS)
def test_becomes_the_ordinary_layer(name):
    arguments, shape, shown = LAYERS[name]
    layer = getattr(nn, name)(*arguments).double()
    assert repr(layer).startswith(name) and layer.has_uninitialized_params()
    twin, sent = copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))
    optimizer = lp.optim.SGD(layer.parameters(), lr=1.0)  # it may be made before
    x = lp.randn(*shape, dtype=lp.float64)
    out = layer(x)
    assert repr(layer) == shown and type(layer) is getattr(nn, name.removeprefix("Lazy"))
    assert out.dtype is lp.float64 and not any(map(nn.parameter.is_lazy, layer.state_dict().values()))
    before = layer.weight.detach().clone()
    (out * lp.randn(*out.shape, dtype=lp.float64)).sum().backward()
    optimizer.step()
    assert not bool((layer.weight == before).any())
    for other in (twin, sent):  # they still wait, and take what the first has learned
        assert other.has_uninitialized_params()
        other.load_state_dict(layer.state_dict())
        np.testing.assert_array_equal(other.eval()(x).detach(), layer.eval()(x).detach())
        assert repr(other) == shown


def test_nothing_known_goes_into_nothing_known():
    waiting = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d())
    state = waiting.state_dict()
    assert repr(state["0.weight"]) == "<UninitializedParameter>"
    assert repr(state["1.running_mean"]) == "<UninitializedBuffer>"
    other = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d())
    other.load_state_dict(state)
    assert other(lp.ones(1, 2, 5, 5)).shape == (1, 4, 3, 3)
    with pytest.raises(LampionError, match=r"0.weight: expected a tensor of shape \(4, 2, 3, 3\), got <Unin"):
        other.load_state_dict(state)


def test_what_is_loaded_keeps_the_type_of_the_layer():
    layer = nn.LazyConv2d(4, 3).half()
    layer.load_state_dict(nn.Conv2d(2, 4, 3).state_dict())
    assert layer.weight.dtype is lp.float16


def test_wrong_inputs_leave_it_waiting():
    layer = nn.LazyConv2d(4, 3, groups=2)
    with pytest.raises(ShapeError, match=r"expected: \(N, C, H, W\) or \(C, H, W\)"):
        layer(lp.ones(5, 5))
    with pytest.raises(OptionError, match="in_channels does not fall into equal groups"):
        layer(lp.ones(3, 5, 5))
    assert layer(lp.ones(2, 5, 5)).shape == (4, 3, 3)
    with pytest.raises(OptionError, match="out_channels does not fall"):
        nn.LazyConv2d(5, 3, groups=2)
    with pytest.raises(ShapeError, match="LazyBatchNorm2d: the input has another number of dimensions"):
        nn.LazyBatchNorm2d()(lp.ones(2, 3))
    with pytest.raises(LampionError, match="no shape yet"):
        nn.LazyBatchNorm2d().running_mean.shape  # noqa: B018  # the access is the test


def test_inputs_without_a_batch():
    layer = nn.LazyInstanceNorm2d()
    assert layer(lp.rand(3, 5, 5)).shape == (3, 5, 5) and layer.num_features == 3
    layer = nn.LazyConvTranspose1d(4, 2)
    assert layer(lp.rand(3, 5)).shape == (4, 6) and layer.in_channels == 3


def test_weights_for_another_input():
    layer = nn.LazyLinear(4)
    layer.load_state_dict(nn.Linear(3, 4).state_dict())
    with pytest.raises(ShapeError, match=r"weight was loaded for another input(.|\n)*shape \(4, 3\)"):
        layer(lp.ones(2, 5))
    assert layer(lp.ones(2, 3)).shape == (2, 4)
