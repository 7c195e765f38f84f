"""Algorithms on stacks of matrices that NumPy does not have, on plain arrays: LU, LDL, substitution, exp.

Each steps through the rows or columns in Python and works on all matrices of the stack, and on whole rows
and columns, at once. They follow LAPACK's conventions, so that results can be compared number by number.
"""

from __future__ import annotations

import math

PANEL = 32  # columns that are eliminated one by one before the rest is updated by one matrix product


def lu(xp, a):
    """P A = L U by elimination with row exchanges.

    Returns:
        L (below the diagonal; its diagonal is 1) and U in one array, (..., m, n); for each step the row
        (counted from 1) that was exchanged with the current one, (..., min(m, n)); and the first step
        (counted from 1) whose pivot was 0, or 0.
    """
    *batch, m, n = a.shape
    steps = min(m, n)
    a = a.reshape((math.prod(batch), m, n)).copy()
    pivots = xp.zeros((len(a), steps), int)
    info = xp.zeros(len(a), int)
    every = xp.arange(len(a))
    for start in range(0, steps, PANEL):
        end = min(start + PANEL, steps)
        for k in range(start, end):
            row = k + xp.argmax(_size(a[:, k:, k]), axis=-1)
            pivots[:, k] = row + 1
            a[every, k], a[every, row] = a[every, row], a[every, k]
            pivot = a[:, k, k]
            zero = pivot == 0
            info = xp.where((info == 0) & zero, k + 1, info)
            a[:, k + 1 :, k] /= xp.where(zero, 1, pivot)[:, None]
            a[:, k + 1 :, k + 1 : end] -= a[:, k + 1 :, k, None] * a[:, k, None, k + 1 : end]
        if end < n:
            block = slice(start, end)
            a[:, block, end:] = substitute(xp, a[:, block, block], a[:, block, end:], False, True)
            a[:, end:, end:] -= a[:, end:, block] @ a[:, block, end:]
    return a.reshape((*batch, m, n)), pivots.reshape((*batch, steps)), info.reshape(batch)


def _size(x):
    """How LAPACK compares the sizes of pivots: a complex number's is |re| + |im|."""
    return abs(x.real) + abs(x.imag) if x.dtype.kind == "c" else abs(x)


def substitute(xp, a, b, upper, unit):
    """X with A X = B for triangular A, by substitution; only that triangle is read. A zero gives infinities.

    unit: the diagonal is taken to be 1.
    """
    n = a.shape[-1]
    shape = (*xp.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:])
    x = xp.broadcast_to(b, shape).astype(xp.result_type(a, b))
    for i in range(n - 1, -1, -1) if upper else range(n):
        known = slice(i + 1, n) if upper else slice(0, i)
        x[..., i, :] -= (a[..., i, None, known] @ x[..., known, :])[..., 0, :]
        if not unit:
            x[..., i, :] /= a[..., i, i, None]
    return x


def order_of(xp, pivots, m):
    """The order of m rows after the exchanges of `lu`: row i of P A is row order[i] of A."""
    *batch, steps = pivots.shape
    flat = pivots.reshape(math.prod(batch), steps)
    order = xp.tile(xp.arange(m), (len(flat), 1))
    every = xp.arange(len(flat))
    for k in range(steps):
        row = flat[:, k] - 1
        order[every, k], order[every, row] = order[every, row], order[every, k]
    return order.reshape((*batch, m))


ALPHA = (1 + math.sqrt(17)) / 8  # the choice for which growth over two 1 x 1 and one 2 x 2 step is the same


def ldl(xp, a, hermitian):
    """A = L D L^T (or L D L^H) with D of blocks of one and two rows, by Bunch's and Kaufman's pivoting.

    Only the lower triangle is read. Returns L and D in one array, LAPACK's list of exchanges (a block of two
    rows has the same negative number twice), and the first zero pivot (counted from 1) or 0.

    Source: J. Bunch, L. Kaufman, "Some stable methods for calculating inertia and solving symmetric linear
    systems", Math. Comp. 31 (1977).
    """
    *batch, n, _ = a.shape
    a = xp.tril(a.reshape((math.prod(batch), n, n)))
    pivots, info = xp.zeros((len(a), n), int), xp.zeros(len(a), int)
    for b in range(len(a)):
        info[b] = _ldl(xp, a[b], pivots[b], hermitian)
    return a.reshape((*batch, n, n)), pivots.reshape((*batch, n)), info.reshape(batch)


def _ldl(xp, a, pivots, hermitian):
    n, k, info = len(a), 0, 0
    turned = xp.conj if hermitian else xp.positive
    while k < n:
        here = abs(a[k, k].real) if hermitian else _size(a[k, k])
        below = _size(a[k + 1 :, k])
        row = k + 1 + int(below.argmax()) if k + 1 < n else k
        largest = below.max() if k + 1 < n else 0.0
        width, other = 1, k
        if max(here, largest) == 0:
            info = info or k + 1
            pivots[k] = k + 1
            if hermitian:
                a[k, k] = a[k, k].real
            k += 1
            continue
        if here < ALPHA * largest:
            beside = _size(a[row, k:row]).max()
            if row + 1 < n:
                beside = max(beside, _size(a[row + 1 :, row]).max())
            there = abs(a[row, row].real) if hermitian else _size(a[row, row])
            if here * beside >= ALPHA * largest * largest:
                other = k
            elif there >= ALPHA * beside:
                other = row
            else:
                width, other = 2, row
        last = k + width - 1
        if other != last:
            _exchange(xp, a, last, other, k, turned)
        if hermitian:
            for i in range(k, last + 1):
                a[i, i] = a[i, i].real
        rest = slice(last + 1, n)
        block = a[k : last + 1, k : last + 1].copy()
        if width == 2:
            block[0, 1] = turned(block[1, 0])
        columns = a[rest, k : last + 1].copy()
        factors = columns @ xp.linalg.inv(block)
        low = xp.tri(n - last - 1, dtype=bool)
        a[rest, rest] = xp.where(low, a[rest, rest] - factors @ turned(columns).T, a[rest, rest])
        a[rest, k : last + 1] = factors
        pivots[k : last + 1] = other + 1 if width == 1 else -(other + 1)
        k += width
    return info


