"""Discrete Fourier transforms, under the names of `torch.fft`.

``fft`` sums ``x[j] * e**(-2 pi i j k / n)`` over j; ``ifft`` is its inverse. The `r` forms begin with real
numbers and give the half of the result that is not redundant; `irfft` comes back from there. The `h` forms
are for the opposite case, a signal whose *transform* is real. Each has a form for two dimensions (``2``)
and one for any (``n``).

Arguments of all of them:
    n, s: the length (of each dimension) to cut or to fill with zeros to, first; -1 leaves a length alone.
    dim: the dimension(s) to transform.
    norm: "backward" (the default: 1/n on the way back), "forward" (1/n on the way there), or "ortho"
        (1/sqrt(n) on both).

float32 gives complex64, float64 complex128. All can be differentiated any number of times.
"""

from lampion.fft.helpers import fftfreq, fftshift, ifftshift, rfftfreq
from lampion.fft.transforms import (
    fft,
    fft2,
    fftn,
    hfft,
    hfft2,
    hfftn,
    ifft,
    ifft2,
    ifftn,
    ihfft,
    ihfft2,
    ihfftn,
    irfft,
    irfft2,
    irfftn,
    rfft,
    rfft2,
    rfftn,
)  # fmt: skip

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "hfft2", "hfftn", "ifft", "ifft2", "ifftn",
    "ifftshift", "ihfft", "ihfft2", "ihfftn", "irfft", "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq",
    "rfftn",
]  # fmt: skip
