"""Ready-made parametrizations: see `parametrize`."""

from __future__ import annotations

from typing import Any

from lampion import ops
from lampion.errors import LampionError, OptionError, ShapeError
from lampion.mode import no_grad
from lampion.nn import functional as F
from lampion.nn.functional.distances import p_norm
from lampion.nn.module import Module
from lampion.nn.utils.parametrize import register_parametrization
from lampion.ops.shapes import normalize_dim
from lampion.tensor import Tensor

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


def _tensor(name: str, module: Module, tensor_name: str) -> Tensor:
    tensor = getattr(module, tensor_name, None)
    if not isinstance(tensor, Tensor):
        raise LampionError(name, f"there is no tensor {tensor_name!r}", got=type(module).__name__,
                           expected="the name of a parameter or buffer of the module")  # fmt: skip
    return tensor


# -- weight norm -------------------------------------------------------------------------------------------


def norm_except(x: Tensor, dim: int) -> Tensor:
    """The length of each slice along `dim`, with the other dimensions kept; -1 stands for the whole."""
    if dim == -1:
        return p_norm(x, 2.0, tuple(range(x.ndim)))
    return p_norm(x, 2.0, tuple(a for a in range(x.ndim) if a != dim), True)


class _WeightNorm(Module):
    """g * v / |v|."""

    def __init__(self, dim: int | None) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / norm_except(weight_v, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The lengths and the weight itself."""
        return norm_except(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Learn a weight as lengths and directions: ``g * v / |v|``.

    Args:
        module: the layer.
        name: which of its tensors.
        dim: the dimension along which each slice has a length of its own; None for one length in all.

    Source: T. Salimans, D. Kingma: "Weight normalization" (NeurIPS 2016).

    >>> import lampion
    >>> layer = lampion.nn.utils.parametrizations.weight_norm(lampion.nn.Linear(4, 3))
    >>> layer.parametrizations.weight.original0.shape, layer.parametrizations.weight.original1.shape
    ((3, 1), (3, 4))
    """
    weight = _tensor("weight_norm", module, name)
    if dim is not None and dim != -1:
        dim = normalize_dim("weight_norm", dim, weight.ndim)
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)
    return module


# -- spectral norm -----------------------------------------------------------------------------------------


class _SpectralNorm(Module):
    """The weight, divided by its largest singular value, which is followed by power iteration."""

    _u: Tensor
    _v: Tensor

    def __init__(self, weight: Tensor, n_power_iterations: int, dim: int, eps: float) -> None:
        super().__init__()
        if n_power_iterations < 1:
            raise OptionError("spectral_norm", "n_power_iterations is a positive number",
                              got=str(n_power_iterations))  # fmt: skip
        self.dim = normalize_dim("spectral_norm", dim, weight.ndim)
        self.eps = eps
        self.n_power_iterations = n_power_iterations
        if weight.ndim > 1:
            matrix = self._as_matrix(weight.detach())
            rows, columns = matrix.shape
            for label, size in (("_u", rows), ("_v", columns)):
                start = ops.randn(size, dtype=weight.dtype)
                self.register_buffer(label, F.normalize(start, dim=0, eps=eps))
            self._iterate(matrix, 15)

    def _as_matrix(self, weight: Tensor) -> Tensor:
        """A row for each slice along `dim`."""
        order = (self.dim, *(a for a in range(weight.ndim) if a != self.dim))
        return ops.flatten(ops.permute(weight, order), 1)

    def _iterate(self, matrix: Tensor, count: int) -> None:
        with no_grad():
            matrix = matrix.detach()
            u, v = self._u, self._v
            for _ in range(count):
                u = F.normalize(ops.mv(matrix, v), dim=0, eps=self.eps)
                v = F.normalize(ops.mv(matrix.T, u), dim=0, eps=self.eps)
            self._u.copy_(u)
            self._v.copy_(v)

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = self._as_matrix(weight)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        # Copies: a second forward pass may overwrite the vectors before the first one's backward pass.
        u, v = self._u.clone(), self._v.clone()
        return weight / ops.dot(u, ops.mv(matrix, v))

    def right_inverse(self, value: Tensor) -> Tensor:
        """The value: one that is taken to be of the norm already."""
        return value


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12,
    dim: int | None = None,
) -> Module:  # fmt: skip
    """Divide a weight by its largest singular value, each time it is read.

    Args:
        module: the layer.
        name: which of its tensors.
        n_power_iterations: how many steps, in training, follow the singular value as the weight learns.
        eps: keeps divisions away from 0.
        dim: the dimension of the outputs; by default 0, and 1 for transposed convolutions.

    Source: T. Miyato et al.: "Spectral normalization for generative adversarial networks" (ICLR 2018).
    """
    weight = _tensor("spectral_norm", module, name)
    if dim is None:
        dim = 1 if type(module).__name__.startswith("ConvTranspose") else 0
    return register_parametrization(
        module, name, _SpectralNorm(weight, n_power_iterations, dim, eps)
    )  # fmt: skip


# -- orthogonal --------------------------------------------------------------------------------------------

MAPS = ("matrix_exp", "cayley", "householder")


