"""The networks of `vision.models` beside networks of PyTorch's layers with the same definition.

The weights that PyTorch has drawn go through a safetensors file; outputs and all gradients agree, in training
and in evaluation.
"""

import pytest

import lampion as lp
from lampion.vision import models

torch = pytest.importorskip("torch")

from both import assert_same, to_lampion  # noqa: E402

tn = torch.nn


# -- the definitions, in PyTorch's layers --------------------------------------------------------------------


class Basic(tn.Module):
    expansion = 1

    def __init__(self, before, thin, stride):
        super().__init__()
        self.conv1, self.bn1 = tn.Conv2d(before, thin, 3, stride, 1, bias=False), tn.BatchNorm2d(thin)
        self.conv2, self.bn2 = tn.Conv2d(thin, thin, 3, 1, 1, bias=False), tn.BatchNorm2d(thin)
        if stride != 1 or before != thin:
            self.downsample = tn.Sequential(
                tn.Conv2d(before, thin, 1, stride, bias=False), tn.BatchNorm2d(thin)
            )

    def forward(self, x):
        out = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(out + (self.downsample(x) if hasattr(self, "downsample") else x))


class Bottleneck(tn.Module):
    expansion = 4

    def __init__(self, before, thin, stride):
        super().__init__()
        after = 4 * thin
        self.conv1, self.bn1 = tn.Conv2d(before, thin, 1, bias=False), tn.BatchNorm2d(thin)
        self.conv2, self.bn2 = tn.Conv2d(thin, thin, 3, stride, 1, bias=False), tn.BatchNorm2d(thin)
        self.conv3, self.bn3 = tn.Conv2d(thin, after, 1, bias=False), tn.BatchNorm2d(after)
        if stride != 1 or before != after:
            self.downsample = tn.Sequential(
                tn.Conv2d(before, after, 1, stride, bias=False), tn.BatchNorm2d(after)
            )

    def forward(self, x):
        out = torch.relu(self.bn1(self.conv1(x)))
        out = self.bn3(self.conv3(torch.relu(self.bn2(self.conv2(out)))))
        return torch.relu(out + (self.downsample(x) if hasattr(self, "downsample") else x))


class ResNet(tn.Module):
    def __init__(self, block, groups, classes):
        super().__init__()
        self.conv1, self.bn1 = tn.Conv2d(3, 64, 7, 2, 3, bias=False), tn.BatchNorm2d(64)
        channels = 64
        for number, count in enumerate(groups, 1):
            thin, blocks = 32 * 2**number, []
            for place in range(count):
                blocks.append(block(channels, thin, 2 if number > 1 and place == 0 else 1))
                channels = block.expansion * thin
            setattr(self, f"layer{number}", tn.Sequential(*blocks))
        self.fc = tn.Linear(channels, classes)

    def forward(self, x):
        x = torch.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for number in range(1, 5):
            x = getattr(self, f"layer{number}")(x)
        return self.fc(x.mean((2, 3)))


class Fire(tn.Module):
    def __init__(self, before, few, half):
        super().__init__()
        self.squeeze = tn.Conv2d(before, few, 1)
        self.expand1x1, self.expand3x3 = tn.Conv2d(few, half, 1), tn.Conv2d(few, half, 3, padding=1)

    def forward(self, x):
        x = torch.relu(self.squeeze(x))
        return torch.relu(torch.cat([self.expand1x1(x), self.expand3x3(x)], 1))


def squeezenet(version, classes):
    """As a Sequential of two, by the names of torchvision's."""

    def pool():
        return tn.MaxPool2d(3, 2, ceil_mode=True)

    fires = [(64, 16, 64), (128, 16, 64), (128, 32, 128), (256, 32, 128), (256, 48, 192), (384, 48, 192),
             (384, 64, 256), (512, 64, 256)]  # fmt: skip
    if version == "1_0":
        fires[0] = (96, 16, 64)
        layers, pooled = [tn.Conv2d(3, 96, 7, 2), tn.ReLU(), pool()], (2, 6)
    else:
        layers, pooled = [tn.Conv2d(3, 64, 3, 2), tn.ReLU(), pool()], (1, 3)
    for number, fire in enumerate(fires):
        layers += [Fire(*fire), pool()] if number in pooled else [Fire(*fire)]
    votes = [tn.Dropout(0.0), tn.Conv2d(512, classes, 1), tn.ReLU(), tn.AdaptiveAvgPool2d(1), tn.Flatten()]
    return parts(features=tn.Sequential(*layers), classifier=tn.Sequential(*votes))


