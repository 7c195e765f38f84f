"""What a tensor shows and converts to: attributes, devices, other libraries, copies, messages."""

import copy
import pickle

import numpy as np
import pytest

import lampion as lp
from lampion.absent import missing_function, missing_method
from lampion.errors import DTypeError, GradientError, InplaceError, LampionError, ShapeError
from lampion.testing import assert_close, assert_identical

NAN = float("nan")
X = lp.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])


def test_sizes_and_places():
    x = lp.zeros(2, 3, dtype=lp.float64)
    assert (x.element_size(), x.itemsize, x.nbytes, x.numel(), x.nelement(), x.ndimension()) == (
        8,
        8,
        48,
        6,
        6,
        2,
    )
    assert (x.size(), x.size(-1), x.stride(), x.stride(0), x.T.stride()) == ((2, 3), 3, (3, 1), 3, (1, 3))
    assert (x[1].storage_offset(), x.storage_offset()) == (3, 0)
    assert x[1].data_ptr() - x.data_ptr() == 24
    assert x.numpy().ctypes.data == x.data_ptr()
    assert (x.is_floating_point(), x.is_complex(), x.is_signed(), x.bool().is_signed()) == (
        True,
        False,
        True,
        False,
    )
    assert lp.is_tensor(x) and not lp.is_tensor(3)
    assert (lp.numel(x), lp.is_floating_point(x), lp.is_complex(x.cfloat()), lp.is_signed(x)) == (
        6,
        True,
        True,
        True,
    )
    assert lp.is_same_size(x, x * 2) and not x.is_same_size(x.T)
    assert lp.is_nonzero(lp.tensor([2.0])) and not lp.tensor(0).is_nonzero()
    assert isinstance(x.shape, lp.Size)


def test_devices():
    assert X.device == "cpu" and X.device.type == "cpu" and X.device.index is None and not X.is_cuda
    assert lp.device("cuda", 1) == "cuda:1" and lp.device("cuda:1").type == "cuda"
    assert repr(lp.device("cpu")) == "device(type='cpu')"
    assert repr(lp.device("cuda:0")) == "device(type='cuda', index=0)"
    assert lp.zeros(1, device=X.device).device == "cpu"
    assert X.cpu() is X.to("cpu") is X
    for call in (lambda: X.cuda(), lambda: X.to("cuda:0"), lambda: lp.zeros(1, device="cuda")):
        with pytest.raises(LampionError, match=r"(?s)there is no device 'cuda.*expected: \"cpu\""):
            call()


def test_to():
    y = lp.tensor([1, 2])
    assert X.to(lp.float64).dtype is lp.float64
    assert X.to("cpu", lp.int32).dtype is X.to(y, False, True).int().dtype is lp.int32
    assert X.to(dtype=lp.int8).dtype is lp.int8 and X.to(other=y).dtype is lp.int64
    assert X.to(lp.float32) is X and X.to(X) is X and X.to(None) is X
    assert X.to(lp.float32, copy=True) is not X and X.to(X, copy=True) is not X
    assert X.to(np.dtype("float64")).dtype is X.to(float).double().dtype
    names = {"bool": lp.bool, "byte": lp.uint8, "char": lp.int8, "short": lp.int16, "int": lp.int32,
             "long": lp.int64, "half": lp.float16, "bfloat16": lp.bfloat16, "float": lp.float32,
             "double": lp.float64, "cfloat": lp.complex64, "cdouble": lp.complex128}  # fmt: skip
    for name, dtype in names.items():
        assert getattr(X, name)().dtype is dtype
    assert X.type() == "lampion.FloatTensor" and X.type("lampion.LongTensor").dtype is lp.int64
    assert X.type(lp.float64).dtype is X.type_as(lp.zeros(1, dtype=lp.float64)).dtype is lp.float64
    with pytest.raises(LampionError, match="no such type"):
        X.type("lampion.StrangeTensor")


def test_memory_formats():
    x = lp.arange(24.0).reshape(1, 2, 3, 4)
    last = x.contiguous(memory_format=lp.channels_last)
    assert last.stride() == (24, 1, 8, 2)
    assert_identical(last, x.numpy())
    assert last.is_contiguous(memory_format=lp.channels_last) and not last.is_contiguous()
    assert last.to(memory_format=lp.contiguous_format).is_contiguous()
    assert x.clone(memory_format=lp.channels_last).stride() == last.stride()
    assert x.to(lp.float32, memory_format=lp.preserve_format) is x
    assert x.T.clone(memory_format=lp.contiguous_format).is_contiguous()
    assert repr(lp.channels_last) == "lampion.channels_last"
    with pytest.raises(ShapeError, match="for tensors of 4 dimensions"):
        X.contiguous(memory_format=lp.channels_last)


