"""Rows of a table are written where they lie, if nobody can see the difference."""

import re

import numpy as np
import pytest

import lampion as lp


def rows(*numbers):
    return lp.tensor(numbers)


def table():
    return lp.arange(12.0).reshape(6, 2)


def copied(function):
    return re.findall(r"index_put: base|write back", str(function.explain()))


def compare(step, *arguments, calls=2, in_place=True):
    """Eager and compiled, on tables of their own; whether the compiled one copies no table."""
    compiled = lp.compile(step)
    ours, theirs = table(), table()
    for _ in range(calls):
        got, expected = compiled(ours, *arguments), step(theirs, *arguments)
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_array_equal(one.numpy(), other.numpy())
    copies = copied(compiled)
    assert (not copies) == in_place, copies


def test_rows_that_were_read_are_added_to_in_place():
    def step(x, i):
        found = x[i]
        x.index_put_((i,), found * 2, accumulate=True)
        return (found.sum(),)

    compare(step, rows(1, 4, 1))


def test_several_updates_one_after_the_other():
    def step(x, i, j):
        old = x[j]
        for index in (i, j, i):
            x.index_put_((index,), x[index] + 1, accumulate=True)
        return (old, x.sum())

    compare(step, rows(1, 4, 1), rows(4, 0))


def test_setting_rows():
    def step(x, i):
        found = x[i]
        x[i] = found * 3
        return (found,)

    compare(step, rows(5, 0))


def test_who_reads_the_old_table_later_reads_the_old_one():
    def step(x, i):
        old = x.clone()
        found = x[i]
        x.index_put_((i,), found, accumulate=True)
        return (old, (old * x).sum(0))

    compare(step, rows(2, 2), in_place=False)


def test_a_table_that_is_added_to_itself():
    def step(x, i):
        found = x[i]
        x.index_put_((i,), x[:3], accumulate=True)
        return (found,)

    compare(step, rows(2, 0, 1), in_place=False)


def test_an_index_out_of_range_leaves_all_as_it_was():
    @lp.compile
    def read_first(x, i):
        found = x[i]
        x.index_put_((i,), found, accumulate=True)
        return found

    @lp.compile
    def not_read(x, i, j):
        found = x[i]
        x.index_put_((i,), found, accumulate=True)
        x.index_put_((j,), found, accumulate=True)
        return found

    for function, good, bad in ((read_first, (rows(1, 2),), (rows(0, 6),)),
                                (not_read, (rows(1, 2), rows(3, 3)), (rows(1, 2), rows(0, 6)))):  # fmt: skip
        x = table()
        function(x, *good)
        before = x.clone()
        with pytest.raises(lp.errors.IndexRangeError):
            function(x, *bad)
        np.testing.assert_array_equal(x.numpy(), before.numpy())
