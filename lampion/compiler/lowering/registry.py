"""Which function lowers what: each rule stands beside its like, and says here what it is for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lampion.compiler.graph import Equation
from lampion.compiler.schedule import PRODUCTS, Group

if TYPE_CHECKING:
    from lampion.compiler.lowering.plan import Lowering

    KernelRule = Callable[[Lowering, Equation], None]
    GroupRule = Callable[[Lowering, Group], None]

#: For each kind of group, what makes a kernel of it.
GROUPS: dict[str, GroupRule] = {}
#: For each primitive of kind "kernel" (or a movement that has to copy), what makes kernels of it.
KERNELS: dict[str, KernelRule] = {}
#: Those whose kernels cannot fail. (Others check their indices, or are called out.)
SAFE: set[str] = set(PRODUCTS)
#: The primitives of kind "kernel" that are lowered elsewhere: as a group, or as a number.
ELSEWHERE = PRODUCTS.keys() | {"full"}


def lowers_group(kind: str) -> Callable[[GroupRule], GroupRule]:
    """Register the rule for a kind of group."""

    def register(rule: GroupRule) -> GroupRule:
        GROUPS[kind] = rule
        return rule

    return register


def lowers(*primitives: str, safe: bool = False) -> Callable[[KernelRule], KernelRule]:
    """Register the rule for these primitives.

    Args:
        safe: the kernels cannot fail, whatever the data.
    """

    def register(rule: KernelRule) -> KernelRule:
        KERNELS.update(dict.fromkeys(primitives, rule))
        if safe:
            SAFE.update(primitives)
        return rule

    return register


def kernel_of(main: Equation) -> KernelRule | None:
    """The rule for an equation's primitive, if there is one."""
    return KERNELS.get(main.primitive.name)
