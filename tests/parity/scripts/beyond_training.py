"""Functional transforms, second-order optimisation, hooks, parametrisation, weight averages, factorisation."""

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad, jacrev, stack_module_state, vmap
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.utils.data import DataLoader, Dataset

rng = np.random.default_rng(1)


def numbers(*shape, dtype=torch.float64):
    return torch.tensor(rng.standard_normal(shape), dtype=dtype)


# An ensemble of networks in one call, and gradients for each sample by itself.
models = [nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double() for _ in range(3)]
for model in models:
    vector_to_parameters(numbers(parameters_to_vector(model.parameters()).numel()) * 0.5, model.parameters())
params, buffers = stack_module_state(models)
x, y = numbers(5, 3), numbers(5, 1)
out = vmap(lambda p, b: functional_call(models[0], (p, b), (x,)))(params, buffers)
print(out.squeeze(-1).detach())
one = dict(models[0].named_parameters())


def loss(p, x, y):
    return ((functional_call(models[0], p, (x,)) - y) ** 2).sum()


each = vmap(grad(loss), in_dims=(None, 0, 0))({k: v.detach() for k, v in one.items()}, x, y)
print({k: tuple(v.shape) for k, v in each.items()}, each["0.bias"][0])
print(jacrev(lambda v: torch.stack([v.prod(), (v**2).sum()]))(torch.tensor([1.0, 2.0, 3.0])))

# A least-squares line by L-BFGS with a closure.
w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
t = torch.linspace(0, 1, 20, dtype=torch.float64)
target = 3 * t - 1 + 0.1 * torch.sin(20 * t)
opt = torch.optim.LBFGS([w], lr=0.5, max_iter=10, line_search_fn="strong_wolfe")


def closure():
    opt.zero_grad()
    error = ((w[0] * t + w[1] - target) ** 2).mean()
    error.backward()
    return error


for _ in range(3):
    print(f"{opt.step(closure).item():.8f}")
print(w.detach())


# Matrix factorisation from a Dataset of one's own.
class Ratings(Dataset):
    def __init__(self):
        self.rows = [(u, i, float((u * i) % 5)) for u in range(6) for i in range(4)]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        u, i, r = self.rows[index]
        return torch.tensor(u), torch.tensor(i), torch.tensor(r, dtype=torch.float64)


class Factors(nn.Module):
    def __init__(self):
        super().__init__()
        self.users, self.items = (
            nn.Embedding(6, 2, dtype=torch.float64),
            nn.Embedding(4, 2, dtype=torch.float64),
        )
        nn.init.constant_(self.users.weight, 0.5)
        nn.init.eye_(self.items.weight)

    def forward(self, u, i):
        return (self.users(u) * self.items(i)).sum(-1)


model = Factors()
shapes = []
handle = model.users.register_forward_hook(lambda module, args, out: shapes.append(tuple(out.shape)))
opt = torch.optim.SGD(
    [{"params": [model.users.weight]}, {"params": [model.items.weight], "lr": 0.05, "weight_decay": 0.01}],
    lr=0.1, momentum=0.9, nesterov=True,
)  # fmt: skip
average = torch.optim.swa_utils.AveragedModel(
    model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
)
for epoch in range(3):
    total = 0.0
    for u, i, r in DataLoader(Ratings(), batch_size=7, drop_last=True):
        opt.zero_grad()
        error = nn.functional.huber_loss(model(u, i), r)
        error.backward()
        opt.step()
        average.update_parameters(model)
        total += error.item()
    print(f"{epoch} {total:.6f}")
handle.remove()
print(shapes[:2], len(shapes), average.module.items.weight.detach())

linear = torch.nn.utils.parametrizations.weight_norm(nn.Linear(3, 2, dtype=torch.float64))
with torch.no_grad():
    for p in linear.parameters():
        p.fill_(0.5)
print(linear(torch.ones(1, 3, dtype=torch.float64)).detach(), sorted(k for k, _ in linear.named_parameters()))
print(
    torch.utils.checkpoint.checkpoint(
        lambda a: (a**2).sum(), torch.ones(3, requires_grad=True), use_reentrant=False
    ).item()
)
