"""Tests that compare with PyTorch; they are skipped where it is not installed."""

import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what PyTorch says about itself while it is imported is not ours
    torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def one_thread():
    """Other tests measure; a pool of threads left behind by PyTorch would get in their way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
