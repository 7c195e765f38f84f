"""Style transfer: a picture painted anew, in the manner of another one.

    lampion train style-transfer --set weights=vgg19.safetensors --set content=me.jpg --set style=waves.jpg

leaves the picture after each round, and all three beside each other (style_transfer.png), in a folder under
runs/. How pictures look is judged by VGG-19, trained on ImageNet. Its weights are not part of Lampion; with
torchvision they are written by

    safetensors.torch.save_file(torchvision.models.vgg19(weights="DEFAULT").state_dict(), "vgg19.safetensors")

`--set random_weights=yes` goes without: a network that has learnt nothing moves colours and coarse texture,
and shows how it works, but the result is not beautiful. Without `content` and `style`, a photograph that
comes with scikit-learn is painted in coloured waves.

The losses are relative, what is missing as a share of what there is to match: so they do not depend on how
large a layer's numbers are. style_weight=1 was chosen with random weights; try others with trained ones.

Source: L. Gatys, A. Ecker, M. Bethge: "Image style transfer using convolutional neural networks" (CVPR 2016);
Deep Learning from Scratch 3, examples.
"""

import time
from typing import Any

import numpy as np

import lampion
from lampion import Tensor, nn, viz
from lampion.errors import LampionError
from lampion.optim import Adam
from lampion.training import Checkpoint, ImagesByEpoch, ProgressBar, Run, StepTrainer
from lampion.vision import transforms
from lampion.vision.models import vgg_features

STEPS = 20  # of a round
STYLE = (1, 6, 11, 20, 29)  # the ReLU after the first convolution of each of VGG-19's five blocks
SMOOTHNESS = 1.0  # the weight of the pixels' variation
CONTENT = 22  # that after the second one of the fourth block


class Features(nn.Module):
    """What VGG-19 sees in images (N, 3, H, W) with values from 0 to 1: the outputs of some of its layers."""

    def __init__(self, weights: str | None) -> None:
        super().__init__()
        self.normalize = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        self.layers = vgg_features(19, weights=weights)[: max(*STYLE, CONTENT) + 1].requires_grad_(False)

    def forward(self, images: Tensor) -> dict[int, Tensor]:
        x, seen = self.normalize(images), {}
        for number, layer in enumerate(self.layers):
            x = layer(x)
            if number in STYLE or number == CONTENT:
                seen[number] = x
        return seen


def gram(features: Tensor) -> Tensor:
    """Which filters answer together, wherever in the picture that is: (N, C, H, W) to (N, C, C)."""
    flat = features.flatten(2)
    return flat @ flat.transpose(1, 2) / flat.shape[2]


def relative(found: Tensor, wanted: Tensor) -> Tensor:
    """The squared distance, as a share of what is wanted."""
    return ((found - wanted) ** 2).sum() / (wanted**2).sum()


def variation(images: Tensor) -> Tensor:
    """How much neighbouring pixels differ, on average: small where a picture is smooth."""
    down, across = images.diff(dim=2), images.diff(dim=3)
    return (down**2).mean() + (across**2).mean()


