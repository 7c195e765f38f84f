"""Runs functions eagerly and compiled, for the tests of operations that became machine code."""

import numpy as np

import lampion as lp
from lampion.compiler.function import run_as


def native(compiled):
    """Whether nothing is called out."""
    explained = compiled.explain()
    return explained.callouts == 0 and explained.fallbacks == 0


def _arrays(result):
    results = result if isinstance(result, tuple) else (result,)
    return [x.detach().numpy().copy() for x in results]


def check(f, *arrays, rtol=0.0, atol=0.0, target=None):
    """That `f` gives the same natively as eagerly: the bits, unless a tolerance is given; on any threads."""
    args = [lp.tensor(a) for a in arrays]
    with np.errstate(all="ignore"):
        expected = _arrays(f(*args))
    if target is not None:
        _compare(_arrays(run_as("compiled", f, *args, target=target)), expected, rtol, atol)
        return
    compiled = lp.compile(f)
    before = lp.get_num_threads()
    try:
        for threads in (1, 3):
            lp.set_num_threads(threads)
            _compare(_arrays(compiled(*args)), expected, rtol, atol)
    finally:
        lp.set_num_threads(before)
    assert native(compiled)


def _compare(found, expected, rtol, atol):
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)
        if ours.dtype.kind == "f" and not rtol:
            number = ~np.isnan(theirs)
            np.testing.assert_array_equal(np.signbit(ours)[number], np.signbit(theirs)[number])
