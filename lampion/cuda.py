"""What scripts ask before they choose a device. Lampion computes on the CPU so far, and says so."""

from __future__ import annotations

__all__ = ["device_count", "empty_cache", "is_available", "manual_seed", "manual_seed_all", "synchronize"]


def is_available() -> bool:
    """Whether tensors can live on a GPU: not yet, so that ``"cuda" if is_available() else "cpu"`` is right.

    >>> import lampion
    >>> lampion.device("cuda" if lampion.cuda.is_available() else "cpu")
    device(type='cpu')
    """
    return False


def device_count() -> int:
    """The number of GPUs that tensors can live on."""
    return 0


def manual_seed(seed: int) -> None:
    """Seed the GPU's generator. There is none: `lampion.manual_seed` seeds the one that there is."""


def manual_seed_all(seed: int) -> None:
    """Seed the generators of all GPUs, of which there are none."""


def synchronize(device: object = None) -> None:
    """Wait until the GPU is done. Without one, everything is done when its function returns."""


def empty_cache() -> None:
    """Give memory back to the GPU's driver. Without one there is nothing to give back."""
