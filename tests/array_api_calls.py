"""Calls of the array API standard's functions: name, arguments, keywords. See test_array_api.py."""

import math

import numpy as np

RNG = np.random.default_rng(0)
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
REALS, COMPLEX = ["float32", "float64"], ["complex64", "complex128"]
NUMERIC = [*INTEGERS, *REALS, *COMPLEX]
ALL = ["bool", *NUMERIC]
ORDERED, BITS, BOOL = [*INTEGERS, *REALS], ["bool", *INTEGERS], ["bool"]
INF, NAN = math.inf, math.nan


def data(dtype, *shape):
    if dtype == "bool":
        return np.asarray(RNG.integers(0, 2, shape)).astype(bool)
    if dtype in INTEGERS:
        return np.asarray(RNG.integers(1 if dtype[0] == "u" else -9, 10, shape)).astype(dtype)
    if dtype in REALS:
        return np.asarray(RNG.standard_normal(shape)).astype(dtype)
    return np.asarray(RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)).astype(dtype)


# -- creation --------------------------------------------------------------------------------------------

FLOAT64, INT32 = np.dtype("float64"), np.dtype("int32")
CREATION = [
    ("arange", (5,), {"dtype": INT32}), ("arange", (2, 7, 2), {"dtype": INT32}), ("arange", (7, 2, -2), {}),
    ("arange", (2, 7, -1), {}), ("arange", (0, 1, 0.25), {"dtype": FLOAT64}),
    ("eye", (3,), {"dtype": FLOAT64}),
    ("eye", (2, 4), {"k": 1, "dtype": INT32}), ("eye", (3, 2), {"k": -2, "dtype": FLOAT64}),
    ("full", ((2, 3), 7), {}), ("full", (3, 1.5), {"dtype": FLOAT64}), ("full", ((), True), {}),
    ("linspace", (0, 1, 5), {"dtype": FLOAT64}),
    ("linspace", (1, -1, 4), {"dtype": FLOAT64, "endpoint": False}),
    ("linspace", (0, 1, 0), {"dtype": FLOAT64}), ("linspace", (2, 3, 1), {"dtype": FLOAT64}),
    ("ones", (3,), {"dtype": INT32}), ("zeros", ((2, 0),), {"dtype": FLOAT64}),
    ("zeros", ((),), {"dtype": FLOAT64}),
    ("full_like", (data("int8", 2, 3), 4), {}), ("ones_like", (data("float64", 2),), {"dtype": INT32}),
    ("zeros_like", (data("complex64", 2),), {}), ("tril", (data("float64", 2, 3, 4),), {"k": 1}),
    ("triu", (data("int32", 4, 3),), {"k": -1}), ("triu", (data("bool", 3, 3),), {}),
    ("meshgrid", (data("int32", 3), data("int32", 2), data("int32", 4)), {}),
    ("meshgrid", (data("int32", 3), data("int32", 2)), {"indexing": "ij"}),
    ("meshgrid", (data("int32", 3),), {}),
]  # fmt: skip

MANIPULATION = [
    ("broadcast_arrays", (data("int32", 3, 1), data("float64", 4), data("bool")), {}),
    ("broadcast_to", (data("int32", 3, 1), (2, 3, 4)), {}),
    ("concat", ([data("int8", 2, 3), data("int16", 1, 3)],), {}),
    ("concat", ([data("float32", 2, 3), data("float64", 4)],), {"axis": None}),
    ("expand_dims", (data("int32", 3), -1), {}), ("flip", (data("int32", 3, 4),), {}),
    ("flip", (data("int32", 3, 4),), {"axis": -1}), ("flip", (data("int32"),), {}),
    ("moveaxis", (data("int32", 2, 3, 4), 0, -1), {}),
    ("moveaxis", (data("int32", 2, 3, 4), (0, 1), (2, 0)), {}),
    ("permute_dims", (data("int32", 2, 3, 4), (2, 0, 1)), {}), ("repeat", (data("int32", 2, 3), 2), {}),
    ("repeat", (data("int32", 2, 3), 2), {"axis": 1}),
    ("repeat", (data("int32", 2, 3), np.array([1, 0, 2])), {"axis": 1}),
    ("reshape", (data("int32", 2, 3), (3, -1)), {}), ("reshape", (data("int32", 2, 3), (6,)), {"copy": True}),
    ("roll", (data("int32", 2, 3), 2), {}), ("roll", (data("int32", 2, 3), -1), {"axis": 1}),
    ("roll", (data("int32", 2, 3), (1, 2)), {"axis": (0, 1)}),
    ("squeeze", (data("int32", 1, 3, 1), (0, 2)), {}),
    ("stack", ([data("int8", 2), data("int16", 2)],), {"axis": -1}),
    ("tile", (data("int32", 2, 3), (2,)), {}),
    ("tile", (data("int32", 3), (2, 2)), {}), ("unstack", (data("int32", 2, 3),), {"axis": 1}),
]  # fmt: skip

