"""What PyTorch refuses is refused, and the other way round; empty batches are none of it."""

import warnings

import pytest

torch = pytest.importorskip("torch")

from image_errors import WRONG  # noqa: E402


@pytest.mark.parametrize("name", WRONG)
def test_pytorch_refuses_it_too(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(Exception):  # noqa: B017  # of whichever kind
            WRONG[name][0](torch)
