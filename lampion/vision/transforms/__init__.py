"""Images changed before a network sees them: sizes, crops, flips, colours, numbers around 0.

With torchvision's names, for tensors (..., C, H, W), arrays (H, W, C) and Pillow images. What is drawn
comes from Lampion's generator: the same after `lampion.manual_seed(...)` for all three kinds, and in a
`DataLoader` whatever the number of its workers.

| file | what is in it |
|---|---|
| `image.py` | what an image is: sizes, channels, options that many share |
| `geometry.py`, `colour.py`, `conversion.py` | the functions, which `functional` gathers |
| `fixed.py` | transforms that do the same to every image |
| `random_places.py`, `random_colours.py` | transforms that draw: places, and colours |
| `combining.py` | transforms made of transforms |
| `batches.py` | transforms of whole batches |
| `drawing.py` | how all of them draw |
"""

from lampion.vision.transforms import functional
from lampion.vision.transforms.batches import CutMix, MixUp
from lampion.vision.transforms.combining import (
    Collate,
    Compose,
    Lambda,
    RandomApply,
    RandomChoice,
    RandomOrder,
)  # fmt: skip
from lampion.vision.transforms.fixed import (
    CenterCrop,
    ConvertImageDtype,
    Flatten,
    Grayscale,
    Normalize,
    Pad,
    PILToTensor,
    Resize,
    ToPILImage,
    ToTensor,
)  # fmt: skip
from lampion.vision.transforms.image import InterpolationMode
from lampion.vision.transforms.random_colours import ColorJitter, RandomGrayscale
from lampion.vision.transforms.random_places import (
    RandomAffine,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    RandomVerticalFlip,
)  # fmt: skip

__all__ = [
    "CenterCrop", "Collate", "ColorJitter", "Compose", "ConvertImageDtype", "CutMix", "Flatten",
    "Grayscale", "InterpolationMode", "Lambda", "MixUp", "Normalize", "PILToTensor", "Pad", "RandomAffine",
    "RandomApply", "RandomChoice", "RandomCrop", "RandomErasing", "RandomGrayscale", "RandomHorizontalFlip",
    "RandomOrder", "RandomResizedCrop", "RandomRotation", "RandomVerticalFlip", "Resize", "ToPILImage",
    "ToTensor", "functional",
]  # fmt: skip
