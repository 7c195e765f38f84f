"""Signal processing, under the names of `torch.signal`: window functions."""

from lampion.signal import windows

__all__ = ["windows"]
