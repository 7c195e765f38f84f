"""Images that are changed at random: the same whatever the number of worker processes."""

import sys

import numpy as np
import pytest

import lampion as lp
from lampion.utils.data import DataLoader, Dataset
from lampion.vision import transforms as T

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="as in test_data_workers.py")
Image = pytest.importorskip("PIL.Image")


def halved(image):
    return image / 2


class Pictures(Dataset):
    """Small pictures of Pillow's, through every transform that draws."""

    def __init__(self):
        self.pixels = np.random.default_rng(0).integers(0, 256, (11, 12, 14, 3), np.uint8)
        self.transform = T.Compose([
            T.RandomResizedCrop(10), T.RandomHorizontalFlip(), T.RandomVerticalFlip(),
            T.RandomApply([T.RandomAffine(20, (0.1, 0.1), (0.8, 1.2), 5)]),
            T.RandomChoice([T.RandomRotation(30), T.RandomGrayscale(0.5), T.RandomCrop(10, 2)]),
            T.ColorJitter(0.3, 0.3, 0.3, 0.2), T.ToTensor(), T.Lambda(halved),
            T.RandomErasing(value="random"),
        ])  # fmt: skip

    def __len__(self):
        return len(self.pixels)

    def __getitem__(self, index):
        return self.transform(Image.fromarray(self.pixels[index])), index % 4


MIXED = T.Collate(T.RandomChoice([T.MixUp(num_classes=4), T.CutMix(num_classes=4)]))


def test_the_number_of_workers_changes_nothing():
    def drawn(workers):
        lp.manual_seed(3)
        loader = DataLoader(Pictures(), 4, shuffle=True, num_workers=workers, collate_fn=MIXED,
                            persistent_workers=workers > 0)  # fmt: skip
        return [(images.numpy(), labels.numpy()) for _ in range(2) for images, labels in loader]

    first = drawn(0)
    assert [images.shape for images, _ in first] == [(4, 3, 10, 10), (4, 3, 10, 10), (3, 3, 10, 10)] * 2
    assert len({images.tobytes() for images, _ in first}) == 6  # the second pass draws anew
    for workers in (1, 3):
        for here, there in zip(first, drawn(workers), strict=True):
            np.testing.assert_array_equal(here[0], there[0])
            np.testing.assert_array_equal(here[1], there[1])
