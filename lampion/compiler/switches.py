"""Switches in the environment: what is on unless a variable says 0, off, false or no."""

from __future__ import annotations

import os


def is_on(variable: str) -> bool:
    """Whether that variable leaves on what it is about; asked anew each time."""
    return os.environ.get(variable, "1").strip().lower() not in ("0", "off", "false", "no")
