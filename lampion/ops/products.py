"""Products of vectors and matrices, all made of `matmul`: dot, outer, addmm, tensordot, kron, cross...

`einsum` has a file of its own.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence

from lampion import dtype as dtypes
from lampion.dtype import bool_
from lampion.errors import DTypeError, ShapeError
from lampion.ops.complex_numbers import conj, real
from lampion.ops.creation import arange, full
from lampion.ops.define import cast_to, operation, promote, refuse_bools
from lampion.ops.elementwise import eq, mul, where
from lampion.ops.joining import cat
from lampion.ops.matrix import matmul
from lampion.ops.movement import broadcast_to, permute, reshape
from lampion.ops.reduce import sum
from lampion.ops.shapes import broadcast_shapes, normalize_dim
from lampion.ops.views import narrow, unsqueeze
from lampion.tensor import Tensor, as_tensor


def _with_dims(name, *named):
    """Each of (tensor, dimensions) as a Tensor that has so many dimensions."""
    tensors = []
    for x, ndim in named:
        x = as_tensor(x)
        if x.ndim != ndim:
            kind = {1: "a vector", 2: "a matrix", 3: "a batch of matrices"}[ndim]
            raise ShapeError(name, f"expected {kind}", expected=f"a tensor of {ndim} dimensions",
                             got=f"shape {tuple(x.shape)}",
                             fix="matmul takes every form, and broadcasts")  # fmt: skip
        tensors.append(x)
    return tensors


# -- two matrices, or a matrix and a vector ------------------------------------------------------------


@operation
def mm(input: Tensor, mat2: Tensor):
    """The product of two matrices. Nothing broadcasts: see `matmul`.

    Shape:
        input: (n, m); mat2: (m, p); the result: (n, p).
    """
    return matmul(*_with_dims("mm", (input, 2), (mat2, 2)))


@operation
def bmm(input: Tensor, mat2: Tensor):
    """The products of two batches of matrices, pair by pair. Nothing broadcasts: see `matmul`.

    Shape:
        input: (b, n, m); mat2: (b, m, p); the result: (b, n, p).
    """
    x, y = _with_dims("bmm", (input, 3), (mat2, 3))
    if x.shape[0] != y.shape[0]:
        raise ShapeError("bmm", "the batches have different sizes", expected="equal first sizes",
                         got=f"{tuple(x.shape)} and {tuple(y.shape)}", fix="matmul broadcasts")  # fmt: skip
    return matmul(x, y)


@operation
def mv(input: Tensor, vec: Tensor):
    """The product of a matrix and a vector.

    Shape:
        input: (n, m); vec: (m,); the result: (n,).
    """
    return matmul(*_with_dims("mv", (input, 2), (vec, 1)))


@operation
def dot(input: Tensor, tensor: Tensor):
    """The sum of the products of two vectors' elements. Complex numbers are not conjugated: see `vdot`.

    >>> import lampion
    >>> lampion.dot(lampion.tensor([2, 3]), lampion.tensor([2, 1]))
    tensor(7)
    """
    return matmul(*_same_vectors("dot", input, tensor))


@operation
def vdot(input: Tensor, other: Tensor):
    """The sum of the products of two vectors' elements, those of the first conjugated."""
    x, y = _same_vectors("vdot", input, other)
    return matmul(conj(x), y)


def _same_vectors(name, x, y):
    x, y = _with_dims(name, (x, 1), (y, 1))
    if x.shape != y.shape:
        raise ShapeError(name, "the vectors have different lengths", expected="equal lengths",
                         got=f"{x.shape[0]} and {y.shape[0]}")  # fmt: skip
    return x, y


@operation
def inner(input: Tensor, other: Tensor):
    """``out[..., ...] = sum over k of input[..., k] * other[..., k]``; with a number, the plain product."""
    x, y = as_tensor(input), as_tensor(other)
    if not x.ndim or not y.ndim:
        return mul(x, y)
    if x.shape[-1] != y.shape[-1]:
        raise ShapeError("inner", "the last sizes differ", expected="equal last sizes",
                         got=f"{tuple(x.shape)} and {tuple(y.shape)}")  # fmt: skip
    return tensordot(x, y, ([-1], [-1]))


