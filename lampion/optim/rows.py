"""A step with a sparse gradient: the update rule applied to the rows that were used, and to no others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lampion.autograd.sparse import SparseGradient
from lampion.errors import OptionError
from lampion.ops import index_select
from lampion.ops.advanced_indexing import write_rows
from lampion.tensor import Tensor

if TYPE_CHECKING:
    from lampion.optim.optimizer import Optimizer


def update_rows(
    optimizer: Optimizer, p: Tensor, gradient: SparseGradient, h: dict[str, Any], group: dict[str, Any]
) -> None:
    """Apply an optimizer's `update` to the used rows of a parameter and of its state.

    That is the whole step where a row whose gradient is zero stays as it is.
    """
    index, sums = gradient.summed()
    state = optimizer.state[p]
    tables = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    rows: dict[str, Any] = {key: index_select(table, 0, index) for key, table in tables.items()}
    before = rows.copy()
    new = optimizer.update(index_select(p, 0, index), sums, rows, h, group)
    for key, value in rows.items():
        if value is not before[key]:
            write_rows(tables[key], index, value)
    write_rows(p, index, new)


def no_sparse(name: str) -> OptionError:
    """The error of an optimizer whose rule moves rows that were not used, too."""
    return OptionError(
        name, f"{name} does not support sparse gradients, please consider SparseAdam instead",
        got="the gradient of an embedding with sparse=True",
        fix="SparseAdam, Adagrad or SGD for the tables; or sparse=False",
    )  # fmt: skip


def incompatible(name: str, option: str) -> OptionError:
    """The error about an option by which rows that were not used would move, too."""
    return OptionError(
        name, f"{option} option is not compatible with sparse gradients", fix=f"leave {option} out"
    )
