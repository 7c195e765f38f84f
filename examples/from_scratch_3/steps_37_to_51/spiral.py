"""Volume 3, steps 48-50: three arms of a spiral, by a Dataset and a DataLoader, and the lines between them.

See: no straight line parts the arms; a network of two layers bends its lines around them. The Dataset says
what sample i is, the DataLoader shuffles and makes batches, and the loop does not care where the data comes
from.
"""

from pathlib import Path

import lampion
import lampion.nn.functional as F
from lampion import Tensor, nn, optim
from lampion.utils.data import DataLoader, Dataset
from lampion.viz import canvas


class Arms(Dataset):
    """Three spiral arms with `count` points each: (x, y), and the number of the arm."""

    def __init__(self, count: int = 100, arms: int = 3) -> None:
        radius = lampion.arange(count) / count
        self.target = lampion.arange(arms).repeat_interleave(count)
        angle = 4 * (radius.repeat(arms) + self.target) + 0.2 * lampion.randn(arms * count)
        self.points = lampion.stack([angle.sin(), angle.cos()], dim=1) * radius.repeat(arms).unsqueeze(1)

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.points[index], self.target[index]


def main(out: str = "runs/examples", epochs: int = 300, hidden: int = 10) -> dict[str, float]:
    lampion.manual_seed(0)
    data = Arms()
    model = nn.Sequential(nn.Linear(2, hidden), nn.Sigmoid(), nn.Linear(hidden, 3))
    optimizer = optim.Adam(model.parameters(), lr=0.03)

    @lampion.compile
    def step(x: Tensor, target: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(epochs):
        losses = [step(x, target).item() for x, target in DataLoader(data, batch_size=30, shuffle=True)]
    loss = sum(losses) / len(losses)

    side = lampion.linspace(-1.1, 1.1, 200)
    with canvas.style(), lampion.no_grad():
        accuracy = (model(data.points).argmax(1) == data.target).float().mean().item()
        plane = model(lampion.cartesian_prod(side, side)).argmax(1).reshape(200, 200).T
        picture = canvas.figure(5.4, 5)
        axes = picture.subplots()
        colors = ("#0072b2", "#d55e00", "#009e73")
        axes.contourf(
            side.numpy(), side.numpy(), plane.numpy(), levels=[-0.5, 0.5, 1.5, 2.5], colors=colors, alpha=0.25
        )
        for arm, color in enumerate(colors):
            axes.scatter(*data.points[data.target == arm].T.numpy(), s=14, color=color)
        axes.set(title=f"{accuracy:.1%} right", xlabel="x", ylabel="y", aspect="equal")
        axes.grid(False)
        canvas.save(picture, Path(out) / "spiral.png")
    print(f"loss {loss:.4f}, {accuracy:.1%} right")
    return {"loss": loss, "accuracy": accuracy}


if __name__ == "__main__":
    main()