@operation
def outer(input: Tensor, vec2: Tensor):
    """``out[i, j] = input[i] * vec2[j]``.

    Shape:
        input: (n,); vec2: (m,); the result: (n, m).
    """
    x, y = _with_dims("outer", (input, 1), (vec2, 1))
    return mul(unsqueeze(x, 1), y)


@operation
def ger(input: Tensor, vec2: Tensor):
    """`outer`, under its old name."""
    return outer(input, vec2)


# -- with something added ------------------------------------------------------------------------------


def _scaled_sum(name, input, product, beta, alpha):
    """beta * input + alpha * product. With beta = 0 the input is not read, so that its NaNs do not count."""
    input = as_tensor(input)
    if product.dtype is not input.dtype:
        raise DTypeError(name, "the input has another type than the product", expected=str(product.dtype),
                         got=str(input.dtype), fix="convert it: input.to(other.dtype)")  # fmt: skip
    if not product.dtype.is_inexact:
        if name == "addr" and not (isinstance(alpha, int) and isinstance(beta, int)):
            raise DTypeError(name, "for integer tensors alpha and beta must be integers",
                             got=f"alpha={alpha}, beta={beta}")  # fmt: skip
        alpha, beta = int(alpha), int(beta)  # cut off, as in PyTorch
    shape = product.shape
    if broadcast_shapes(name, [input.shape, shape]) != shape:
        raise ShapeError(name, "the input does not broadcast to the product's shape",
                         expected=f"a shape that broadcasts to {tuple(shape)}",
                         got=str(tuple(input.shape)))  # fmt: skip
    if alpha != 1:
        product = _times(product, alpha)
    if beta == 0:
        return product
    return product + (input if beta == 1 else _times(input, beta))


def _times(x, factor):
    if x.dtype is dtypes.bool_:
        return x if factor else x & False
    return x * factor


@operation(inplace=True)
def addmm(input: Tensor, mat1: Tensor, mat2: Tensor, *, beta=1, alpha=1):
    """``beta * input + alpha * (mat1 @ mat2)``; the input broadcasts.

    Shape:
        mat1: (n, m); mat2: (m, p); input: (n, p) or what broadcasts to it.
    """
    return _scaled_sum("addmm", input, mm(mat1, mat2), beta, alpha)


@operation(inplace=True)
def addmv(input: Tensor, mat: Tensor, vec: Tensor, *, beta=1, alpha=1):
    """``beta * input + alpha * (mat @ vec)``; the input broadcasts."""
    return _scaled_sum("addmv", input, mv(mat, vec), beta, alpha)


@operation(inplace=True)
def addr(input: Tensor, vec1: Tensor, vec2: Tensor, *, beta=1, alpha=1):
    """``beta * input + alpha * outer(vec1, vec2)``; the input broadcasts, and the types are promoted."""
    product = outer(vec1, vec2)
    input, product = promote("addr", as_tensor(input), product)
    return _scaled_sum("addr", input, product, beta, alpha)


@operation(inplace=True)
def baddbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta=1, alpha=1):
    """``beta * input + alpha * bmm(batch1, batch2)``; the input broadcasts."""
    return _scaled_sum("baddbmm", input, bmm(batch1, batch2), beta, alpha)


@operation(inplace=True)
def addbmm(input: Tensor, batch1: Tensor, batch2: Tensor, *, beta=1, alpha=1):
    """``beta * input + alpha * sum over the batch of batch1[b] @ batch2[b]``; the input broadcasts.

    The sum over the batch is part of one larger product: (n, b * m) @ (b * m, p).
    """
    x, y = _with_dims("addbmm", (batch1, 3), (batch2, 3))
    if x.shape[0] != y.shape[0] or x.shape[2] != y.shape[1]:
        raise ShapeError("addbmm", "the two batches do not fit", expected="(b, n, m) and (b, m, p)",
                         got=f"{tuple(x.shape)} and {tuple(y.shape)}")  # fmt: skip
    left = reshape(permute(x, 1, 0, 2), x.shape[1], x.shape[0] * x.shape[2])
    right = reshape(y, y.shape[0] * y.shape[1], y.shape[2])
    return _scaled_sum("addbmm", input, matmul(left, right), beta, alpha)


