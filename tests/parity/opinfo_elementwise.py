"""Elementwise and special functions beside PyTorch's table."""

# PyTorch's Bessel functions are off by up to 9e-7 for arguments from 4 to 9; Lampion's are within 1e-15 of
# the truth (tests/test_numerics.py).
CLOSE = {"special.bessel_j0": {"atol": 1e-6}, "special.bessel_y1": {"atol": 1e-6}}

# PyTorch computes these in float32; Lampion in float64, and rounds the result.
SINGLE = {
    **{f"polygamma polygamma_n_{n}": {"rtol": 1e-4, "atol": 1e-4} for n in range(5)},
    "special.polygamma special_polygamma_n_0": {"rtol": 1e-4, "atol": 1e-4},
    "special.hermite_polynomial_he": {"rtol": 1e-4, "atol": 1e-4},
}
