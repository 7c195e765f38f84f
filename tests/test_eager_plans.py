"""Heavy operations of eager code: plans of one primitive, with what NumPy's way computes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import lampion
from lampion import primitive
from lampion.compiler import eager
from lampion.errors import ShapeError
from lampion.ops.convolution import convolution, convolution_input, convolution_weight
from lampion.ops.pooling import pool_pick, pool_spread

pytest.importorskip("llvmlite")
GEOMETRY: dict[str, Any] = {"stride": (2, 1), "padding": ((1, 1), (0, 2)), "dilation": (1, 2), "groups": 2}
WINDOWS: dict[str, Any] = {
    "taps": (2, 2), "stride": (2, 2), "padding": ((0, 0), (0, 0)), "dilation": (1, 1),
}  # fmt: skip


@pytest.fixture
def everything_heavy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(primitive, "HEAVY", 1)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = lampion.get_num_threads()
    yield lampion.set_num_threads
    lampion.set_num_threads(before)


def calls(dtype: Any) -> dict[str, tuple[Any, list[np.ndarray], dict[str, Any]]]:
    """By name: the primitive, inputs in some unusual layout, and parameters."""
    rng = np.random.default_rng(3)

    def made(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(dtype)

    x, w = made(3, 6, 9, 7), made(8, 3, 3, 2)
    sizes = (5, 7)
    y = made(3, 8, *sizes)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    whole = np.broadcast_to(made(1, 8, 1, 1), y.shape)  # as the gradient of a sum is
    pooled = made(3, 6, 4, 3)
    return {
        "convolution": (convolution, [last, w[:, :, ::-1]], GEOMETRY),
        "convolution_input": (convolution_input, [whole, w], {"sizes": (9, 7), **GEOMETRY}),
        "convolution_weight": (convolution_weight, [y, last], {"taps": (3, 2), **GEOMETRY}),
        "pool_pick": (pool_pick, [x, last], WINDOWS),
        "pool_spread": (pool_spread, [pooled, x[:, :, ::-1]], WINDOWS),
    }


@pytest.mark.usefixtures("everything_heavy")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", list(calls(np.float32)))
def test_what_numpy_computes(name: str, dtype: Any, threads: Callable[[int], None]) -> None:
    function, arrays, params = calls(dtype)[name]
    inputs = [
        lampion.from_numpy(a) if a.flags.writeable else lampion.tensor(a[:1, :, :1, :1]).expand(a.shape)
        for a in arrays
    ]
    before = [x.numpy().copy() for x in inputs]
    found = {}
    for count in (1, 2, 3, 8):
        threads(count)
        found[count] = function(*inputs, **params).numpy()
        assert found[count].tobytes() == found[1].tobytes(), count
    expected = function.primitive.forward(np, *(x.numpy() for x in inputs), **params)
    assert found[1].shape == expected.shape
    assert found[1].dtype == expected.dtype
    assert found[1].flags.c_contiguous
    # Sums of up to a few hundred products of numbers of about 1, in another order.
    assert np.abs(found[1] - expected).max() <= 200 * np.finfo(dtype).eps * max(1.0, np.abs(expected).max())
    for x, old in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(x.numpy(), old)


def test_shape_alone_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(eager, "run", lambda p, arrays, params: seen.append(p.name))
    conv = lampion.nn.Conv2d(16, 16, 3, padding=1)
    conv(lampion.ones(1, 16, 8, 8))
    assert not seen
    conv(lampion.ones(2, 16, 32, 32, requires_grad=True)).sum().backward()
    assert seen == ["convolution", "convolution_input", "convolution_weight"]
    lampion.nn.functional.max_pool2d(lampion.ones(1, 16, 128, 128), 2)
    assert seen[3:] == ["pool_pick"]


@pytest.mark.usefixtures("everything_heavy")
def test_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    function, arrays, params = calls(np.float32)["convolution_weight"]
    inputs = [lampion.from_numpy(array) for array in arrays]
    monkeypatch.setenv("LAMPION_EAGER_PLANS", "0")
    found = function(*inputs, **params).numpy()
    assert found.tobytes() == function.primitive.forward(np, *arrays, **params).tobytes()


@pytest.mark.usefixtures("everything_heavy")
def test_other_types_and_nothing_at_all() -> None:
    conv = lampion.nn.functional.conv2d
    w = lampion.ones(2, 3, 3, 3)
    assert conv(lampion.ones(0, 3, 5, 5), w).shape == (0, 2, 3, 3)
    whole = conv(lampion.ones(1, 3, 5, 5, dtype=lampion.int64), w.to(lampion.int64))
    assert whole.tolist() == [[[[27] * 3] * 3] * 2]
    half = conv(lampion.ones(1, 3, 5, 5).half(), w.half())
    assert half.dtype is lampion.float16


@pytest.mark.usefixtures("everything_heavy")
def test_errors_are_those_of_eager() -> None:
    x = lampion.ones(1, 3, 2, 2)
    with pytest.raises(ShapeError, match="the filter is larger than the padded input"):
        convolution(x, lampion.ones(2, 3, 3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1)


@pytest.mark.usefixtures("everything_heavy")
def test_plans_share_memory_and_old_ones_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eager, "_plans", {})
    monkeypatch.setattr(eager, "_MOST", 2)
    w = lampion.randn(8, 4, 3, 3)
    images = [lampion.randn(n, 4, 6, 6) for n in (1, 2, 3)]
    first = [lampion.nn.functional.conv2d(x, w).numpy() for x in images]
    assert len(eager._plans) == 2
    again = [lampion.nn.functional.conv2d(x, w).numpy() for x in images]
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, again, strict=True))
    assert all(plan is not None and not plan.engine.memory.nbytes for plan in eager._plans.values())


@pytest.mark.usefixtures("everything_heavy")
def test_a_forked_child_needs_no_lock_of_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    held = threading.Lock()
    held.acquire()
    monkeypatch.setattr(eager, "_lock", held)  # as if another thread, which the child does not have, had it
    monkeypatch.setattr(eager, "_scratch", eager._scratch)
    eager._in_child()
    out = lampion.nn.functional.conv2d(lampion.ones(1, 2, 4, 4), lampion.ones(1, 2, 3, 3))
    assert out.tolist() == [[[[18.0, 18.0], [18.0, 18.0]]]]
