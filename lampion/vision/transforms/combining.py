"""Transforms made of transforms. They take, and hand on, as many things as theirs do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Sized
from typing import Any

from lampion import nn
from lampion.errors import DTypeError, OptionError
from lampion.utils.data import default_collate
from lampion.vision.transforms.drawing import chosen, happens, order_of, probability

Transform = Callable[..., Any]


def _listed(name: str, transforms: Any) -> Any:
    """The transforms, if they are some, and functions."""
    example = f"{name}([Resize(32), CenterCrop(28)])"
    if not isinstance(transforms, Iterable):
        fix = f"{name}([{_called(transforms)}])" if callable(transforms) else example
        raise DTypeError(name, "the transforms stand in a list", got=_called(transforms), fix=fix)
    if not isinstance(transforms, Sized):  # an iterator, which one image would use up
        transforms = list(transforms)
    for number, transform in enumerate(transforms):
        if not callable(transform):
            raise DTypeError(name, f"transform {number} is no function", expected="functions of an image",
                             got=_called(transform), fix=example)  # fmt: skip
    return transforms


def _called(transform: Any) -> str:
    """What stands for it in a program, as far as that fits into a line."""
    shown = getattr(transform, "__name__", repr(transform))
    plain = len(shown) <= 60 and "\n" not in shown and "<" not in shown
    return shown if plain else f"{type(transform).__name__}(...)"


def _through(transforms: Sequence[Transform], inputs: tuple[Any, ...]) -> Any:
    """What comes out behind the last of them."""
    several = len(inputs) > 1
    out: Any = inputs if several else inputs[0]
    for transform in transforms:
        out = transform(*out) if several else transform(out)
    return out


class Compose:
    """Several transforms, one after another.

    Args:
        transforms: functions of an image.

    >>> import lampion
    >>> T = lampion.vision.transforms
    >>> T.Compose([T.CenterCrop(2), T.Normalize([0.5], [0.5])])(lampion.ones(1, 4, 4))
    tensor([[[1., 1.],
             [1., 1.]]])
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = _listed("Compose", transforms)

    def __call__(self, *inputs: Any) -> Any:
        return _through(self.transforms, inputs)

    def __repr__(self) -> str:
        lines = "".join(f"    {transform}\n" for transform in self.transforms)
        return f"Compose(\n{lines})"


class Lambda:
    """A function as a transform.

    Args:
        lambd: the function. For workers of a `DataLoader` it stands at the top level of a file.
    """

    def __init__(self, lambd: Transform) -> None:
        if not callable(lambd):
            raise DTypeError("Lambda", "expected a function", got=type(lambd).__name__)
        self.lambd = lambd

    def __call__(self, *inputs: Any) -> Any:
        return self.lambd(*inputs)

    def __repr__(self) -> str:
        return "Lambda()"


class RandomApply(nn.Module):
    """All of the transforms, one after another, or none.

    Args:
        transforms: functions of an image.
        p: the probability of all.
    """

    def __init__(self, transforms: Sequence[Transform], p: float = 0.5) -> None:
        super().__init__()
        self.transforms = _listed("RandomApply", transforms)
        self.p = probability("RandomApply", p)

    def forward(self, *inputs: Any) -> Any:
        return _through(self.transforms if happens(self.p) else (), inputs)

    def __repr__(self) -> str:
        lines = "".join(f"\n    {transform}" for transform in self.transforms)
        return f"RandomApply(\n    p={self.p}{lines}\n)"


class RandomOrder(nn.Module):
    """All of the transforms, in any order.

    Args:
        transforms: functions of an image.
    """

    def __init__(self, transforms: Sequence[Transform]) -> None:
        super().__init__()
        self.transforms = _listed("RandomOrder", transforms)

    def forward(self, *inputs: Any) -> Any:
        return _through([self.transforms[i] for i in order_of(len(self.transforms))], inputs)

    def __repr__(self) -> str:
        lines = "".join(f"\n    {transform}" for transform in self.transforms)
        return f"RandomOrder({lines}\n)"


class RandomChoice(nn.Module):
    """One of the transforms.

    Args:
        transforms: functions of an image.
        p: how probable each is, in shares of their sum; by default all alike.
    """

    def __init__(self, transforms: Sequence[Transform], p: Sequence[float] | None = None) -> None:
        super().__init__()
        transforms = _listed("RandomChoice", transforms)
        shares = [1.0] * len(transforms) if p is None else list(p)
        if len(shares) != len(transforms) or not transforms or min(shares) < 0 or not sum(shares):
            raise OptionError("RandomChoice", "p has a share for each of the transforms",
                              expected=f"{len(transforms)} numbers from 0 on", got=repr(p))  # fmt: skip
        self.transforms, self.p = transforms, p
        self._shares = shares

    def forward(self, *inputs: Any) -> Any:
        return _through([self.transforms[chosen(self._shares)]], inputs)

    def __repr__(self) -> str:
        lines = "".join(f"\n    {transform}" for transform in self.transforms)
        return f"RandomChoice({lines}\n)(p={self.p})"


class Collate:
    """For `DataLoader(collate_fn=...)`: joins the samples, then transforms the batch as a whole.

    Args:
        transform: a function of the batch's images and labels, such as `MixUp`.

    >>> import lampion
    >>> T = lampion.vision.transforms
    >>> join = T.Collate(T.MixUp(num_classes=10))
    >>> images, labels = join([(lampion.rand(1, 4, 4), 3), (lampion.rand(1, 4, 4), 7)])
    >>> images.shape, labels.shape
    ((2, 1, 4, 4), (2, 10))
    """

    def __init__(self, transform: Transform) -> None:
        self.transform = transform

    def __call__(self, samples: Sequence[Any]) -> Any:
        batch = default_collate(samples)
        return self.transform(*batch) if isinstance(batch, list | tuple) else self.transform(batch)

    def __repr__(self) -> str:
        return f"Collate({self.transform})"