def parts(**modules):
    """A network of named parts, one after another."""
    network = tn.Sequential()
    for name, module in modules.items():
        network.add_module(name, module)
    return network


def normed(before, after, taps, stride=1, groups=1):
    conv = tn.Conv2d(before, after, taps, stride, taps // 2, groups=groups, bias=False)
    return tn.Sequential(conv, tn.BatchNorm2d(after), tn.ReLU6())


class Inverted(tn.Module):
    def __init__(self, before, after, stride, factor):
        super().__init__()
        wide = before * factor
        self.adds = stride == 1 and before == after
        layers = [normed(before, wide, 1)] if factor > 1 else []
        layers += [normed(wide, wide, 3, stride, wide), tn.Conv2d(wide, after, 1, bias=False)]
        self.conv = tn.Sequential(*layers, tn.BatchNorm2d(after))

    def forward(self, x):
        return x + self.conv(x) if self.adds else self.conv(x)


def mobilenet(classes):
    layers, channels = [normed(3, 32, 3, 2)], 32
    for factor, after, count, stride in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):  # fmt: skip
        for place in range(count):
            layers.append(Inverted(channels, after, stride if place == 0 else 1, factor))
            channels = after
    votes = tn.Sequential(tn.Dropout(0.0), tn.Linear(1280, classes))
    features = tn.Sequential(*layers, normed(320, 1280, 1))
    return parts(features=features, pool=tn.AdaptiveAvgPool2d(1), flat=tn.Flatten(), classifier=votes)


def vgg_features(groups, batch_norm):
    """Without the linear layers, of 120 million weights."""
    layers, channels = [], 3
    for filters, count in groups:
        for _ in range(count):
            layers += [tn.Conv2d(channels, filters, 3, padding=1)]
            layers += [tn.BatchNorm2d(filters), tn.ReLU()] if batch_norm else [tn.ReLU()]
            channels = filters
        layers.append(tn.MaxPool2d(2))
    return tn.Sequential(*layers)


def lenet():
    features = tn.Sequential(
        tn.Conv2d(1, 6, 5, padding=2), tn.Tanh(), tn.AvgPool2d(2),
        tn.Conv2d(6, 16, 5), tn.Tanh(), tn.AvgPool2d(2),
    )  # fmt: skip
    votes = [tn.Flatten(), tn.Linear(400, 120), tn.Tanh(), tn.Linear(120, 84), tn.Tanh(), tn.Linear(84, 10)]
    return parts(features=features, classifier=tn.Sequential(*votes))


def simple():
    features = tn.Sequential(tn.Conv2d(1, 30, 5), tn.ReLU(), tn.MaxPool2d(2))
    votes = tn.Sequential(tn.Flatten(), tn.Linear(4320, 100), tn.ReLU(), tn.Linear(100, 10))
    return parts(features=features, classifier=votes)


def deep():
    layers = []
    for number, (before, after) in enumerate([(1, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64)]):
        layers += [tn.Conv2d(before, after, 3, padding=2 if number == 3 else 1), tn.ReLU()]
        layers += [tn.MaxPool2d(2)] if number % 2 else []
    votes = [
        tn.Flatten(),
        tn.Linear(1024, 50),
        tn.ReLU(),
        tn.Dropout(0.0),
        tn.Linear(50, 10),
        tn.Dropout(0.0),
    ]
    return parts(features=tn.Sequential(*layers), classifier=tn.Sequential(*votes))


# -- the comparison ------------------------------------------------------------------------------------------


