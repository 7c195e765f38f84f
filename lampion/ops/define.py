"""The four decorators that turn a class body into an operation.

Each makes a `Primitive` of the class's rules and returns the public function in its place: the one that
checks and promotes its arguments and goes through the door. The primitive is its `.primitive`.
"""

from __future__ import annotations

import functools

import numpy as np

from lampion import dtype as dtypes
from lampion.amp.policy import by_policy
from lampion.autograd import record
from lampion.backend import silence
from lampion.errors import DTypeError, ShapeError
from lampion.mode import mode
from lampion.ops.shapes import broadcast_shapes, normalize_dims, reduced_shape
from lampion.origin import where as where_of_user
from lampion.primitive import Primitive, apply, apply_plain
from lampion.tensor import Tensor, as_tensor

#: Every public operation by name, in the order of definition: the op table's checklist.
OPERATIONS = {}
#: What `ops/methods.py` hangs on Tensor: operations that are methods too, with their in-place forms.
METHODS = {}


def elementwise(
    rules=None, *, saves="", inputs="same", output="same", bools=True, complexes=True, public=True,
    method=True, inplace=True,
):
    """Define an operation that works on each element by itself.

    Args:
        saves: see `Primitive`.
        inputs: "same" promotes the arguments to one type; "float" also turns integers into floats.
        output: "same" as the arguments, or "bool".
        bools, complexes: whether boolean tensors, and complex ones, have a meaning here.
        public, method, inplace: whether it is `lampion.NAME`, `Tensor.NAME` and `Tensor.NAME_`.
    """
    if rules is None:
        return functools.partial(
            elementwise, saves=saves, inputs=inputs, output=output, bools=bools, complexes=complexes,
            public=public, method=method, inplace=inplace,
        )  # fmt: skip
    body = dict(vars(rules))
    name = rules.__name__.rstrip("_")

    def infer(*arrays, **params):
        shapes = [getattr(x, "shape", ()) for x in arrays]
        different = {shape for shape in shapes if shape}
        shape = broadcast_shapes(name, shapes) if len(different) > 1 else next(iter(different), ())
        if output == "bool":
            return shape, np.dtype(bool)
        return shape, next(x.dtype for x in reversed(arrays) if hasattr(x, "dtype"))

    body.setdefault("infer", infer)
    primitive = Primitive(name, "elementwise", body, saves)
    needs_float = inputs == "float"
    door = apply_plain if primitive.direct is not None and primitive.saves_only is None else apply

    def unary(input):
        if not isinstance(input, Tensor):
            input = as_tensor(input)
        if input._array.dtype.char in "fd":  # float32 and float64: nothing to convert. The common case.
            return door(primitive, input)
        return prepared(to_float(input) if needs_float else input)

    def binary(input, other):
        # Two floats of one type, or a float tensor and a number: nothing to promote. The common cases.
        if isinstance(input, Tensor) and input._array.dtype.char in "fd":
            if isinstance(other, Tensor):
                if input._array.dtype is other._array.dtype:
                    return door(primitive, input, other)
            elif type(other) is float or type(other) is int:
                return door(primitive, input, other)
        elif isinstance(other, Tensor) and type(input) in (int, float) and other._array.dtype.char in "fd":
            return apply(primitive, input, other)
        tensors = isinstance(input, Tensor) and isinstance(other, Tensor)
        if not (tensors and input._array.dtype is other._array.dtype):
            input, other = promote(name, input, other, compares=output == "bool")
        if needs_float:
            input, other = to_float(input), to_float(other)
        return prepared(input, other)

    def prepared(*inputs):
        """What is common to the rarer types."""
        if (inputs[0] if isinstance(inputs[0], Tensor) else inputs[1])._array.dtype.kind in "iu":
            return apply(primitive, *inputs)  # integers: none of what follows
        if not bools:
            refuse_bools(name, *inputs)
        if not complexes:
            refuse_complex(name, *inputs)
        return apply_wide(primitive, *inputs)

    arity = primitive.forward.__code__.co_argcount - 1
    function = body.get("call") or (unary if arity == 1 else binary)
    if "extend" in body:  # the public function takes more: an option, which it deals with before
        plain, function = function, body["extend"](function)
        function.plain, plain.primitive = plain, primitive
    return _publish(function, primitive, rules, public, method, inplace)


