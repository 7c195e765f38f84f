"""Seeing: networks for images (`models`)."""

from lampion.vision import models

__all__ = ["models"]
