"""Pictures of what a model makes, epoch by epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lampion.errors import OptionError, ShapeError
from lampion.mode import no_grad
from lampion.ops import cat, stack
from lampion.tensor import Tensor
from lampion.training.callbacks import Callback

if TYPE_CHECKING:
    from lampion.training.trainer import Trainer

__all__ = ["ImagesByEpoch"]


class ImagesByEpoch(Callback):
    """Draws what a model makes after each epoch, and at the end a row of it for each of some epochs.

    The pictures lie in the trainer's folder: ``generated/epoch-001.png``, ``002``..., and ``by_epoch.png``.

    Args:
        make: returns images with values from 0 to 1, as `viz.image_grid` takes them: from the same random
            numbers each time, or nothing can be compared. It is called without gradients, and with the
            trainer's model in evaluation mode.
        title: the beginning of each picture's headline.
        columns: how many images a row of `by_epoch.png` has. With 1, the epochs stand beside each other.
        rows: how many epochs it shows at most.

    >>> import lampion
    >>> from lampion.training import ImagesByEpoch
    >>> generator = lampion.nn.Sequential(lampion.nn.Linear(2, 16), lampion.nn.Unflatten(1, (1, 4, 4)))
    >>> noise = lampion.randn(64, 2)
    >>> callback = ImagesByEpoch(lambda: generator(noise).sigmoid(), "gan")
    """

    order = 50  # before checkpoints, which hold the rows

    def __init__(
        self, make: Callable[[], Tensor], title: str = "", *, columns: int = 12, rows: int = 10
    ) -> None:
        if columns < 1 or rows < 2:
            raise OptionError("ImagesByEpoch", "too few images", expected="columns >= 1 and rows >= 2",
                              got=f"columns={columns}, rows={rows}")  # fmt: skip
        self.make, self.title, self.columns, self.rows = make, title, columns, rows
        self.kept: dict[int, Tensor] = {}  # by epoch

    def on_fit_start(self, trainer: Trainer) -> None:
        if trainer.out is None:
            raise OptionError("ImagesByEpoch", "pictures need a folder", expected="a trainer with out=...")
        if not trainer.resumed:
            self.kept = {}

    def on_epoch_end(self, trainer: Trainer) -> None:
        from lampion import viz

        was_training = trainer.model.training
        trainer.model.eval()
        try:
            with no_grad():
                images = self.make().detach()
        finally:
            trainer.model.train(was_training)
        if images.ndim not in (3, 4):
            raise ShapeError("ImagesByEpoch", "make() returned something else than images",
                             expected="(N, C, H, W) or (N, H, W)", got=str(tuple(images.shape)))  # fmt: skip
        assert trainer.out is not None  # seen to by on_fit_start
        viz.image_grid(images, trainer.out / "generated" / f"epoch-{trainer.epoch:03d}.png",
                       title=f"{self.title}: epoch {trainer.epoch}".lstrip(": "))  # fmt: skip
        self.kept[trainer.epoch] = images[: self.columns].clone()

    def on_fit_end(self, trainer: Trainer) -> None:
        from lampion import viz

        if trainer.completed and self.kept and trainer.out is not None:
            shown = {f"epoch {epoch}": self.kept[epoch] for epoch in spread(sorted(self.kept), self.rows)}
            path, title = trainer.out / "by_epoch.png", f"{self.title}: by epoch".lstrip(": ")
            if self.columns == 1:
                viz.image_rows([cat(list(shown.values()))], path, title=title, columns=list(shown))
            else:
                viz.image_rows(shown, path, title=title)

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": list(self.kept), "images": stack(list(self.kept.values())) if self.kept else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.kept = dict(zip(state["epochs"], state["images"], strict=True)) if state["epochs"] else {}


def spread(epochs: list[int], count: int) -> list[int]:
    """At most so many of the epochs, the first and the last among them: the closer the earlier they are.

    >>> spread(list(range(1, 101)), 6)
    [1, 3, 6, 16, 40, 100]
    """
    if len(epochs) <= count:
        return epochs
    ratio = len(epochs) ** (1 / (count - 1))
    chosen: list[int] = []
    for i in range(count):
        place = max(round(ratio**i) - 1, len(chosen))
        chosen.append(min(place, len(epochs) - 1))
    return [epochs[place] for place in dict.fromkeys(chosen)]
