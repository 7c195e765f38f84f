"""Groups stand in an order in which each reads only what earlier ones have written."""

import numpy as np
import pytest

import lampion as lp
from lampion.compiler import schedule
from lampion.testing.readings import read


def floats_whose_source_was_grouped(x):
    """sq + 1 floats on sq; then sq goes into the group of the division, behind that of `where`."""
    a = lp.tanh(x)
    sq = a * a
    root = lp.sqrt(sq + 1)
    s = (-a).sum((0, 1), keepdim=True)
    return root, s * s / (sq + 1.0), a * 3, lp.where(x > 0, root, a)


def numbers():
    return lp.tensor(np.random.default_rng(0).integers(-3, 4, (8, 17)).astype(np.float32))


def test_floating_equations_wait_for_what_they_need():
    x = numbers()
    for actual, expected in zip(
        read("compiled", floats_whose_source_was_grouped, x), floats_whose_source_was_grouped(x), strict=True
    ):
        # The sum of 136 numbers in another order; the rest differs by the last bits of tanh.
        np.testing.assert_allclose(actual, expected.numpy(), rtol=2e-5, atol=2e-5)


def test_a_kernel_that_reads_what_is_not_written_yet_is_refused(monkeypatch):
    made = schedule.Schedule.__init__

    def backwards(self, *args):
        made(self, *args)
        self.groups.reverse()
        self.position = {e.output: i for i, group in enumerate(self.groups) for e in group.equations}

    monkeypatch.setattr(schedule.Schedule, "__init__", backwards)
    monkeypatch.setenv("LAMPION_CACHE", "0")  # which would know the plan
    with pytest.raises(AssertionError, match="reads what is written after it"):
        read("compiled", lambda x: (x @ x.T) @ x, numbers())
