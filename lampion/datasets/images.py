"""What the datasets of small images share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from lampion.tensor import Tensor, from_numpy, wrap
from lampion.utils.data import Dataset, default_collate


class Images(Dataset):
    """Images with values from 0 to 1, and their labels.

    They are kept as bytes; a batch is made of them at once, and only it becomes float32.

    Args:
        pixels: uint8 (N, C, H, W).
        labels: int64 (N,).
        transform: called with each image.
        target_transform: called with each label.
    """

    classes: tuple[str, ...] = ()

    def __init__(
        self, pixels: Any, labels: Any, transform: Callable[[Tensor], Any] | None = None,
        target_transform: Callable[[Tensor], Any] | None = None,
    ) -> None:  # fmt: skip
        self._pixels = pixels
        self.labels = from_numpy(labels)
        self.transform, self.target_transform = transform, target_transform

    @property
    def targets(self) -> Tensor:
        """The labels, by torchvision's name."""
        return self.labels

    @property
    def data(self) -> Tensor:
        """The bytes of the images: (N, H, W) if they are grey, else (N, C, H, W)."""
        grey = self._pixels.shape[1] == 1
        return from_numpy(self._pixels[:, 0] if grey else self._pixels)

    @cached_property
    def images(self) -> Tensor:
        """All images as float32, (N, C, H, W): four times the memory, from the first use on."""
        return _scaled(self._pixels)

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        label: Any = self.labels[index]  # which says what is wrong with an index
        image: Any = _scaled(self._pixels[int(index)])
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            label = self.target_transform(label)
        return image, label

    def get_batch(self, indices: Sequence[int]) -> Any:
        """The batch of these samples."""
        if self.transform is not None or self.target_transform is not None:
            return default_collate([self[int(i)] for i in indices])
        places = np.asarray(indices, np.int64)
        return [_scaled(self._pixels.take(places, axis=0)), wrap(self.labels._array.take(places))]


def _scaled(pixels: Any) -> Tensor:
    return from_numpy(np.divide(pixels, np.float32(255), dtype=np.float32))