def _exchange(xp, a, i, j, k, turned):
    """Rows and columns i < j of a matrix of which the lower triangle is kept; k: the step's first column."""
    a[i, i], a[j, j] = a[j, j], a[i, i]
    a[j + 1 :, [i, j]] = a[j + 1 :, [j, i]]
    between = a[i + 1 : j, i].copy()
    a[i + 1 : j, i] = turned(a[j, i + 1 : j])
    a[j, i + 1 : j] = turned(between)
    a[j, i] = turned(a[j, i])
    if k < i:
        a[[i, j], k] = a[[j, i], k]


def ldl_solve(xp, a, pivots, b, hermitian):
    """X with A X = B, from what `ldl` gives: its steps on the rows of B, there and back."""
    *batch, n, columns = (*xp.broadcast_shapes(a.shape[:-2], b.shape[:-2]), *b.shape[-2:])
    a = xp.broadcast_to(a, (*batch, n, n)).reshape((-1 if n else 0, n, n))
    pivots = xp.broadcast_to(pivots, (*batch, n)).reshape((len(a), n))
    x = xp.broadcast_to(b, (*batch, n, columns)).astype(b.dtype).reshape((len(a), n, columns))
    turned = xp.conj if hermitian else xp.positive
    for matrix, exchanges, rows in zip(a, pivots, x, strict=True):
        starts, k = [], 0
        while k < n:
            width = 1 if exchanges[k] > 0 else 2
            starts.append((k, width))
            last, rest = k + width - 1, slice(k + width, n)
            other = abs(exchanges[k]) - 1
            rows[[last, other]] = rows[[other, last]]
            rows[rest] -= matrix[rest, k : last + 1] @ rows[k : last + 1]
            block = matrix[k : last + 1, k : last + 1].copy()
            if width == 2:
                block[0, 1] = turned(block[1, 0])
            rows[k : last + 1] = xp.linalg.inv(block) @ rows[k : last + 1]
            k += width
        for k, width in reversed(starts):
            last, rest = k + width - 1, slice(k + width, n)
            rows[k : last + 1] -= turned(matrix[rest, k : last + 1]).T @ rows[rest]
            other = abs(exchanges[k]) - 1
            rows[[last, other]] = rows[[other, last]]
    return x.reshape((*batch, n, columns))


# The Padé approximant of order 13 of e**x: the numerator; the denominator is the same at -x.
PADE = (64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000,
        10559470521600, 670442572800, 33522128640, 1323241920, 40840800, 960960, 16380, 182, 1)  # fmt: skip
REACH = 5.371920351148152  # up to this norm it is exact to double precision


def exponential(xp, a):
    """e**A: an approximant of A / 2**s, squared s times.

    Source: N. Higham, "The scaling and squaring method for the matrix exponential revisited", SIAM J. Matrix
    Anal. Appl. 26 (2005), algorithm 2.3.
    """
    wide = a.astype(xp.complex128 if a.dtype.kind == "c" else xp.float64)
    n = a.shape[-1]
    if not a.size:
        return a.copy()
    norm = abs(wide).sum(-2).max(-1)
    finite = xp.isfinite(norm)
    ratio = xp.where(finite, norm, 1.0) / REACH
    squarings = xp.where(ratio > 1, xp.ceil(xp.log2(xp.where(ratio > 1, ratio, 1.0))), 0).astype(int)
    wide = xp.where(finite[..., None, None], wide, 0) / 2.0 ** squarings[..., None, None]
    one = xp.eye(n, dtype=wide.dtype)
    powers = [one, wide @ wide]
    powers.append(powers[1] @ powers[1])
    powers.append(powers[1] @ powers[2])
    low, high = ([PADE[i + 2 * j] for j in range(4)] for i in (0, 1))
    top, over = ([PADE[i + 2 * j] for j in range(4, 7)] for i in (0, 1))
    even = sum(c * p for c, p in zip(low, powers, strict=True))
    odd = sum(c * p for c, p in zip(high, powers, strict=True))
    even = even + powers[3] @ sum(c * p for c, p in zip(top, powers[1:], strict=True))
    odd = odd + powers[3] @ sum(c * p for c, p in zip(over, powers[1:], strict=True))
    odd = wide @ odd
    out = xp.linalg.solve(even - odd, even + odd)
    for step in range(int(squarings.max())):
        out = xp.where((squarings > step)[..., None, None], out @ out, out)
    return xp.where(finite[..., None, None], out, xp.nan).astype(a.dtype)