class _Orthogonal(Module):
    """An orthogonal matrix from any matrix X: of the skew-symmetric ``X - X.T``, or by reflections."""

    base: Tensor | None

    def __init__(self, weight: Tensor, orthogonal_map: str, use_trivialization: bool) -> None:
        super().__init__()
        self.shape = tuple(weight.shape)
        self.orthogonal_map = orthogonal_map
        self.use_trivialization = use_trivialization
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, x: Tensor) -> Tensor:
        from lampion import linalg

        wide = x.shape[-2] < x.shape[-1]
        if wide:
            x = x.mT
        n, k = x.shape[-2:]
        if self.orthogonal_map == "householder":
            a = ops.tril(x, -1)
            tau = 2.0 / (1.0 + ops.sum(a * a, -2))
            q = linalg.householder_product(a, tau)
            signs = ops.trunc(ops.diagonal(x, 0, -2, -1).detach())
            q = q * ops.unsqueeze(signs, -2)  # the diagonal is 1 and -1, and does not learn
        else:
            x = ops.tril(x)
            if n != k:
                x = ops.cat([x, ops.zeros(*x.shape[:-1], n - k, dtype=x.dtype)], -1)
            a = x - x.mH
            q = linalg.matrix_exp(a) if self.orthogonal_map == "matrix_exp" else _cayley(a)
            if n != k:
                q = q[..., :k]
        if self.use_trivialization and self.base is not None:
            q = self.base @ q
        return q.mT if wide else q

    def right_inverse(self, value: Tensor) -> Tensor:
        """The X of an orthogonal matrix; what is not orthogonal is first made so."""
        from lampion import linalg

        if tuple(value.shape) != self.shape:
            raise ShapeError("orthogonal", "the matrix has another shape", expected=str(self.shape),
                             got=str(tuple(value.shape)))  # fmt: skip
        with no_grad():
            wide = value.shape[-2] < value.shape[-1]
            q = value.mT if wide else value
            n, k = q.shape[-2:]
            if not self.use_trivialization:
                if self.orthogonal_map != "householder":
                    raise NotImplementedError("matrix_exp and cayley have no inverse without trivialization")
                a, tau = ops.geqrf(q)
                signs = ops.sign(ops.diagonal(a, 0, -2, -1))
                signs = ops.where(tau == 0, -signs, signs)
                inner = ops.arange(n).unsqueeze(1) == ops.arange(k)
                a = ops.where(inner, ops.unsqueeze(signs, -2), a)
                return a.mT if wide else a
            if n != k:
                q = ops.cat([q, ops.randn(*q.shape[:-1], n - k, dtype=q.dtype)], -1)
            if n != k or not _is_orthogonal(q):
                q, r = linalg.qr(q)
                q = q * ops.unsqueeze(ops.sgn(ops.diagonal(r, 0, -2, -1)), -2)
            self.base = q.clone()
            rows, columns = value.shape[-2:]
            diagonal = ops.arange(rows).unsqueeze(1) == ops.arange(columns)
            return ops.zeros_like(value) - ops.cast(diagonal, value.dtype)


def _cayley(a: Tensor) -> Tensor:
    """(1 + a / 2) / (1 - a / 2): orthogonal, if a is skew-symmetric."""
    from lampion import linalg

    eye = ops.cast(ops.eye(a.shape[-1]), a.dtype)
    return linalg.solve(eye - a * 0.5, eye + a * 0.5)


def _is_orthogonal(q: Tensor) -> bool:
    size = q.shape[-1]
    # 10 times what rounding makes of each sum of `size` products.
    allowed: Any = 10.0 * size * (1e-7 if q.dtype.itemsize <= 4 else 1e-15)
    off = ops.abs(q.mH @ q - ops.cast(ops.eye(size), q.dtype))
    return bool((off <= allowed).all().item())


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """Keep a matrix orthogonal: its columns (or rows, if they are fewer) are of length 1, and square.

    Args:
        module: the layer.
        name: which of its tensors; of more dimensions, each matrix in the last two.
        orthogonal_map: how: "matrix_exp" or "cayley" of a skew-symmetric matrix, or "householder", a product
            of reflections. By default matrix_exp for square matrices, and householder for others.
        use_trivialization: learn the way from the matrix that there is, rather than from 1; needed for
            assigning a matrix, unless the map is "householder".

    Source: M. Lezcano-Casado: "Trivializations for gradient-based optimization on manifolds" (NeurIPS 2019).
    """
    weight = _tensor("orthogonal", module, name)
    if weight.ndim < 2:
        raise ShapeError("orthogonal", "expected a matrix", got=str(tuple(weight.shape)))
    if orthogonal_map is None:
        square = weight.shape[-1] == weight.shape[-2] or weight.dtype.is_complex
        orthogonal_map = "matrix_exp" if square else "householder"
    if orthogonal_map not in MAPS:
        raise OptionError(
            "orthogonal", "the map is not known", expected=", ".join(MAPS), got=repr(orthogonal_map)
        )
    if orthogonal_map == "householder" and weight.dtype.is_complex:
        raise OptionError("orthogonal", "reflections are for real matrices", got=str(weight.dtype))
    made = _Orthogonal(weight, orthogonal_map, use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)
