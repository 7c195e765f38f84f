"""Kernels printed as the loops that a reader would write."""

from __future__ import annotations

from collections.abc import Sequence

from lampion.compiler import kernel_ir as ir

_SYMBOLS = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**", "shift_right": ">>",
    "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
}  # fmt: skip
_NAMES = "ijklmnpqrs"


def show_kernel(kernel: ir.Kernel) -> str:
    """The kernel as pseudo-Python: ``for i in range(100): ...``."""
    if isinstance(kernel, ir.Map):
        return "\n".join(_nest(kernel.shape, _body(kernel.body, "v") + _stores(kernel.stores, "v")))
    if isinstance(kernel, ir.Segments):
        inner = _body(kernel.map.body, "v") + _stores(kernel.map.stores, "v")
        names = ", ".join(f"b{n}" for n in range(len(kernel.map.operands)))
        head = f"for {names}, length in tensors:  # {len(kernel.lengths)} of them"
        return "\n".join([head, *_indent(["for i in range(length):", *_indent(inner)])])
    if isinstance(kernel, ir.Reduce):
        return _reduce(kernel)
    if isinstance(kernel, ir.Rows):
        return _rows(kernel)
    if isinstance(kernel, ir.Matmul):
        return _matmul(kernel)
    if isinstance(kernel, ir.Convolution):
        return _convolution(kernel)
    if isinstance(kernel, ir.ConvolutionWeight):
        return _convolution_weight(kernel)
    if isinstance(kernel, ir.WinogradFilters):
        return _winograd_filters(kernel)
    if isinstance(kernel, ir.Pool):
        return _pool(kernel)
    if isinstance(kernel, ir.Gather):
        reads, far = _picked(kernel)
        return "\n".join(_nest(kernel.out.shape, [*reads, f"{_at(kernel.out)} = {far}"]))
    if isinstance(kernel, ir.ScatterAdd):
        reads, far = _picked(kernel)
        sign = "+=" if kernel.adds else "="
        return "\n".join(_nest(kernel.source.shape, [*reads, f"{far} {sign} {_at(kernel.source)}"]))
    if isinstance(kernel, ir.Attention | ir.AttentionSlopes):
        return _attention(kernel)
    if isinstance(kernel, ir.Repeat):
        return _repeat(kernel)
    if isinstance(kernel, ir.Walk):
        return _walk(kernel)
    if isinstance(kernel, ir.Sort):
        return _sort(kernel)
    if isinstance(kernel, ir.CallOut):
        inputs = [f"b{x.operand}" if isinstance(x, ir.Window) else repr(x) for x in kernel.inputs]
        options = [f"{name}={value!r}" for name, value in kernel.params.items()]
        return (
            f"b{kernel.out.operand}[...] = {kernel.name}.forward({', '.join(['numpy', *inputs, *options])})"
        )
    return (
        f"for i in range({kernel.size}):\n"
        f"    b1[i] = philox4x32(key=b0[0], counter=b0[1] + {kernel.delta} + i // 4)[i % 4]"
    )


def _repeat(kernel: ir.Repeat) -> str:
    lines = [f"for round in range({kernel.length}):"]
    for call, label in zip(kernel.calls, kernel.labels, strict=True):
        names = (
            f"b{spot.operand}" + (f" + {spot.offset}" if spot.offset else "")
            + (f" {'+' if spot.step > 0 else '-'} {abs(spot.step)}*round" if spot.step else "")
            for spot in call.spots
        )  # fmt: skip
        lines += _indent([f"# {label}; b0, b1... = {', '.join(names)} (bytes)"])
        lines += _indent(show_kernel(call.kernel).splitlines())
    return "\n".join(lines)


def _reduce(kernel: ir.Reduce) -> str:
    kept = [axis for axis in range(len(kernel.shape)) if axis not in kernel.axes]
    inner = _body(kernel.body, "v")
    names = [f"r{n}" for n in range(len(kernel.reductions))]
    inner += [
        f"{name} = {r.primitive.name}.combine({name}, v{r.value})"
        for name, r in zip(names, kernel.reductions, strict=True)
    ]
    for axis in reversed(kernel.axes):
        inner = [f"for {_NAMES[axis]} in range({kernel.shape[axis]}):", *_indent(inner)]
    start = [
        f"{name} = {r.primitive.identity(r.dtype) if r.primitive.identity else 'first'}"
        for name, r in zip(names, kernel.reductions, strict=True)
    ]
    indices = [_NAMES[axis] for axis in kept]
    end = _body(kernel.epilogue, "e", indices, names) + _stores(kernel.stores, "e", indices)
    lines = [*start, *inner, *end]
    for axis in reversed(kept):
        lines = [f"for {_NAMES[axis]} in range({kernel.shape[axis]}):", *_indent(lines)]
    return "\n".join(lines)


