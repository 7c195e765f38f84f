"""Lampion beside PyTorch and JAX: the same work, in one run, on the same machine. See README.md here."""
