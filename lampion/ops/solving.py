"""Linear systems, inverses, determinants and the exponential: kernels behind `lampion.linalg`."""

from __future__ import annotations

import numpy as np

from lampion.errors import LinAlgError
from lampion.mode import mode
from lampion.ops.complex_numbers import conj, imag, real
from lampion.ops.creation import zeros
from lampion.ops.define import cast_to, kernel
from lampion.ops.elimination import exponential, ldl, ldl_solve, lu, substitute
from lampion.ops.joining import cat
from lampion.ops.matrix import matmul
from lampion.ops.packed import packed
from lampion.ops.reduce import sum
from lampion.ops.shapes import broadcast_shapes
from lampion.ops.triangles import adjoint, diagonal_matrix, lower_part, upper_part
from lampion.ops.views import narrow, unsqueeze
from lampion.primitive import apply


def solution(name, a, b):
    """The shape of X with A X = B."""
    return (*broadcast_shapes(name, [a.shape[:-2], b.shape[:-2]]), *b.shape[-2:])


@kernel(saves="both", public=False)
class substitution:
    """X with A X = B for a triangular A."""

    native = False
    def infer(a, b, upper, unit): return solution("solve_triangular", a, b), b.dtype

    def forward(xp, a, b, upper, unit): return substitute(xp, a, b, upper, unit)

    def vjp(g, a, b, x, upper, unit):
        """gB = A^-T gX; gA = -(that triangle of gB X^T)."""
        back = substitution(a.mT, g, upper=not upper, unit=unit)
        part = upper_part if upper else lower_part
        offset = 0 if not unit else 1 if upper else -1
        return lambda: -part(matmul(back, x.mT), offset), back

    def call(a, b, upper, unit=False): return apply(substitution.primitive, a, b, upper=upper, unit=unit)




@kernel(saves="both", public=False)
class solve_matrix:
    """X with A X = B."""

    native = False
    def infer(a, b): return solution("solve", a, b), b.dtype

    def forward(xp, a, b):
        try:
            return xp.linalg.solve(a, b)
        except xp.linalg.LinAlgError:
            raise singular(xp, "solve", a) from None

    def vjp(g, a, b, x):
        """gB = A^-T gX; gA = -gB X^T."""
        back = solve_matrix(a.mT, g)
        return lambda: -matmul(back, x.mT), back

    def call(a, b): return apply(solve_matrix.primitive, a, b)


@kernel(saves="output", public=False)
class inverse:
    """The inverse of each matrix. Without `strict`, that of a singular one is full of NaNs."""

    native = False
    def infer(a, strict): return a.shape, a.dtype

    def forward(xp, a, strict):
        try:
            return xp.linalg.inv(a)
        except xp.linalg.LinAlgError:
            if strict:
                raise singular(xp, "inverse", a) from None
        bad = lu(xp, a)[2] != 0
        out = xp.linalg.inv(xp.where(bad[..., None, None], xp.eye(a.shape[-1], dtype=a.dtype), a))
        return xp.where(bad[..., None, None], xp.nan, out).astype(a.dtype)

    def vjp(g, y, strict):
        """gA = -Y^T gY Y^T for Y = A^-1."""
        return -matmul(y.mT, matmul(g, y.mT))

    def call(a, strict=True): return apply(inverse.primitive, a, strict=strict)


def singular(xp, name, a):
    """The error about the first singular matrix of a stack."""
    info = lu(xp, a)[2]
    where_ = f" (matrix {int((info != 0).argmax())} of the stack)" if info.ndim else ""
    return LinAlgError(name, f"the matrix is singular: it has no inverse{where_}",
                       got=f"a zero pivot in step {int(info.max())} of the elimination",
                       fix="lampion.linalg.lstsq or pinv give the least-squares solution")  # fmt: skip


@kernel(public=False)
class zero_pivot:
    """The first step (from 1) in which the elimination meets a zero pivot; 0 where it meets none."""

    native = False
    def infer(a): return a.shape[:-2], "int32"
    def forward(xp, a): return lu(xp, a)[2].astype("int32")
    def call(a): return apply(zero_pivot.primitive, a.detach())


