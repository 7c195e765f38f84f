"""What the samples of shape and indexing operations need: see `test_opinfo.py`."""

import lampion as lp

CALLS = {
    "slice": lambda x, dim=0, start=None, end=None, step=1: lp.slice_copy(x, dim, start, end, step),
    "where": lambda x, condition, other: lp.where(condition, x, other),
}
LEFT_OUT = {
    "as_strided_scatter": "PyTorch passes on the gradient of the elements that are replaced, not of the rest",
    "as_strided partial_views": "the samples are views into memory that the copies handed to Lampion lack",
}
