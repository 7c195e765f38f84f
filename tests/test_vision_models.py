"""The networks of `vision.models`: the names and shapes of their parameters are torchvision's."""

import pytest

import lampion as lp
from lampion import nn
from lampion.errors import OptionError, ShapeError
from lampion.nn import init
from lampion.vision import models
from lampion.vision.models import vgg


@pytest.fixture
def undrawn(monkeypatch):
    """Weights that nobody draws: memory that is not written to is not there."""
    for name in ("kaiming_normal_", "kaiming_uniform_", "normal_", "uniform_"):
        monkeypatch.setattr(init, name, lambda tensor, *args, **kwargs: tensor)


def listed(model):
    return {name: tuple(x.shape) for name, x in model.state_dict().items()}


def conv(name, after, before, taps, bias=True):
    return {f"{name}.weight": (after, before, taps, taps)} | ({f"{name}.bias": (after,)} if bias else {})


def norm(name, channels):
    numbers = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (channels,))
    return {f"{name}.{key}": shape for key, shape in (numbers | {"num_batches_tracked": ()}).items()}


def linear(name, after, before):
    return {f"{name}.weight": (after, before), f"{name}.bias": (after,)}


#: Where the convolutions of VGG are, each with its number of filters.
VGG = {
    "vgg11": "0:64 3:128 6:256 8:256 11:512 13:512 16:512 18:512",
    "vgg13": "0:64 2:64 5:128 7:128 10:256 12:256 15:512 17:512 20:512 22:512",
    "vgg16": "0:64 2:64 5:128 7:128 10:256 12:256 14:256 17:512 19:512 21:512 24:512 26:512 28:512",
    "vgg19": "0:64 2:64 5:128 7:128 10:256 12:256 14:256 16:256 19:512 21:512 23:512 25:512 28:512 30:512 "
             "32:512 34:512",
    "vgg11_bn": "0:64 4:128 8:256 11:256 15:512 18:512 22:512 25:512",
    "vgg13_bn": "0:64 3:64 7:128 10:128 14:256 17:256 21:512 24:512 28:512 31:512",
    "vgg16_bn": "0:64 3:64 7:128 10:128 14:256 17:256 20:256 24:512 27:512 30:512 34:512 37:512 40:512",
    "vgg19_bn": "0:64 3:64 7:128 10:128 14:256 17:256 20:256 23:256 27:512 30:512 33:512 36:512 40:512 "
                "43:512 46:512 49:512",
}  # fmt: skip


@pytest.mark.parametrize("name", VGG)
def test_vgg(undrawn, name):
    expected, before = {}, 3
    for entry in VGG[name].split():
        place, filters = map(int, entry.split(":"))
        expected |= conv(f"features.{place}", filters, before, 3)
        expected |= norm(f"features.{place + 1}", filters) if name.endswith("_bn") else {}
        before = filters
    expected |= linear("classifier.0", 4096, 25088) | linear("classifier.3", 4096, 4096)
    assert listed(getattr(models, name)(num_classes=7)) == expected | linear("classifier.6", 7, 4096)


#: The blocks of each group; and how many parameters torchvision's documentation says there are.
RESNET = {
    "resnet18": ((2, 2, 2, 2), False, 11_689_512),
    "resnet34": ((3, 4, 6, 3), False, 21_797_672),
    "resnet50": ((3, 4, 6, 3), True, 25_557_032),
    "resnet101": ((3, 4, 23, 3), True, 44_549_160),
    "resnet152": ((3, 8, 36, 3), True, 60_192_808),
}


def parameters(model):
    return sum(x.numel() for x in model.parameters())


@pytest.mark.parametrize("name", RESNET)
def test_resnet(undrawn, name):
    groups, bottleneck, count = RESNET[name]
    expected = conv("conv1", 64, 3, 7, bias=False) | norm("bn1", 64)
    before = 64
    for group, blocks in enumerate(groups):
        thin = 64 * 2**group
        wide = 4 * thin if bottleneck else thin
        sizes = [(1, thin), (3, thin), (1, wide)] if bottleneck else [(3, thin), (3, wide)]
        for block in range(blocks):
            at, channels = f"layer{group + 1}.{block}", before
            for number, (taps, after) in enumerate(sizes, 1):
                expected |= conv(f"{at}.conv{number}", after, channels, taps, bias=False)
                expected |= norm(f"{at}.bn{number}", after)
                channels = after
            if block == 0 and (group or bottleneck):
                expected |= conv(f"{at}.downsample.0", wide, before, 1, bias=False)
                expected |= norm(f"{at}.downsample.1", wide)
            before = wide
    model = getattr(models, name)()
    assert listed(model) == expected | linear("fc", 1000, before)
    assert parameters(model) == count