def from_file(make, theirs, path):
    """Lampion's network, with PyTorch's weights from a file that safetensors has written."""
    pytest.importorskip("safetensors.torch").save_file(theirs.state_dict(), path)
    return make(path)


def loaded(make):
    """A network that takes no `weights` with those of a file."""

    def made(path):
        model = make()
        model.load_state_dict(lp.load(path))
        return model

    return made


def from_torchvision(name, **options):
    """What torchvision has too."""
    return lambda path: getattr(models, name)(weights=path, num_classes=5, **options)


def convolutions(depth, batch_norm):
    return loaded(lambda: models.vgg._convolutions(models.vgg.LAYERS[depth], batch_norm))


VGG11 = [(64, 1), (128, 1), (256, 2), (512, 2), (512, 2)]
VGG16 = [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]
DIGITS, PHOTOS = (3, 1, 28, 28), (2, 3, 40, 36)
#: PyTorch's network, Lampion's by a file, and the shape of the images.
NETWORKS = {
    "LeNet": (lenet, loaded(models.LeNet), DIGITS),
    "SimpleConvNet": (simple, loaded(models.SimpleConvNet), DIGITS),
    "DeepConvNet": (deep, loaded(lambda: models.DeepConvNet(dropout=0.0)), DIGITS),
    "vgg16": (lambda: vgg_features(VGG16, False), convolutions(16, False), PHOTOS),
    "vgg11_bn": (lambda: vgg_features(VGG11, True), convolutions(11, True), (3, 3, 32, 40)),
    "resnet18": (lambda: ResNet(Basic, (2, 2, 2, 2), 5), from_torchvision("resnet18"), PHOTOS),
    "resnet50": (lambda: ResNet(Bottleneck, (3, 4, 6, 3), 5), from_torchvision("resnet50"), PHOTOS),
    "squeezenet1_0": (lambda: squeezenet("1_0", 5), from_torchvision("squeezenet1_0", dropout=0.0), PHOTOS),
    "squeezenet1_1": (lambda: squeezenet("1_1", 5), from_torchvision("squeezenet1_1", dropout=0.0), PHOTOS),
    "mobilenet_v2": (lambda: mobilenet(5), from_torchvision("mobilenet_v2", dropout=0.0), PHOTOS),
}


SLOW = ("resnet50", "vgg16")
NAMES = [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in NETWORKS]


@pytest.mark.parametrize("name", NAMES)
def test_outputs_and_gradients(name, tmp_path):
    define, make, shape = NETWORKS[name]
    torch.manual_seed(0)
    theirs = define()
    ours = from_file(make, theirs, tmp_path / "weights.safetensors")
    assert list(ours.state_dict()) == list(theirs.state_dict())
    ours, theirs = ours.double(), theirs.double()
    x = torch.randn(*shape, dtype=torch.float64)
    for training in (True, False):  # first what moves the running statistics
        ours.train(training)
        theirs.train(training)
        compare(ours, theirs, x)
    for mine, other in zip(ours.buffers(), theirs.buffers(), strict=True):
        assert_same(mine, other, rtol=1e-9, atol=1e-12)


def compare(ours, theirs, x):
    x = x.clone().requires_grad_()
    mine = to_lampion(x)
    out, expected = ours(mine), theirs(x)
    size = expected.abs().max().item()
    assert_same(out, expected, rtol=1e-7, atol=1e-9 * size)
    weights = torch.linspace(-1, 2, expected.numel(), dtype=torch.float64).reshape(expected.shape) / size
    (out * to_lampion(weights)).sum().backward()
    (expected * weights).sum().backward()
    pairs = zip([mine, *ours.parameters()], [x, *theirs.parameters()], strict=True)
    for parameter, other in pairs:
        # In training, what stands before a normalisation gets gradients that all but vanish in their sum.
        assert_same(
            parameter.grad, other.grad, rtol=1e-6, atol=1e-8 * max(other.grad.abs().max().item(), 1e-3)
        )
    ours.zero_grad()
    theirs.zero_grad()
