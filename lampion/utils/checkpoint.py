"""Activation checkpointing, under PyTorch's name for its place: see `lampion.autograd.recompute`."""

from lampion.autograd.recompute import checkpoint, checkpoint_sequential, noop_context_fn

__all__ = ["checkpoint", "checkpoint_sequential", "noop_context_fn"]