@pytest.mark.parametrize(
    ("options", "count"),  # torchvision's resnext50_32x4d and wide_resnet50_2
    [({"groups": 32, "width_per_group": 4}, 25_028_904), ({"width_per_group": 128}, 68_883_240)],
)
def test_wider_resnets(undrawn, options, count):
    model = models.resnet50(**options)
    assert parameters(model) == count
    second = model.layer3[1].conv2
    assert second.groups == options.get("groups", 1) and second.in_channels == 512


def test_resnets_with_dilation(undrawn):
    model = models.resnet50(replace_stride_with_dilation=(False, True, True), num_classes=2).eval()
    state = models.resnet50(num_classes=2).state_dict()
    assert listed(model) == {name: tuple(x.shape) for name, x in state.items()}
    found = [(block.conv2.stride[0], block.conv2.dilation[0], block.conv2.padding[0])
             for stage in (model.layer2, model.layer3, model.layer4) for block in stage[:2]]  # fmt: skip
    assert found == [(2, 1, 1), (1, 1, 1), (1, 1, 1), (1, 2, 2), (1, 2, 2), (1, 4, 4)]
    assert model.layer3[0].downsample[0].stride == (1, 1)
    shapes = []
    model.layer4.register_forward_hook(lambda module, args, out: shapes.append(out.shape))
    with lp.no_grad():
        assert model(lp.zeros(1, 3, 64, 64)).shape == (1, 2)
    assert shapes == [(1, 2048, 8, 8)]
    with pytest.raises(OptionError, match=r"(?s)the last three groups.*got: \(True,\)"):
        models.resnet50(replace_stride_with_dilation=(True,))
    for options in ({"groups": 2}, {"width_per_group": 32}, {"replace_stride_with_dilation": (1, 1, 1)}):
        with pytest.raises(OptionError, match=r"(?s)in Bottleneck alone.*try: resnet50"):
            models.resnet18(**options)


def test_resnets_with_other_norms(undrawn):
    model = models.resnet18(norm_layer=lambda size: nn.GroupNorm(8, size), zero_init_residual=True)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert isinstance(model.layer2[0].downsample[1], nn.GroupNorm)
    assert not bool(model.layer1[0].bn2.weight.any()) and bool((model.layer1[0].bn1.weight == 1).all())
    bare = models.resnet18(norm_layer=nn.InstanceNorm2d, zero_init_residual=True, num_classes=2)
    assert bare.eval()(lp.zeros(1, 3, 64, 64)).shape == (1, 2)


#: Where the fire modules are: what comes in, the few, half of what goes out.
FIRES = {
    "squeezenet1_0": (
        "3:96:16:64 4:128:16:64 5:128:32:128 7:256:32:128 8:256:48:192 9:384:48:192 10:384:64:256 "
        "12:512:64:256",
        conv("features.0", 96, 3, 7),
        1_248_424,
    ),
    "squeezenet1_1": (
        "3:64:16:64 4:128:16:64 6:128:32:128 7:256:32:128 9:256:48:192 10:384:48:192 11:384:64:256 "
        "12:512:64:256",
        conv("features.0", 64, 3, 3),
        1_235_496,
    ),
}


@pytest.mark.parametrize("name", FIRES)
def test_squeezenet(undrawn, name):
    fires, expected, count = FIRES[name]
    for entry in fires.split():
        place, before, few, half = map(int, entry.split(":"))
        at = f"features.{place}"
        expected = expected | conv(f"{at}.squeeze", few, before, 1) | conv(f"{at}.expand1x1", half, few, 1)
        expected |= conv(f"{at}.expand3x3", half, few, 3)
    model = getattr(models, name)()
    assert listed(model) == expected | conv("classifier.1", 1000, 512, 1)
    assert parameters(model) == count


#: The blocks of MobileNetV2: what comes in, in between, and goes out.
INVERTED = (
    "32:32:16 16:96:24 24:144:24 24:144:32 32:192:32 32:192:32 32:192:64 64:384:64 64:384:64 64:384:64 "
    "64:384:96 96:576:96 96:576:96 96:576:160 160:960:160 160:960:160 160:960:320"
)


