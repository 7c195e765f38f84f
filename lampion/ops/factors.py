"""Factorisations of matrices: kernels behind `lampion.linalg`, with their gradients.

What a triangular, unitary or diagonal factor may do when its matrix moves a little is constrained (a
rotation stays a rotation), and the gradients are projections onto those constraints. Each rule states its
formula: X^H is X transposed and conjugated, gX the gradient of X, I the identity.

Sources: M. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation" (2008); S. Walter, L. Lehmann, "Algorithmic differentiation of linear algebra functions"
(arXiv:1001.1654).
"""

from __future__ import annotations

from lampion import dtype as dtypes
from lampion.errors import GradientError, LinAlgError
from lampion.ops.complex_numbers import conj, imag, real
from lampion.ops.creation import arange
from lampion.ops.define import cast_to, kernel
from lampion.ops.elementwise import eq, where
from lampion.ops.elimination import lu, order_of
from lampion.ops.joining import cat
from lampion.ops.matrix import matmul
from lampion.ops.movement import diagonal
from lampion.ops.packed import packed
from lampion.ops.solving import solve_matrix, substitution
from lampion.ops.triangles import (
    adjoint,
    converged,
    half_diagonal,
    lower_part,
    scaled_columns,
    scaled_rows,
    upper_part,
    with_diagonal,
)  # fmt: skip
from lampion.ops.views import narrow, unsqueeze
from lampion.primitive import apply

# -- Cholesky ------------------------------------------------------------------------------------------


@packed(saves="output")
class cholesky_parts:
    """A = L L^H; and the order of the first leading minor that is not positive, or 0."""

    analytic = False
    def parts(a, upper, strict): return a.shape[:-2], (a.shape[-2:], ()), a.dtype

    def forward(xp, a, upper, strict):
        # Only one triangle is read: the lower one of what NumPy is given.
        a = a.conj().mT if upper else a
        try:
            return xp.linalg.cholesky(a), xp.zeros(a.shape[:-2])
        except xp.linalg.LinAlgError:
            pass
        flat = a.reshape((-1, *a.shape[-2:]))
        factors, info = xp.zeros_like(flat), xp.zeros(len(flat))
        for k, matrix in enumerate(flat):
            done, failed = 0, len(matrix) + 1  # sizes of leading parts: one that can be done, one that cannot
            while failed - done > 1:
                n = len(matrix) if failed > len(matrix) else (done + failed) // 2
                try:
                    factors[k, :n, :n] = xp.linalg.cholesky(matrix[:n, :n])
                    done = n
                except xp.linalg.LinAlgError:
                    failed = n
            info[k] = failed if failed <= len(matrix) else 0
        if strict:
            k = int(info.nonzero()[0][0])
            which = f" (matrix {k} of the stack)" if a.ndim > 2 else ""
            raise LinAlgError("cholesky", f"the matrix is not positive definite{which}",
                              got=f"a leading minor of order {int(info[k])} that is not positive",
                              fix="add a small multiple of the identity, or use lampion.linalg.ldl_factor")
        return factors.reshape(a.shape), info.reshape(a.shape[:-2])

    def vjp(grads, outputs, upper, strict):
        """gA = L^-H F(L^H gL) L^-1 / 2, where F makes a lower triangle Hermitian."""
        low, g = outputs[0], grads[0]
        inner = lower_part(matmul(adjoint(low), g))
        inner = inner + adjoint(lower_part(inner, -1))
        up = adjoint(low)
        left = substitution(up, inner, upper=True)
        return adjoint(substitution(up, adjoint(left), upper=True)) * 0.5


# -- eigenvalues ---------------------------------------------------------------------------------------