@kernel(saves="both", public=False)
class cholesky_solution:
    """X with A X = B, from L with A = L L^H (from U with A = U^H U, if `upper`)."""

    native = False
    analytic = False
    def infer(low, b, upper): return solution("cholesky_solve", low, b), b.dtype

    def forward(xp, low, b, upper):
        high = low if upper else low.conj().mT
        return substitute(xp, high, substitute(xp, high.conj().mT, b, False, False), True, False)

    def vjp(g, low, b, x, upper):
        """gB = A^-1 gX; gL = -(gB X^H + X gB^H) L, of which the other triangle is left in, as in PyTorch."""
        back = cholesky_solution(low, g, upper)
        both = matmul(back, adjoint(x))
        both = both + adjoint(both)
        return lambda: -(matmul(low, both) if upper else matmul(both, low)), back

    def call(low, b, upper): return apply(cholesky_solution.primitive, low, b, upper=upper)


# -- determinants --------------------------------------------------------------------------------------


@kernel(saves="inputs", public=False)
class determinant:
    """The determinant of each matrix."""

    native = False
    def infer(a): return a.shape[:-2], a.dtype
    def forward(xp, a): return xp.asarray(xp.linalg.det(a)).astype(a.dtype)

    def vjp(g, a):
        """gA = g C, where C are the cofactors: det(A) A^-T, and defined where A is singular too."""
        return unsqueeze(unsqueeze(g, -1), -1) * cofactors(a)

    def call(a): return apply(determinant.primitive, a)


@kernel(saves="inputs", public=False)
class cofactors:
    """The derivative of the determinant in each element of a matrix.

    From A = U S V^H they are ``det(U) det(V^H) conj(U) T conj(V^H)`` with T[i] the product of all singular
    values but S[i], which divides by nothing.
    """

    native = False
    def infer(a): return a.shape, a.dtype

    def forward(xp, a):
        if not a.size:
            return xp.zeros_like(a)
        u, s, vh = xp.linalg.svd(a)
        scale = (xp.linalg.det(u) * xp.linalg.det(vh))[..., None] * _all_but_one(xp, s)
        return ((u.conj() * scale[..., None, :]) @ vh.conj()).astype(a.dtype)

    def vjp(g, a):
        """For C = det(A) B, B = A^-T: gA = <gC, C> B - C gC^T B. Where A is singular: `cofactor_slopes`."""
        if mode.trace is None and _any_singular(a._array):
            return cofactor_slopes(g, a)
        c, b = cofactors(a), inverse(a).mT
        inner = sum(sum(g * c, -1, True), -2, True)
        return inner * b - matmul(matmul(c, g.mT), b)

    def call(a): return apply(cofactors.primitive, a)


def _any_singular(a):
    """Whether a matrix is singular, or so near to it that its inverse is not to be trusted."""
    s = np.linalg.svd(a, compute_uv=False)
    return bool(s.size and (s[..., -1] <= s[..., 0] * s.shape[-1] * np.finfo(s.dtype).eps).any())


@kernel(public=False)
class cofactor_slopes:
    """The second derivative of the determinant, applied to G; without dividing, as `cofactors`.

    With X = U^H G V and P[i, j] the product of all singular values but two, it is
    ``det(U) det(V^H) conj(U) (diag(P diag(X)) - P o X^T) V^T``.
    """

    native = False
    def infer(g, a): return a.shape, a.dtype

    def forward(xp, g, a):
        u, s, vh = xp.linalg.svd(a)
        n = a.shape[-1]
        one = xp.eye(n, dtype=bool)
        products = xp.where(one, 0, _all_but_one(xp, xp.where(one, 1, s[..., None, :])))
        x = u.conj().mT @ g @ vh.conj().mT
        middle = -products * x.mT
        middle = middle + one * (products @ xp.diagonal(x, 0, -2, -1)[..., None])
        phase = (xp.linalg.det(u) * xp.linalg.det(vh))[..., None, None]
        return (phase * (u.conj() @ middle @ vh.conj())).astype(a.dtype)

    def call(g, a): return apply(cofactor_slopes.primitive, g, a)


def _all_but_one(xp, s):
    """For each element the product of the others."""
    one = xp.ones_like(s[..., :1])
    before = xp.concatenate([one, xp.cumprod(s[..., :-1], -1)], -1)
    behind = xp.concatenate([one, xp.cumprod(s[..., :0:-1], -1)], -1)[..., ::-1]
    return before * behind


