"""Sums of products, written with a letter for each dimension: `einsum`.

Reading order: `_parse` turns the three ways to write it into lists of labels; `einsum` contracts the
operands two at a time; `_pair` is one contraction, as a batch of matrix products.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter

from lampion.errors import DTypeError, LampionError, ShapeError
from lampion.ops.define import cast_to, operation, refuse_bools
from lampion.ops.elementwise import mul
from lampion.ops.matrix import matmul
from lampion.ops.movement import diagonal, permute, reshape
from lampion.ops.reduce import sum
from lampion.tensor import Tensor, as_tensor

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@operation(method=False)
def einsum(equation: str | Tensor, *operands: Tensor | list[int]):
    """The sum of products of the operands' elements that `equation` describes (Einstein's notation).

    Each operand's dimensions are named by letters. Dimensions with the same letter run together; those
    whose letter is not in the result are summed over.

    - ``"ij,jk->ik"`` a matrix product, ``"ij->ji"`` a transpose, ``"ii->"`` a trace, ``"i,j->ij"`` an outer
      product, ``"bij,bjk->bik"`` a batch of products;
    - without ``->`` the result has the letters that occur once, in the alphabet's order (capitals first);
    - ``...`` stands for any further dimensions, which broadcast;
    - instead of an equation, each operand may be followed by a list of numbers (0 to 51; `Ellipsis` for
      ...), and all of them by such a list for the result.

    The operands are multiplied two at a time from the left, each time as a (batched) matrix product.

    >>> import lampion
    >>> a, b = lampion.ones(2, 3), lampion.ones(3, 4)
    >>> lampion.einsum("ij,jk->ik", a, b).shape
    (2, 4)
    >>> lampion.einsum(a, [0, 1], [1])
    tensor([2., 2., 2.])
    """
    inputs, output, tensors = _parse(equation, operands)
    refuse_bools("einsum", *tensors)
    for x in tensors[1:]:
        if x.dtype is not tensors[0].dtype:
            raise DTypeError("einsum", "the operands have different types", expected="one type for all",
                             got=f"{tensors[0].dtype} and {x.dtype}",
                             fix="convert one of them: x.to(y.dtype)")  # fmt: skip
    sizes = _sizes(inputs, tensors)
    terms = [_prepared(x, labels, sizes) for x, labels in zip(tensors, inputs, strict=True)]
    result, labels = terms[0]
    for position, (x, more) in enumerate(terms[1:], 1):
        later = set(output).union(*(other for _, other in terms[position + 1 :]))
        result, labels = _pair(result, labels, x, more, later)
    return _ordered(result, labels, output)


def _parse(equation, operands):
    """Labels of each operand, of the result, and the operands. What ... stands for is (-i,)."""
    if not isinstance(equation, str):
        return _parse_lists((equation, *operands))
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = tuple(operands[0])
    if not operands:
        raise LampionError("einsum", "at least one operand is needed", got=f"the equation {equation!r} alone")
    tensors = [as_tensor(x) for x in operands]
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(tensors):
        raise LampionError("einsum", "the equation names another number of operands", got=repr(equation),
                           expected=f"{len(tensors)} terms with commas between them")  # fmt: skip
    return _with_ellipsis([_letters(t, equation) for t in terms],
                          _letters(right, equation) if arrow else None, tensors)  # fmt: skip


def _letters(term, equation):
    labels = list(term.replace("...", "."))
    if any(c not in LETTERS + "." for c in labels) or labels.count(".") > 1:
        raise LampionError("einsum", f"cannot read {term!r}", expected='letters, and at most one "..."',
                           got=repr(equation))  # fmt: skip
    return labels


def _parse_lists(operands):
    """The other way to write it: ``einsum(x, [0, 1], y, [1, 2], [0, 2])``."""
    tensors, lists = operands[0 : len(operands) // 2 * 2 : 2], operands[1::2]
    output = operands[-1] if len(operands) % 2 else None
    if not lists or not all(isinstance(part, list | tuple) for part in (*lists, output or ())):
        raise LampionError("einsum", "cannot read the arguments",
                           expected="an equation and operands, or operands each followed by a list",
                           got=", ".join(type(x).__name__ for x in operands))  # fmt: skip

    def letters(numbers):
        bad = [n for n in numbers if n is not Ellipsis and not 0 <= n < len(LETTERS)]
        if bad:
            raise LampionError("einsum", f"there is no label {bad[0]}", expected="0 to 51, or Ellipsis")
        return ["." if n is Ellipsis else LETTERS[n] for n in numbers]

    return _with_ellipsis([letters(part) for part in lists], None if output is None else letters(output),
                          [as_tensor(x) for x in tensors])  # fmt: skip


def _with_ellipsis(terms, output, tensors):
    """Put labels in the place of each ellipsis, and find out what the result's labels are."""
    inputs, widest = [], 0
    for term, x in zip(terms, tensors, strict=True):
        extra = x.ndim - (len(term) - term.count("."))
        if extra < 0 or (extra and "." not in term):
            raise ShapeError("einsum", "the number of letters is not that of the dimensions",
                             expected=f"{x.ndim} letters for shape {tuple(x.shape)}",
                             got=repr("".join(term).replace(".", "...")))  # fmt: skip
        widest = max(widest, extra)
        inputs.append(_replaced(term, extra))
    if output is None:
        counts = Counter(itertools.chain(*terms))
        output = ["."] if widest else []
        output += sorted(label for label, n in counts.items() if n == 1 and label != ".")
    known = set(itertools.chain(*inputs))
    output = _replaced(output, widest)
    wrong = [label for label in output if label not in known or output.count(label) > 1]
    if wrong:
        raise LampionError("einsum", f"the result's label {wrong[0]!r} is unknown, or there twice",
                           expected="each label of the result once, and in an operand")  # fmt: skip
    return inputs, output, tensors