@packed(saves="output")
class eigh_parts:
    """A = V diag(w) V^H for A = A^H, of which one triangle is read; w in increasing order."""

    analytic = False
    def parts(a, lower): return a.shape[:-2], (a.shape[-1:], a.shape[-2:]), a.dtype

    def forward(xp, a, lower):
        if not a.size:
            return xp.empty(a.shape[:-1], a.dtype), xp.empty(a.shape, a.dtype)
        return converged(xp, "eigh", lambda: xp.linalg.eigh(a, "L" if lower else "U"))

    def vjp(grads, outputs, lower):
        """gA = V (diag(gw) + (V^H gV) / E) V^H, made Hermitian, where E[i, j] = w[j] - w[i]."""
        (gw, gv), (w, v) = grads, outputs
        w, gw = real(w), real(gw)
        inner = with_diagonal(_quotient(matmul(adjoint(v), gv), _differences(w)), cast_to(gw, v.dtype))
        g = matmul(v, matmul(inner, adjoint(v)))
        return (g + adjoint(g)) * 0.5



def _quotient(x, differences):
    """x / differences, for rotations between directions of equal value: 0 / 0 is none at all."""
    equal = eq(differences, 0)
    return where(equal, where(eq(x, 0), 0.0, float("inf")), x / where(equal, 1.0, differences))


def _differences(values):
    """E[i, j] = values[j] - values[i]; 1 on the diagonal."""
    return with_diagonal(unsqueeze(values, -2) - unsqueeze(values, -1), values * 0 + 1)


@packed(saves="output")
class eig_parts:
    """A V = V diag(w), with vectors of length 1. Complex, whatever A is."""

    analytic = False

    def parts(a, is_real):
        return a.shape[:-2], (a.shape[-1:], a.shape[-2:]), dtypes.of(a.dtype).to_complex().numpy

    def forward(xp, a, is_real):
        if not a.size:
            return xp.empty(a.shape[:-1], a.dtype), xp.empty(a.shape, a.dtype)
        return converged(xp, "eig", lambda: xp.linalg.eig(a))

    def vjp(grads, outputs, is_real):
        """gA = V^-H (diag(gw) + (V^H gV - V^H V Re(diag(V^H gV))) / conj(E)) V^H, E[i, j] = w[j] - w[i]."""
        (gw, gv), (w, v) = grads, outputs
        inner = matmul(adjoint(v), gv)
        along = cast_to(real(diagonal(inner, 0, -2, -1)), v.dtype)  # the vectors keep their length
        inner = inner - matmul(adjoint(v), scaled_columns(v, along))
        inner = with_diagonal(_quotient(inner, conj(_differences(w))), gw)
        g = solve_matrix(adjoint(v), matmul(inner, adjoint(v)))
        return real(g) if is_real else g


# -- singular values -----------------------------------------------------------------------------------


@packed(saves="output")
class svd_parts:
    """A = U diag(S) V^H, with S decreasing; U and V^H whole, or only what S multiplies."""

    analytic = False

    def parts(a, full):
        *batch, m, n = a.shape
        k = min(m, n)
        return tuple(batch), ((m, m if full else k), (k,), (n if full else k, n)), a.dtype

    def forward(xp, a, full):
        *batch, m, n = a.shape
        if a.size:
            return converged(xp, "svd", lambda: xp.linalg.svd(a, full_matrices=full))
        u, v = (xp.eye(size, size if full else 0, dtype=a.dtype) for size in (m, n))
        return tuple(xp.broadcast_to(x, (*batch, *x.shape)) for x in (u, xp.zeros(0), v.T))

    def vjp(grads, outputs, full):
        """gA = U (K(U^H gU) S + S K(V^H gV) + diag(gS)) V^H, and what lies outside of U's and V's spans.

        K(X)[i, j] = (X - X^H)[i, j] / (S[j]^2 - S[i]^2): a rotation in the plane of two singular vectors.
        The diagonal of U^H gU is imaginary, a common phase of two vectors: it is added over 2 S.
        """
        (gu, gs, gvh), (u, s, vh) = grads, outputs
        m, k, n = u.shape[-2], s.shape[-1], vh.shape[-1]
        gu, u = (narrow(x, -1, 0, k) for x in (gu, u))
        gvh, vh = (narrow(x, -2, 0, k) for x in (gvh, vh))
        s, gs = real(s), real(gs)
        gaps = _differences(s) * with_diagonal(unsqueeze(s, -2) + unsqueeze(s, -1), s * 0 + 1)
        left, right = matmul(adjoint(u), gu), matmul(vh, adjoint(gvh))
        phase = imag(diagonal(left, 0, -2, -1)) if u.dtype.is_complex else None
        left, right = (_quotient(x - adjoint(x), gaps) for x in (left, right))
        inner = scaled_columns(left, s) + scaled_rows(s, right)
        middle = cast_to(gs, u.dtype) if phase is None else cast_to(gs, u.dtype) + (phase / s) * 1j
        inner = with_diagonal(inner, middle)
        if m > k:
            beyond = scaled_columns(gu - matmul(u, matmul(adjoint(u), gu)), 1 / s)
            return matmul(matmul(u, inner) + beyond, vh)
        if n > k:
            beyond = scaled_rows(1 / s, gvh - matmul(matmul(gvh, adjoint(vh)), vh))
            return matmul(u, matmul(inner, vh) + beyond)
        return matmul(u, matmul(inner, vh))


