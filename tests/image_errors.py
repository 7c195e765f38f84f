"""Calls of image layers that are wrong, and what is said about them: for both libraries, `L` being either.

A row: the call, the kind of Lampion's error, and words of its message (all of them, in order).
"""

import numpy as np

from lampion.errors import DTypeError, IndexRangeError, LampionError, OptionError, ShapeError


def images(L, *shape, **options):
    return L.zeros(*(shape or (2, 3, 5, 5)), **options)


#: By what is wrong.
WRONG = {
    # Sizes of images and filters.
    "a filter larger than the image": (
        lambda L: L.nn.Conv2d(3, 8, 7)(images(L)),
        ShapeError,
        ("conv2d: the filter is larger", "at least (7, 7)", "(5, 5)", "pad more, or use a smaller filter"),
    ),
    "a dilated filter larger than the image": (
        lambda L: L.nn.Conv1d(3, 8, 3, dilation=4)(images(L, 2, 3, 8)),
        ShapeError,
        ("conv1d: the filter is larger", "at least (9,)", "(8,)"),
    ),
    "nothing left of a transposed convolution": (
        lambda L: L.nn.ConvTranspose2d(3, 8, 3, padding=9)(images(L)),
        ShapeError,
        ("conv_transpose2d: nothing is left", "(-11, -11)", "pad less"),
    ),
    "a size that no transposed convolution has": (
        lambda L: L.nn.ConvTranspose2d(3, 8, 3, stride=2)(images(L), output_size=(40, 40)),
        OptionError,
        ("ConvTranspose2d: output_size cannot be had", "from (11, 11) to (12, 12)", "(40, 40)"),
    ),
    "too much output padding": (
        lambda L: L.nn.ConvTranspose2d(3, 8, 3, output_padding=1)(images(L)),
        OptionError,
        ("output_padding must be smaller than stride or dilation", "below 1"),
    ),
    "a window larger than the image": (
        lambda L: L.nn.MaxPool2d(7)(images(L)),
        ShapeError,
        ("max_pool2d: a window is larger", "at least 7 places", "pad more, or use a smaller window"),
    ),
    "a mean over a window larger than the image": (
        lambda L: L.nn.AvgPool3d(7)(images(L, 1, 1, 8, 5, 8)),
        ShapeError,
        ("avg_pool3d: a window is larger",),
    ),
    "fractional windows that do not fit": (
        lambda L: L.nn.FractionalMaxPool2d(3, output_size=4)(images(L)),
        ShapeError,
        ("fractional_max_pool2d: the windows do not fit", "at least (6, 6)", "(5, 5)"),
    ),
    "a ratio that is no number": (
        lambda L: L.nn.FractionalMaxPool3d(1, output_ratio=(0.5, 0.5, "half")),
        OptionError,
        ("FractionalMaxPool3d: output_ratio is not right", "or 3 of them", "'half'"),
    ),
    "a patch larger than the image": (
        lambda L: L.nn.Unfold(7)(images(L)),
        ShapeError,
        ("unfold: a patch is larger", "at least (7, 7)", "(5, 5)"),
    ),
    "columns that make no image": (
        lambda L: L.nn.Fold((5, 5), 3)(images(L, 2, 18, 8)),
        ShapeError,
        ("fold: the columns do not fit", "(N, C * 9, 9)", "(2, 18, 8)"),
    ),
    "a mirror wider than the image": (
        lambda L: L.nn.ReflectionPad2d(5)(images(L)),
        ShapeError,
        ("pad: mode 'reflect'", "a dimension of 5", "at most 4"),
    ),
    "a circle longer than the image": (
        lambda L: L.nn.CircularPad2d(6)(images(L)),
        ShapeError,
        ("pad: mode 'circular'", "at most 5"),
    ),
    "everything cut off": (
        lambda L: L.nn.functional.pad(images(L), (-3, -3)),
        ShapeError,
        ("pad: more is cut off", "-3, -3 of 5"),
    ),
    "an image of no size": (
        lambda L: L.nn.functional.interpolate(images(L), size=0),
        ShapeError,
        ("interpolate: nothing is left", "(0, 0)"),
    ),
    # Channels and dimensions.
    "other channels": (
        lambda L: L.nn.Conv2d(3, 8, 3)(images(L, 2, 1, 5, 5)),
        ShapeError,
        (
            "conv2d: the filters are for another number of channels",
            "3 channels",
            "got: 1",
            "Conv2d(in_channels=1",
        ),
    ),
    "channels at the end": (
        lambda L: L.nn.Conv2d(3, 8, 3)(images(L, 2, 5, 5, 3)),
        ShapeError,
        ("another number of channels", "got: 5", "x.permute(0, 3, 1, 2)"),
    ),
    "channels at the end, without a batch": (
        lambda L: L.nn.Conv2d(3, 8, 3)(images(L, 5, 5, 3)),
        ShapeError,
        ("another number of channels", "x.permute(2, 0, 1)"),
    ),
    "other channels, transposed": (
        lambda L: L.nn.ConvTranspose2d(4, 8, 3)(images(L)),
        ShapeError,
        (
            "conv_transpose2d: the filters are for another",
            "4 channels",
            "got: 3",
            "ConvTranspose2d(in_channels=3",
        ),
    ),
    "no channels": (
        lambda L: L.nn.Conv2d(3, 8, 3)(images(L, 5, 5)),
        ShapeError,
        (
            "conv2d: an argument has another number of dimensions",
            "(N, C, H, W) or (C, H, W)",
            "(5, 5)",
            "unsqueeze",
        ),
    ),
    "a volume for a convolution of images": (
        lambda L: L.nn.Conv2d(3, 8, 3)(images(L, 1, 1, 3, 5, 5)),
        ShapeError,
        ("another number of dimensions",),
    ),
    "an image for a pool along lines": (
        lambda L: L.nn.MaxPool1d(2)(images(L)),
        ShapeError,
        ("max_pool1d: the input has another", "2 or 3"),
    ),
    "groups that do not divide": (
        lambda L: L.nn.Conv2d(3, 8, 3, groups=2),
        OptionError,
        ("Conv2d: in_channels does not fall into equal groups", "a multiple of groups=2", "3"),
    ),
    "a bias for other filters": (
        lambda L: L.nn.functional.conv2d(images(L), images(L, 4, 3, 3, 3), images(L, 3)),
        ShapeError,
        ("conv2d: the bias has one number for each filter", "(4,)", "(3,)"),
    ),
    "normalisation of other channels": (
        lambda L: L.nn.BatchNorm2d(4)(images(L)),
        ShapeError,
        (
            "batch_norm: running_mean has one number for each channel",
            "(3,)",
            "(4,)",
            "BatchNorm2d(num_features=3",
        ),
    ),
    "normalisation of images without places": (
        lambda L: L.nn.BatchNorm2d(3)(images(L, 2, 3)),
        ShapeError,
        ("BatchNorm2d: the input has another number of dimensions", "4", "(2, 3)"),
    ),
    "one number has no variance": (
        lambda L: L.nn.BatchNorm2d(3)(images(L, 1, 3, 1, 1)),
        ShapeError,
        ("batch_norm: one value for each channel has no variance", "a larger batch, or model.eval()"),
    ),
    "one place has no variance": (
        lambda L: L.nn.InstanceNorm2d(3)(images(L, 2, 3, 1, 1)),
        ShapeError,
        ("instance_norm: one value for each channel", "(2, 3, 1, 1)"),
    ),
    "groups of channels that do not divide": (
        lambda L: L.nn.GroupNorm(2, 4)(images(L)),
        ShapeError,
        ("group_norm", "a multiple of 2", "(2, 3, 5, 5)"),
    ),
    "channels that cannot be spread": (
        lambda L: L.nn.PixelShuffle(2)(images(L)),
        ShapeError,
        ("pixel_shuffle", "C * 2**2", "(2, 3, 5, 5)"),
    ),
    "places that cannot be gathered": (
        lambda L: L.nn.PixelUnshuffle(2)(images(L)),
        ShapeError,
        ("pixel_unshuffle", "multiples of 2"),
    ),
    "channels that cannot be shuffled": (
        lambda L: L.nn.ChannelShuffle(2)(images(L)),
        ShapeError,
        ("channel_shuffle", "a multiple of 2"),
    ),
    "indices of other maxima": (
        lambda L: L.nn.MaxUnpool2d(2)(images(L), images(L, 2, 3, 5, 4, dtype=L.int64)),
        ShapeError,
        ("max_unpool2d: there is an index for each number", "return_indices=True"),
    ),
    "indices outside": (
        lambda L: L.nn.MaxUnpool2d(2)(images(L, 1, 1, 2, 2), L.full((1, 1, 2, 2), 99, dtype=L.int64)),
        IndexRangeError,
        ("index 99 is out of range", "0 to 15"),
    ),
    "a grid for another batch": (
        lambda L: L.nn.functional.grid_sample(images(L), images(L, 1, 4, 4, 2), align_corners=False),
        ShapeError,
        ("grid_sample: the grid does not fit", "(N, H', W', 2)", "(1, 4, 4, 2)"),
    ),
    "matrices for no grid": (
        lambda L: L.nn.functional.affine_grid(images(L, 2, 3, 3), (2, 3, 5, 5), align_corners=False),
        ShapeError,
        ("affine_grid",),
    ),
    "a lazy layer's first input": (
        lambda L: L.nn.LazyConv2d(8, 3)(images(L, 5, 5)),
        ShapeError,
        ("LazyConv2d: the input has another number of dimensions", "(N, C, H, W) or (C, H, W)"),
    ),
    # Options.
    "a stride that is no integer": (
        lambda L: L.nn.Conv2d(3, 8, 3, stride=1.5)(images(L)),
        OptionError,
        ("Conv2d: stride is not right", "an integer from 1 on, or 2 of them", "1.5"),
    ),
    "no stride": (
        lambda L: L.nn.Conv2d(3, 8, 3, stride=None)(images(L)),
        OptionError,
        ("Conv2d: stride", "got: None"),
    ),
    "a stride of 0": (
        lambda L: L.nn.Conv2d(3, 8, 3, stride=0)(images(L)),
        OptionError,
        ("Conv2d: stride", "from 1 on", "0"),
    ),
    "a window that is no integer": (
        lambda L: L.nn.MaxPool2d(2.5)(images(L)),
        OptionError,
        ("max_pool2d: kernel_size is not right", "2.5"),
    ),
    "filters of three sizes": (
        lambda L: L.nn.Conv2d(3, 8, (3, 3, 3))(images(L)),
        OptionError,
        ("kernel_size is not right", "2 of them"),
    ),
    "padding below 0": (
        lambda L: L.nn.Conv2d(3, 8, 3, padding=-1)(images(L)),
        OptionError,
        ("padding is not right", "from 0 on"),
    ),
    "padding of more than half a window": (
        lambda L: L.nn.MaxPool2d(2, padding=2)(images(L)),
        OptionError,
        ("max_pool2d: padding is at most half", "up to (1, 1)", "(2, 2)"),
    ),
    "the same size with a stride": (
        lambda L: L.nn.Conv2d(3, 8, 3, 2, "same"),
        OptionError,
        ('padding="same" is for stride 1', "stride (2, 2)"),
    ),
    "an unknown padding": (
        lambda L: L.nn.Conv2d(3, 8, 3, padding="full"),
        OptionError,
        ("the padding is not known", "'full'"),
    ),
    "an unknown padding mode": (
        lambda L: L.nn.Conv2d(3, 8, 3, padding_mode="mirror"),
        OptionError,
        ("the padding mode is not known", "reflect", "'mirror'"),
    ),
    "half a place of padding": (
        lambda L: L.nn.functional.pad(images(L), (1.5, 1)),
        OptionError,
        ("pad says how many", "integers", "(1.5, 1)"),
    ),
    "an odd number of paddings": (
        lambda L: L.nn.functional.pad(images(L), (1,)),
        ShapeError,
        ("pad: expected two numbers for each",),
    ),
    "an unknown way to pad": (
        lambda L: L.nn.functional.pad(images(L), (1, 1), mode="x"),
        LampionError,
        ("there is no such mode", "reflect", "'x'"),
    ),
    "sums divided by nothing": (
        lambda L: L.nn.AvgPool2d(2, divisor_override=0)(images(L)),
        OptionError,
        ("divisor_override", "not 0"),
    ),
    "windows below 0": (
        lambda L: L.nn.AdaptiveAvgPool2d(-1)(images(L)),
        OptionError,
        ("output_size is not right", "from 0 on"),
    ),
    "neither size nor ratio": (
        lambda L: L.nn.FractionalMaxPool2d(2),
        OptionError,
        ("by its size, or by a ratio",),
    ),
    "neither size nor factor": (
        lambda L: L.nn.functional.interpolate(images(L)),
        OptionError,
        ("one of size and scale_factor", "None and None"),
    ),
    "size and factor": (
        lambda L: L.nn.functional.interpolate(images(L), size=3, scale_factor=2),
        OptionError,
        ("3 and 2",),
    ),
    "half a place of size": (
        lambda L: L.nn.functional.interpolate(images(L), size=2.5),
        OptionError,
        ("size is not right", "2.5"),
    ),
    "a mode for volumes": (
        lambda L: L.nn.functional.interpolate(images(L), size=3, mode="trilinear"),
        ShapeError,
        ('mode="trilinear" is for other shapes', "5 dimensions", "(2, 3, 5, 5)"),
    ),
    "an unknown mode": (
        lambda L: L.nn.functional.interpolate(images(L), size=3, mode="lanczos"),
        OptionError,
        ("the mode is not known", "'bicubic'", "'lanczos'"),
    ),
    "corners of nearest neighbours": (
        lambda L: L.nn.functional.interpolate(images(L), size=3, align_corners=True),
        OptionError,
        ("align_corners is for the linear and cubic modes",),
    ),
    "smoothing of nearest neighbours": (
        lambda L: L.nn.functional.interpolate(images(L), size=3, antialias=True),
        OptionError,
        ("antialias is for",),
    ),
    "an unknown mode of a grid": (
        lambda L: L.nn.functional.grid_sample(
            images(L), images(L, 2, 4, 4, 2), mode="x", align_corners=False
        ),
        OptionError,
        ("the mode is not known", "'x'"),
    ),
    "a probability above 1": (
        lambda L: L.nn.Dropout2d(1.5),
        OptionError,
        ("Dropout2d: p is a probability", "0 <= p <= 1", "1.5"),
    ),
    # Types.
    "bytes": (
        lambda L: L.nn.Conv2d(3, 8, 3)(images(L, dtype=L.uint8)),
        DTypeError,
        ("conv2d: input and weight are of different types", "uint8", "x.float() / 255"),
    ),
    "another float": (
        lambda L: L.nn.Conv2d(3, 8, 3)(images(L, dtype=L.float64)),
        DTypeError,
        ("float64 and lampion.float32",),
    ),
    "means of bytes": (
        lambda L: L.nn.AvgPool2d(2)(images(L, dtype=L.uint8)),
        DTypeError,
        ("expected floats", "x.float()"),
    ),
    "normalised integers": (
        lambda L: L.nn.BatchNorm2d(3)(images(L, dtype=L.int64)),
        DTypeError,
        ("expected floats", "x.float()"),
    ),
    "an array": (
        lambda L: L.nn.Conv2d(3, 8, 3)(np.zeros((2, 3, 5, 5), np.float32)),
        DTypeError,
        ("conv2d: an argument is no tensor", "ndarray", "lampion.from_numpy"),
    ),
    "an array, pooled": (
        lambda L: L.nn.functional.fractional_max_pool2d(np.zeros((2, 3, 5, 5)), 2, 2),
        DTypeError,
        ("fractional_max_pool2d: an argument is no tensor", "ndarray", "lampion.from_numpy"),
    ),
    "an array of samples": (
        lambda L: L.nn.functional.fractional_max_pool2d(images(L), 2, 2, _random_samples=np.zeros((2, 3, 2))),
        DTypeError,
        ("fractional_max_pool2d: an argument is no tensor", "ndarray"),
    ),
    "a list": (
        lambda L: L.nn.MaxPool2d(2)([1, 2]),
        DTypeError,
        ("max_pool2d: an argument is no tensor", "list"),
    ),
}