# -- several matrices ----------------------------------------------------------------------------------


@operation(method=False)
def chain_matmul(*matrices: Tensor):
    """The product of several matrices, in the order of multiplying that costs least."""
    return multiply_chain("chain_matmul", _with_dims("chain_matmul", *((m, 2) for m in matrices)))


def multiply_chain(name, matrices):
    """The product of matrices, grouped so that the fewest numbers are multiplied.

    Dynamic programming over sub-chains: Cormen, Leiserson, Rivest, Stein, "Introduction to Algorithms", 14.2.
    """
    if not matrices:
        raise ShapeError(name, "there is nothing to multiply", expected="at least one matrix")
    n = len(matrices)
    for x, y in itertools.pairwise(matrices):
        if x.shape[1] != y.shape[0]:
            raise ShapeError(name, "two neighbours do not fit", expected="(n, m) and (m, p)",
                             got=f"{tuple(x.shape)} and {tuple(y.shape)}")  # fmt: skip
    sizes = [x.shape[0] for x in matrices] + [matrices[-1].shape[1]]
    cost, split = {(i, i): 0 for i in range(n)}, {}
    for length in range(1, n):
        for first in range(n - length):
            last = first + length
            best = min(
                (cost[first, k] + cost[k + 1, last] + sizes[first] * sizes[k + 1] * sizes[last + 1], k)
                for k in range(first, last)
            )
            cost[first, last], split[first, last] = best

    def product(first, last):
        if first == last:
            return matrices[first]
        k = split[first, last]
        return matmul(product(first, k), product(k + 1, last))

    return product(0, n - 1)


@operation
def matrix_power(input: Tensor, n: int):
    """The n-th power of square matrices, by repeated squaring; a negative one is that of the inverse.

    >>> import lampion
    >>> lampion.matrix_power(lampion.tensor([[1, 1], [0, 1]]), 5)
    tensor([[1, 5],
            [0, 1]])
    """
    from lampion.ops.solving import inverse
    from lampion.ops.triangles import floats, square

    (x,) = refuse_bools("matrix_power", square("matrix_power", input))
    n = operator.index(n)
    if n == 0:
        return recorded(identity_like(x), x)
    if n < 0:
        x, n = inverse(floats("matrix_power", x)), -n
    result = None
    while n:
        if n % 2:
            result = x if result is None else matmul(result, x)
        n //= 2
        if n:
            x = matmul(x, x)
    return result


def identity_like(x):
    """Identity matrices in the shape and type of x."""
    n = x.shape[-1]
    row = arange(n)
    return broadcast_to(cast_to(eq(reshape(row, n, 1), row), x.dtype), x.shape).clone()


def recorded(out, *sources):
    """A result that does not depend on its arguments, on the tape as made of them: their gradients are 0."""
    for x in sources:
        if x.requires_grad:
            total = sum(x)
            total = total if out.dtype.is_complex else real(total)
            out = where(full((), False, bool_), cast_to(total, out.dtype), out)
    return out


# -- more dimensions -----------------------------------------------------------------------------------


