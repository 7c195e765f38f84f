"""Rows of Fourier transforms. Complex results are compared, and differentiated, as pairs of real numbers."""

from __future__ import annotations

import numpy as np

import lampion as lp
from lampion.errors import DTypeError, LampionError, ShapeError
from lampion.testing.rows import FLOATS, Bad, Row, call

fft = lp.fft


def ones(*shape):
    return np.ones(shape, np.float32)


def parts(x):
    """The two parts of a complex result."""
    return x.real, x.imag


def theirs(name):
    """NumPy's transform of that name, with PyTorch's names of the arguments."""
    function = HERMITIAN.get(name) or getattr(np.fft, name)
    word = "axes" if name[-1] in "2n" else "axis"

    def transform(x, dim=None, **options):
        return function(x, **options) if dim is None else function(x, **options, **{word: dim})

    return transform


def of_real(name, samples, errors=()):
    """A transform of real numbers into complex ones."""
    ours, numpy = getattr(fft, name), theirs(name)
    return Row(
        f"fft.{name}", lambda x, **o: parts(ours(x, **o)), lambda x, **o: parts(numpy(x, **o)),
        samples=samples, errors=errors, ulps=64,
    )  # fmt: skip


def of_complex(name, samples, errors=(), result=parts):
    """A transform of complex numbers, given by their parts."""
    ours, numpy = getattr(fft, name), theirs(name)
    return Row(
        f"fft.{name}", lambda a, b, **o: result(ours(lp.complex(a, b), **o)),
        lambda a, b, **o: result(numpy(a + 1j * b, **o)),
        samples=samples, errors=errors, ulps=64, dtypes=FLOATS,
    )  # fmt: skip


def to_real(name, samples, errors=()):
    """A transform of complex numbers into real ones."""
    return of_complex(name, samples, errors, lambda x: x)


OTHER = {None: "forward", "backward": "forward", "forward": "backward", "ortho": "ortho"}


def hfftn(x, s=None, axes=(-2, -1), norm=None):
    return np.fft.irfftn(x.conj(), s, axes, OTHER[norm])


def ihfftn(x, s=None, axes=(-2, -1), norm=None):
    return np.fft.rfftn(x, s, axes, OTHER[norm]).conj()


HERMITIAN = {"hfftn": hfftn, "hfft2": hfftn, "ihfftn": ihfftn, "ihfft2": ihfftn}

# -- samples -------------------------------------------------------------------------------------------


def line(d):
    return [call(d(5)), call(d(2, 3), n=4, dim=0, norm="ortho")]


def lines(d):
    return [call(d(5), d(5)), call(d(2, 3), d(2, 3), n=4, dim=0, norm="forward")]


def plane(d):
    return [call(d(3, 4)), call(d(2, 3, 2), s=(3, 4), dim=(1, 0), norm="ortho")]


def planes(d):
    return [call(d(3, 4), d(3, 4)), call(d(2, 3, 2), d(2, 3, 2), s=(2, -1), dim=(2, 0), norm="forward")]


def shifted(d):
    return [call(d(5)), call(d(2, 3, 4), dim=(0, 2))]


BAD = [
    Bad(ShapeError, ones(0), match="invalid number of data points (0)"),
    Bad(LampionError, ones(3), norm="no", match=["no norm 'no'", "ortho"]),
]
NOT_REAL = Bad(DTypeError, np.ones(3, np.complex64), match=["expected real numbers", "complex64"])

TRANSFORMS = [
    of_real("fft", line, BAD),
    of_complex("ifft", lines),
    of_real("rfft", line, [*BAD, NOT_REAL]),
    to_real("irfft", lines),
    to_real("hfft", lines),
    of_real("ihfft", line, [NOT_REAL]),
    of_real("fft2", plane, [Bad(ShapeError, ones(2, 2), s=(2,), match="different lengths")]),
    of_complex("ifft2", planes),
    of_real("rfft2", plane, [Bad(ShapeError, ones(2, 2), dim=(0, 0), match="named once")]),
    to_real("irfft2", planes),
    to_real("hfft2", planes),
    of_real("ihfft2", plane),
    of_real("fftn", plane),
    of_complex("ifftn", planes),
    of_real("rfftn", plane),
    to_real("irfftn", planes),
    to_real("hfftn", planes),
    of_real("ihfftn", plane),
]

HELPERS = [
    Row("fft.fftshift", fft.fftshift, lambda x, dim=None: np.fft.fftshift(x, dim), samples=shifted),
    Row("fft.ifftshift", fft.ifftshift, lambda x, dim=None: np.fft.ifftshift(x, dim), samples=shifted),
    Row("fft.fftfreq", lambda x: x * fft.fftfreq(5, 0.5, dtype=lp.float64).to(x.dtype),
        lambda x: x * np.fft.fftfreq(5, 0.5).astype(x.dtype),
        samples=lambda d: [call(d(5))]),
    Row("fft.rfftfreq", lambda x: x * fft.rfftfreq(6, 0.5, dtype=lp.float64).to(x.dtype),
        lambda x: x * np.fft.rfftfreq(6, 0.5).astype(x.dtype),
        samples=lambda d: [call(d(4))]),
]  # fmt: skip

# -- spectrograms --------------------------------------------------------------------------------------


def weights(n):
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)


def stft(x, n_fft, hop):
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(n_fft // 2,) * 2], "reflect")
    pieces = np.lib.stride_tricks.sliding_window_view(padded, n_fft, -1)[..., ::hop, :]
    out = np.fft.rfft(pieces * weights(n_fft)).swapaxes(-1, -2)
    return np.stack(parts(out), -1)


def our_stft(x, n_fft, hop):
    window = lp.hann_window(n_fft, dtype=x.dtype)
    return lp.stft(x, n_fft, hop, window=window, return_complex=False)


def back_and_forth(x, n_fft, hop):
    window = lp.hann_window(n_fft, dtype=x.dtype)
    return lp.istft(lp.stft(x, n_fft, hop, window=window, return_complex=True), n_fft, hop, window=window,
                    length=x.shape[-1])  # fmt: skip


SPECTROGRAMS = [
    Row("stft", our_stft, stft, dtypes=FLOATS, ulps=256,
        samples=lambda d: [call(d(20), 8, 3), call(d(2, 12), 4, 2)],
        errors=[Bad(ShapeError, ones(3), 8, 2, match="too short to be reflected")]),
    Row("istft", back_and_forth, lambda x, n_fft, hop: x, dtypes=FLOATS, ulps=256,
        samples=lambda d: [call(d(20), 8, 2), call(d(2, 12), 4, 2)],
        not_compiled="looks at values: whether the windows leave gaps"),
]  # fmt: skip

ELSEWHERE = {
    "tests/test_windows.py": {
        "bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window",
    },
}  # fmt: skip

ROWS = TRANSFORMS + HELPERS + SPECTROGRAMS