@kernel(saves="inputs", public=False)
class singular_values:
    """The singular values alone. Their gradient needs no differences of them, so equal ones do no harm."""

    native = False
    analytic = False

    def infer(a):
        *batch, m, n = a.shape
        return (*batch, min(m, n)), dtypes.of(a.dtype).to_real().numpy

    def forward(xp, a):
        if not a.size:
            *batch, m, n = a.shape
            return xp.zeros((*batch, min(m, n)), dtypes.of(a.dtype).to_real().numpy)
        return converged(xp, "svdvals", lambda: xp.linalg.svd(a, compute_uv=False))

    def vjp(g, a):
        """gA = U diag(gS) V^H."""
        u, _, vh = svd_parts(a, full=False)
        return matmul(scaled_columns(u, cast_to(g, u.dtype)), vh)

    def call(a): return apply(singular_values.primitive, a)


# -- orthogonal and triangular -------------------------------------------------------------------------


@packed(saves="output")
class qr_parts:
    """A = Q R, with orthonormal columns in Q and R triangular. mode: "reduced", "complete" or "r"."""

    analytic = False

    def parts(a, mode):
        *batch, m, n = a.shape
        k = m if mode == "complete" else min(m, n)
        return tuple(batch), ((m, 0 if mode == "r" else k), (k, n)), a.dtype

    def forward(xp, a, mode):
        *batch, m, n = a.shape
        if not a.size:
            k = m if mode == "complete" else min(m, n)
            one = xp.eye(m, 0 if mode == "r" else k, dtype=a.dtype)
            return xp.broadcast_to(one, (*batch, *one.shape)), xp.zeros((*batch, k, n), a.dtype)
        if mode == "r":
            return xp.zeros((*batch, m, 0), a.dtype), xp.linalg.qr(a, mode="r")
        return xp.linalg.qr(a, mode=mode)

    def vjp(grads, outputs, mode):
        """For m >= n: gA = (gQ + Q C(triu(gR R^H - Q^H gQ))) R^-H, where C makes a triangle Hermitian.

        For m < n the first m columns X = Q U are of that form, and the others are Q^H times as much: their
        gradient Q gR2 also adds Y gR2^H to that of Q.
        """
        (gq, gr), (q, r) = grads, outputs
        m, k, n = q.shape[-2], r.shape[-2], r.shape[-1]
        if mode == "r":
            raise GradientError("linalg.qr", "the gradient needs Q, which mode='r' does not compute",
                                fix="use mode='reduced'")  # fmt: skip
        if mode == "complete" and m > n:
            raise GradientError("linalg.qr", "columns of Q beyond those of A are any, and have no gradient",
                                got=f"mode='complete' for {m} x {n}", fix="use mode='reduced'")  # fmt: skip
        if m >= n:
            return _qr_gradient(gq, gr, q, r)
        first, others = narrow(r, -1, 0, k), narrow(r, -1, k, n - k)
        g_first, g_others = narrow(gr, -1, 0, k), narrow(gr, -1, k, n - k)
        gq = gq + matmul(matmul(q, others), adjoint(g_others))
        return cat([_qr_gradient(gq, g_first, q, first), matmul(q, g_others)], -1)