def _walk(kernel: ir.Walk) -> str:
    names = [f"r{n}" for n in range(len(kernel.initial))]
    start = [f"{name} = {value.value!r}" for name, value in zip(names, kernel.initial, strict=True)]
    inner = _body(kernel.body, "v", None, names) + _stores(kernel.stores, "v")
    inner.append(f"{', '.join(names)} = {', '.join(f'v{n}' for n in kernel.carried)}")
    loop = [f"for {_NAMES[kernel.axis]} in range({kernel.shape[kernel.axis]}):", *_indent(inner)]
    lines = [*start, *loop]
    for axis in reversed(range(len(kernel.shape))):
        if axis != kernel.axis:
            lines = [f"for {_NAMES[axis]} in range({kernel.shape[axis]}):", *_indent(lines)]
    return "\n".join(lines)


def _sort(kernel: ir.Sort) -> str:
    axis = kernel.axis
    call = f"argsort({_at(kernel.source, {axis: ':'})}, descending={kernel.descending})"
    inner = [f"{_at(kernel.out, {axis: ':'})} = {call}[:{kernel.out.shape[axis]}]  # {kernel.method}"]
    for other in reversed(range(len(kernel.shape))):
        if other != axis:
            inner = [f"for {_NAMES[other]} in range({kernel.shape[other]}):", *_indent(inner)]
    return "\n".join(inner)


def _rows(kernel: ir.Rows) -> str:
    """All walks as one loop a row, in which each value stands where it is first needed."""
    from lampion.compiler.codegen.walks import Walks

    walks = Walks(kernel.points, kernel.rows, kernel.reductions, kernel.stores)
    indices, along = _NAMES[: kernel.outer], range(kernel.outer, len(kernel.shape))
    totals = [f"t{n}" for n in range(len(kernel.reductions))]
    of_row = [f"r{n}" for n in range(len(kernel.rows))]
    lines: list[str] = []
    for number in range(walks.count + 1):
        for n in walks.settled(number):
            value = kernel.rows[n]
            if isinstance(value, ir.Chosen):
                lines.append(f"r{n} = v{value.value} at {_NAMES[len(kernel.shape) - 1]} = r{value.index}")
            else:
                lines.append(f"r{n} = {_value(value, 'r', list(indices), totals)}")
        if number == walks.count:
            break
        inner = []
        for n, value in enumerate(kernel.points):
            if n in walks.needed[number]:
                kept = n in walks.again[number]
                inner.append(f"v{n} = {'as before' if kept else _value(value, 'v', None, of_row)}")
        for n in walks.reduced(number):
            r = kernel.reductions[n]
            lines.append(f"t{n} = {r.primitive.identity(r.dtype) if r.primitive.identity else 'first'}")
            inner.append(f"t{n} = {r.primitive.name}.combine(t{n}, v{r.value})")
        inner += _stores(walks.stores(number), "v")
        for axis in reversed(along):
            inner = [f"for {_NAMES[axis]} in range({kernel.shape[axis]}):", *_indent(inner)]
        lines += inner
    lines += _stores(kernel.row_stores, "r", list(indices))
    for axis in reversed(range(kernel.outer)):
        lines = [f"for {_NAMES[axis]} in range({kernel.shape[axis]}):", *_indent(lines)]
    return "\n".join(lines)


def _matmul(kernel: ir.Matmul) -> str:
    shape = kernel.shape
    indices = list(_NAMES[: len(shape)])
    batch, (row, column) = indices[:-2], indices[-2:]
    a, b = _at(kernel.a, names=[*batch, row, "t"]), _at(kernel.b, names=[*batch, "t", column])
    inner = [
        "acc = 0",
        f"for t in range({kernel.a.shape[-1]}):",
        f"    acc += {a} * {b}",
        *_body(kernel.epilogue, "e", indices, ["acc"]),
        *_stores(kernel.stores, "e", indices),
    ]
    return "\n".join(_nest(shape, inner))


