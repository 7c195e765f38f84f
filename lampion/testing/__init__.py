"""For tests, Lampion's and yours: comparing results, checking gradients, and rows that check an operation.

    from lampion.testing import Row, check_op
    check_op(Row("swish", lambda x: x * x.sigmoid(), lambda x: x / (1 + numpy.exp(-x))))

Read `compare.py`, `gradients.py`, then `rows.py` (what a row says) and `checks.py` (what is made of it).
"""

from lampion.testing.checks import check_op, checks_of
from lampion.testing.compare import assert_close, assert_identical
from lampion.testing.gradients import GradientMismatch, gradcheck, gradgradcheck, numerical_grad
from lampion.testing.readings import assert_compiled, assert_interpreted, read, readings
from lampion.testing.rows import At, Bad, Draw, Row, Sample, call

__all__ = [
    "At", "Bad", "Draw", "GradientMismatch", "Row", "Sample", "assert_close", "assert_compiled",
    "assert_identical", "assert_interpreted", "call", "check_op", "checks_of",
    "gradcheck", "gradgradcheck", "numerical_grad", "read", "readings",
]  # fmt: skip
