"""An adversarial pair with a gradient penalty, and a variational autoencoder, on numbers made by NumPy."""

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

rng = np.random.default_rng(0)


def numbers(*shape):
    return torch.from_numpy(rng.standard_normal(shape).astype("float32"))


def fill(module):
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(numbers(*p.shape) * 0.2)
    return module


G = fill(nn.Sequential(nn.Linear(4, 16), nn.LeakyReLU(0.2), nn.Linear(16, 2)))
D = fill(nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2, inplace=True), nn.Linear(16, 1)))
opt_g = torch.optim.RMSprop(G.parameters(), lr=1e-2)
opt_d = torch.optim.Adam(D.parameters(), lr=1e-2, betas=(0.5, 0.9))
real = numbers(64, 2) * 0.5 + torch.tensor([2.0, -1.0])
for step in range(5):
    fake = G(numbers(64, 4)).detach()
    eps = torch.from_numpy(rng.random((64, 1)).astype("float32"))
    mixed = (eps * real + (1 - eps) * fake).requires_grad_(True)
    (slope,) = torch.autograd.grad(
        outputs=D(mixed), inputs=mixed, grad_outputs=torch.ones(64, 1), create_graph=True, retain_graph=True
    )
    penalty = ((slope.norm(2, dim=1) - 1) ** 2).mean()
    loss_d = D(fake).mean() - D(real).mean() + 10 * penalty
    opt_d.zero_grad()
    loss_d.backward()
    opt_d.step()
    for p in D.parameters():
        p.requires_grad_(False)
    loss_g = -D(G(numbers(64, 4))).mean()
    opt_g.zero_grad()
    loss_g.backward()
    opt_g.step()
    for p in D.parameters():
        p.requires_grad_(True)
    print(f"{step} {loss_d.item():.4f} {loss_g.item():.4f} {penalty.item():.4f}")


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encode = nn.Linear(6, 8)
        self.mu, self.logvar = nn.Linear(8, 2), nn.Linear(8, 2)
        self.decode = nn.ModuleList([nn.Linear(2, 8), nn.Linear(8, 6)])

    def forward(self, x, noise):
        h = torch.relu(self.encode(x))
        mu, logvar = self.mu(h), self.logvar(h)
        z = mu + torch.exp(0.5 * logvar) * noise
        h = F.softplus(self.decode[0](z))
        return torch.sigmoid(self.decode[1](h)), mu, logvar


vae = fill(VAE())
opt = torch.optim.Adagrad(vae.parameters(), lr=0.05)
sched = torch.optim.lr_scheduler.StepLR(opt, step_size=2, gamma=0.5)
x = torch.sigmoid(numbers(32, 6))
for epoch in range(4):
    out, mu, logvar = vae(x, numbers(32, 2))
    bce = F.binary_cross_entropy(out, x, reduction="sum")
    kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())
    loss = bce + kld
    opt.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_value_(vae.parameters(), 5.0)
    opt.step()
    sched.step()
    print(f"{epoch} {loss.item():.3f} {opt.param_groups[0]['lr']:.4f}")
print(vae)
print([name for name, _ in vae.named_parameters()], sum(p.numel() for p in vae.parameters()))
