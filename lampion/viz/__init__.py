"""Pictures, drawn by matplotlib, which is imported when the first one is drawn."""

from lampion.viz.curves import curves
from lampion.viz.gallery import misclassified

__all__ = ["curves", "misclassified"]
