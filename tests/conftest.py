"""For all tests: fixed seeds, nothing global left behind, a compile cache of their own."""

import os
import signal
import tempfile

import hypothesis
import numpy as np
import pytest

import lampion as lp
from lampion.mode import mode

# The same examples in every run, so that a red test is red for everybody; look for new ones with
# `pytest --hypothesis-profile=explore`.
hypothesis.settings.register_profile("fixed", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=2000)
hypothesis.settings.load_profile("fixed")

# Not in the user's home: what is compiled here is of no use to anybody else.
_cache = tempfile.TemporaryDirectory(prefix="lampion-tests-", ignore_cleanup_errors=True)
os.environ.setdefault("LAMPION_CACHE_DIR", _cache.name)

# In the background of a shell Ctrl-C is ignored, and would be by the programs that tests start and interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _global_state():
    return {
        "is_grad_enabled()": lp.is_grad_enabled(),
        "get_default_dtype()": lp.get_default_dtype(),
        "the running trace": mode.trace,
        "autocast": (mode.autocast, mode.short),
        "numpy.geterr()": np.geterr(),
        "numpy.get_printoptions()": np.get_printoptions(),
    }


@pytest.fixture(autouse=True)
def nothing_global_is_left_behind():
    """Seed before each test; fail a test that leaves a global setting changed, and set it right again."""
    before = _global_state()
    lp.manual_seed(0)
    yield
    after = _global_state()
    mode.autocast = mode.short = None
    mode.grad, mode.trace = before["is_grad_enabled()"], before["the running trace"]
    lp.set_default_dtype(before["get_default_dtype()"])
    np.seterr(**before["numpy.geterr()"])
    np.set_printoptions(**before["numpy.get_printoptions()"])
    changed = [name for name in before if before[name] != after[name]]
    assert not changed, f"the test left these changed: {', '.join(changed)}"