SEARCHING = [
    ("argmax", (data("float64", 3, 4),), {}),
    ("argmax", (data("int8", 3, 4),), {"axis": 1, "keepdims": True}),
    ("argmin", (data("float32", 3, 4),), {"keepdims": True}), ("argmin", (data("uint8", 9),), {"axis": 0}),
    ("count_nonzero", (data("bool", 3, 4),), {}),
    ("count_nonzero", (data("float64", 3, 4),), {"axis": (0, 1)}),
    ("count_nonzero", (data("int8", 3, 4),), {"axis": 1, "keepdims": True}),
    ("nonzero", (data("bool", 3, 4),), {}), ("nonzero", (data("complex64", 3),), {}),
    ("searchsorted", (np.sort(data("float64", 9)), data("float64", 2, 3)), {}),
    ("searchsorted", (np.array([1, 2, 2, 3]), np.array([2, 3, 0])), {"side": "right"}),
    ("searchsorted", (np.array([3, 1, 2]), np.array([2, 3, 0])), {"sorter": np.array([1, 2, 0])}),
    ("where", (data("bool", 3), data("float32", 2, 3), data("float64", 3)), {}),
    *((n, (data(d, 12),), {"descending": b}) for n in ("sort", "argsort")
    for d in ("int8", "float64", "uint64")
      for b in (True, False)),
    ("sort", (data("float64", 3, 4),), {"axis": 0}), ("argsort", (data("int8", 3, 4, 2) // 4,), {"axis": 1}),
    *((n, (data(d, 3, 4),), {}) for n in ("unique_all", "unique_counts", "unique_inverse", "unique_values")
      for d in ("int8", "bool", "float32")),
    ("unique_counts", (np.array([NAN, 1.0, NAN]),), {}),
    ("take", (data("int32", 3, 4), np.array([2, 0, 2])), {"axis": 1}),
    ("take", (data("int32", 5), np.array([4])), {}),
    ("take_along_axis", (data("int32", 3, 4), np.array([[0, 1], [2, 3], [3, 3]])), {}),
    ("take_along_axis", (data("int32", 3, 4), np.array([[2, 1, 0, 0]])), {"axis": 0}),
    ("all", (data("bool", 3, 4),), {"axis": 0}), ("any", (data("float64", 3, 4),), {"axis": (0, 1)}),
    ("all", (data("int8", 0, 4),), {"keepdims": True}), ("any", (data("bool", 0, 4),), {"axis": 0}),
    ("any", (np.array([NAN]),), {}), ("all", (data("complex64", 3),), {}),
    ("diff", (data("int32", 3, 4),), {}), ("diff", (data("float64", 3, 4),), {"axis": 0, "n": 2}),
    ("diff", (data("int32", 4),), {"prepend": data("int32", 1), "append": data("int32", 2)}),
]  # fmt: skip

AXES = [{}, {"axis": 0}, {"axis": -1, "keepdims": True}, {"axis": (0, 1)}]
STATISTICAL = [
    *((n, (data(d, 3, 4),), k) for n in ("sum", "prod")
    for d in ("int8", "uint8", "uint64", "float32", "complex128")
      for k in AXES),
    *((n, (data("int32", 3, 4),), {"dtype": FLOAT64})
    for n in ("sum", "prod", "cumulative_sum", "cumulative_prod")
      if not n.startswith("cum")),
    *((n, (data(d, 3, 4),), k) for n in ("max", "min") for d in ("int8", "uint64", "float32") for k in AXES),
    *((n, (data(d, 3, 4),), k) for n in ("mean", "var", "std") for d in ("float32", "float64") for k in AXES),
    *((n, (data("float64", 5, 3),), {"axis": 0, "correction": c}) for n in ("var", "std") for c in (1, 0.5)),
    ("mean", (data("complex64", 4),), {}), ("sum", (data("float64"),), {}),
    ("sum", (data("float64", 0),), {}),
    ("max", (np.array([1.0, NAN]),), {}),
    *((n, (data(d, 4),), {"include_initial": b}) for n in ("cumulative_sum", "cumulative_prod")
      for d in ("int8", "uint8", "float64", "complex64") for b in (True, False)),
    ("cumulative_sum", (data("int32", 3, 4),), {"axis": 0, "include_initial": True}),
    ("cumulative_prod", (data("int32", 3, 4),), {"axis": 1, "dtype": FLOAT64}),
]  # fmt: skip
LINEAR = [
    *(("matmul", (data(d, *a), data(d, *b)), {}) for d in ("int32", "float64", "complex64")
      for a, b in (((2, 3), (3, 2)), ((3,), (3,)), ((3,), (2, 3, 2)), ((4, 2, 3), (3,)))),
    ("matmul", (data("float32", 2, 3), data("float64", 3, 2)), {}),
    ("matrix_transpose", (data("int32", 2, 3, 4),), {}),
    ("tensordot", (data("float64", 2, 3, 4), data("float64", 3, 4, 5)), {}),
    ("tensordot", (data("int32", 2, 3), data("int32", 4, 3)), {"axes": ((1,), (1,))}),
    ("tensordot", (data("float64", 2), data("float64", 3)), {"axes": 0}),
    ("vecdot", (data("complex64", 2, 3), data("complex64", 2, 3)), {}),
    ("vecdot", (data("int32", 3, 2), data("int32", 3, 2)), {"axis": -2}),
    ("vecdot", (data("float64", 4, 1, 3), data("float64", 2, 3)), {}),
]  # fmt: skip

SYMMETRIC = (lambda x: x @ np.swapaxes(x.conj(), -1, -2) + 3 * np.eye(3))(data("float64", 2, 3, 3))
SQUARE, WIDE = data("float64", 2, 3, 3) + 3 * np.eye(3), data("float64", 2, 3, 4)
LINALG = [
    ("cholesky", (SYMMETRIC,), {}), ("cholesky", (SYMMETRIC,), {"upper": True}),
    ("cross", (data("float64", 2, 3), data("float64", 2, 3)), {}),
    ("cross", (data("float64", 2, 1, 3), data("float64", 4, 3)), {}),
    ("cross", (data("int32", 3, 2), data("int32", 3, 2)), {"axis": -2}), ("det", (SQUARE,), {}),
    ("diagonal", (WIDE,), {"offset": 1}), ("diagonal", (data("int32", 3, 3),), {"offset": -1}),
    ("eigvalsh", (SYMMETRIC,), {}), ("inv", (SQUARE,), {}), ("matrix_norm", (WIDE,), {}),
    *(("matrix_norm", (WIDE,), {"ord": o, "keepdims": True})
    for o in ("fro", "nuc", 1, -1, 2, -2, INF, -INF)),
    ("matrix_power", (SQUARE, 3), {}), ("matrix_power", (SQUARE, -2), {}), ("matrix_power", (SQUARE, 0), {}),
    ("matrix_rank", (WIDE,), {}), ("matrix_rank", (np.ones((3, 3)),), {"rtol": 0.1}),
    ("outer", (data("int32", 2), data("int32", 3)), {}), ("pinv", (WIDE,), {}), ("slogdet", (SQUARE,), {}),
    ("solve", (SQUARE, data("float64", 2, 3, 2)), {}), ("solve", (SQUARE, data("float64", 3)), {}),
    ("svdvals", (WIDE,), {}), ("trace", (data("int8", 2, 3, 3),), {}), ("trace", (WIDE,), {"offset": 1}),
    ("vector_norm", (WIDE,), {}),
    *(("vector_norm", (WIDE,), {"axis": a, "ord": o, "keepdims": k}) for a, o, k in
      ((1, 2, False), ((0, 2), 1, True), (-1, INF, False), (0, -INF, False), (0, 0, True), (1, 3, False))),
    ("vector_norm", (data("complex64", 3),), {}),
]  # fmt: skip

REAL_LINE, LINE = data("float64", 2, 8), data("complex128", 2, 8)
FFT = [
    *((n, (LINE,), k) for n in ("fft", "ifft", "hfft", "irfft")
    for k in ({}, {"n": 6}, {"axis": 0, "norm": "ortho"})
      if not (n in ("hfft", "irfft") and k.get("axis") == 0)),
    *((n, (REAL_LINE,), k) for n in ("rfft", "ihfft") for k in ({}, {"n": 10}, {"norm": "forward"})),
    *((n, (LINE,), k) for n in ("fftn", "ifftn", "irfftn") for k in ({}, {"s": (4,), "axes": (1,)})),
    ("rfftn", (REAL_LINE,), {}), ("fft", (LINE.astype("complex64"),), {}),
    ("fftfreq", (7,), {"d": 0.5, "dtype": FLOAT64}), ("rfftfreq", (8,), {"dtype": FLOAT64}),
    ("fftshift", (LINE,), {}), ("fftshift", (LINE,), {"axes": 1}),
    ("ifftshift", (REAL_LINE,), {"axes": (0, 1)}),
]  # fmt: skip
