"""Complex numbers: their parts, conjugates, and tensors of pairs seen as complex numbers.

Gradients follow PyTorch's convention: the gradient of a real number L in z = a + ib is dL/da + i dL/db,
which points uphill in the plane. Of a complex-differentiable function f it is the gradient of the result
times the conjugate of f'(z); the engine sees to that (`Primitive.analytic`). What is not differentiable
in that sense states its rule here.

Sources: K. Kreutz-Delgado, "The complex gradient operator and the CR-calculus", arXiv:0906.4835.
"""

from __future__ import annotations

from lampion import dtype as dtypes
from lampion.errors import DTypeError, ShapeError
from lampion.ops.define import cast_to, elementwise, kernel, movement, operation
from lampion.ops.elementwise import cos, mul, sin
from lampion.ops.shapes import broadcast_shapes
from lampion.primitive import apply
from lampion.tensor import Tensor, as_tensor


def _parts(dtype):
    """The NumPy type of the two parts of a complex one."""
    return dtypes.of(dtype).to_real().numpy


@elementwise(inplace=False)
class conj:
    """The complex conjugate. A real tensor is its own, and comes back itself.

    A new tensor, where PyTorch has a view: what is written into one is not seen in the other.
    """

    analytic = False
    native = False
    def forward(xp, x): return xp.conjugate(x)
    def vjp(g): return conj(g)

    def call(x):
        """The complex conjugate. A real tensor is its own, and comes back itself."""
        if not isinstance(x, Tensor):
            x = as_tensor(x)
        return x if x._array.dtype.kind != "c" else apply(conj.primitive, x)


@operation(inplace=True)
def conj_physical(x):
    """The complex conjugate, of a real tensor itself."""
    return conj(x)


@operation
def resolve_conj(x):
    """The tensor itself: in Lampion `conj` computes at once, and leaves nothing to resolve."""
    return x


@operation
def resolve_neg(x):
    """The tensor itself: a minus sign is never put off, and there is nothing to resolve."""
    return x


@operation
def is_conj(x) -> bool:
    """False: a conjugate is computed at once, never a note on a view."""
    return False


@operation
def is_neg(x) -> bool:
    """False: a minus sign is computed at once, never a note on a view."""
    return False


@movement(method=False)
class real:
    """The real part, in the same memory."""

    def infer(x): return x.shape, _parts(x.dtype)
    def forward(xp, x): return x.real
    def vjp(g, old): return cast_to(g, g.dtype.to_complex())

    def call(x):
        """The real part, in the same memory. Of a real tensor: itself.

        >>> import lampion
        >>> lampion.real(lampion.tensor([1 + 2j, 3 - 4j]))
        tensor([1., 3.])
        """
        x = as_tensor(x)
        return apply(real.primitive, x) if x.dtype.is_complex else x


@movement(method=False)
class imag:
    """The imaginary part, in the same memory."""

    def infer(x): return x.shape, _parts(x.dtype)
    def forward(xp, x): return x.imag
    def vjp(g, old): return mul(cast_to(g, g.dtype.to_complex()), 1j)

    def call(x):
        """The imaginary part, in the same memory.

        >>> import lampion
        >>> lampion.imag(lampion.tensor([1 + 2j, 3 - 4j]))
        tensor([ 2., -4.])
        """
        x = as_tensor(x)
        if not x.dtype.is_complex:
            raise DTypeError("imag", "only complex tensors have an imaginary part", got=str(x.dtype),
                             fix="of a real tensor it is zeros_like(x)")  # fmt: skip
        return apply(imag.primitive, x)


@movement(method=False)
class view_as_real:
    """Complex numbers as pairs of real ones, in a new last dimension; the same memory."""

    def infer(x): return (*x.shape, 2), _parts(x.dtype)
    def forward(xp, x): return x[..., None].view(_parts(x.dtype))
    def vjp(g, old): return view_as_complex(g)

    def call(x):
        """Complex numbers as pairs of real ones, in a new last dimension; the same memory.

        >>> import lampion
        >>> lampion.view_as_real(lampion.tensor([1 + 2j, 3 - 4j]))
        tensor([[ 1.,  2.],
                [ 3., -4.]])
        """
        x = as_tensor(x)
        if not x.dtype.is_complex:
            raise DTypeError("view_as_real", "expected complex numbers", got=str(x.dtype))
        return apply(view_as_real.primitive, x)


