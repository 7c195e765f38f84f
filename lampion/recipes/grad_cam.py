"""Where a network looks: the heat of Grad-CAM over digits among scraps of others, or over a photograph.

    lampion train grad-cam

trains a network to say which digit is on a page. Where it lies, nobody says; the heat shows that the network
has found it: `heat_in_the_box` is the share of the heat that lies in the digit's quarter of the page. (Seed
0: 93.6% of 1,000 test pages right; 86% of the heat over 100 others in the box.)

    lampion train grad-cam --set image=zebra.jpg --set weights=vgg16.safetensors

looks at a photograph with VGG-16 instead. Its weights are not part of Lampion; torchvision writes them:

    safetensors.torch.save_file(torchvision.models.vgg16(weights="DEFAULT").state_dict(), "vgg16.safetensors")
"""

import time
from typing import Any

import numpy as np

import lampion
from lampion import Tensor, nn, viz
from lampion.datasets import MNIST
from lampion.errors import LampionError
from lampion.optim import Adam
from lampion.optim.lr_scheduler import OneCycleLR
from lampion.training import Checkpoint, ProgressBar, Run, Trainer
from lampion.training.metrics import Accuracy
from lampion.utils.data import DataLoader, TensorDataset
from lampion.vision import grad_cam, models, transforms


def lay(paper: Any, ink: Any) -> None:
    """Ink on ink is no darker than the darker one."""
    np.maximum(paper, ink, out=paper)


def pages(digits: MNIST, count: int, seed: int) -> list[Tensor]:
    """Pages (count, 1, 56, 56) of a digit and eight scraps of digits; which it is; its upper left corner."""
    chance, images = np.random.default_rng(seed), digits.data.numpy()
    chosen, corners = chance.integers(0, len(images), count), chance.integers(0, 29, (count, 2))
    drawn = np.zeros((count, 1, 56, 56), np.uint8)
    for page, number, (top, left) in zip(drawn[:, 0], chosen, corners, strict=True):
        for scrap in images[chance.integers(0, len(images), 8)]:
            (y, x), (b, r) = chance.integers(4, 17, 2), chance.integers(0, 49, 2)
            lay(page[b : b + 8, r : r + 8], scrap[y : y + 8, x : x + 8])
        lay(page[top : top + 28, left : left + 28], images[number])
    labels = digits.labels[lampion.from_numpy(chosen)]
    return [lampion.from_numpy(drawn).float() / 255, labels, lampion.from_numpy(corners)]


def network() -> nn.Module:
    """The mean over all places comes last: what speaks for a digit is a map, and the map says where."""
    layers: list[nn.Module] = []
    for before, after in ((1, 16), (16, 32), (32, 64), (64, 64), (64, 64)):
        layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if after < 64 else []
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def prepare(
    epochs: int, batch_size: int, lr: float, device: str, compile: bool, out: Any = None
) -> tuple[Trainer, DataLoader, DataLoader]:
    """The trainer, the batches to learn from, and those to test on."""
    images, labels, _ = pages(MNIST(train=True), 12_000, seed=0)
    loader = DataLoader(TensorDataset(images, labels), batch_size, shuffle=True, drop_last=True)
    test = TensorDataset(*pages(MNIST(train=False), 1000, seed=1)[:2])
    model = network().to(device)
    optimizer = Adam(model.parameters(), lr=lr)
    rates = OneCycleLR(optimizer, lr, epochs * len(loader), pct_start=0.2, cycle_momentum=False)
    trainer = Trainer(
        model, nn.CrossEntropyLoss(), optimizer, metrics=[Accuracy()], scheduler=rates,
        callbacks=[ProgressBar(), Checkpoint(every=1, keep=1)], compile=compile, out=out,
    )  # fmt: skip
    return trainer, loader, DataLoader(test, batch_size=500)


def photograph(image: str, weights: str, run: Run) -> dict[str, Any]:
    """The heat of the likeliest class over a photograph, by VGG-16 as torchvision trained it."""
    from PIL import Image

    if not weights:
        raise LampionError("grad-cam", "a photograph needs the weights of VGG-16",
                           fix="--set weights=FILE.safetensors")  # fmt: skip
    begun, model = time.perf_counter(), models.vgg16(weights=weights).eval()
    shape = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()])
    pixels = shape(Image.open(image).convert("RGB")).unsqueeze(0)
    seen = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))(pixels)
    with lampion.no_grad():
        sure, number = model(seen).softmax(1).max(1)
    caption = f"class {number.item()} of ImageNet,\n{sure.item():.0%} sure"
    viz.heat_maps(
        pixels,
        grad_cam(model, model.get_submodule("features.29"), seen),
        run / "heat.png",
        captions=[caption],
    )
    return run.finish(label=number.item(), seconds=round(time.perf_counter() - begun, 3))


def train(
    epochs: int = 8, batch_size: int = 100, lr: float = 5e-3, seed: int = 0, out: str | None = None,
    resume: bool = False, device: str = "cpu", compile: bool = True, image: str = "", weights: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Train, and leave a folder (`out`, or a new one under runs/); returns what is in its metrics.json."""
    settings = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "compile": compile}
    run = Run("grad-cam", seed, out, resume=resume, **settings, image=image, weights=weights)
    if image:
        return photograph(image, weights, run)
    lampion.manual_seed(seed)
    trainer, loader, test = prepare(epochs, batch_size, lr, device, compile, run.folder)
    begun = time.perf_counter()
    history = trainer.fit(loader, test, epochs=epochs, resume=resume)
    seconds = time.perf_counter() - begun

    lampion.save(trainer.model.state_dict(), run / "model.safetensors")
    history.save(run / "history.csv")
    accuracy, loss = history["validation_accuracy"][-1], history["validation_loss"][-1]
    viz.curves(history, run / "curves.png", f"grad-cam, seed {seed}: {accuracy:.1%} of the test pages right")
    found, labels, corners = pages(MNIST(train=False), 100, seed=2)
    *_, last = (layer for layer in trainer.model.modules() if isinstance(layer, nn.ReLU))
    heat = grad_cam(trainer.model, last, found)
    boxes = [h[y : y + 28, x : x + 28] for h, (y, x) in zip(heat, corners.tolist(), strict=True)]
    inside = (lampion.stack(boxes).sum() / heat.sum()).item()
    answers = trainer.predict([found]).argmax(1).tolist()
    captions = [f"is {a}, seen as {b}" for a, b in zip(labels.tolist(), answers, strict=True)]
    viz.heat_maps(found[:12], heat[:12], run / "heat.png", captions=captions[:12])
    metrics = {"test_accuracy": accuracy, "test_loss": loss, "heat_in_the_box": inside}
    return run.finish(**metrics, seconds=round(seconds, 3))


if __name__ == "__main__":
    train()