def _replaced(term, count):
    """The term with `count` labels in the place of its ellipsis: (-count,) to (-1,)."""
    if "." not in term:
        return list(term)
    at = term.index(".")
    return [*term[:at], *((i,) for i in range(-count, 0)), *term[at + 1 :]]


def _sizes(inputs, tensors):
    """The size of each label; 1 stands for any."""
    sizes = {}
    for labels, x in zip(inputs, tensors, strict=True):
        for label, n in zip(labels, x.shape, strict=True):
            have = sizes.setdefault(label, n)
            if have == 1:
                sizes[label] = n
            elif n not in (1, have):
                name = "..." if isinstance(label, tuple) else label
                raise ShapeError("einsum", f"the label {name!r} stands for different sizes",
                                 expected="equal sizes, or 1", got=f"{have} and {n}")  # fmt: skip
    return sizes


def _prepared(x, labels, sizes):
    """A term in which each label occurs once, and has its full size: a size of 1 elsewhere larger goes."""
    labels = list(labels)
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            i = labels.index(label)
            j = labels.index(label, i + 1)
            if x.shape[i] != x.shape[j]:
                raise ShapeError("einsum", f"the label {label!r} stands for different sizes in one operand",
                                 got=f"{x.shape[i]} and {x.shape[j]}")  # fmt: skip
            x = diagonal(x, 0, i, j)  # its dimension is the last one
            labels = [a for k, a in enumerate(labels) if k not in (i, j)] + [label]
    keep = [k for k, label in enumerate(labels) if x.shape[k] == sizes[label]]
    return reshape(x, [x.shape[k] for k in keep]), [labels[k] for k in keep]


def _pair(x, a, y, b, later):
    """The product of two terms, summed over the labels that nothing later needs."""
    dtype = x.dtype
    x, a = _summed(x, a, [label for label in a if label not in b and label not in later])
    y, b = _summed(y, b, [label for label in b if label not in a and label not in later])
    both = [label for label in a if label in b and label in later]
    inner = [label for label in a if label in b and label not in later]
    left = [label for label in a if label not in b]
    right = [label for label in b if label not in a]
    size = dict(zip(a, x.shape, strict=True)) | dict(zip(b, y.shape, strict=True))

    def blocks(tensor, labels, *groups):
        tensor = permute(tensor, [labels.index(label) for group in groups for label in group])
        return reshape(tensor, [math.prod(size[label] for label in group) for group in groups])

    labels = both + left + right
    if not inner:
        out = mul(blocks(x, a, both, left, ()), blocks(y, b, both, (), right))
    else:
        x, y = cast_to(x, dtype), cast_to(y, dtype)  # what was summed is int64 where it had been shorter
        out = matmul(blocks(x, a, both, left, inner), blocks(y, b, both, inner, right))
    return reshape(out, [size[label] for label in labels]), labels


def _summed(x, labels, gone):
    if not gone:
        return x, labels
    total = sum(x, tuple(labels.index(label) for label in gone))
    return total, [label for label in labels if label not in gone]


def _ordered(x, labels, output):
    x, labels = _summed(x, labels, [label for label in labels if label not in output])
    return permute(x, [labels.index(label) for label in output])
