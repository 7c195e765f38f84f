"""Short-time Fourier transforms, and the window functions that `torch` itself has."""

from __future__ import annotations

import math

from lampion.errors import DTypeError, LampionError, ShapeError
from lampion.ops.complex_numbers import view_as_real
from lampion.ops.creation import zeros
from lampion.ops.define import operation
from lampion.ops.fourier import as_complex, fourier, fourier_of_real, fourier_to_real
from lampion.ops.joining import cat
from lampion.ops.movement import flip, reshape
from lampion.ops.movement import windows as frames_of
from lampion.ops.views import narrow, transpose
from lampion.tensor import Tensor, as_tensor


@operation
def stft(
    input: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
    window: Tensor | None = None, center: bool = True, pad_mode: str = "reflect", normalized: bool = False,
    onesided: bool | None = None, return_complex: bool | None = None, align_to_window: bool | None = None,
):
    """The Fourier transforms of overlapping pieces of a signal.

    Args:
        n_fft: the length of a piece, and of its transform.
        hop_length: from one piece to the next; a quarter of n_fft by default.
        window: weights for each piece (ones by default), of win_length (n_fft by default) numbers, with zeros
            on both sides up to n_fft.
        center: piece t has the point t * hop_length in its middle; for that, the signal is continued on both
            sides as `pad_mode` says: "reflect", "constant" (zeros), "replicate" or "circular".
        normalized: divided by sqrt(n_fft).
        onesided: only the half that is not redundant; by default if signal and window are real.
        return_complex: complex numbers, or pairs of real ones in a last dimension of 2. Must be given for a
            real signal.

    Shape:
        input: (L,) or (B, L); the result: (B, frequencies, pieces), without B for a single signal.
    """
    x = as_tensor(input)
    hop = n_fft // 4 if hop_length is None else hop_length
    length = n_fft if win_length is None else win_length
    is_complex = x.dtype.is_complex or (window is not None and window.dtype.is_complex)
    if not x.dtype.is_inexact or x.ndim not in (1, 2):
        raise ShapeError("stft", "expected a signal, or a stack of them, in floating numbers",
                         got=f"shape {tuple(x.shape)}, {x.dtype}")  # fmt: skip
    if return_complex is None:
        if not is_complex:
            raise LampionError("stft", "say whether the result is to be complex", fix="return_complex=True")
        return_complex = True
    if center and align_to_window is not None:
        raise LampionError("stft", "align_to_window is for center=False only")
    single = x.ndim == 1
    if single:
        x = reshape(x, 1, -1)
    if center:
        x = continued(x, n_fft // 2, pad_mode)
    if align_to_window and length < n_fft:
        side = (n_fft - length) // 2
        x = _within_zeros(x, side, n_fft - length - side)
    _checked("stft", x.shape[-1], n_fft, hop, length, window)
    onesided = not is_complex if onesided is None else onesided
    if onesided and is_complex:
        raise LampionError("stft", "complex signals have no redundant half", fix="onesided=False")
    pieces = frames_of(x, 1, n_fft, hop)  # (B, pieces, n_fft)
    if window is not None or length < n_fft:
        pieces = pieces * _wide(window, length, n_fft, x.dtype)
    norm = "ortho" if normalized else "backward"
    if onesided:
        out = fourier_of_real(pieces, 2, norm)
    else:
        out = fourier(as_complex(pieces), (2,), False, norm)
    out = transpose(out, 1, 2)
    if single:
        out = reshape(out, out.shape[1:])
    return out if return_complex else view_as_real(out)


def _checked(name, have, n_fft, hop, length, window):
    if hop <= 0 or not 0 < length <= n_fft:
        raise LampionError(name, "the lengths do not make sense",
                           expected="hop_length > 0, 0 < win_length <= n_fft",
                           got=f"n_fft={n_fft}, hop_length={hop}, win_length={length}")  # fmt: skip
    if have is not None and n_fft > have:
        raise ShapeError(name, "the signal is shorter than a piece", got=f"{have} points, n_fft={n_fft}")
    if window is not None and tuple(window.shape) != (length,):
        raise ShapeError(name, "the window has another length than win_length", expected=f"({length},)",
                         got=str(tuple(window.shape)))  # fmt: skip


def _wide(window, length, n_fft, dtype):
    """The window with zeros on both sides, up to n_fft."""
    from lampion.ops.creation import ones

    window = ones(length, dtype=dtype.to_real()) if window is None else window
    if length == n_fft:
        return window
    side = (n_fft - length) // 2
    return _within_zeros(window, side, n_fft - length - side)


def _within_zeros(x, before, behind):
    """x with zeros before and behind it, along the last dimension."""
    def nothing(n): return zeros(*x.shape[:-1], n, dtype=x.dtype)
    return cat([nothing(before), x, nothing(behind)], -1)


def continued(x, n, how):
    """x (B, L) with n points more on each side."""
    length = x.shape[-1]
    if not n:
        return x
    if how == "reflect":
        if n >= length:
            raise ShapeError("stft", "the signal is too short to be reflected", got=str(length),
                             expected=f"more than {n} points", fix='pad_mode="constant"')  # fmt: skip
        before, behind = flip(narrow(x, -1, 1, n), -1), flip(narrow(x, -1, length - 1 - n, n), -1)
    elif how == "constant":
        return _within_zeros(x, n, n)
    elif how == "replicate":
        before, behind = (narrow(x, -1, at, 1).expand(x.shape[0], n) for at in (0, length - 1))
    elif how == "circular":
        before, behind = narrow(x, -1, length - n, n), narrow(x, -1, 0, n)
    else:
        raise LampionError("stft", f"there is no padding {how!r}",
                           expected="reflect, constant, replicate or circular")
    return cat([before, x, behind], -1)


@operation
def istft(
    input: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
    window: Tensor | None = None, center: bool = True, normalized: bool = False, onesided: bool | None = None,
    length: int | None = None, return_complex: bool = False,
):
    """The inverse of `stft`: the signal of which the pieces' transforms come closest to these.

    The pieces are transformed back, weighted with the window once more, added where they overlap, and divided
    by the sum of the squared windows there (which must not be 0).

    Args:
        length: cut, or fill with zeros, to this many points.
        return_complex: a complex signal (from transforms that are whole, not one-sided).

    Source: D. Griffin, J. Lim, "Signal estimation from modified short-time Fourier transform", IEEE Trans.
    ASSP 32 (1984).
    """
    x = as_tensor(input)
    if not x.dtype.is_complex or x.ndim not in (2, 3):
        raise DTypeError("istft", "expected the complex result of stft", got=f"{x.dtype}, {tuple(x.shape)}",
                         expected="(frequencies, pieces) or (B, frequencies, pieces)", fix="view_as_complex")
    hop = n_fft // 4 if hop_length is None else hop_length
    size = n_fft if win_length is None else win_length
    _checked("istft", None, n_fft, hop, size, window)
    single = x.ndim == 2
    if single:
        x = reshape(x, 1, *x.shape)
    onesided = (x.shape[1] != n_fft) if onesided is None else onesided
    expected = n_fft // 2 + 1 if onesided else n_fft
    if x.shape[1] != expected or not x.shape[2]:
        raise ShapeError("istft", "the number of frequencies does not fit n_fft", expected=f"{expected}",
                         got=f"shape {tuple(x.shape)}, n_fft={n_fft}, onesided={onesided}")  # fmt: skip
    if return_complex and onesided:
        raise LampionError("istft", "one-sided transforms are those of a real signal", fix="onesided=False")
    norm = "ortho" if normalized else "backward"
    x = transpose(x, 1, 2)  # (B, pieces, frequencies)
    if return_complex:
        pieces = fourier(x, (2,), True, norm)
    else:
        pieces = fourier_to_real(narrow(x, 2, 0, n_fft // 2 + 1), n_fft, 2, norm)
    wide = _wide(window, size, n_fft, x.dtype)
    count = pieces.shape[1]
    total = _overlapped(pieces * wide, hop)
    weights = _overlapped((wide * wide).expand(1, count, n_fft), hop)
    first = n_fft // 2 if center else 0
    whole = n_fft + hop * (count - 1)
    last = (first + length) if length is not None else whole - n_fft // 2 if center else whole
    kept = max(min(last, whole) - first, 0)
    total, weights = narrow(total, -1, first, kept), narrow(weights, -1, first, kept)
    _no_gaps(weights)
    out = total / weights
    if last - first > kept:
        out = cat([out, zeros(out.shape[0], last - first - kept, dtype=out.dtype)], -1)
    return reshape(out, out.shape[1:]) if single else out


def _overlapped(pieces, hop):
    """The sum of pieces (B, count, n), each put `hop` further on.

    Cut into parts as long as a hop, the first parts of all pieces lie one after another, the second ones too,
    one hop later, and so on: so there are only as many additions as parts.
    """
    batch, count, n = pieces.shape
    parts = math.ceil(n / hop)
    total = None
    for i in range(parts):
        part = narrow(pieces, 2, i * hop, min(hop, n - i * hop))
        if part.shape[2] < hop:
            part = cat([part, zeros(batch, count, hop - part.shape[2], dtype=part.dtype)], 2)
        row = _within_zeros(reshape(part, batch, count * hop), i * hop, (parts - 1 - i) * hop)
        total = row if total is None else total + row
    return narrow(total, 1, 0, n + hop * (count - 1))


def _no_gaps(weights):
    """Refuse windows that leave points uncovered. Traces cannot know: there they give inf or NaN."""
    from lampion.mode import mode

    if mode.trace is None and weights.numel() and float(abs(weights._array).min()) < 1e-11:
        raise LampionError("istft", "the windows leave a point of the signal uncovered",
                           expected="a sum of squared windows above 1e-11 everywhere",
                           fix="a smaller hop_length, center=True, or another window")  # fmt: skip


# -- windows -------------------------------------------------------------------------------------------


def _window(name, length, periodic, dtype, device, requires_grad, **options):
    from lampion.signal import windows

    make = getattr(windows, name)
    return make(length, sym=not periodic, dtype=dtype, device=device, requires_grad=requires_grad, **options)


@operation(method=False)
def bartlett_window(
    window_length: int, periodic: bool = True, *, dtype=None, device=None, requires_grad=False,
):
    """`lampion.signal.windows.bartlett`, periodic by default."""
    return _window("bartlett", window_length, periodic, dtype, device, requires_grad)


@operation(method=False)
def blackman_window(
    window_length: int, periodic: bool = True, *, dtype=None, device=None, requires_grad=False,
):
    """`lampion.signal.windows.blackman`, periodic by default."""
    return _window("blackman", window_length, periodic, dtype, device, requires_grad)


@operation(method=False)
def hann_window(window_length: int, periodic: bool = True, *, dtype=None, device=None, requires_grad=False):
    """`lampion.signal.windows.hann`, periodic by default.

    >>> import lampion
    >>> lampion.hann_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    return _window("hann", window_length, periodic, dtype, device, requires_grad)


@operation(method=False)
def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, *, dtype=None,
    device=None, requires_grad=False,
):
    """``alpha - beta cos(t)``, periodic by default."""
    return _window("general_cosine", window_length, periodic, dtype, device, requires_grad, a=(alpha, beta))


@operation(method=False)
def kaiser_window(
    window_length: int, periodic: bool = True, beta: float = 12.0, *, dtype=None, device=None,
    requires_grad=False,
):
    """`lampion.signal.windows.kaiser`, periodic by default."""
    return _window("kaiser", window_length, periodic, dtype, device, requires_grad, beta=beta)