def reduction(rules=None, *, saves="", complexes=True, public=True, method=True):
    """Define an operation that combines the elements along some dimensions.

    `forward` is handed ``axis`` (a tuple) and ``keepdims``; `vjp` sees gradient and output with the
    reduced dimensions kept at size 1, so that they broadcast against the input.
    """
    if rules is None:
        return functools.partial(reduction, saves=saves, complexes=complexes, public=public, method=method)
    body = dict(vars(rules))
    name = rules.__name__.rstrip("_")
    prepare = body.get("prepare")
    has_identity = body.get("identity") is not None and body.get("empty", True)

    def infer(x, axis, keepdims):
        return reduced_shape(x.shape, axis, keepdims), x.dtype

    body.setdefault("infer", infer)
    primitive = Primitive(name, "reduction", body, saves)

    def function(input, dim=None, keepdim=False):
        x = input if isinstance(input, Tensor) else as_tensor(input)
        if prepare is not None:
            x = prepare(x)
        axis = normalize_dims(name, dim, len(x._array.shape))
        if not has_identity and any(x.shape[a] == 0 for a in axis):
            raise ShapeError(
                name, "an empty dimension has no result", got=f"shape {tuple(x.shape)}, dim {dim}",
                expected="at least one element along each reduced dimension",
            )  # fmt: skip
        if x._array.dtype.char in "fd":
            return apply(primitive, x, axis=axis, keepdims=keepdim)
        if not complexes:
            refuse_complex(name, x)
        return apply_wide(primitive, x, axis=axis, keepdims=keepdim)

    if "extend" in body:  # an option, which the public function deals with before
        function = body["extend"](function)
    return _publish(body.get("call") or function, primitive, rules, public, method)


def movement(rules=None, *, public=True, method=True):
    """Define an operation that only rearranges: its result is a view where NumPy's is.

    `call` is the public function: it checks the arguments and goes through the door. No shape rule is
    needed: tracing runs `forward` on an array without contents.
    """
    if rules is None:
        return functools.partial(movement, public=public, method=method)
    body = dict(vars(rules))
    name = rules.__name__.rstrip("_")

    def infer(x, **params):
        return primitive.forward(np, np.empty(x.shape, x.dtype), **params).shape, x.dtype

    body.setdefault("infer", infer)
    primitive = Primitive(name, "movement", body, "shape")
    return _publish(body["call"], primitive, rules, public, method)


def kernel(rules=None, *, saves="", public=True, method=False):
    """Define an operation of any other form; needs `infer` and `call`."""
    if rules is None:
        return functools.partial(kernel, saves=saves, public=public, method=method)
    body = dict(vars(rules))
    primitive = Primitive(rules.__name__.rstrip("_"), "kernel", body, saves)
    return _publish(body["call"], primitive, rules, public, method)


def composite(rules=None, *, saves="", public=True, method=False):
    """Define an operation made of others, with a gradient of its own.

    `forward` and `vjp` are written in Tensor operations; `forward` runs unrecorded, as one step on the
    tape. Worth it only for speed (say so, with the benchmark) or numerical stability: the gradient comes
    for free otherwise.

    `forward` may return a tuple: the result, and what `vjp` is handed after the saved tensors. The latter
    are constants to derivatives of higher order, so they must not depend on what is differentiated.
    """
    if rules is None:
        return functools.partial(composite, saves=saves, public=public, method=method)
    body = {"infer": None, **vars(rules)}
    primitive = Primitive(rules.__name__.rstrip("_"), "composite", body, saves)
    forward = body["forward"]

    def function(*inputs, **params):
        previous, mode.grad = mode.grad, False
        try:
            with silence():
                result = forward(*inputs, **params)
        finally:
            mode.grad = previous
        extras = ()
        if type(result) is tuple:
            result, *extras = result
        if previous and any(isinstance(x, Tensor) and x.requires_grad for x in inputs):
            trace = mode.trace
            arrays = [
                (x._array if trace is None else trace.read(x)) if isinstance(x, Tensor) else x for x in inputs
            ]
            record(result, primitive, inputs, arrays, params)
            for extra in extras:
                result._node.save(extra)
        return result

    primitive.composed = function
    return _publish(body.get("call") or function, primitive, rules, public, method)


