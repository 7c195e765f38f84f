"""Datasets that Lampion's recipes train on."""

from lampion.datasets.digits import Digits

__all__ = ["Digits"]
