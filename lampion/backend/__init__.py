"""Where arrays live: which array library computes, chosen from the arrays that the door is handed."""

from lampion.backend.choice import where
from lampion.backend.select import clip, namespace, quiet, restore, silence

__all__ = ["clip", "namespace", "quiet", "restore", "silence", "where"]
