"""What programs need around a network: reading data (`utils.data`), writing files safely."""

from lampion.utils import checkpoint, data

__all__ = ["checkpoint", "data"]
