"""The op table, expanded: one test for every check of every row."""

import importlib
import inspect
from pathlib import Path

import pytest

import lampion as lp
from lampion import ops
from lampion.nn import functional
from lampion.ops.define import METHODS, OPERATIONS
from lampion.testing import checks_of

# The table is spread over the files `rows_*.py` beside this one, a family of operations in each.
TABLES = [importlib.import_module(path.stem) for path in sorted(Path(__file__).parent.glob("rows_*.py"))]
ROWS = [row for table in TABLES for row in table.ROWS]
CASES = [
    pytest.param(row, check, id=f"{row.name}-{name}")
    for row in ROWS
    for name, check in checks_of(row).items()
]

# Public names that need no row: they take no tensor, or draw random numbers.
ELSEWHERE = {
    "tests/test_creation.py": {"arange", "empty", "ones", "zeros"},
    "tests/test_random.py": {
        "Generator", "default_generator", "get_rng_state", "initial_seed", "manual_seed", "normal_", "rand",
        "rand_like", "randint", "randn", "randn_like", "randperm", "set_rng_state", "uniform_",
    },
    "tests/test_op_table.py: the operators and conversions are other operations under another name": {
        "__add__", "__eq__", "__ge__", "__gt__", "__iadd__", "__imul__", "__isub__", "__itruediv__", "__le__",
        "__lt__", "__matmul__", "__mul__", "__ne__", "__neg__", "__pos__", "__pow__", "__radd__",
        "__rmatmul__", "__rmul__", "__rpow__", "__rsub__", "__rtruediv__", "__sub__", "__truediv__", "bool",
        "double", "float", "int", "long", "to",
    },
}  # fmt: skip
# Of nn.functional: what is drawn, and done in place: in test_nn_functions.py and test_random.py.
FUNCTIONAL_ELSEWHERE = {
    "F.alpha_dropout", "F.celu_", "F.dropout", "F.dropout1d", "F.dropout2d", "F.dropout3d", "F.elu_",
    "F.feature_alpha_dropout", "F.gumbel_softmax", "F.hardtanh_", "F.leaky_relu_", "F.relu_", "F.rrelu_",
    "F.selu_", "F.threshold_",
}  # fmt: skip
for _table in TABLES:
    ELSEWHERE.update(getattr(_table, "ELSEWHERE", {}))
NAMED = {row.name.partition(":")[0] for row in ROWS}
# An in-place form is covered by the row of its operation: see `check_inplace`.
NAMED |= {f"{name}_" for name in NAMED if getattr(METHODS.get(f"{name}_"), "operation", None) is not None}

#: Modules of operations, and how rows name them.
NAMESPACES = {"F": functional, "fft": lp.fft, "linalg": lp.linalg, "special": lp.special}


@pytest.mark.parametrize(("row", "check"), CASES)
def test_row(row, check):
    check(row)


def test_rows_have_different_names():
    names = [row.name for row in ROWS]
    assert sorted(set(names)) == sorted(names)


def test_every_public_operation_has_a_row():
    elsewhere = set().union(*ELSEWHERE.values())
    public = {*OPERATIONS, *METHODS, *(name for name in ops.__all__ if callable(getattr(ops, name)))}
    assert public - NAMED - elsewhere == set(), "these need a row in tests/rows_*.py"
    assert NAMED & elsewhere == set(), "these have a row, and need no exception"
    assert elsewhere - public - {"default_generator"} == set(), "these exceptions are for nothing public"


def test_every_function_of_nn_has_a_row():
    assert {f"F.{name}" for name in functional.__all__} - NAMED == FUNCTIONAL_ELSEWHERE


@pytest.mark.parametrize("home", ["fft", "linalg", "special"])
def test_every_function_of_a_namespace_has_a_row(home):
    module = NAMESPACES[home]
    own = {name for name in module.__all__ if inspect.isfunction(getattr(module, name))}
    own = {name for name in own if getattr(module, name) not in OPERATIONS.values()}
    covered = {
        getattr(module, name.removeprefix(f"{home}."), None) for name in NAMED if name.startswith(f"{home}.")
    }
    assert {name for name in own if getattr(module, name) not in covered} == set()


def test_every_row_is_of_a_public_operation():
    functions = {f"{home}.{name}" for home, module in NAMESPACES.items() for name in module.__all__}
    known = {*OPERATIONS, *METHODS, *ops.__all__, *functions, "T", "mT", "H", "mH"}
    assert NAMED - known == set()


# As in PyTorch, the method `where` takes the condition second: x.where(condition, other).
@pytest.mark.parametrize("name", sorted((set(OPERATIONS) & set(METHODS)) - {"where"}))
def test_methods_are_the_operations(name):
    assert METHODS[name] is OPERATIONS[name]
    assert inspect.getdoc(OPERATIONS[name]), f"{name} has no docstring"


def test_operators_are_the_operations():
    x, y = lp.tensor([3.0, -1.0]), lp.tensor([2.0, -1.0])
    pairs = [
        (x + y, lp.add(x, y)), (x - y, lp.sub(x, y)), (x * y, lp.mul(x, y)), (x / y, lp.div(x, y)),
        (x**y, lp.pow(x, y)), (2 + x, lp.add(2, x)), (2 - x, lp.sub(2, x)), (2 * x, lp.mul(2, x)),
        (2 / x, lp.div(2, x)), (2**x, lp.pow(2, x)), (-x, lp.neg(x)), (+x, x), (x @ y, lp.matmul(x, y)),
        (x == y, lp.eq(x, y)), (x != y, lp.ne(x, y)), (x < y, lp.lt(x, y)), (x <= y, lp.le(x, y)),
        (x > y, lp.gt(x, y)), (x >= y, lp.ge(x, y)), (x.numpy() @ y, lp.matmul(x, y)),
        (x.float(), lp.cast(x, lp.float32)), (x.double(), lp.cast(x, lp.float64)),
        (x.long(), lp.cast(x, lp.int64)), (x.int(), lp.cast(x, lp.int32)), (x.bool(), lp.cast(x, lp.bool)),
        (x.to(lp.int8), lp.cast(x, lp.int8)), (x.to(lp.tensor(1)), lp.cast(x, lp.int64)),
        (x.numpy() * y, lp.mul(x, y)), (x * y.numpy(), lp.mul(x, y)),
    ]  # fmt: skip
    for number, (actual, expected) in enumerate(pairs):
        lp.testing.assert_identical(actual, expected, label=f"pair {number}")


def test_inplace_operators_return_the_same_tensor():
    x = before = lp.ones(3)
    x += 1
    x -= 0.5
    x *= 4
    x /= 3
    assert x is before
    assert x.tolist() == [2.0, 2.0, 2.0]