@movement(method=False)
class view_as_complex:
    """Pairs of real numbers, along the last dimension, as complex ones; the same memory."""

    def infer(x): return x.shape[:-1], dtypes.of(x.dtype).to_complex().numpy

    def forward(xp, x):
        if x.strides[-1] != x.itemsize:
            x = xp.ascontiguousarray(x)
        return x.view(dtypes.of(x.dtype).to_complex().numpy)[..., 0]

    def vjp(g, old): return view_as_real(g)

    def call(x):
        """Pairs of real numbers, along the last dimension, as complex ones; the same memory.

        Where the two of a pair do not lie side by side in memory, a copy.
        """
        x = as_tensor(x)
        if x.dtype not in (dtypes.float32, dtypes.float64):
            raise DTypeError("view_as_complex", "expected float32 or float64", got=str(x.dtype),
                             fix="convert it: x.float()")  # fmt: skip
        if not x.ndim or x.shape[-1] != 2:
            raise ShapeError("view_as_complex", "the last dimension must hold pairs", expected="(..., 2)",
                             got=str(tuple(x.shape)))  # fmt: skip
        return apply(view_as_complex.primitive, x)


@kernel
class complex:
    """real + i imag."""

    analytic = False
    def infer(x, y):
        return broadcast_shapes("complex", [x.shape, y.shape]), dtypes.of(x.dtype).to_complex().numpy

    def forward(xp, x, y):
        x, y = xp.broadcast_arrays(x, y)
        out = xp.empty(x.shape, dtypes.of(x.dtype).to_complex().numpy)
        out.real, out.imag = x, y  # not x + 1j * y, which makes NaN of an infinite part
        return out

    def vjp(g): return lambda: real(g), lambda: imag(g)

    def call(real: Tensor, imag: Tensor):
        """The complex numbers with these real and imaginary parts (float32 or float64, both the same).

        >>> import lampion
        >>> lampion.complex(lampion.tensor([1.0, 2.0]), lampion.tensor([3.0, -4.0]))
        tensor([1.+3.j, 2.-4.j])
        """
        real, imag = as_tensor(real), as_tensor(imag)
        kinds = (real.dtype, imag.dtype)
        if kinds[0] is not kinds[1] or not kinds[0].is_floating_point or kinds[0] is dtypes.bfloat16:
            raise DTypeError("complex", "the two parts must be floats of one type",
                             expected="both float32, or both float64",
                             got=f"{kinds[0]} and {kinds[1]}")  # fmt: skip
        return apply(complex.primitive, real, imag)


@operation(method=False)
def polar(abs: Tensor, angle: Tensor):
    """The complex numbers of this absolute value and angle: ``abs * (cos(angle) + i sin(angle))``."""
    abs, angle = as_tensor(abs), as_tensor(angle)
    if abs.dtype is not angle.dtype or not abs.dtype.is_floating_point:
        raise DTypeError("polar", "absolute value and angle must be floats of one type",
                         got=f"{abs.dtype} and {angle.dtype}")  # fmt: skip
    return complex(mul(abs, cos(angle)), mul(abs, sin(angle)))


def matrix_adjoint(x):
    """The last two dimensions exchanged, and conjugated (``x.mH``)."""
    from lampion.ops.views import matrix_transpose

    return conj(matrix_transpose(x))


def adjoint_of_matrix(x):
    """``x.H``: a matrix transposed and conjugated."""
    if x.ndim not in (0, 2):
        raise ShapeError("H", "only a matrix has it", got=str(tuple(x.shape)), fix="use x.mH for a batch")
    return matrix_adjoint(x) if x.ndim else conj(x)