def test_new():
    x = lp.ones(2, dtype=lp.int16)
    for made in (x.new_zeros(2, 3), x.new_ones((2, 3)), x.new_empty(2, 3), x.new_full((2, 3), 7)):
        assert made.dtype is lp.int16 and made.shape == (2, 3)
    assert x.new_full((1,), 7).item() == 7
    assert (
        x.new_tensor([1.0, 2.0]).dtype is lp.int16
        and x.new_tensor([1.0], dtype=lp.float64).dtype is lp.float64
    )
    assert x.new_zeros(2, dtype=lp.float32, requires_grad=True).requires_grad
    assert x.new_empty_strided((2, 3), (1, 2)).stride() == (1, 2)
    assert lp.empty_strided((2, 3), (1, 4)).stride() == (1, 4)
    assert lp.empty_permuted((2, 3, 4), (0, 2, 1)).stride() == (12, 1, 3)
    with pytest.raises(ShapeError, match="each size needs a step"):
        lp.empty_strided((2, 3), (1,))
    with pytest.raises(ShapeError, match="every dimension must be named once"):
        lp.empty_permuted((2, 3), (0, 0))


def test_sequences():
    assert_identical(lp.linspace(0, 1, 5), np.linspace(0, 1, 5, dtype="f4"))
    assert_close(lp.linspace(3, -2, 4, dtype=lp.float64), np.linspace(3, -2, 4))
    assert lp.linspace(0, 1, 1).tolist() == [0.0] and lp.linspace(0, 1, 0).shape == (0,)
    assert lp.linspace(0, 1j, 3).tolist() == [0, 0.5j, 1j]
    assert lp.linspace(lp.tensor(0.0), lp.tensor(1.0), 2).tolist() == [0.0, 1.0]
    assert_close(lp.logspace(0, 2, 5), np.logspace(0, 2, 5, dtype="f4"))
    assert lp.logspace(0, 3, 4, base=2.0).tolist() == [1.0, 2.0, 4.0, 8.0]
    assert lp.eye(2, 3).tolist() == [[1, 0, 0], [0, 1, 0]] and lp.eye(2, dtype=lp.bool).tolist()[0] == [
        True,
        False,
    ]
    assert lp.scalar_tensor(2).dtype is lp.float32
    assert lp.arange(0, 1, 0.1).shape == (10,) and lp.arange(5, 0, -2).tolist() == [5, 3, 1]
    assert lp.full((2,), lp.tensor(3)).tolist() == [3, 3] and lp.full((2,), 1j).dtype is lp.complex64
    assert lp.empty_like(X).shape == X.shape
    for call, match in (
        (lambda: lp.arange(0, 5, -1), "leads away"), (lambda: lp.arange(0, 5, 0), "must not be 0"),
        (lambda: lp.linspace(0, 1, -1), "number of steps"), (lambda: lp.eye(-1), "negative"),
        (lambda: lp.full((2,), 1j, dtype=lp.float32), "complex number does not fit"),
        (lambda: lp.linspace(0, 1j, 2, dtype=lp.float32), "complex ends"),
        (lambda: lp.arange(X), "numbers or 0-d tensors"),
    ):  # fmt: skip
        with pytest.raises(LampionError, match=match):
            call()


def test_numbers_out_of_tensors():
    assert (
        complex(lp.tensor(1 + 2j)) == 1 + 2j and float(lp.tensor(3 + 0j)) == 3.0 and int(lp.tensor(2.7)) == 2
    )
    assert lp.tensor(1.5, dtype=lp.bfloat16).item() == 1.5 and lp.tensor([1.5]).half().tolist() == [1.5]
    with pytest.raises(DTypeError, match="imaginary part"):
        float(lp.tensor(1 + 2j))
    with pytest.raises(TypeError, match="integer tensor"):
        [1, 2][lp.tensor(1.0)]
    assert [row.tolist() for row in X] == X.tolist() and [r.tolist() for r in reversed(X)] == X.tolist()[::-1]
    with pytest.raises(TypeError, match="0-d tensor"):
        iter(lp.tensor(1.0))
    assert 5.0 in X and 7 not in X and lp.tensor(2.0) in X
    with pytest.raises(LampionError, match="a number or a tensor"):
        "a" in X  # noqa: B015  # the question is what raises
    assert len({X, X, X.clone()}) == 2


