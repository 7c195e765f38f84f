"""Window functions: the formulas, their ends and middles, and PyTorch's where it is installed."""

import numpy as np
import pytest

import lampion as lp
from lampion.errors import DTypeError, LampionError
from lampion.signal import windows

OPTIONS = {
    "exponential": {"tau": 2.5}, "gaussian": {"std": 1.5}, "general_cosine": {"a": [0.5, 0.3, 0.2]},
    "general_hamming": {"alpha": 0.6}, "kaiser": {"beta": 5.0},
}  # fmt: skip
NUMPYS = {"bartlett": np.bartlett, "blackman": np.blackman, "hamming": np.hamming, "hann": np.hanning}
OLD = {
    "bartlett_window": {}, "blackman_window": {}, "hann_window": {}, "kaiser_window": {"beta": 6.0},
    "hamming_window": {"alpha": 0.6, "beta": 0.4},
}  # fmt: skip


@pytest.mark.parametrize("name", windows.__all__)
def test_a_window_is_symmetric_or_the_beginning_of_a_longer_one(name):
    make, options = getattr(windows, name), OPTIONS.get(name, {})
    whole = make(9, dtype=lp.float64, **options).numpy()
    np.testing.assert_allclose(whole, whole[::-1], atol=1e-15)
    np.testing.assert_allclose(
        make(8, sym=False, dtype=lp.float64, **options).numpy(), whole[:-1], atol=1e-15
    )
    assert make(1, **options).tolist() == [1.0]
    assert make(0, **options).shape == (0,)
    assert make(4, **options).dtype is lp.float32
    assert make(4, requires_grad=True, **options).requires_grad


@pytest.mark.parametrize("name", NUMPYS)
def test_numpys_windows(name):
    np.testing.assert_allclose(
        getattr(windows, name)(7, dtype=lp.float64).numpy(), NUMPYS[name](7), atol=1e-15
    )


@pytest.mark.parametrize("name", windows.__all__)
def test_pytorchs_windows(name):
    torch = pytest.importorskip("torch")
    for sym in (True, False):
        theirs = getattr(torch.signal.windows, name)(6, sym=sym, dtype=torch.float64, **OPTIONS.get(name, {}))
        ours = getattr(windows, name)(6, sym=sym, dtype=lp.float64, **OPTIONS.get(name, {}))
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-14)


@pytest.mark.parametrize("name", OLD)
def test_the_windows_of_torch_itself(name):
    torch = pytest.importorskip("torch")
    for periodic in (True, False):
        theirs = getattr(torch, name)(6, periodic, dtype=torch.float64, **OLD[name])
        ours = getattr(lp, name)(6, periodic, dtype=lp.float64, **OLD[name])
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-14)


def test_errors():
    with pytest.raises(LampionError, match="number of points is negative"):
        windows.hann(-1)
    with pytest.raises(DTypeError, match="float32 or float64"):
        windows.hann(3, dtype=lp.int64)
    with pytest.raises(LampionError, match="tau must be positive"):
        windows.exponential(3, tau=0)
    with pytest.raises(LampionError, match="centre in the middle"):
        windows.exponential(3, center=1)
    with pytest.raises(LampionError, match="standard deviation"):
        windows.gaussian(3, std=0)
    with pytest.raises(LampionError, match="no weights"):
        windows.general_cosine(3, a=[])
    with pytest.raises(LampionError, match="beta must not be negative"):
        windows.kaiser(3, beta=-1)


def test_a_window_in_a_compiled_function_is_a_constant():
    @lp.compile
    def faded(x):
        return x * windows.hann(4)

    assert faded(lp.ones(4)).tolist() == windows.hann(4).tolist()
