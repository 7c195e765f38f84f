"""Training steps of networks for images: compiled against eager, state and all."""

import numpy as np
import pytest

import lampion as lp
from lampion import nn


def plain():
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU(),
        nn.Dropout(0.3), nn.Flatten(), nn.Linear(48, 3),
    )  # fmt: skip


class Residual(nn.Module):
    """A block with a way around it, and one that halves the size."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 6, 3, padding=1)
        self.first, self.second = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.around = nn.Conv2d(6, 6, 1, stride=2)
        self.down = nn.Conv2d(6, 6, 3, stride=2, padding=1)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.norm(self.second(self.first(x).relu()))
        x = (self.around(x) + self.down(x)).relu()
        return self.head(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


class Turned(nn.Module):
    """What comes out of convolutions is moved, cut, joined and copied in all ways."""

    def __init__(self):
        super().__init__()
        self.up = nn.ConvTranspose2d(2, 4, 2, stride=2)
        self.grouped = nn.Conv2d(4, 4, 3, groups=2, padding=1, padding_mode="reflect")
        self.head = nn.Linear(16, 3)

    def forward(self, x):
        x = self.grouped(self.up(x))
        a, b = x.chunk(2, 1)
        x = lp.cat([b.transpose(2, 3), a * 2], 1)
        x = nn.functional.avg_pool2d(x, 4) + nn.functional.max_pool2d(x, 4)
        return self.head(x[:, :, :2, :2].permute(0, 2, 3, 1).reshape(len(x), -1))


@pytest.mark.parametrize("make", [plain, Residual, Turned])
def test_training(make):
    def trained(compiled):
        lp.manual_seed(0)
        model = make()
        optimizer = lp.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

        def step(x, y):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        run = lp.compile(step) if compiled else step
        generator = np.random.default_rng(1)
        losses = []
        for _ in range(4):
            x = lp.tensor(generator.standard_normal((5, 2, 8, 8)).astype("f4"))
            losses.append(run(x, lp.tensor(generator.integers(0, 3, 5))).item())
        if compiled:
            assert run.explain().fallbacks == run.explain().callouts == 0
        return losses, {name: t.detach().numpy() for name, t in model.state_dict().items()}

    pytest.importorskip("llvmlite", reason="without llvmlite there is no code generator to test")
    (losses, state), (again, after) = trained(False), trained(True)
    # Four steps, with sums in another order in each; a ReLU or a maximum may tip over.
    np.testing.assert_allclose(again, losses, rtol=1e-4)
    assert state.keys() == after.keys()
    for name, value in state.items():
        np.testing.assert_allclose(after[name], value, rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    "layer, shape",
    [
        (nn.Conv1d(4, 8, 3), (0, 4, 9)),
        (nn.Conv2d(1, 8, 3), (0, 1, 9, 10)),
        (nn.Conv2d(8, 2, 3), (0, 8, 9, 10)),
        (nn.Conv2d(32, 32, 3, padding=1), (0, 32, 16, 16)),
        (nn.Conv2d(4, 4, 3, groups=4), (0, 4, 9, 10)),
        (nn.Conv3d(4, 8, 3), (0, 4, 9, 10, 5)),
        (nn.ConvTranspose2d(4, 8, 3, stride=2), (0, 4, 9, 10)),
    ],
    ids=["1d", "one channel", "two outputs", "Winograd", "depthwise", "3d", "transposed"],
)
def test_no_images_are_no_gradients(layer, shape):
    pytest.importorskip("llvmlite", reason="without llvmlite there is no code generator to test")

    @lp.compile
    def step(x):
        loss = layer(x).sum()
        return (loss, *lp.autograd.grad(loss, tuple(layer.parameters())))

    x = lp.zeros(*shape)
    step(x)
    plan = step.explain().plans[0]
    assert plan.callouts == 0
    plan._bound.engine.memory[:] = 255  # what an earlier step may have left: not a number
    for result in step(x):
        assert not result.detach().numpy().any()
