"""PyTorch's samples for Fourier transforms and windows: see test_opinfo.py."""

CALLS = {}
