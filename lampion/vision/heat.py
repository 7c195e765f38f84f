"""Grad-CAM: where in an image a network saw what it answers."""

from __future__ import annotations

from typing import Any

from lampion import autograd, ops
from lampion.errors import LampionError, ShapeError
from lampion.mode import enable_grad, mode, uncompiled
from lampion.nn import Module
from lampion.nn import functional as F
from lampion.tensor import Tensor, as_tensor


def grad_cam(model: Module, layer: Module, images: Tensor, classes: Any = None) -> Tensor:
    r"""Where in each image a network sees a class: heat from 0 to 1 for every pixel.

    .. math::
        \text{heat} = \text{relu}\Big(\sum_k \overline{\partial s / \partial A_k} \; A_k\Big)

    A are the maps that `layer` puts out, s is the score of the class, and the bar the mean over all places: a
    map counts as much as the score depends on it. The heat is enlarged to the image's size and divided by its
    largest number; it is 0 everywhere where no map speaks for the class.

    Args:
        model: from images to scores, (N, classes); it is run in evaluation mode, and left as it was. Its
            parameters need not ask for gradients.
        layer: a module in it; the last convolution, as a rule: later layers know no places.
        images: (N, C, H, W).
        classes: whose heat: (N,), or one number for all; unless given, what the network answers.

    Shape:
        (N, C, H, W) to (N, H, W).

    Raises:
        ShapeError: images, maps, scores or classes of another shape.
        LampionError: a layer that is not run, or that no gradient reaches; no such class; a call inside
            `inference_mode`.

    Source: R. Selvaraju et al.: "Grad-CAM: visual explanations from deep networks via gradient-based
    localization" (ICCV 2017).

    >>> import lampion
    >>> model = lampion.vision.models.LeNet()
    >>> lampion.vision.grad_cam(model, model.features[3], lampion.rand(2, 1, 28, 28)).shape
    (2, 28, 28)
    """
    if images.ndim != 4:
        raise ShapeError("grad_cam", "these are no images", expected="(N, C, H, W)",
                         got=str(tuple(images.shape)), fix="unsqueeze(0) for a single image")  # fmt: skip
    if mode.inference:
        raise LampionError("grad_cam", "inference_mode records no gradients, and heat is made of them",
                           got="a call inside inference_mode()", fix="no_grad() instead")  # fmt: skip
    with enable_grad(), uncompiled():
        scores, maps = _run(model, layer, images)
        chosen = _chosen(scores, classes)
        (slopes,) = autograd.grad(ops.sum(ops.gather(scores, 1, ops.unsqueeze(chosen, 1))), maps)
    assert slopes is not None  # scores that do not depend on the maps were an error above
    weights = ops.mean(slopes, (2, 3), keepdim=True)
    heat = ops.relu(ops.sum(weights * maps.detach(), 1, keepdim=True))
    heat = F.interpolate(heat, tuple(images.shape[2:]), mode="bilinear", align_corners=False)
    largest = ops.amax(heat, (1, 2, 3), keepdim=True)
    out: Tensor = ops.squeeze(heat / ops.where(largest > 0, largest, 1.0), 1)
    return out


def _run(model: Module, layer: Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """The scores, and the maps that they were computed from: where the tape begins."""
    found: list[Any] = []

    def keep(module: Module, inputs: Any, output: Any) -> Any:
        """What comes next goes on with a copy: an in-place ReLU, say, would overwrite the maps."""
        if not isinstance(output, Tensor) or not output.dtype.is_floating_point:
            found.append(output)
            return None
        found.append(output.detach().requires_grad_())  # by itself: nothing before the layer matters
        return found[-1].clone()

    handle = layer.register_forward_hook(keep)
    modes = [(part, part.training) for part in model.modules()]
    try:
        model.eval()
        scores = model(images)
    finally:
        handle.remove()
        for part, training in modes:
            part.training = training
    if not found:
        raise LampionError("grad_cam", "the layer was not run", got=type(layer).__name__,
                           expected="a module within the model", fix="model.features[-1], say")  # fmt: skip
    maps = found[-1]
    if not isinstance(maps, Tensor) or maps.ndim != 4:
        raise ShapeError("grad_cam", "the layer puts out no maps", expected="(N, channels, height, width)",
                         got=str(tuple(maps.shape)) if isinstance(maps, Tensor) else type(maps).__name__,
                         fix="a convolution, before all is flattened")  # fmt: skip
    if not maps.requires_grad or not scores.requires_grad:
        raise LampionError("grad_cam", "no gradient reaches the layer", got=f"{maps.dtype} maps",
                           expected="scores that are computed from its maps, with gradients",
                           fix="no detach() or no_grad() behind the layer, and no integers")  # fmt: skip
    if scores.ndim != 2:
        raise ShapeError("grad_cam", "the model does not score classes", expected="(N, classes)",
                         got=str(tuple(scores.shape)))  # fmt: skip
    return scores, maps


def _chosen(scores: Tensor, classes: Any) -> Tensor:
    """(N,): the class of each image."""
    if classes is None:
        return ops.argmax(scores, 1)
    chosen = as_tensor(classes) if not isinstance(classes, int) else ops.full((len(scores),), classes)
    count = scores.shape[1]
    if tuple(chosen.shape) != (len(scores),) or chosen.dtype.is_floating_point:
        raise ShapeError("grad_cam", "there is one class for each image",
                         expected=f"({len(scores)},) whole numbers",
                         got=f"{tuple(chosen.shape)} {chosen.dtype}")  # fmt: skip
    if len(scores) and not 0 <= int(chosen.min()) <= int(chosen.max()) < count:
        raise LampionError("grad_cam", "there is no such class", expected=f"0 to {count - 1}",
                           got=f"{int(chosen.min())} to {int(chosen.max())}")  # fmt: skip
    return chosen
