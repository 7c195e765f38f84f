"""What the workloads with images share: counting the work, the same networks for JAX, their targets.

JAX gets its images with the channels last, which its convolutions on processors want; the filters keep
PyTorch's order, which is turned inside of the jitted step.
"""

from __future__ import annotations

from typing import Any

from benchmarks.contenders import TORCH_OPTIM
from benchmarks.harness import Target, Times


def products(images: int, places: int, before: int, after: int, taps: int, passes: int = 3) -> int:
    """Floating-point operations of a convolution in a step: a multiplication and an addition for each tap.

    Args:
        images, places: how many, and how many places of the output each has.
        before, after: channels.
        taps: of a filter, for one channel. Those that look at padding count too, as they do for everybody.
        passes: forward and both gradients; 2 for the first layer, whose input needs none.
    """
    return 2 * passes * images * places * before * after * taps


def jax_convolution(jax: Any, x: Any, w: Any, stride: int = 1, padding: int = 0) -> Any:
    """x (N, H, W, C), w (O, C, R, S)."""
    around = [(padding, padding)] * 2
    return jax.lax.conv_general_dilated(
        x, w, (stride,) * 2, around, dimension_numbers=("NHWC", "OIHW", "NHWC")
    )


def jax_pool(jax: Any, x: Any, kind: str, size: int = 2) -> Any:
    """The greatest of each window, or the mean."""
    window = (1, size, size, 1)
    if kind == "max":
        return jax.lax.reduce_window(x, -jax.numpy.inf, jax.lax.max, window, window, "VALID")
    return jax.lax.reduce_window(x, 0.0, jax.lax.add, window, window, "VALID") / size**2


def jax_batch_norm(jax: Any, x: Any, gain: Any, bias: Any, eps: float = 1e-5) -> Any:
    """In training. Without running statistics, on which no loss here depends: JAX does a bit less."""
    mean = x.mean((0, 1, 2))
    variance = ((x - mean) ** 2).mean((0, 1, 2))
    return (x - mean) * jax.lax.rsqrt(variance + eps) * gain + bias


def jax_images(jax: Any, x: Any) -> Any:
    """(N, C, H, W) with the channels last."""
    return jax.numpy.transpose(x, (0, 2, 3, 1))


def jax_flat(jax: Any, x: Any) -> Any:
    """(N, H, W, C) in rows, in PyTorch's order."""
    return jax.numpy.transpose(x, (0, 3, 1, 2)).reshape(x.shape[0], -1)


def targets(
    times: Times, peak: float, operations: int, against_torch: str, share: str | None = None
) -> list[Target]:
    """What is promised of a step of so many floating-point operations."""
    if "lampion compiled" not in times:
        return []
    reached = operations / (times.us("lampion compiled") * 1e3) / peak
    found = [Target("compiled, share of the FMA peak", reached, share)]
    if best := times.best(TORCH_OPTIM):
        ratio = times.ratio(best, "lampion compiled")
        found.append(Target(f"compiled against {best}", ratio, against_torch, "x"))
    for other in ("jax jit", "lampion eager"):
        if other in times:
            found.append(
                Target(f"compiled against {other}", times.ratio(other, "lampion compiled"), None, "x")
            )
    return found
