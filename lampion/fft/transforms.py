"""The transforms. Those of one and of two dimensions are cases of those of n."""

from __future__ import annotations

from collections.abc import Sequence

from lampion.amp.policy import by_policy
from lampion.errors import DTypeError, LampionError, ShapeError
from lampion.ops.complex_numbers import conj
from lampion.ops.define import to_float
from lampion.ops.fourier import OTHER_WAY, as_complex, fourier, fourier_of_real, fourier_to_real, resized
from lampion.ops.shapes import normalize_dim
from lampion.tensor import Tensor, as_tensor

_Sizes = int | Sequence[int] | None


@by_policy
def fft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The transform along one dimension.

    >>> import lampion
    >>> lampion.fft.fft(lampion.tensor([1.0, 0.0, 0.0, 0.0])).real
    tensor([1., 1., 1., 1.])
    """
    return _complex("fft", input, _one(n), (dim,), norm, inverse=False)


@by_policy
def ifft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `fft`."""
    return _complex("ifft", input, _one(n), (dim,), norm, inverse=True)


@by_policy
def rfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The first ``n // 2 + 1`` entries of the transform of real numbers; the others are their conjugates."""
    return _from_real("rfft", input, _one(n), (dim,), norm)


@by_policy
def irfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `rfft`. The length cannot be told from the half: by default it is the even one."""
    return _to_real("irfft", input, _one(n), (dim,), norm)


@by_policy
def hfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The (real) transform of a signal of which one half is given, the other being its conjugate."""
    return _to_real("hfft", input, _one(n), (dim,), norm, hermitian=True)


