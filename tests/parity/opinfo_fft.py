"""PyTorch's samples for Fourier transforms and windows: see test_opinfo.py."""

# Sums of 360 numbers up to 9 in float32, in another order: 1e-7 of the sum of their sizes.
SUMS = {"fft.hfft2": {"rtol": 1e-5, "atol": 1e-4}}
