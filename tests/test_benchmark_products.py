"""The table of products: every library multiplies the same, and the table shows it."""

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="without llvmlite there is nothing to measure")

from benchmarks import products


@pytest.mark.parametrize("form", ["NN", "NT", "TN"])
@pytest.mark.parametrize("library", ["lampion", "numpy", "torch", "jax"])
def test_all_compute_the_product(library, form):
    pytest.importorskip(library)
    a, b = products.operands((2,), (5, 40, 7), form)
    result = np.asarray(products.LIBRARIES[library](a, b, form, 1)())
    np.testing.assert_allclose(result, products.turned(a, form[0]) @ products.turned(b, form[1]), atol=1e-4)


def test_names_differ_and_the_table_has_a_line_for_each():
    names = [name for name, *_ in products.cases()]
    assert len(set(names)) == len(names)
    rows = {name: {"us": 1.0, "gflops": 50.0} for name in names}
    lines = products.table([{"library": "lampion", "products": rows}], 100.0).splitlines()
    assert len(lines) == len(names) + 2
    assert lines[2].endswith("| 1.0 | 50% |")