def _attention(kernel: ir.Attention | ir.AttentionSlopes) -> str:
    """In whole rows: the kernel takes the queries in blocks, of which the scores stay in cache."""
    shape = kernel.q.shape
    indices = list(_NAMES[: len(shape)])
    *batch, query, size = indices
    stop = f"{query} + 1" if kernel.causal else str(kernel.k.shape[-2])

    def row(window: ir.Window, position: str = query) -> str:
        start = _at(window, names=[*batch, position, size])[:-1].removesuffix(f" + {size}")
        return f"{start} : + {window.shape[-1]}]"

    scores = f"{kernel.scale:.6g} * sum({row(kernel.q)} * {row(kernel.k, 't')})"
    lines = [f"w = softmax([{scores} for t in range({stop})])"]
    if isinstance(kernel, ir.Attention):
        lines.append(f"{row(kernel.out)} = sum(w[t] * {row(kernel.v, 't')} for t in range({stop}))")
    else:
        lines += [
            f"d = [sum({row(kernel.g)} * {row(kernel.v, 't')}) for t in range({stop})]",
            f"s = {kernel.scale:.6g} * w * (d - sum(w * d))",
            f"{row(kernel.dq)} = sum(s[t] * {row(kernel.k, 't')} for t in range({stop}))",
            f"for t in range({stop}):",
            f"    {row(kernel.dk, 't')} += s[t] * {row(kernel.q)}",
            f"    {row(kernel.dv, 't')} += w[t] * {row(kernel.g)}",
        ]
    return "\n".join(_nest(shape[:-1], lines))


def _convolution(kernel: ir.Convolution) -> str:
    indices = list(_NAMES[: len(kernel.shape)])
    image, *places, output = indices
    taps = [f"t{n}" for n in range(len(places))]
    seen = [
        f"{s}*{i} + {d}*{t} - {p}"
        for i, t, s, d, p in zip(places, taps, kernel.stride, kernel.dilation, kernel.padding, strict=True)
    ]
    share, channels = kernel.outputs // kernel.groups, kernel.x.shape[-1] // kernel.groups
    channel = "c" if kernel.groups == 1 else f"{channels}*({output} // {share}) + c"
    x = f"b{kernel.x.operand}[{', '.join([image, *seen, channel])}]"
    inner = [
        f"acc += {x} * b{kernel.w.operand}[{', '.join([*taps, 'c', output])}]   # 0 outside of the input"
    ]
    for name, size in reversed([*zip(taps, kernel.taps, strict=True), ("c", channels)]):
        inner = [f"for {name} in range({size}):", *_indent(inner)]
    lines = ["acc = 0", *inner, *_body(kernel.epilogue, "e", indices, ["acc"])]
    loops = _nest(kernel.shape, [*lines, *_stores(kernel.stores, "e", indices)])
    if kernel.transformed is not None:
        filters = f"b{kernel.transformed.operand}"
        loops.insert(0, f"# 2x2 places at a time, from 16 products with {filters}: F(2x2, 3x3)")
    return "\n".join(loops)


def _winograd_filters(kernel: ir.WinogradFilters) -> str:
    """Filters of 3x3 as Winograd's 4x4; outputs are counted through all panels."""
    taps, products = f"b{kernel.w.operand}[:, :, c, o]", f"b{kernel.out.operand}[:, :, c, o]"
    sizes = (kernel.out.shape[3], kernel.outputs)
    lines = [f"{products} = G @ {taps} @ G.T   # G = [[1, 0, 0], [.5, .5, .5], [.5, -.5, .5], [0, 0, 1]]"]
    for name, size in reversed([*zip("co", sizes, strict=True)]):
        lines = [f"for {name} in range({size}):", *_indent(lines)]
    return "\n".join(lines)


def _convolution_weight(kernel: ir.ConvolutionWeight) -> str:
    places = [f"i{n}" for n in range(len(kernel.taps))]
    taps = [f"t{n}" for n in range(len(kernel.taps))]
    seen = [
        f"{s}*{i} + {d}*{t} - {p}"
        for i, t, s, d, p in zip(places, taps, kernel.stride, kernel.dilation, kernel.padding, strict=True)
    ]
    share, channels = kernel.y.shape[-1] // kernel.groups, kernel.out.shape[-2]
    channel = "c" if kernel.groups == 1 else f"{channels}*(o // {share}) + c"
    x = f"b{kernel.x.operand}[{', '.join(['n', *seen, channel])}]"
    lines = [
        f"{_at(kernel.out, names=['b', *taps, 'c', 'o'])} += {x} * "
        f"{_at(kernel.y, names=['n', *places, 'o'])}   # 0 outside of the input"
    ]
    loops = [*zip(["b", *taps, "c", "o"], kernel.out.shape, strict=True)]
    inner = [("n", f"{kernel.images}*b, {kernel.images}*(b + 1)")]
    inner += [(name, str(n)) for name, n in zip(places, kernel.y.shape[1:-1], strict=True)]
    for name, bounds in [*reversed(inner), *((name, str(n)) for name, n in reversed(loops))]:
        lines = [f"for {name} in range({bounds}):", *_indent(lines)]
    if kernel.transformed:
        lines.insert(0, "# 3x3 taps at a time, from 16 products: F(3x3, 2x2)")
    return "\n".join(lines)


