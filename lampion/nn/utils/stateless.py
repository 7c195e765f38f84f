"""`functional_call` under its older address; `lampion.func` has it too."""

from lampion.func import functional_call

__all__ = ["functional_call"]