@operation(method=False)
def tensordot(a: Tensor, b: Tensor, dims: int | Sequence[Sequence[int]] = 2):
    """The product summed over several dimensions at once.

    Args:
        dims: how many dimensions: the last ones of `a` with the first ones of `b`; or two lists, of those
            of `a` and those of `b` that belong together.

    >>> import lampion
    >>> a, b = lampion.ones(3, 4, 5), lampion.ones(4, 3, 2)
    >>> lampion.tensordot(a, b, dims=([1, 0], [0, 1])).shape
    (5, 2)
    """
    a, b = as_tensor(a), as_tensor(b)
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    if isinstance(dims, int):
        if not 0 <= dims <= min(a.ndim, b.ndim):
            raise ShapeError("tensordot", "so many dimensions do not exist", got=f"dims={dims}",
                             expected=f"0 to {min(a.ndim, b.ndim)}")  # fmt: skip
        dims = (range(a.ndim - dims, a.ndim), range(dims))
    left, right = ([d] if isinstance(d, int) else list(d) for d in dims)
    left = [normalize_dim("tensordot", d, a.ndim) for d in left]
    right = [normalize_dim("tensordot", d, b.ndim) for d in right]
    if len(left) != len(right) or len(set(left)) < len(left) or len(set(right)) < len(right):
        raise ShapeError("tensordot", "each dimension of a belongs to one of b",
                         expected="two lists of one length, no dimension twice", got=f"{left}, {right}")
    for i, j in zip(left, right, strict=True):
        n, m = a.shape[i], b.shape[j]
        if n != m and 1 not in (n, m):
            raise ShapeError("tensordot", "the sizes to sum over differ", expected="equal sizes, or 1",
                             got=f"{n} (dimension {i} of a) and {m} (dimension {j} of b)")  # fmt: skip
        if n != m:  # a size of 1 stands for all: the other is summed by itself
            if n == 1:
                b = cast_to(sum(b, j, True), b.dtype)
            else:
                a = cast_to(sum(a, i, True), a.dtype)
    free_a = [d for d in range(a.ndim) if d not in left]
    free_b = [d for d in range(b.ndim) if d not in right]
    count = math.prod(a.shape[d] for d in left)
    shape = [a.shape[d] for d in free_a] + [b.shape[d] for d in free_b]
    rows = reshape(permute(a, free_a + left), math.prod(a.shape[d] for d in free_a), count)
    columns = reshape(permute(b, right + free_b), count, math.prod(b.shape[d] for d in free_b))
    return reshape(matmul(rows, columns), shape)


@operation
def kron(input: Tensor, other: Tensor):
    """The Kronecker product: every element of the first times the whole second, as blocks.

    >>> import lampion
    >>> lampion.kron(lampion.tensor([[1, 2]]), lampion.tensor([[0, 1], [1, 0]]))
    tensor([[0, 1, 0, 2],
            [1, 0, 2, 0]])
    """
    x, y = as_tensor(input), as_tensor(other)
    ndim = max(x.ndim, y.ndim)
    a, b = ((1,) * (ndim - t.ndim) + tuple(t.shape) for t in (x, y))
    x = reshape(x, [n for size in a for n in (size, 1)])
    y = reshape(y, [n for size in b for n in (1, size)])
    return reshape(mul(x, y), [n * m for n, m in zip(a, b, strict=True)])


@operation
def cross(input: Tensor, other: Tensor, dim: int | None = None):
    """The cross product of vectors of three elements along `dim` (default: the first of size 3)."""
    x, y = as_tensor(input), as_tensor(other)
    if dim is None:
        shape = broadcast_shapes("cross", [x.shape, y.shape])
        found = [axis for axis, n in enumerate(shape) if n == 3]
        if not found:
            raise ShapeError("cross", "no dimension has size 3", got=str(tuple(shape)))
        dim = found[0] - len(shape)
    return cross_along("cross", x, y, dim)


def cross_along(name, x, y, dim):
    """The cross product along one dimension."""
    if x.ndim != y.ndim:
        raise ShapeError(name, "the two have different numbers of dimensions",
                         got=f"{tuple(x.shape)} and {tuple(y.shape)}")  # fmt: skip
    dim = normalize_dim(name, dim, x.ndim)
    if not x.ndim or x.shape[dim] != 3 or y.shape[dim] != 3:
        raise ShapeError(name, "vectors of three elements are needed", expected=f"size 3 in dimension {dim}",
                         got=f"{tuple(x.shape)} and {tuple(y.shape)}")  # fmt: skip
    x, y = promote(name, x, y)
    turned = [_turned(t, dim, n) for t in (x, y) for n in (1, 2)]
    return mul(turned[0], turned[3]) - mul(turned[1], turned[2])


def _turned(x, dim, n):
    """The elements 0, 1, 2 along dim as n, n + 1, ... (mod 3)."""
    return cat([narrow(x, dim, n, 3 - n), narrow(x, dim, 0, n)], dim)


def vecdot_along(name, x, y, dim):
    """The sum over `dim` of conj(x) * y."""
    x, y = promote(name, as_tensor(x), as_tensor(y))
    return sum(mul(conj(x), y), dim)
