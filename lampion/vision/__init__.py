"""Seeing: networks for images (`models`), and what images go through before (`transforms`, `RandomWarp`)."""

from lampion.vision import models, transforms
from lampion.vision.heat import grad_cam
from lampion.vision.warp import RandomWarp

__all__ = ["RandomWarp", "grad_cam", "models", "transforms"]