@packed(saves="both")
class sign_and_log:
    """The determinant of each matrix as a sign (a phase) and the logarithm of its size."""

    analytic = False
    def parts(a): return a.shape[:-2], ((), ()), a.dtype

    def forward(xp, a):
        sign, log = xp.linalg.slogdet(a)
        return xp.asarray(sign), xp.asarray(log)

    def vjp(grads, a, outputs):
        """gA = (g_log - i Im(conj(g_sign) sign)) A^-H."""
        weight = real(grads[1])
        if a.dtype.is_complex:
            turn = imag(conj(grads[0]) * outputs[0])
            weight = cast_to(weight, a.dtype) - turn * 1j
        rows = unsqueeze(weight, -1) + zeros(a.shape[-1], dtype=weight.dtype)
        return solve_matrix(adjoint(a), diagonal_matrix(rows))


# -- the exponential -----------------------------------------------------------------------------------


@kernel(saves="inputs", public=False)
class exponential_of:
    """e**A = I + A + A^2 / 2 + ..."""

    native = False
    def infer(a): return a.shape, a.dtype
    def forward(xp, a): return exponential(xp, a)

    def vjp(g, a):
        """The upper right block of exp([[A^T, g], [0, A^T]]).

        Source: R. Mathias, "A chain rule for matrix functions and applications", SIAM J. Matrix Anal. Appl.
        17 (1996).
        """
        n, turned = a.shape[-1], a.mT
        top = cat([turned, g], -1)
        bottom = cat([turned * 0, turned], -1)
        whole = exponential_of(cat([top, bottom], -2))
        return narrow(narrow(whole, -2, 0, n), -1, n, n)

    def call(a): return apply(exponential_of.primitive, a)


# -- pseudo-inverse and LDL ----------------------------------------------------------------------------


@kernel(saves="both", public=False)
class pseudo_inverse:
    """The matrix P with A P A = A, P A P = P, and A P and P A Hermitian.

    Singular values up to max(atol, rtol * the largest) count as 0. hermitian: A is taken to be its own
    adjoint, and only its lower triangle is read.
    """

    native = False
    analytic = False
    def infer(a, atol, rtol, hermitian): return (*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype

    def forward(xp, a, atol, rtol, hermitian):
        if not a.size:
            return xp.zeros((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype)
        if hermitian:
            values, u = xp.linalg.eigh(a)
            v, sizes = u, abs(values)
        else:
            u, values, vh = xp.linalg.svd(a, full_matrices=False)
            v, sizes = vh.conj().mT, values
        kept = sizes > xp.maximum(atol, rtol * sizes.max(-1))[..., None]
        inverse = xp.where(kept, 1 / xp.where(kept, values, 1), 0)
        return ((v * inverse[..., None, :]) @ u.conj().mT).astype(a.dtype)

    def vjp(g, a, atol, rtol, p, hermitian):
        """gA = -P^H g P^H + (I - A P) g^H P P^H + P^H P g^H (I - P A), while the rank stays as it is."""
        ph, gh = adjoint(p), adjoint(g)
        right, left = matmul(gh, matmul(p, ph)), matmul(matmul(ph, p), gh)
        out = right - matmul(a, matmul(p, right)) + left - matmul(matmul(left, p), a)
        return out - matmul(ph, matmul(g, ph)), None, None

    def call(a, atol, rtol, hermitian=False):
        return apply(pseudo_inverse.primitive, a, atol.detach(), rtol.detach(), hermitian=hermitian)


@packed
class ldl_parts:
    """A = L D L^T in one array, the exchanges, and the first zero pivot. See `elimination.ldl`."""

    def parts(a, hermitian): return a.shape[:-2], (a.shape[-2:], a.shape[-1:], ()), a.dtype
    def forward(xp, a, hermitian): return ldl(xp, a, hermitian)


@kernel(public=False)
class ldl_substitution:
    """X with A X = B from the parts of `ldl_parts`."""

    native = False
    def infer(ld, pivots, b, hermitian): return solution("ldl_solve", ld, b), b.dtype
    def forward(xp, ld, pivots, b, hermitian): return ldl_solve(xp, ld, pivots, b, hermitian)

    def call(ld, pivots, b, hermitian):
        return apply(ldl_substitution.primitive, ld, pivots, b, hermitian=hermitian)
