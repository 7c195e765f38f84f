"""The gradient penalty of the recipe wgan-gp, and its gradients: of second order, through convolutions."""

import pytest

import lampion as lp
from lampion import nn

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")
pytest.importorskip("matplotlib", reason="matplotlib is not installed: the recipe draws pictures")

from both import assert_same, to_lampion  # noqa: E402

from lampion.recipes import wgan_gp  # noqa: E402


def critic(L):
    """The same critic of either library's layers."""
    return L.Sequential(
        L.Conv2d(1, 4, 5, stride=2, padding=2), L.LeakyReLU(0.2),
        L.Conv2d(4, 6, 3, stride=2, padding=1), L.Softplus(),
        L.Flatten(), L.Linear(6 * 9, 1),
    )  # fmt: skip


@pytest.mark.parametrize("compile", [False, True], ids=["eager", "compiled"])
def test_gradient_penalty(compile):
    torch.manual_seed(0)
    theirs, ours = critic(torch.nn).double(), critic(nn).double()
    ours.load_state_dict({name: to_lampion(p.detach()) for name, p in theirs.state_dict().items()})
    images = torch.rand(5, 1, 12, 12, dtype=torch.float64, requires_grad=True)

    (slope,) = torch.autograd.grad(theirs(images).sum(), images, create_graph=True)
    expected = ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()
    expected.backward()

    def step(x):
        penalty = wgan_gp.gradient_penalty(ours, x)
        penalty.backward()
        return penalty.detach()

    penalty = (lp.compile(step) if compile else step)(to_lampion(images.detach()))
    assert_same(penalty, expected.detach(), rtol=1e-10, atol=1e-12)
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        if name == "5.bias":  # a score that is shifted is as steep as before
            assert p.grad is None or not p.grad.any()
        else:
            assert q.grad.abs().max() > 1e-3
            assert_same(p.grad, q.grad, rtol=1e-9, atol=1e-12)
