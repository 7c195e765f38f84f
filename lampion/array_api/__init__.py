"""The Python array API standard, 2024.12, for Lampion's tensors.

Functions have the standard's names, signatures and rules, whatever PyTorch's are: so code that is written
for any array library runs on Lampion, and is recorded by autograd.

>>> import lampion
>>> x = lampion.tensor([[1.0, 2.0], [3.0, 4.0]])
>>> xp = x.__array_namespace__()
>>> xp.mean(x, axis=0, keepdims=True)
tensor([[2., 3.]])

Two differences remain between this namespace and the operators of Tensor, which follow PyTorch: beside an
array that has dimensions, an operator counts one that has none less (``float32[3] + float64[]`` is
float32; `add` gives float64), and Python's numbers may raise an array's kind (``int64[3] + 0.5``).
Results that share memory with an argument (views) do so as in PyTorch, which the standard leaves open.

Source: https://data-apis.org/array-api/2024.12/
"""

from lampion.array_api import (
    constants,
    creation,
    data_types,
    elementwise,
    fft,
    linalg,
    linear_algebra,
    manipulation,
    searching,
    statistical,
    utility,
)  # fmt: skip
from lampion.array_api.constants import *  # noqa: F403  # each file's __all__ is a section of the standard
from lampion.array_api.creation import *  # noqa: F403
from lampion.array_api.data_types import *  # noqa: F403
from lampion.array_api.data_types import __array_namespace_info__
from lampion.array_api.elementwise import *  # noqa: F403
from lampion.array_api.linear_algebra import *  # noqa: F403
from lampion.array_api.manipulation import *  # noqa: F403
from lampion.array_api.searching import *  # noqa: F403
from lampion.array_api.statistical import *  # noqa: F403
from lampion.array_api.utility import *  # noqa: F403

__all__ = [
    "VERSIONS", "fft", "linalg", *constants.__all__, *creation.__all__,
    *data_types.__all__, *elementwise.__all__, *linear_algebra.__all__, *manipulation.__all__,
    *searching.__all__, *statistical.__all__, *utility.__all__,
]  # fmt: skip

#: The versions of the standard that `Tensor.__array_namespace__` is asked for.
VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")
__array_api_version__ = VERSIONS[-1]
__version__ = __array_api_version__
