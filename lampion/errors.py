"""The exceptions that Lampion raises, and the one way in which their messages are laid out.

Every message says which operation failed, what it expected, what it got, and what to try. All of them
are `RuntimeError`s, as in PyTorch, so that `except RuntimeError` in a PyTorch script still works.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


class LampionError(RuntimeError):
    """The base of all of Lampion's own errors.

    Args:
        operation: the name that the user would recognise, such as ``matmul``.
        problem: one clause saying what is wrong.
        expected, got: what the operation needs, and what it was handed.
        fix: what most likely sets it right.
    """

    def __init__(
        self, operation: str, problem: str, *, expected: str = "", got: str = "", fix: str = ""
    ) -> None:
        self.operation = operation
        self.problem = problem
        #: The lines below the first, by what stands before them.
        self.notes = {"expected": expected, "got": got, "try": fix}
        super().__init__(self.layout())

    def layout(self) -> str:
        """The whole message: see the class."""
        notes = [f"  {label}: {text}".replace(": \n", ":\n") for label, text in self.notes.items() if text]
        return "\n".join([f"{self.operation}: {self.problem}", *notes])

    def __reduce__(self) -> tuple[Any, ...]:
        # __init__ takes other arguments than args; the modules and tensors of a trail stay behind.
        extra = {name: value for name, value in self.__dict__.items() if name != "calls"}
        return _again, (type(self), self.args, extra)


def _again(kind: type[LampionError], args: tuple[Any, ...], extra: dict[str, Any]) -> LampionError:
    """An error that was raised in another process."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(extra)
    return error


class ShapeError(LampionError):
    """Shapes do not fit together.

    >>> import lampion
    >>> lampion.ones(2, 3) @ lampion.ones(4, 5)
    Traceback (most recent call last):
    lampion.errors.ShapeError: matmul: the inner sizes differ
      expected: the last size of the first to equal the second-to-last of the second
      got: (2, 3) @ (4, 5): 3 and 4
      try: transpose one of them (x.T), or check the in_features of the layer
    """


class AnomalyError(LampionError):
    """An operation produced NaN or infinity while `lampion.debug.anomaly` was looking.

    Args:
        module: the module inside of which it ran, if any, as a reader would name it.
        where: the line of the user's program, as ``file:line``.
        forward_operation, forward_where: in a backward pass, the operation whose gradient was being computed.
    """

    def __init__(
        self, operation: str, problem: str, *, got: str, fix: str, module: str = "", where: str = "",
        forward_operation: str = "", forward_where: str = "",
    ) -> None:  # fmt: skip
        super().__init__(operation, problem, got=got, fix=fix)
        self.module = module
        self.where = where
        self.forward_operation = forward_operation
        self.forward_where = forward_where


class DTypeError(LampionError, TypeError):
    """An element type that the operation cannot take."""


class OptionError(LampionError, ValueError, TypeError):
    """An option outside of its range, or of another type than the one that it needs."""


class IndexRangeError(LampionError, IndexError):
    """An index (or a class label) that points outside the tensor."""


class LinAlgError(LampionError):
    """A matrix that has no inverse, is not positive definite, or where an iteration did not converge.

    >>> import lampion
    >>> lampion.linalg.inv(lampion.ones(2, 2))
    Traceback (most recent call last):
    lampion.errors.LinAlgError: inverse: the matrix is singular: it has no inverse
      got: a zero pivot in step 2 of the elimination
      try: lampion.linalg.lstsq or pinv give the least-squares solution
    """


class GradientError(LampionError):
    """Back-propagation was asked for something that has no gradient, or has it no longer."""


class OverwrittenError(GradientError):
    """A value that the backward pass needs was overwritten in place after it was saved."""


class InplaceError(LampionError):
    """An in-place operation where PyTorch's rules forbid one."""


def unwritable(shape: tuple[int, ...]) -> InplaceError:
    """The error about memory that cannot be written to, or where several elements share one place."""
    return InplaceError(
        "in-place write", "several elements of the tensor may share one place, or its memory is read-only",
        got=f"an expanded tensor, or one made from a read-only array, of shape {tuple(shape)}",
        fix="clone() it before",
    )  # fmt: skip