def test_mobilenet(undrawn):
    expected = conv("features.0.0", 32, 3, 3, bias=False) | norm("features.0.1", 32)
    for number, entry in enumerate(INVERTED.split(), 1):
        before, wide, after = map(int, entry.split(":"))
        at, first = f"features.{number}.conv", 0
        if wide != before:
            expected |= conv(f"{at}.0.0", wide, before, 1, bias=False) | norm(f"{at}.0.1", wide)
            first = 1
        expected |= conv(f"{at}.{first}.0", wide, 1, 3, bias=False) | norm(f"{at}.{first}.1", wide)
        expected |= conv(f"{at}.{first + 1}", after, wide, 1, bias=False) | norm(f"{at}.{first + 2}", after)
    expected |= conv("features.18.0", 1280, 320, 1, bias=False) | norm("features.18.1", 1280)
    model = models.mobilenet_v2()
    assert listed(model) == expected | linear("classifier.1", 1000, 1280)
    assert parameters(model) == 3_504_872
    narrow = models.mobilenet_v2(width_mult=0.35)
    assert (narrow.features[0][0].out_channels, narrow.last_channel) == (16, 1280)


def test_mobilenets_of_other_sizes(undrawn):
    model = models.mobilenet_v2(
        inverted_residual_setting=[(1, 16, 1, 1), (6, 36, 2, 2)], round_nearest=4, num_classes=2,
        norm_layer=lambda size: nn.GroupNorm(4, size),
    ).eval()  # fmt: skip
    assert [getattr(layer, "use_res_connect", None) for layer in model.features] == [
        None, False, False, True, None
    ]  # fmt: skip
    assert model.features[-1][0].in_channels == 36  # a multiple of 4; of 8, it would be 40
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert model(lp.zeros(1, 3, 32, 32)).shape == (1, 2)
    for wrong in ([], [(1, 16, 1)]):
        with pytest.raises(OptionError, match=r"(?s)four numbers for each group.*got: "):
            models.mobilenet_v2(inverted_residual_setting=wrong)


def test_vgg_draws_or_leaves_it_to_the_layers(monkeypatch):
    drawn = []
    monkeypatch.setattr(vgg, "draw", drawn.append)
    for name in ("kaiming_uniform_", "uniform_"):
        monkeypatch.setattr(init, name, lambda tensor, *args, **kwargs: tensor)
    models.vgg11(num_classes=2, init_weights=False)
    assert not drawn
    model = models.vgg11_bn(num_classes=2)
    assert drawn == [model]


@pytest.mark.parametrize(
    ("make", "count"),
    [(models.LeNet, 61_706), (models.SimpleConvNet, 433_890), (models.DeepConvNet, 123_552)],
)
def test_small_networks(make, count):
    model = make()
    assert parameters(model) == count
    images = lp.randn(2, 1, 28, 28)
    model.train()
    nn.functional.cross_entropy(model(images), lp.tensor([1, 2])).backward()
    # Dropout at the very end may leave some without: of the rest, each has a gradient.
    assert all(x.grad is not None and bool(x.grad.isfinite().all()) for x in model.parameters())


def test_initial_weights():
    lp.manual_seed(0)
    model = models.resnet18(num_classes=2, zero_init_residual=True)
    weight = model.layer4[0].conv2.weight
    assert abs(weight.std().item() - (2 / (512 * 9)) ** 0.5) < 1e-3
    assert bool((model.layer1[0].bn2.weight == 0).all())
    deep = models.DeepConvNet()
    assert abs(deep.classifier[1].weight.std().item() - (2 / 1024) ** 0.5) < 2e-3
    assert abs(models.SimpleConvNet().classifier[1].weight.std().item() - 0.01) < 1e-3


def test_weights_from_a_file(tmp_path):
    lp.manual_seed(0)
    first = models.squeezenet1_1(num_classes=3).eval()
    lp.save(first.state_dict(), tmp_path / "weights.safetensors")
    second = models.squeezenet1_1(weights=tmp_path / "weights.safetensors", num_classes=3).eval()
    third = models.squeezenet1_1(weights=first.state_dict(), num_classes=3).eval()
    x = lp.randn(1, 3, 32, 32)
    with lp.no_grad():
        out = first(x)
        assert bool((second(x) == out).all()) and bool((third(x) == out).all())
    with pytest.raises(lp.errors.LampionError, match="classifier"):
        models.squeezenet1_1(weights=first.state_dict(), num_classes=4)
    with pytest.raises(lp.errors.LampionError, match=r"(?s)no such file of weights.*got: 'DEFAULT'"):
        models.resnet18(weights="DEFAULT")  # which is torchvision's way
    with pytest.raises(lp.errors.LampionError, match=r"weights is a file, or tensors by name"):
        models.mobilenet_v2(weights=True)
    (tmp_path / "weights.pth").write_bytes(b"PK\3\4" + b"\0" * 26 + b"weights/data.pkl")
    with pytest.raises(lp.errors.LampionError, match=r"(?s)a pickle, which may hold code.*safetensors.torch"):
        models.squeezenet1_1(weights=tmp_path / "weights.pth")
    with pytest.raises(lp.errors.LampionError, match="there is no such version"):
        models.SqueezeNet("2_0")


