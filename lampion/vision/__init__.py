"""Seeing: networks for images (`models`), and what images go through before (`transforms`)."""

from lampion.vision import models, transforms

__all__ = ["models", "transforms"]