def _qr_gradient(gq, gr, q, r):
    inner = half_diagonal(upper_part(matmul(gr, adjoint(r)) - matmul(adjoint(q), gq)))
    g = gq + matmul(q, inner + adjoint(inner))
    return adjoint(substitution(r, adjoint(g), upper=True))


@packed
class reflections:
    """R, and Q as Householder reflections, in LAPACK's form: (a, tau)."""

    def parts(a): return a.shape[:-2], (a.shape[-2:], (min(a.shape[-2:]),)), a.dtype

    def forward(xp, a):
        if not a.size:
            return a, xp.zeros((*a.shape[:-2], min(a.shape[-2:])), a.dtype)
        h, tau = xp.linalg.qr(a, mode="raw")
        return h.mT, tau

    def vjp(grads):
        raise GradientError("geqrf", "the reflections have no gradient", fix="use lampion.linalg.qr")


# -- LU ------------------------------------------------------------------------------------------------


@packed(saves="output")
class lu_parts:
    """P A = L U, both in one array; the exchanges; and the first pivot that is 0. See `elimination.lu`."""

    analytic = False

    def parts(a):
        k = min(a.shape[-2:])
        return a.shape[:-2], (a.shape[-2:], (k,), ()), a.dtype

    def forward(xp, a): return lu(xp, a)

    def vjp(grads, outputs):
        """For a square A: gA = P^T L^-H (tril(L^H gL, -1) + triu(gU U^H)) U^-H.

        Rows of L below the square part, and columns of U to the right of it, are products with the square
        parts' inverses, and add their share to those.
        """
        g, (lu, pivots, _) = grads[0], outputs
        m, n = g.shape[-2:]
        k = min(m, n)
        square, g_square = (narrow(narrow(x, -1, 0, k), -2, 0, k) for x in (lu, g))
        down = adjoint(lower_part(square, -1))  # L^H without its diagonal of ones
        from_l = lower_part(matmul(down, lower_part(g_square, -1)) + lower_part(g_square, -1), -1)
        from_u = matmul(upper_part(g_square), adjoint(upper_part(square)))
        below = beside = None
        if m > n:
            low, below = narrow(lu, -2, k, m - k), narrow(g, -2, k, m - k)
            from_u = from_u - matmul(adjoint(low), below)
        if n > m:
            right, beside = narrow(lu, -1, k, n - k), narrow(g, -1, k, n - k)
            from_l = from_l - lower_part(matmul(beside, adjoint(right)), -1)
        inner = from_l + upper_part(from_u)

        def over_u(x): return adjoint(substitution(square, adjoint(x), upper=True))  # X U^-H
        def over_l(x): return substitution(adjoint(square), x, upper=True, unit=True)  # L^-H X

        out = over_l(over_u(inner))
        if below is not None:
            out = cat([out, over_u(below)], -2)
        if beside is not None:
            out = cat([out, over_l(beside)], -1)
        return matmul(permutation(pivots, m, out.dtype), out)


@kernel(public=False)
class row_order:
    """The order that a list of row exchanges leads to."""

    native = False
    def infer(pivots, m): return (*pivots.shape[:-1], m), dtypes.int64.numpy
    def forward(xp, pivots, m): return order_of(xp, pivots.real.astype(int), m)
    def call(pivots, m): return apply(row_order.primitive, pivots, m=m)


def permutation(pivots, m, dtype):
    """The matrix P of A = P L U: column i has its 1 where row i of L U came from."""
    order = row_order(pivots.detach(), m)
    return cast_to(eq(unsqueeze(arange(m), -1), unsqueeze(order, -2)), dtype)
