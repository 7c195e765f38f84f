import torch
from torch import nn

torch.set_printoptions(precision=4)


class Exp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, i):
        result = i.exp()
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx, grad_output):
        (result,) = ctx.saved_tensors
        return grad_output * result


x = torch.linspace(-1, 1, 5, requires_grad=True)
y = Exp.apply(x)
y.sum().backward(retain_graph=True)
print(x.grad, y.detach())
x.grad.zero_()
seen = []
h = y.register_hook(lambda g: seen.append(g.clone()))
z = (y**2).mean()
z.backward()
print(seen, z.item())
h.remove()
# indexing
a = torch.arange(24).reshape(2, 3, 4)
print(a[..., -1], a[:, [0, 2]], a[a > 10], a[0, 1:, ::2])
b = torch.zeros(3, 4)
b[1] = 1
b[:, 2] = torch.tensor([5.0, 6.0, 7.0])
b[b > 5] = -1
b[[0, 2], [1, 3]] += 10
print(b)
print(b.masked_fill(b < 0, float("-inf")).softmax(-1))
mask = torch.triu(torch.ones(4, 4), diagonal=1).bool()
print(mask)
q = torch.arange(12.0).reshape(1, 4, 3) / 10
att = torch.einsum("bid,bjd->bij", q, q) / 3**0.5
att = att.masked_fill(mask, float("-inf")).softmax(dim=-1)
print(att @ q)
print(
    *torch.cat([q, q], dim=-1).shape, *torch.stack([q, q]).shape, *q.unsqueeze(0).expand(2, -1, -1, -1).shape
)
v, i = torch.topk(torch.tensor([3.0, 1.0, 4.0, 1.0, 5.0]), 2)
print(v, i)
print(*torch.sort(torch.tensor([3, 1, 2]), descending=True))
m = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
print(torch.linalg.inv(m), torch.linalg.eigvalsh(m), torch.det(m))
print(torch.where(m > 1, m, torch.zeros_like(m)), m.norm(), m.std(), m.var(dim=0, unbiased=False))
print(nn.functional.one_hot(torch.tensor([0, 2, 1]), num_classes=4))
emb = nn.Embedding(5, 3, padding_idx=0)
with torch.no_grad():
    emb.weight.copy_(torch.arange(15.0).view(5, 3))
    emb.weight[0] = 0
out = emb(torch.tensor([[1, 0], [4, 2]]))
out.sum().backward()
print(out.detach(), emb.weight.grad)
w = torch.tensor([1.0, 2.0], requires_grad=True)
print(torch.autograd.functional.hessian(lambda w: (w**3).sum() + w.prod(), w))
print(torch.func.vmap(torch.func.grad(lambda w: (w**3).sum()))(torch.ones(3, 2)))
print(
    torch.tensor(3.5),
    torch.tensor([1e10, 1.0]),
    torch.tensor([True, False]),
    torch.empty(0),
    torch.tensor([1 + 2j]),
)
print(*x.shape, x.device, x.is_leaf, x.requires_grad)
t = torch.ones(2, 2)
t.add_(1).mul_(3).clamp_(max=5)
print(t, t.t(), t.tolist(), t.numpy())
print(torch.chunk(torch.arange(7), 3), torch.split(torch.arange(6), [1, 2, 3]))
print(torch.cumsum(torch.arange(5), 0), torch.arange(5).flip(0), torch.roll(torch.arange(5), 2))
print(torch.bincount(torch.tensor([0, 1, 1, 3])), torch.unique(torch.tensor([3, 1, 1]), return_counts=True))
try:
    torch.ones(2, 3) @ torch.ones(2, 3)
except RuntimeError:
    print("RuntimeError")
