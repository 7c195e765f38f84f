"""One function for each kind of group that the scheduler forms: what becomes of it as a kernel record."""

from __future__ import annotations

from dataclasses import replace

from lampion.compiler import kernel_ir as ir
from lampion.compiler.lowering.body import Body, Record
from lampion.compiler.lowering.kernels import lower_kernel
from lampion.compiler.lowering.plan import Lowering
from lampion.compiler.lowering.registry import lowers_group
from lampion.compiler.lowering.stages import call_reduce
from lampion.compiler.schedule import Group
from lampion.compiler.sums import SumsGroup


@lowers_group("map")
def lower_map(lowering: Lowering, group: Group) -> None:
    record = Record(lowering)
    body = Body(lowering, record, group.shape)
    for equation in group.body:
        body.add(equation)
    stores = body.stores(lowering.schedule.stored(group))
    lowering.call(
        record, ir.Map(group.shape, tuple(record.operands), tuple(body.values), stores), label(group)
    )


@lowers_group("reduce")
def lower_reduce(lowering: Lowering, group: Group) -> None:
    main = group.main
    assert main is not None
    mains = [main, *group.others] if isinstance(group, SumsGroup) else [main]
    shape, axes = main.inputs[0].shape, tuple(main.params["axis"])
    record = Record(lowering)
    body = Body(lowering, record, shape)
    for equation in group.body:
        body.add(equation)
    reductions = tuple(ir.Reduction(e.primitive, body.read(e.inputs[0]), e.output.dtype) for e in mains)
    kept = tuple(n for axis, n in enumerate(shape) if axis not in axes)
    drop = axes if main.params["keepdims"] else ()
    epilogue = Body(lowering, record, kept, drop)
    for index, reduction in enumerate(mains):
        epilogue.result(reduction.output, index)
    for equation in group.epilogue:
        epilogue.add(equation)
    kernel = ir.Reduce(
        shape, axes, (), tuple(body.values), reductions,
        tuple(epilogue.values), epilogue.stores(lowering.schedule.stored(group)),
    )  # fmt: skip
    kernel = replace(kernel, operands=tuple(record.operands), epilogue=tuple(epilogue.values))
    call_reduce(lowering, kernel, record.places, label(group))


@lowers_group("matmul")
def lower_matmul(lowering: Lowering, group: Group) -> None:
    main = group.main
    assert main is not None
    a, b = main.inputs
    batch = main.output.shape[:-2]
    record = Record(lowering)
    windows = [record.window(lowering.layout(x).broadcast((*batch, *x.shape[-2:])), x.dtype) for x in (a, b)]
    epilogue = Body(lowering, record, main.output.shape)
    epilogue.result(main.output)
    for equation in group.epilogue:
        epilogue.add(equation)
    stores = epilogue.stores(lowering.schedule.stored(group))
    lowering.call(record, ir.Matmul(
        windows[0], windows[1], main.output.dtype, tuple(record.operands), tuple(epilogue.values), stores,
    ), label(group))  # fmt: skip


@lowers_group("other")
def lower_other(lowering: Lowering, group: Group) -> None:
    assert group.main is not None
    lower_kernel(lowering, group.main)


def label(group: Group) -> str:
    names = [e.primitive.name for e in group.equations]
    return " ".join(names) if len(names) <= 8 else " ".join([*names[:7], f"... ({len(names)} operations)"])