def operation(function=None, *, method=True, inplace=False):
    """Publish a plain function of Tensors, composed of other operations, under its own name.

    Args:
        method: whether it is a method of Tensor too.
        inplace: whether there is a method that writes the result back: ``x.lerp_(y, 0.5)``.
    """
    if function is None:
        return functools.partial(operation, method=method, inplace=inplace)
    name = function.__name__.rstrip("_")
    function.__name__ = function.__qualname__ = name
    return _register(name, function, method, inplace)


def _publish(function, primitive, rules, public, method, inplace=False):
    function.__name__ = function.__qualname__ = primitive.name
    function.__doc__ = rules.__doc__
    function.__module__ = rules.__module__
    function.primitive = primitive
    return _register(primitive.name, function, method, inplace) if public else function


def _register(name, function, method, inplace):
    function = by_policy(function, name)
    OPERATIONS[name] = function
    if method:
        METHODS[name] = function
        if inplace:
            METHODS[f"{name}_"] = written_back(function, name)
    return function


def written_back(operation, name):
    """The in-place form of an operation: its result overwrites the first argument."""
    primitive = getattr(operation, "primitive", None)
    arity = primitive.forward.__code__.co_argcount - 1 if primitive is not None and primitive.direct else 0

    def method(self, *args, **kwargs):
        if len(args) == arity - 1 and not kwargs and _written_at_once(primitive, self, *args):
            return self
        return self._assign(operation(self, *args, **kwargs), f"{name}_")

    method.__name__ = method.__qualname__ = f"{name}_"
    method.__module__ = operation.__module__
    method.__doc__ = f"`{name}`, written back into this tensor."
    method.operation = operation
    return method


def _written_at_once(primitive, x, *others):
    """Let NumPy write the result of one of its functions where x is, if nothing speaks against it.

    That is: floats of one type that lie in memory, and no history. Otherwise nothing is done. (A new array
    for the result, copied afterwards, takes three times as long.)
    """
    array = x._array
    if mode.trace is not None or type(array) is not np.ndarray or array.dtype.char not in "fd":
        return False
    if type(primitive.direct) is not np.ufunc:  # it is being watched
        return False
    arrays = [array]
    for other in others:
        if isinstance(other, Tensor):
            if other._array.dtype is not array.dtype or (mode.grad and other.requires_grad):
                return False
            arrays.append(other._array)
        elif type(other) is float or type(other) is int:
            arrays.append(other)
        else:
            return False
    if x._inference is not mode.inference or not array.flags.writeable or (mode.grad and x.requires_grad):
        return False
    try:
        with silence():
            primitive.direct(*arrays, out=array)
    except (ValueError, TypeError, OverflowError):  # shapes that do not fit, before anything is written
        return False
    x._version[0] += 1
    x._version[1] = where_of_user()
    return True


def refuse_bools(name, *inputs):
    """The arguments, none of which may be a boolean tensor."""
    for x in inputs:
        if isinstance(x, Tensor) and x._array.dtype.kind == "b":
            raise DTypeError(name, "a boolean tensor has no such operation", expected="numbers",
                             got="lampion.bool", fix="convert it: x.long() or x.float()")  # fmt: skip
    return inputs


def refuse_complex(name, *inputs):
    """The arguments, none of which may be a complex tensor."""
    for x in inputs:
        if isinstance(x, Tensor) and x._array.dtype.kind == "c":
            raise DTypeError(name, "complex numbers have no such operation", expected="real numbers",
                             got=str(x.dtype), fix="take a part: x.real, x.imag or x.abs()")  # fmt: skip
    return inputs


#: What NumPy computes rightly rounded in short types too, so that there is nothing to widen.
ROUNDED_ONCE = {"add", "sub", "mul", "div", "neg", "eq", "ne", "lt", "le", "gt", "ge", "maximum", "minimum"}