@by_policy
def ihfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The inverse of `hfft`: one half of the signal whose transform is real."""
    return _from_real("ihfft", input, _one(n), (dim,), norm, hermitian=True)


@by_policy
def fftn(input: Tensor, s: _Sizes = None, dim: _Sizes = None, norm: str | None = None) -> Tensor:
    """The transform along several dimensions (default: all, or the last ``len(s)``)."""
    return _complex("fftn", input, s, dim, norm, inverse=False)


@by_policy
def ifftn(input: Tensor, s: _Sizes = None, dim: _Sizes = None, norm: str | None = None) -> Tensor:
    """The inverse of `fftn`."""
    return _complex("ifftn", input, s, dim, norm, inverse=True)


@by_policy
def rfftn(input: Tensor, s: _Sizes = None, dim: _Sizes = None, norm: str | None = None) -> Tensor:
    """`rfft` along the last of several dimensions, then `fft` along the others."""
    return _from_real("rfftn", input, s, dim, norm)


@by_policy
def irfftn(input: Tensor, s: _Sizes = None, dim: _Sizes = None, norm: str | None = None) -> Tensor:
    """The inverse of `rfftn`."""
    return _to_real("irfftn", input, s, dim, norm)


def hfftn(input: Tensor, s: _Sizes = None, dim: _Sizes = None, norm: str | None = None) -> Tensor:
    """`fft` along all but the last of several dimensions, then `hfft` along that."""
    return _to_real("hfftn", input, s, dim, norm, hermitian=True)


def ihfftn(input: Tensor, s: _Sizes = None, dim: _Sizes = None, norm: str | None = None) -> Tensor:
    """The inverse of `hfftn`."""
    return _from_real("ihfftn", input, s, dim, norm, hermitian=True)


@by_policy
def fft2(input: Tensor, s: _Sizes = None, dim: _Sizes = (-2, -1), norm: str | None = None) -> Tensor:
    """The transform along two dimensions."""
    return _complex("fft2", input, s, dim, norm, inverse=False)


@by_policy
def ifft2(input: Tensor, s: _Sizes = None, dim: _Sizes = (-2, -1), norm: str | None = None) -> Tensor:
    """The inverse of `fft2`."""
    return _complex("ifft2", input, s, dim, norm, inverse=True)


@by_policy
def rfft2(input: Tensor, s: _Sizes = None, dim: _Sizes = (-2, -1), norm: str | None = None) -> Tensor:
    """`rfftn` along two dimensions."""
    return _from_real("rfft2", input, s, dim, norm)


@by_policy
def irfft2(input: Tensor, s: _Sizes = None, dim: _Sizes = (-2, -1), norm: str | None = None) -> Tensor:
    """The inverse of `rfft2`."""
    return _to_real("irfft2", input, s, dim, norm)


def hfft2(input: Tensor, s: _Sizes = None, dim: _Sizes = (-2, -1), norm: str | None = None) -> Tensor:
    """`hfftn` along two dimensions."""
    return _to_real("hfft2", input, s, dim, norm, hermitian=True)


def ihfft2(input: Tensor, s: _Sizes = None, dim: _Sizes = (-2, -1), norm: str | None = None) -> Tensor:
    """The inverse of `hfft2`."""
    return _from_real("ihfft2", input, s, dim, norm, hermitian=True)


# -- what they have in common --------------------------------------------------------------------------


def _complex(name: str, input: Tensor, s: _Sizes, dim: _Sizes, norm: str | None, inverse: bool) -> Tensor:
    x, sizes, dims = _prepared(name, input, s, dim)
    return fourier(_cut(as_complex(x), sizes, dims), dims, inverse, _norm(name, norm))  # type: ignore[no-any-return]


def _from_real(
    name: str, input: Tensor, s: _Sizes, dim: _Sizes, norm: str | None, hermitian: bool = False
) -> Tensor:
    """Real numbers to the half of their transform; hermitian: to that of its inverse, the conjugates."""
    x, sizes, dims = _prepared(name, input, s, dim)
    if x.dtype.is_complex:
        raise DTypeError(name, "expected real numbers", got=str(x.dtype),
                         fix="use fft (or ifft), or take the real part: x.real")  # fmt: skip
    _some(name, dims)
    norm = _norm(name, norm)
    norm = OTHER_WAY[norm] if hermitian else norm
    out = fourier_of_real(_cut(x, sizes, dims), dims[-1], norm)
    out = fourier(out, dims[:-1], False, norm)
    return conj(out) if hermitian else out  # type: ignore[no-any-return]


def _to_real(
    name: str, input: Tensor, s: _Sizes, dim: _Sizes, norm: str | None, hermitian: bool = False
) -> Tensor:
    """The half of a transform to real numbers; hermitian: a half signal to its real transform."""
    x, sizes, dims = _prepared(name, input, s, dim, last_is_half=True)
    _some(name, dims)
    norm = _norm(name, norm)
    norm = OTHER_WAY[norm] if hermitian else norm
    x = as_complex(x)
    x = _cut(conj(x) if hermitian else x, [*sizes[:-1], sizes[-1] // 2 + 1], dims)
    return fourier_to_real(fourier(x, dims[:-1], True, norm), sizes[-1], dims[-1], norm)  # type: ignore[no-any-return]


def _prepared(
    name: str, input: Tensor, s: _Sizes, dim: _Sizes, last_is_half: bool = False
) -> tuple[Tensor, list[int], list[int]]:
    """The input as floats, the length of each transform, and the dimensions, all checked."""
    x = to_float(as_tensor(input))
    if x.dtype.is_half:
        raise DTypeError(name, "half precision has no transform", got=str(x.dtype), fix="x.float()")
    given = [s] if isinstance(s, int) else None if s is None else list(s)
    if dim is not None:
        dims = [normalize_dim(name, d, x.ndim) for d in ([dim] if isinstance(dim, int) else dim)]
    else:
        dims = list(range(0 if given is None else x.ndim - len(given), x.ndim))
    if not x.ndim and dims:
        raise ShapeError(name, "a 0-d tensor has no dimension to transform", got="shape ()",
                         fix="reshape it to (1,)")  # fmt: skip
    if len(set(dims)) < len(dims) or any(d < 0 for d in dims):
        raise ShapeError(name, "each dimension must exist, and be named once", got=f"s={s}, dim={dim}")
    if given is not None and len(given) != len(dims):
        raise ShapeError(name, "s and dim have different lengths", got=f"s={s}, dim={dim}")
    sizes = [x.shape[d] for d in dims]
    if last_is_half and dims:
        sizes[-1] = 2 * (sizes[-1] - 1)
    if given is not None:
        sizes = [have if n == -1 else n for n, have in zip(given, sizes, strict=True)]
    for n, d in zip(sizes, dims, strict=True):
        if n < 1:
            raise ShapeError(
                name, f"invalid number of data points ({n})", expected="at least one",
                got=f"shape {tuple(x.shape)}, dimension {d}", fix="pass the length: n or s",
            )  # fmt: skip
    return x, sizes, dims


def _one(n: int | None) -> _Sizes:
    return None if n is None else (n,)


def _cut(x: Tensor, sizes: Sequence[int], dims: Sequence[int]) -> Tensor:
    for n, d in zip(sizes, dims, strict=True):
        x = resized(x, n, d)
    return x


def _some(name: str, dims: Sequence[int]) -> None:
    if not dims:
        raise ShapeError(name, "at least one dimension must be transformed", got="dim=()")


def _norm(name: str, norm: str | None) -> str:
    norm = "backward" if norm is None else norm
    if norm not in OTHER_WAY:
        raise LampionError(name, f"there is no norm {norm!r}", expected='"forward", "backward" or "ortho"')
    return norm