def test_arrays_in_and_out():
    x = lp.ones(2, requires_grad=True)
    assert x.numpy(force=True).tolist() == [1.0, 1.0]
    with pytest.raises(GradientError, match="would bypass autograd"):
        x.numpy()
    with pytest.raises(ValueError, match="without a copy"):
        np.array(X, dtype=np.float64, copy=False)
    array = np.arange(3.0)
    for shared in (lp.from_dlpack(array), lp.asarray(array), lp.as_tensor(array), lp.from_numpy(array)):
        assert np.shares_memory(shared.numpy(), array)
    assert np.shares_memory(np.from_dlpack(X), X.numpy())
    assert X.__dlpack_device__() == (1, 0)
    with pytest.raises(BufferError, match=r"x.detach\(\)"):
        x.__dlpack__()
    with pytest.raises(BufferError, match="bfloat16"):
        X.bfloat16().__dlpack__()
    with pytest.raises(LampionError, match="does not speak DLPack"):
        lp.from_dlpack([1])


def test_asarray_and_buffers():
    data = bytearray(np.arange(4, dtype=np.int16).tobytes())
    x = lp.frombuffer(data, dtype=lp.int16)
    data[0] = 9
    assert x.tolist() == [9, 1, 2, 3]
    assert lp.frombuffer(data, dtype=lp.int16, count=2, offset=2).tolist() == [1, 2]
    with pytest.raises(ValueError, match="no elements of 2 bytes"):
        lp.frombuffer(data, dtype=lp.int16, offset=1)
    array = np.arange(3.0)
    assert not np.shares_memory(lp.asarray(array, copy=True).numpy(), array)
    assert lp.asarray([1, 2]).dtype is lp.int64 and lp.asarray(2.5, requires_grad=True).requires_grad
    assert lp.asarray(array, dtype=lp.float32).dtype is lp.float32
    for call in (lambda: lp.asarray([1], copy=False), lambda: lp.asarray(array, dtype=lp.int8, copy=False)):
        with pytest.raises(ValueError, match="asarray"):
            call()


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        ([np.float64(1), np.float64(2)], lp.float64), ([np.float32(1)], lp.float32), ([np.int8(1)], lp.int8),
        (1j, lp.complex64), ([1, 2j], lp.complex64), ([True, 2], lp.int64),
        ([[lp.tensor(1), 2], [3, 4]], lp.int64),
        ([lp.tensor(1.0, dtype=lp.float64)], lp.float64), ((lp.ones(2), lp.zeros(2)), lp.float32),
        (memoryview(b"ab"), lp.uint8), (np.arange(2, dtype=">i4"), lp.int32), (np.float16(2), lp.float16),
    ],
    ids=str,
)  # fmt: skip
def test_tensor_takes_what_users_have(data, dtype):
    x = lp.tensor(data)
    assert x.dtype is dtype
    assert lp.tensor(data, dtype=lp.complex128).dtype is lp.complex128


def test_numbers_must_fit_the_type_that_is_given():
    assert lp.tensor([2**64 - 1, 1], dtype=lp.uint64).tolist() == [2**64 - 1, 1]
    assert lp.tensor([-1], dtype=lp.uint8).tolist() == [255] and lp.tensor([1.7], dtype=lp.int8).tolist() == [
        1
    ]
    for value, dtype in ((300, lp.uint8), (-300, lp.uint8), (200, lp.int8), (2**40, lp.int32),
                         (-1, lp.uint64), (NAN, lp.int32),
                         (1e10, lp.int32), (2**65, lp.int64), (1j, lp.float32)):  # fmt: skip
        with pytest.raises(DTypeError, match=r"does not fit into|complex number is not"):
            lp.tensor([value], dtype=dtype)
    assert lp.tensor(np.array([1 + 2j]), dtype=lp.float64).tolist() == [1.0]
    with pytest.raises(LampionError, match="not a rectangular block"):
        lp.tensor([[1], [1, 2]], dtype=lp.int8)


def test_copies():
    leaf = lp.tensor([1.0, 2.0], requires_grad=True)
    (leaf * leaf).sum().backward()
    for other in (copy.deepcopy(leaf), pickle.loads(pickle.dumps(leaf))):
        assert other.requires_grad and other.grad.tolist() == [2.0, 4.0] and other.grad is not leaf.grad
    half = pickle.loads(pickle.dumps(X.bfloat16()))
    assert half.dtype is lp.bfloat16
    y = leaf * 2
    assert y.detach_() is y and not y.requires_grad and y.grad_fn is None
    with pytest.raises(InplaceError, match="cannot be cut off"):
        (leaf * 2)[0].detach_()
    z = lp.zeros(3)
    assert z.set_(X) is z and z.shape == X.shape and np.shares_memory(z.numpy(), X.numpy())


