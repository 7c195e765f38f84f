"""What programs need around a network: reading data (`utils.data`), writing files safely."""

from lampion.utils import data

__all__ = ["data"]
