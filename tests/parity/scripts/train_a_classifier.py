import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

rng = np.random.default_rng(0)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
X = torch.tensor(rng.standard_normal((200, 8)), dtype=torch.float32).to(device)
Y = (X[:, 0] + X[:, 1] > 0).long()


class Net(nn.Module):
    def __init__(self, d, h, k):
        super().__init__()
        self.fc1 = nn.Linear(d, h)
        self.bn = nn.BatchNorm1d(h)
        self.drop = nn.Dropout(0.0)
        self.fc2 = nn.Linear(h, k)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        self.seen += x.shape[0]
        x = self.drop(F.gelu(self.bn(self.fc1(x))))
        return self.fc2(x)


net = Net(8, 32, 2).to(device)
with torch.no_grad():
    for i, p in enumerate(net.parameters()):
        p.copy_(
            torch.from_numpy(np.random.default_rng(i).standard_normal(tuple(p.shape)).astype("float32")) * 0.3
        )
opt = torch.optim.AdamW(net.parameters(), lr=1e-2, weight_decay=1e-2)
sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=10)
crit = nn.CrossEntropyLoss(label_smoothing=0.1)
loader = DataLoader(TensorDataset(X, Y), batch_size=50, shuffle=False)
for epoch in range(10):
    net.train()
    total = 0.0
    for xb, yb in loader:
        opt.zero_grad(set_to_none=True)
        loss = crit(net(xb), yb)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        total += loss.item() * xb.size(0)
    sched.step()
    print(f"epoch {epoch} loss {total / len(X):.5f} lr {sched.get_last_lr()[0]:.6f}")
net.eval()
with torch.no_grad():
    logits = net(X)
    pred = logits.argmax(dim=1)
    acc = (pred == Y).float().mean()
print("accuracy", round(acc.item(), 4), net.seen, net.bn.num_batches_tracked)
print(net)
print(sum(p.numel() for p in net.parameters() if p.requires_grad))
sd = net.state_dict()
print(list(sd.keys()))
other = Net(8, 32, 2)
print(other.load_state_dict(sd))
other.eval()
print(torch.allclose(other(X), logits))
conf = torch.zeros(2, 2, dtype=torch.int64)
for t, p in zip(Y.view(-1), pred.view(-1)):
    conf[t.long(), p.long()] += 1
print(conf, conf.diag() / conf.sum(1))