def test_writing_all_of_a_tensor():
    x = lp.zeros(2, 2)
    assert x.fill_(3).tolist() == [[3.0, 3.0]] * 2 and x.fill_(lp.tensor(4)).tolist()[0] == [4.0, 4.0]
    assert (
        x.zero_().sum().item() == 0 and x.copy_(lp.tensor([1, 2]), non_blocking=True).tolist() == [[1, 2]] * 2
    )
    with pytest.raises(ShapeError, match="one number"):
        x.fill_(lp.ones(2))
    value = lp.tensor(2.0, requires_grad=True)
    lp.fill(x, value).sum().backward()
    assert value.grad.item() == 4.0
    y = lp.eye(2)
    y @= lp.full((2, 2), 2.0)
    assert y.tolist() == [[2.0, 2.0]] * 2


def test_operators_of_whole_numbers_and_bits():
    x = lp.tensor([7, -7])
    assert ((x // 2).tolist(), (x % 4).tolist(), (15 // x).tolist(), (9 % x).tolist()) == (
        [3, -4], [3, 1], [2, -3], [2, -5],
    )  # fmt: skip
    assert ((x & 3).tolist(), (x | 8).tolist(), (x ^ 1).tolist(), (~x).tolist()) == (
        [3, 1], [15, -7], [6, -8], [-8, 6],
    )  # fmt: skip
    assert ((x << 1).tolist(), (x >> 1).tolist(), (1 << lp.tensor([3])).tolist()) == ([14, -14], [3, -4], [8])
    assert ((3 & x).tolist(), (8 | x).tolist(), abs(x).tolist()) == ([3, 1], [15, -7], [7, 7])
    y = before = lp.tensor([7, 6])
    y //= 2
    y %= 2
    y |= 4
    y &= 6
    y ^= 1
    y <<= 2
    y >>= 1
    y **= 2
    assert y is before and y.tolist() == [100, 100]
    assert lp.tensor([4.0]).__rdiv__(2).tolist() == [0.5]
    flags = lp.tensor([True, False])
    assert (flags & True).tolist() == [True, False] and (~flags).tolist() == [False, True]


def test_names_that_torch_has():
    for name, match in (
        ("to_sparse", "no sparse"),
        ("map_", "operations on whole tensors"),
        ("cuda_", "no attribute"),
    ):
        assert not hasattr(X, name)
        with pytest.raises(AttributeError, match=match):
            getattr(X, name)
    with pytest.raises(
        AttributeError, match=r"torch has 'jit', Lampion does not; use instead: lampion.compile"
    ):
        lp.jit  # noqa: B018  # the question is what raises
    with pytest.raises(AttributeError, match="module 'lampion' has no attribute 'nonsense'"):
        lp.nonsense  # noqa: B018  # the same
    assert "quantised" in missing_method("Tensor", "int_repr") or "compose" in missing_method(
        "Tensor", "int_repr"
    )
    assert missing_function("element_size").endswith("use instead: x.element_size(...)")
    assert missing_method("Tensor", "linspace_") == "'Tensor' object has no attribute 'linspace_'"


def test_limits_and_casts():
    assert lp.finfo().dtype == "float32" and lp.finfo(lp.complex128).eps == np.finfo("f8").eps
    assert lp.finfo(lp.bfloat16).eps == 2**-7 and lp.finfo(lp.bfloat16).max > 3e38
    assert (lp.iinfo(lp.uint16).max, lp.iinfo(lp.int8).min) == (65535, -128)
    assert repr(lp.iinfo(lp.int8)) == "iinfo(min=-128, max=127, dtype=int8)"
    assert "eps=1.19209e-07" in repr(lp.finfo(lp.float32))
    with pytest.raises(TypeError, match="iinfo describes integers"):
        lp.finfo(lp.int8)
    with pytest.raises(TypeError, match="finfo describes floats"):
        lp.iinfo(lp.float32)
    assert lp.can_cast(lp.int8, lp.float16) and not lp.can_cast(lp.complex64, lp.float64)
    assert lp.result_type(lp.tensor([1]), 1j) is lp.complex64 and lp.result_type(1, 2.0) is lp.float32
    assert lp.complex64.to_real() is lp.float32 and lp.float16.to_complex() is lp.complex64
    assert lp.int8.to_complex() is lp.complex64 and lp.int8.to_real() is lp.int8
    assert (lp.half, lp.short, lp.cfloat, lp.cdouble) == (lp.float16, lp.int16, lp.complex64, lp.complex128)
