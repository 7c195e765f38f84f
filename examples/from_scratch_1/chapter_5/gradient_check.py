"""Volume 1, chapter 5: back-propagated and numerical gradients agree.

See: for every parameter of a network of two layers the mean difference is about 1e-10 or less. The slow way
cannot be wrong, so the fast way is right. `lampion.testing.gradcheck` asks the same with two evaluations for
each parameter tensor.
"""

import lampion
import lampion.nn.functional as F
from lampion import nn
from lampion.datasets import Digits
from lampion.func import functional_call
from lampion.testing import gradcheck, numerical_grad


def main(hidden: int = 4) -> dict[str, float]:
    lampion.manual_seed(0)
    data = Digits(train=True)
    x, target = data.images[:3].flatten(1).double(), data.labels[:3]
    model = nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, 10)).double()
    names = [name for name, _ in model.named_parameters()]

    def loss(*parameters):
        prediction = functional_call(model, dict(zip(names, parameters, strict=True)), (x,))
        return F.cross_entropy(prediction, target)

    loss(*model.parameters()).backward()
    parameters = [p.detach() for p in model.parameters()]
    by_differences = numerical_grad(loss, parameters)
    differences = {}
    for (name, p), other in zip(model.named_parameters(), by_differences, strict=True):
        differences[name] = (p.grad - other).abs().mean().item()
        print(f"{name}: mean difference {differences[name]:.1e}")
    assert gradcheck(loss, parameters)
    return differences


if __name__ == "__main__":
    main()