def apply_wide(primitive, *inputs, **params):
    """Go through the door; with float16 and bfloat16 as float32, rounded once at the end.

    They are types to keep numbers in. Where the result is not a float (a comparison), nothing is rounded.
    """
    for x in inputs:
        if isinstance(x, Tensor) and x._array.dtype.char in "eE" and (half := x.dtype).is_half:
            tensors = all(isinstance(x, Tensor) for x in inputs)
            if tensors and primitive.name in ROUNDED_ONCE and mode.trace is None:
                return apply(primitive, *inputs, **params)
            out = apply(primitive, *(widened(x) for x in inputs), **params)
            return cast_to(out, half) if out.dtype is dtypes.float32 else out
    return apply(primitive, *inputs, **params)


def widened(x):
    """A tensor of float16 or bfloat16 as float32; anything else as it is."""
    return cast_to(x, dtypes.float32) if isinstance(x, Tensor) and x.dtype.is_half else x


def promote(name, x, y, compares=False):
    """Bring two arguments to one type, by PyTorch's rules.

    A Python number never widens a tensor of its own kind or a higher one; a 0-d tensor counts less than
    one with dimensions. What is a Python number stays one: the door takes it as it is.
    """
    if not isinstance(x, Tensor) and not isinstance(y, Tensor):
        x = as_tensor(x)
    if not isinstance(x, Tensor):
        y, x = _with_scalar(name, y, x, compares)
        return x, y
    if not isinstance(y, Tensor):
        return _with_scalar(name, x, y, compares)
    a, b = x.dtype, y.dtype
    if x._weak is not y._weak:
        if y._weak:
            target = a if a.is_inexact else dtypes.get_default_dtype()
        else:
            target = b if b.is_inexact else dtypes.get_default_dtype()
        return cast_to(x, target), cast_to(y, target)
    if a is b:
        return x, y
    target = common_dtype(x, y)
    return cast_to(x, target), cast_to(y, target)


def common_dtype(x, y):
    """The type that two tensors are brought to: one of 0 dimensions counts less than one that has some."""
    if bool(x.ndim) is bool(y.ndim):
        return dtypes.promote(x.dtype, y.dtype)
    return dtypes.combine(x.dtype, y.dtype) if x.ndim else dtypes.combine(y.dtype, x.dtype)


def _with_scalar(name, x, scalar, compares=False):
    kind = type(scalar)
    if kind is not float and kind is not int and kind is not bool and kind is not complex:
        if hasattr(scalar, "__array__") or isinstance(scalar, list | tuple):
            return promote(name, x, as_tensor(scalar), compares)
        if not isinstance(scalar, int | float | complex):
            raise DTypeError(
                name, "an argument is not a number", expected="a Tensor or a Python number",
                got=f"{kind.__name__}: {scalar!r}"[:80], fix="convert it with lampion.tensor(...)",
            )  # fmt: skip
    dtype = x.dtype
    if isinstance(scalar, complex):
        return cast_to(x, dtype.to_complex()), scalar
    if isinstance(scalar, float) and not dtype.is_inexact:
        return cast_to(x, dtypes.get_default_dtype()), scalar
    if dtype.kind == "b" and not isinstance(scalar, bool):
        return cast_to(x, dtypes.int64), scalar
    if dtype.kind in "iu" and not isinstance(scalar, bool):
        low, high = dtype.min, dtype.max
        if not low <= scalar <= high and compares and -(2**63) <= scalar < 2**63:
            return cast_to(x, dtypes.int64), scalar
        if not low <= scalar <= high:
            raise DTypeError(name, f"the number {scalar} does not fit into {dtype}",
                             expected=f"{low} to {high}",
                             fix="convert the tensor: x.to(lampion.int64)")  # fmt: skip
    return x, scalar


def cast_to(x, dtype):
    """`x` as `dtype`; itself, where it has that type already. A recorded operation."""
    if not isinstance(x, Tensor) or (source := x.dtype) is dtype:
        return x
    return apply(OPERATIONS["cast"].primitive, x, dtype=dtype, source=source)


def to_float(x):
    """Integers and booleans as floats of the default type; floats and complex numbers as they are."""
    if not isinstance(x, Tensor):
        return float(x) if type(x) is bool else x  # NumPy's functions of True are float16
    return x if x.dtype.is_inexact else cast_to(x, dtypes.get_default_dtype())
