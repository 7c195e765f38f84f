"""Training steps through every family of layers: compiled as eager, without falling back."""

import numpy as np
import pytest

import lampion
from lampion import nn
from lampion.nn.utils import parametrizations

ROWS, LINES, IMAGES, INDICES = (5, 6), (5, 3, 4), (5, 4, 2, 2), (5, 3)


class Tables(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(7, 4, padding_idx=0, scale_grad_by_freq=True)
        self.bags = nn.EmbeddingBag(7, 4)
        self.out = nn.Bilinear(4, 4, 3)

    def forward(self, x):
        return self.out(self.words(x).sum(1), self.bags(x))


def between(*layers, width=8):
    """Layers between two linear ones."""
    return nn.Sequential(nn.Linear(6, 8), *layers, nn.Linear(width, 2))


def before(*layers, width=12):
    """Layers before a linear one."""
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width, 2))


CASES = {
    "layer norm": (lambda: between(nn.LayerNorm(8), nn.GELU()), ROWS),
    "rms norm": (lambda: between(nn.RMSNorm(8), nn.SiLU()), ROWS),
    "group norm": (lambda: between(nn.GroupNorm(2, 8), nn.Mish()), ROWS),
    "instance norm": (
        lambda: before(nn.InstanceNorm1d(3, affine=True, track_running_stats=True), nn.ELU()), LINES,
    ),
    "batch norm": (lambda: before(nn.BatchNorm1d(3), nn.PReLU(3)), LINES),
    "batch norm of all batches": (lambda: between(nn.BatchNorm1d(8, momentum=None)), ROWS),
    "dropout": (lambda: between(nn.SELU(), nn.AlphaDropout(0.3), nn.Dropout(0.5)), ROWS),
    "channel dropout": (lambda: before(nn.Dropout1d(0.3), nn.FeatureAlphaDropout(0.2)), LINES),
    "drawn slopes": (lambda: between(nn.RReLU()), ROWS),
    "gates": (lambda: between(nn.GLU(), nn.Softplus(), nn.LogSigmoid(), width=4), ROWS),
    "padding": (
        lambda: before(nn.ReflectionPad1d(1), nn.CircularPad1d(1), nn.ReplicationPad1d(1), nn.ZeroPad1d(1),
                       width=36), LINES,
    ),
    "images": (lambda: before(nn.LocalResponseNorm(2), nn.PixelShuffle(2), nn.Hardswish(), width=16), IMAGES),
    "in place": (lambda: between(nn.ReLU(inplace=True), nn.Hardtanh(inplace=True)), ROWS),
    "spectral norm": (lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(6, 8))), ROWS),
    "orthogonal": (lambda: nn.Sequential(parametrizations.orthogonal(nn.Linear(6, 8)), nn.Tanh()), ROWS),
    "tables": (Tables, INDICES),
    "short vectors": (lambda: nn.Embedding(7, 4, max_norm=1.0), INDICES),
}  # fmt: skip


def step(model, optimizer, x):
    optimizer.zero_grad()
    loss = (model(x) ** 2).mean()
    loss.backward()
    optimizer.step()
    return loss


@pytest.mark.parametrize("name", CASES)
def test_training(name):
    """A warning, which falling back to eager would give, is an error in these tests."""
    make, shape = CASES[name]
    runs = []
    for function in (step, lampion.compile(step)):
        lampion.manual_seed(3)
        model = make()
        optimizer = lampion.optim.SGD(model.parameters(), lr=0.1)
        losses = []
        for seed in range(3):
            rng = np.random.default_rng(seed)
            x = (
                rng.integers(0, 7, shape)
                if shape is INDICES
                else rng.standard_normal(shape).astype(np.float32)
            )
            losses.append(function(model, optimizer, lampion.tensor(x)).item())
        runs.append((losses, model.state_dict()))
    np.testing.assert_allclose(runs[0][0], runs[1][0], rtol=2e-5)
    for key, expected in runs[0][1].items():
        # Three steps of float32; sums of the compiled step are in another order.
        lampion.testing.assert_close(runs[1][1][key], expected, rtol=1e-3, atol=1e-5, label=key)
