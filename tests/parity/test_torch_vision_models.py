"""ResNet-18 and MobileNetV2's block beside networks of PyTorch's layers with the same definition."""

import pytest

import lampion as lp
from lampion.vision import models

torch = pytest.importorskip("torch")

from both import assert_same, to_lampion  # noqa: E402

tn = torch.nn


class Block(tn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.conv1, self.bn1 = tn.Conv2d(before, after, 3, stride, 1, bias=False), tn.BatchNorm2d(after)
        self.conv2, self.bn2 = tn.Conv2d(after, after, 3, 1, 1, bias=False), tn.BatchNorm2d(after)
        if stride != 1 or before != after:
            self.downsample = tn.Sequential(
                tn.Conv2d(before, after, 1, stride, bias=False), tn.BatchNorm2d(after)
            )

    def forward(self, x):
        out = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(out + (self.downsample(x) if hasattr(self, "downsample") else x))


class ResNet18(tn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv1, self.bn1 = tn.Conv2d(3, 64, 7, 2, 3, bias=False), tn.BatchNorm2d(64)
        for number, (before, after) in enumerate([(64, 64), (64, 128), (128, 256), (256, 512)], 1):
            blocks = Block(before, after, 1 if number == 1 else 2), Block(after, after, 1)
            setattr(self, f"layer{number}", tn.Sequential(*blocks))
        self.fc = tn.Linear(512, classes)

    def forward(self, x):
        x = torch.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for number in range(1, 5):
            x = getattr(self, f"layer{number}")(x)
        return self.fc(x.mean((2, 3)))


def test_resnet18_and_its_gradients(tmp_path):
    torch.manual_seed(0)
    theirs = ResNet18(5).double()
    names = {name: to_lampion(x) for name, x in theirs.state_dict().items()}
    ours = models.resnet18(num_classes=5).double()
    assert list(ours.state_dict()) == list(names)
    lp.save(names, tmp_path / "resnet18.safetensors")
    ours.load_state_dict(lp.load(tmp_path / "resnet18.safetensors"))
    x = torch.randn(2, 3, 24, 20, dtype=torch.float64)
    # In training the statistics are the batch's: of two numbers for each channel, at the end.
    for training in (True, False):
        ours.train(training)
        theirs.train(training)
        out, expected = ours(to_lampion(x)), theirs(x)
        assert_same(out, expected, rtol=1e-7, atol=1e-9)
    expected.square().sum().backward()
    out.square().sum().backward()
    slopes = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        size = slopes[name].grad.abs().max().item()
        assert_same(parameter.grad, slopes[name].grad, rtol=1e-7, atol=1e-9 * max(size, 1.0))


def test_an_inverted_residual():
    torch.manual_seed(0)

    def normed(before, after, taps, groups=1):
        conv = tn.Conv2d(before, after, taps, 1, taps // 2, groups=groups, bias=False)
        return tn.Sequential(conv, tn.BatchNorm2d(after), tn.ReLU6())

    theirs = tn.Module()
    theirs.conv = tn.Sequential(
        normed(4, 24, 1), normed(24, 24, 3, 24), tn.Conv2d(24, 4, 1, bias=False), tn.BatchNorm2d(4)
    )
    theirs.double()
    ours = models.InvertedResidual(4, 4, 1, 6).double()
    ours.load_state_dict({name: to_lampion(x) for name, x in theirs.state_dict().items()})
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    assert_same(ours(to_lampion(x)), x + theirs.conv(x), rtol=1e-9, atol=1e-12)