def prepare(
    lr: float, device: str, compile: bool, weights: str | None = None, random_weights: bool = False,
    content: str | None = None, style: str | None = None, size: int = 256, style_weight: float = 1.0,
    out: Any = None,
) -> tuple[StepTrainer, list[Any], dict[str, Tensor]]:  # fmt: skip
    """The trainer, the steps of a round, and the pictures: content, style and result."""
    if weights is None and not random_weights:
        raise LampionError("style-transfer", "needs the weights of VGG-19, trained on ImageNet",
                           expected="--set weights=FILE.safetensors, with torchvision's names",
                           fix="`lampion recipe style-transfer` says at its top how to get them; "
                               "--set random_weights=yes shows how it works without")  # fmt: skip
    original = photograph(content, size).to(device)
    painting = waves(size).to(device) if style is None else photograph(style, size).to(device)
    features = Features(weights).to(device)
    with lampion.no_grad():
        shapes = features(original)[CONTENT]
        manner = {number: gram(x) for number, x in features(painting).items() if number in STYLE}
    model = nn.ParameterDict({"picture": nn.Parameter(original.clone())})  # what is learnt: its pixels
    picture, optimizer = model["picture"], Adam(model.parameters(), lr=lr)

    def step(_: Tensor) -> dict[str, Tensor]:
        seen = features(picture)
        content_loss = relative(seen[CONTENT], shapes)
        style_loss = lampion.stack([relative(gram(seen[n]), manner[n]) for n in STYLE]).mean()
        rough = variation(picture)
        optimizer.zero_grad()
        (content_loss + style_weight * style_loss + SMOOTHNESS * rough).backward()
        optimizer.step()
        with lampion.no_grad():
            picture.clamp_(0, 1)
        return {"content_loss": content_loss, "style_loss": style_loss, "variation": rough}

    trainer = StepTrainer(
        model, step, {"picture": optimizer}, compile=compile, out=out,
        callbacks=[ProgressBar(), ImagesByEpoch(lambda: picture, "style-transfer", columns=1, rows=6),
                   Checkpoint(every=1, keep=1)],
    )  # fmt: skip
    return trainer, [lampion.zeros(1)] * STEPS, {"content": original, "style": painting, "result": picture}


def photograph(path: str | None, size: int) -> Tensor:
    """The middle of a photograph, as a square: (1, 3, size, size). Without a path, one of scikit-learn's."""
    from PIL import Image
    from sklearn.datasets import load_sample_image

    image = Image.fromarray(load_sample_image("china.jpg")) if path is None else Image.open(path)
    cut = transforms.Compose([transforms.Resize(size), transforms.CenterCrop(size), transforms.ToTensor()])
    return cut(image.convert("RGB"))[None]  # type: ignore[no-any-return]  # as what comes last


def waves(size: int) -> Tensor:
    """Coloured waves: (1, 3, size, size)."""
    y, x = np.mgrid[0 : 3 : size * 1j, 0 : 3 : size * 1j].astype(np.float32)
    swing = 6 * (x + 0.5 * y) + 1.5 * np.sin(3 * y + np.sin(4 * x)) + np.sin(5 * x - 2 * y)
    shades = [0.5 + 0.45 * np.sin(swing + turn) * np.cos(0.7 * swing * k) for turn, k in
              ((0.3, 1.0), (1.2, 0.9), (2.6, 0.6))]  # fmt: skip
    return lampion.from_numpy(np.stack(shades)[None].astype(np.float32))


def train(
    epochs: int = 10, lr: float = 0.02, seed: int = 0, out: str | None = None, resume: bool = False,
    device: str = "cpu", compile: bool = True, weights: str | None = None, random_weights: bool = False,
    content: str | None = None, style: str | None = None, size: int = 256, style_weight: float = 1.0,
) -> dict[str, Any]:  # fmt: skip
    """Paint, and leave a folder (`out`, or a new one under runs/); returns what is in its metrics.json."""
    settings: dict[str, Any] = {
        "epochs": epochs, "lr": lr, "compile": compile, "weights": weights, "random_weights": random_weights,
        "content": content, "style": style, "size": size, "style_weight": style_weight,
    }  # fmt: skip
    lampion.manual_seed(seed)  # random weights are drawn from it
    choices = {name: settings[name] for name in list(settings)[3:]}
    run = Run("style-transfer", seed, out, resume=resume, **settings)
    trainer, steps, pictures = prepare(lr, device, compile, **choices, out=run.folder)
    begun = time.perf_counter()
    history = trainer.fit(steps, epochs=epochs, resume=resume)
    seconds = time.perf_counter() - begun

    history.save(run / "history.csv")
    panels = {"Losses": ["content_loss", "style_loss"]}
    viz.curves(history, run / "curves.png", "style-transfer, by rounds of 20 steps", panels=panels)
    judge = "random weights" if weights is None else "trained weights"
    viz.image_rows([lampion.cat([x.detach() for x in pictures.values()])], run / "style_transfer.png",
                   title=f"style-transfer: {judge}", columns=list(pictures))  # fmt: skip
    last = {name: history[name][-1] for name in panels["Losses"]}
    return run.finish(**last, seconds=round(seconds, 3))


if __name__ == "__main__":
    train()
