"""Matrix multiplication."""

from __future__ import annotations

from lampion.dtype import float32
from lampion.errors import DTypeError, ShapeError
from lampion.ops.define import apply_wide, kernel, promote, refuse_bools
from lampion.ops.movement import reshape
from lampion.ops.shapes import broadcast_shapes
from lampion.ops.views import matrix_transpose
from lampion.primitive import apply
from lampion.tensor import Tensor


@kernel(saves="others", method=True)
class matmul:
    """``out[..., i, j] = sum over k of x[..., i, k] * y[..., k, j]``; leading dimensions broadcast.

    1-dimensional arguments are a row on the left, a column on the right.
    """

    def infer(x, y):
        if x.shape[-1] != y.shape[-2]:
            raise ShapeError(
                "matmul", "the inner sizes differ",
                expected="the last size of the first to equal the second-to-last of the second",
                got=f"{tuple(x.shape)} @ {tuple(y.shape)}: {x.shape[-1]} and {y.shape[-2]}",
                fix="transpose one of them (x.T), or check the in_features of the layer",
            )  # fmt: skip
        batch = broadcast_shapes("matmul", [x.shape[:-2], y.shape[:-2]])
        return (*batch, x.shape[-2], y.shape[-1]), x.dtype

    def forward(xp, x, y): return xp.matmul(x, y)

    def vjp(g, x, y):
        # The gradient of a weight that is stored transposed (x @ w.T) is computed transposed too, so
        # that it lies in memory as the weight does, and need not be copied into `.grad`.
        def for_y():
            if g.ndim == 2:
                return matrix_transpose(matmul(matrix_transpose(g), x))
            return matmul(matrix_transpose(x), g)

        return lambda: matmul(g, matrix_transpose(y)), for_y

    def call(x, y):
        """The matrix product of x and y; leading dimensions broadcast."""
        if isinstance(x, Tensor) and isinstance(y, Tensor):
            if x._array.dtype != y._array.dtype:
                raise DTypeError("matmul", "the two have different types", expected="one type for both",
                                 got=f"{x.dtype} and {y.dtype}",
                                 fix="convert one of them: x.float() or x.to(w.dtype)")  # fmt: skip
        else:
            x, y = promote("matmul", x, y)
        if not getattr(x, "ndim", 0) or not getattr(y, "ndim", 0):
            raise ShapeError("matmul", "both must have at least one dimension", fix="use * for numbers",
                             got=f"{getattr(x, 'shape', x)} @ {getattr(y, 'shape', y)}")  # fmt: skip
        if x.ndim >= 2 and y.ndim >= 2:
            if x._array.dtype.char in "fd":
                return apply(matmul.primitive, x, y)
            return apply_wide(matmul.primitive, *refuse_bools("matmul", x, y))
        refuse_bools("matmul", x, y)
        row, column = x.ndim == 1, y.ndim == 1
        if row:
            x = reshape(x, 1, -1)
        if column:
            y = reshape(y, -1, 1)
        out = apply_wide(matmul.primitive, x, y)
        shape = out.shape
        if column:
            shape = shape[:-1]
        if row:
            shape = (*shape[:-2], *shape[-1:]) if not column else shape[:-1]
        return reshape(out, shape)


@kernel(public=False)
class product_of_bfloat16:
    """The product of two matrices of bfloat16, as float32. What `matmul` gives of both widened; a pass of the
    compiler puts this in its place.
    """

    def infer(x, y): return matmul.primitive.infer(x, y)[0], float32.numpy
    def forward(xp, x, y): return xp.matmul(x.astype(float32.numpy), y.astype(float32.numpy))
    def call(x, y): return apply(product_of_bfloat16.primitive, x, y)