def _pool(kernel: ir.Pool) -> str:
    places = [f"i{n}" for n in range(len(kernel.taps))]
    found = [f"m{n}" for n in range(len(kernel.taps))]
    geometry = zip(places, kernel.taps, kernel.stride, kernel.dilation, kernel.padding, strict=True)
    window = ", ".join(f"{s}*{i} - {p} + {d}*range({n})" for i, n, s, d, p in geometry)
    out, z = _at(kernel.out, names=["n", *places, "c"]), _at(kernel.z, names=["n", *found, "c"])
    lines = [
        f"{', '.join(found)} = first place of the maximum of b{kernel.x.operand}[n, {window}, c]",
        f"{z} += {out}" if kernel.spreads else f"{out} = {z}",
    ]
    for name, size in reversed([*zip(["n", *places, "c"], kernel.shape, strict=True)]):
        lines = [f"for {name} in range({size}):", *_indent(lines)]
    return "\n".join(lines)


def _picked(kernel: ir.Gather | ir.ScatterAdd) -> tuple[list[str], str]:
    """What reads the indices, and the element that they lead to."""
    if not kernel.picks:
        return [f"index = {_at(kernel.index)}"], _at(kernel.far, {kernel.axis: "index"})
    reads = [f"i{n} = {_at(pick.window)}" for n, pick in enumerate(kernel.picks)]
    terms = [f"{pick.stride}*i{n}" for n, pick in enumerate(kernel.picks)]
    return reads, f"{_at(kernel.far)[:-1]} + {' + '.join(terms)}]"


def _nest(shape: Sequence[int], lines: list[str]) -> list[str]:
    for axis in reversed(range(len(shape))):
        lines = [f"for {_NAMES[axis]} in range({shape[axis]}):", *_indent(lines)]
    return lines


def _indent(lines: list[str]) -> list[str]:
    return ["    " + line for line in lines]


def _body(
    body: Sequence[ir.Value], prefix: str, names: list[str] | None = None, results: Sequence[str] = ()
) -> list[str]:
    lines = []
    for number, value in enumerate(body):
        lines.append(f"{prefix}{number} = {_value(value, prefix, names, results)}")
    return lines


def _value(value: ir.Value, prefix: str, names: list[str] | None, results: Sequence[str]) -> str:
    if isinstance(value, ir.Load):
        return _at(value.window, names=names)
    if isinstance(value, ir.Literal):
        return repr(value.value)
    if isinstance(value, ir.Position):
        return _NAMES[len(names) - 1] if names else "position"
    if isinstance(value, ir.Chosen):
        return f"v{value.value} at {prefix}{value.index}"
    if isinstance(value, ir.Result):
        return results[value.index]
    args = [f"{prefix}{n}" for n in value.args]
    symbol = _SYMBOLS.get(value.primitive.name)
    if symbol and len(args) == 2:
        return f"{args[0]} {symbol} {args[1]}"
    if value.primitive.name == "cast":
        return f"{value.dtype.name}({args[0]})"
    return f"{value.primitive.name}({', '.join(args)})"


def _stores(stores: Sequence[ir.Store], prefix: str, names: list[str] | None = None) -> list[str]:
    return [f"{_at(store.window, names=names)} = {prefix}{store.value}" for store in stores]


def _at(window: ir.Window, replace: dict[int, str] | None = None, names: list[str] | None = None) -> str:
    """``b0[7 + 10*i + j]``: an operand at the loop indices."""
    terms = [str(window.offset)] if window.offset else []
    for axis, (size, stride) in enumerate(zip(window.shape, window.strides, strict=True)):
        name = (replace or {}).get(axis) or (names[axis] if names else _NAMES[axis])
        if stride and (size > 1 or axis in (replace or {})):
            terms.append(name if stride == 1 else f"{stride}*{name}")
    return f"b{window.operand}[{' + '.join(terms) or '0'}]"
