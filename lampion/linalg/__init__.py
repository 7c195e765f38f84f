"""Linear algebra on stacks of matrices, under the names of `torch.linalg`.

A matrix lies along the last two dimensions; all dimensions before them are a stack of them, and broadcast
where there are several arguments. float32, float64, complex64 and complex128 are taken. All that has a
gradient has one of any order; what NumPy has of LAPACK does the work, the rest is in
`lampion/ops/elimination.py`.

Read `lampion/ops/factors.py` and `solving.py` for how it is computed and differentiated.
"""

from lampion.errors import LinAlgError
from lampion.linalg.decompositions import (
    cholesky,
    cholesky_ex,
    eig,
    eigh,
    eigvals,
    eigvalsh,
    householder_product,
    ldl_factor,
    ldl_factor_ex,
    ldl_solve,
    lu,
    lu_factor,
    lu_factor_ex,
    lu_solve,
    qr,
    svd,
    svdvals,
)  # fmt: skip
from lampion.linalg.norms import cond, matrix_norm, matrix_rank, norm, vector_norm
from lampion.linalg.products import cross, diagonal, matmul, matrix_power, multi_dot, vander, vecdot
from lampion.linalg.systems import (
    det,
    inv,
    inv_ex,
    lstsq,
    matrix_exp,
    pinv,
    slogdet,
    solve,
    solve_ex,
    solve_triangular,
    tensorinv,
    tensorsolve,
)  # fmt: skip

__all__ = [
    "LinAlgError", "cholesky", "cholesky_ex", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals",
    "eigvalsh", "householder_product", "inv", "inv_ex", "ldl_factor", "ldl_factor_ex", "ldl_solve", "lstsq",
    "lu", "lu_factor", "lu_factor_ex", "lu_solve", "matmul", "matrix_exp", "matrix_norm", "matrix_power",
    "matrix_rank", "multi_dot", "norm", "pinv", "qr", "slogdet", "solve", "solve_ex", "solve_triangular",
    "svd", "svdvals", "tensorinv", "tensorsolve", "vander", "vecdot", "vector_norm",
]  # fmt: skip