def test_old_files_lack_the_number_of_batches():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    state = model.state_dict()
    del state["1.num_batches_tracked"]
    assert not model.load_state_dict(state).missing_keys
    del state["1.running_mean"]
    with pytest.raises(lp.errors.LampionError, match=r"missing: 1\.running_mean\n"):
        model.load_state_dict(state)


def test_vgg_features(undrawn, tmp_path):
    whole = models.vgg11()
    expected = {name.removeprefix("features."): shape for name, shape in listed(whole).items()
                if name.startswith("features.")}  # fmt: skip
    assert listed(models.vgg_features(11)) == expected
    with lp.no_grad():
        for number, p in enumerate(whole.features.parameters()):
            p.fill_(number)
    few = {name: x for name, x in whole.state_dict().items() if not name.startswith("classifier.1")}
    layers = models.vgg_features(11, weights=few)
    assert [p.flatten()[0].item() for p in layers.parameters()] == list(range(16))
    lp.save(layers[:2].state_dict(), tmp_path / "few.safetensors")
    with pytest.raises(RuntimeError, match="missing"):  # nothing in it is called features.0.weight
        models.vgg_features(11, weights=tmp_path / "few.safetensors")
    with pytest.raises(OptionError, match="there is no such VGG") as raised:
        models.vgg_features(12)
    assert "expected: 11, 13, 16, 19" in str(raised.value) and "got: 12" in str(raised.value)


#: A network of each family, and the channels that it takes.
FAMILIES = {
    "resnet18": 3, "vgg11_bn": 3, "squeezenet1_1": 3, "mobilenet_v2": 3, "LeNet": 1, "SimpleConvNet": 1,
    "DeepConvNet": 1,
}  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_batches_of_images_are_asked_for(undrawn, name):
    model, channels = getattr(models, name)().eval(), FAMILIES[name]
    kind, size = type(model).__name__, 28 if channels == 1 else 64
    expected = rf"(?s){kind}: .*expected: \(N, {channels}, H, W\).*"
    single = rf"a single image \(C, H, W\): \({channels}, {size}, {size}\).*try: x.unsqueeze\(0\), or x"
    with pytest.raises(ShapeError, match=expected + single):
        model(lp.zeros(channels, size, size))
    with pytest.raises(ShapeError, match=expected + r"a single image \(H, W, C\).*x.permute\(2, 0, 1\)"):
        model(lp.zeros(size, size, channels))
    with pytest.raises(ShapeError, match=expected + r"try: x.permute\(0, 3, 1, 2\)"):
        model(lp.zeros(2, size, size, channels))
    with pytest.raises(ShapeError, match=expected + "another first convolution"):
        model(lp.zeros(2, 4, size, size))
    if channels == 1:
        with pytest.raises(ShapeError, match=expected + r"try: x.unsqueeze\(1\), for grey"):
            model(lp.zeros(5, size, size))
        with pytest.raises(ShapeError, match=expected + r"a single image \(H, W\).*x\[None, None\]"):
            model(lp.zeros(size, size))
    else:
        with pytest.raises(ShapeError, match=expected + r"try: x.expand\(-1, 3, -1, -1\), for grey"):
            model(lp.zeros(2, 1, size, size))
    with pytest.raises(ShapeError, match=expected):
        lp.compile(model)(lp.zeros(channels, size, size))


def test_other_first_layers_say_how_many_channels_there_are():
    model = models.resnet18(num_classes=2).eval()
    model.conv1 = nn.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)
    assert model(lp.zeros(1, 1, 32, 32)).shape == (1, 2)
    with pytest.raises(ShapeError, match=r"expected: \(N, 1, H, W\)"):
        model(lp.zeros(1, 3, 32, 32))
    model.conv1 = nn.Sequential(nn.Conv2d(5, 3, 1), model.conv1)
    with pytest.raises(ShapeError, match=r"expected: \(N, 5, H, W\)"):
        model(lp.zeros(1, 1, 32, 32))
    model.conv1 = nn.LazyConv2d(64, 7)
    with pytest.raises(ShapeError, match=r"(?s)expected: \(N, C, H, W\).*a single image"):
        model(lp.zeros(2, 32, 32))
    assert model(lp.zeros(1, 2, 32, 32)).shape == (1, 2)
