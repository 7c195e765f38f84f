"""Bodies for `scan`, and how its readings are compared."""

import numpy as np

import lampion
from lampion.compiler.function import run_as, trace_call

T, N, H = 5, 3, 4
#: Sums in another order, and vector functions within 4 ulp, over a few rounds of a bounded map.
CLOSE = {"rtol": 3e-5, "atol": 3e-6}


def randn(*shape, seed=0, **options):
    values = np.random.default_rng([seed, *shape]).standard_normal(shape)
    return lampion.tensor(values.astype(np.float32), **options)


def flat(result):
    if isinstance(result, lampion.Tensor):
        return [result.detach().numpy()]
    parts = result.values() if isinstance(result, dict) else result
    return [array for part in parts for array in flat(part)]


def agree(function, *args, exact=True, **options):
    """Interpreted is eager's bits, compiled is close to them."""
    eager = flat(run_as("eager", function, *args))
    for reading in ("interpreted", "compiled"):
        found = flat(run_as(reading, function, *args))
        assert len(found) == len(eager)
        for got, want in zip(found, eager, strict=True):
            assert (got.shape, got.dtype) == (want.shape, want.dtype)
            if want.dtype.kind != "f" or (exact and reading == "interpreted"):
                np.testing.assert_array_equal(got, want)
            else:
                np.testing.assert_allclose(got, want, **(options or CLOSE))
    return eager


def looped(function, carry, xs):
    """The loop that a scan stands for."""
    ys = []
    for x in xs:
        carry, y = function(carry, x)
        ys.append(y)
    return carry, lampion.stack(ys)


def cell_and_weights():
    w, u = randn(N, H, seed=3, requires_grad=True), randn(H, H, seed=4, requires_grad=True)
    b = randn(H, seed=5, requires_grad=True)

    def cell(h, x):
        h = (x @ w + h @ u + b).tanh()
        return h, h * 2

    return cell, [w, u, b]


def lstm(weights):
    w, u, b = weights

    def cell(carry, x):
        h, c = carry
        i, f, g, o = (x @ w + h @ u + b).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return (h, c), h

    return cell


def recorded(function, *args):
    return trace_call(function, args, {}, list(args), guarded=False)
