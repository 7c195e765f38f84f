"""Module: parameters, buffers and other modules under names, and a `forward` that uses them.

This file knows nothing of particular layers. What is stored: three dicts in order of assignment, and
`training`. What a subclass writes: ``__init__`` (which calls ``super().__init__()`` first) and ``forward``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

from lampion import dtype as dtypes
from lampion.errors import DTypeError, LampionError, ShapeError
from lampion.nn import hooks, saving
from lampion.nn.parameter import Buffer, Parameter, UninitializedBuffer, is_lazy
from lampion.nn.saving import LoadResult
from lampion.ops import cast
from lampion.tensor import Tensor, check_device

M = TypeVar("M", bound="Module")


class Module(hooks.Hooked):
    """The base class of all layers and networks.

    Parameters, buffers and modules that are assigned to attributes are registered, in that order, and
    found by `parameters()`, `state_dict()`, `train()`, `to()` and so on.

    >>> import lampion
    >>> from lampion import nn
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.hidden = nn.Linear(2, 10)
    ...         self.out = nn.Linear(10, 3)
    ...
    ...     def forward(self, x):
    ...         return self.out(self.hidden(x).tanh())
    >>> net = Net()
    >>> net
    Net(
      (hidden): Linear(in_features=2, out_features=10, bias=True)
      (out): Linear(in_features=10, out_features=3, bias=True)
    )
    >>> net(lampion.zeros(5, 2)).shape
    (5, 3)
    >>> list(net.state_dict())
    ['hidden.weight', 'hidden.bias', 'out.weight', 'out.bias']
    """

    #: Names in its `state_dict` that may be missing when one is loaded: what older files lack.
    optional_state: ClassVar[frozenset[str]] = frozenset()
    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _non_persistent_buffers_set: set[str]
    _modules: dict[str, Module | None]

    def __init__(self) -> None:
        # Past __setattr__, which needs these dicts to be there. (The names show `lampion.compile` that they
        # are new.)
        parameters: dict[str, Any] = {}
        buffers: dict[str, Any] = {}
        modules: dict[str, Any] = {}
        temporary: set[str] = set()
        self.__dict__.update(
            training=True, _parameters=parameters, _buffers=buffers,
            _non_persistent_buffers_set=temporary, _modules=modules,
        )  # fmt: skip

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; every subclass defines it."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if self._hooks is None:
                return self.forward(*args, **kwargs)
            return hooks.call(self, args, kwargs)
        except ShapeError as error:
            from lampion.debug.trail import add_layer

            add_layer(error, self, args)
            raise

    # -- attributes ----------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        """Look among parameters, buffers and modules: Python asks here when it finds nothing itself."""
        fields = self.__dict__
        if "_parameters" in fields:
            for kind in ("_parameters", "_buffers", "_modules"):
                if name in fields[kind]:
                    return fields[kind][name]
        elif not name.startswith("__"):  # dunders are looked for by copy and pickle, before any __init__
            raise AttributeError(_no_init(self, f"read {name!r}"), name=name, obj=self)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

    def __setattr__(self, name: str, value: Any) -> None:
        fields = self.__dict__
        if isinstance(getattr(type(self), name, None), property):  # a parametrized tensor, among others
            object.__setattr__(self, name, value)
        elif isinstance(value, Parameter):
            self._make_room(name, "_parameters", "a parameter")
            fields["_parameters"][name] = value
        elif isinstance(value, Module):
            self._make_room(name, "_modules", "a module")
            fields["_modules"][name] = value
        elif isinstance(value, Buffer):
            self._make_room(name, "_buffers", "a buffer")
            fields["_buffers"][name] = value
            if not value.persistent:
                fields["_non_persistent_buffers_set"].add(name)
        elif "_parameters" not in fields:
            object.__setattr__(self, name, value)  # a plain attribute set before super().__init__()
        elif name in fields["_parameters"]:
            self._only_none(name, value, "parameter", "lampion.nn.Parameter")
            fields["_parameters"][name] = None
        elif name in fields["_modules"]:
            self._only_none(name, value, "child module", "lampion.nn.Module")
            fields["_modules"][name] = None
        elif name in fields["_buffers"]:
            if not isinstance(value, Tensor):
                self._only_none(name, value, "buffer", "lampion.Tensor")
            fields["_buffers"][name] = value
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        for kind in ("_parameters", "_buffers", "_modules"):
            if name in self.__dict__.get(kind, ()):
                del self.__dict__[kind][name]
                self._non_persistent_buffers_set.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        kinds = ("_parameters", "_buffers", "_modules")
        return sorted(
            {*object.__dir__(self), *(name for kind in kinds for name in self.__dict__.get(kind, ()))}
        )

    def _only_none(self, name: str, value: Any, what: str, wanted: str) -> None:
        if value is not None:
            raise TypeError(f"cannot assign {type(value).__name__!r} object to {what} {name!r} "
                            f"({wanted} or None required)")  # fmt: skip

    def _make_room(self, name: str, kind: str, what: str) -> None:
        """Before registering `name` in one of the dicts: no other one, nor a plain attribute, keeps it."""
        fields = self.__dict__
        if "_parameters" not in fields:
            raise AttributeError(_no_init(self, f"assign {what} to {name!r}"))
        if not isinstance(name, str) or not name or "." in name:
            raise LampionError(type(self).__name__, f"{name!r} cannot name {what}",
                               expected="a non-empty string without a dot")  # fmt: skip
        fields.pop(name, None)
        for other in ("_parameters", "_buffers", "_modules"):
            if other != kind:
                fields[other].pop(name, None)
        fields["_non_persistent_buffers_set"].discard(name)

    def _check_new(self, name: str, kind: str, what: str) -> None:
        """`register_...` refuses to shadow an attribute; an assignment replaces it."""
        if "_parameters" in self.__dict__ and hasattr(self, name) and name not in self.__dict__[kind]:
            raise LampionError(type(self).__name__, f"the name {name!r} is taken already", got=what)

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter; None reserves the name (a layer without bias)."""
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(f"cannot assign {type(param).__name__!r} object to parameter {name!r} "
                            "(lampion.nn.Parameter or None required)")  # fmt: skip
        if param is not None and param._node is not None:
            raise LampionError(type(self).__name__, f"the parameter {name!r} is computed, not a leaf",
                               fix="compute it in forward(), from a Parameter")  # fmt: skip
        self._check_new(name, "_parameters", "a parameter")
        self._make_room(name, "_parameters", "a parameter")
        self.__dict__["_parameters"][name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is state but not learned; a persistent one is part of `state_dict()`."""
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"cannot assign {type(tensor).__name__!r} object to buffer {name!r} "
                            "(lampion.Tensor or None required)")  # fmt: skip
        self._check_new(name, "_buffers", "a buffer")
        self._make_room(name, "_buffers", "a buffer")
        self.__dict__["_buffers"][name] = tensor
        if not persistent:
            self.__dict__["_non_persistent_buffers_set"].add(name)

    def register_module(self, name: str, module: Module | None) -> None:
        """Add a child module; None reserves the name."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type(module).__name__!r} object is not a Module")
        self._check_new(name, "_modules", "a module")
        self._make_room(name, "_modules", "a module")
        self.__dict__["_modules"][name] = module

    add_module = register_module

    # -- finding what is inside ------------------------------------------------------------------------

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """This module and all those below it, with dotted names."""
        return self._walk(prefix, set() if remove_duplicate else None)

    def _walk(self, prefix: str, seen: set[Any] | None) -> Iterator[tuple[str, Module]]:
        if seen is not None:
            if self in seen:
                return
            seen.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module._walk(f"{prefix}.{name}" if prefix else name, seen)

    def modules(self) -> Iterator[Module]:
        """This module and all those below it, each once."""
        return (module for _, module in self.named_modules())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly below this one, each once."""
        seen: set[Any] = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """The modules directly below this one, each once."""
        return (module for _, module in self.named_children())

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """The parameters, with dotted names; those in several places (tied weights) once."""
        return self._members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """The parameters, each once: what an optimizer is given."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """The buffers, with dotted names."""
        return self._members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers, each once."""
        return (b for _, b in self.named_buffers(recurse=recurse))

    def _members(
        self, kind: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[Any] = set()
        for path, module in self.named_modules(prefix, remove_duplicate) if recurse else [(prefix, self)]:
            for name, member in module.__dict__[kind].items():
                if member is None or member in seen:
                    continue
                if remove_duplicate:
                    seen.add(member)
                yield (f"{path}.{name}" if path else name), member

    def get_submodule(self, target: str) -> Module:
        """The module of a dotted name: ``net.get_submodule("encoder.0")``."""
        module: Any = self
        for name in target.split(".") if target else []:
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeError(
                    f"`{name}` is not a Module: {target!r} leads to a {type(module).__name__}"
                )
        return module  # type: ignore[no-any-return]  # checked above

    def get_parameter(self, target: str) -> Parameter:
        """The parameter of a dotted name."""
        path, _, name = target.rpartition(".")
        parameter = getattr(self.get_submodule(path), name)
        if not isinstance(parameter, Parameter):
            raise AttributeError(
                f"`{name}` is not a Parameter: {target!r} leads to a {type(parameter).__name__}"
            )
        return parameter

    def get_buffer(self, target: str) -> Tensor:
        """The buffer of a dotted name."""
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        buffer = getattr(module, name)
        if name not in module._buffers:
            raise AttributeError(f"`{name}` is not a buffer: {target!r} leads to a {type(buffer).__name__}")
        return buffer  # type: ignore[no-any-return]  # checked above

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put a module in the place of a dotted name; `strict` wants one to be there already."""
        path, _, name = target.rpartition(".")
        parent = self.get_submodule(path)
        if strict and name not in parent._modules:
            raise AttributeError(f"{type(parent).__name__} has no submodule `{name}`")
        if not isinstance(module, Module):
            raise ValueError(f"{type(module).__name__!r} object is not a Module")
        setattr(parent, name, module)

    # -- changing all of it ----------------------------------------------------------------------------

    def apply(self: M, fn: Callable[[Module], Any]) -> M:
        """Call `fn` with every module, children before parents; returns the module itself."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def train(self: M, mode: bool = True) -> M:
        """Switch to training mode, where Dropout drops; returns the module itself."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        for module in self.modules():
            if module.training is not mode:  # no store where nothing changes: that may be compiled
                module.training = mode
        return self

    def eval(self: M) -> M:
        """Switch to evaluation mode, where Dropout does nothing; returns the module itself."""
        return self.train(False)

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Freeze (False) or unfreeze all parameters; returns the module itself."""
        for p in self.parameters():
            p.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters (or overwrite them with zeros)."""
        for p in self.parameters():
            if set_to_none:
                p.grad = None
            elif p.grad is not None:
                if p.grad.grad_fn is not None:  # from backward(create_graph=True): let go of that history
                    p.grad = p.grad.detach()
                p.grad.zero_()

    def to(self: M, target: Any = None, dtype: Any = None, *, device: Any = None) -> M:
        """Convert the floating parameters and buffers to a dtype (``"cpu"`` is accepted as a device)."""
        check_device("Module.to", device)
        if isinstance(target, Tensor):
            target = target.dtype
        if target is not None and not isinstance(target, dtypes.DType):
            check_device("Module.to", target)
            target = None
        chosen = target if target is not None else dtype
        if chosen is None:
            return self
        wanted = dtypes.of(chosen)
        if not wanted.is_floating_point:
            raise DTypeError(
                "Module.to", "parameters are floats", expected="a floating dtype", got=str(wanted)
            )
        converted: dict[Tensor, Tensor] = {}  # a buffer in several places stays one buffer
        for module in self.modules():
            for p in module._parameters.values():
                if p is not None and p.dtype.is_floating_point and p.dtype is not wanted:
                    _convert(p, wanted)
            for name, b in module._buffers.items():
                if b is not None and b.dtype.is_floating_point and b.dtype is not wanted:
                    if b not in converted:
                        converted[b] = UninitializedBuffer(dtype=wanted) if is_lazy(b) else cast(b, wanted)
                    module._buffers[name] = converted[b]
        return self

    def type(self: M, dst_type: Any) -> M:
        """Convert the floating parameters and buffers to a dtype."""
        return self.to(dtypes.of(dst_type))

    def float(self: M) -> M:
        """Convert the floating parameters and buffers to float32."""
        return self.to(dtypes.float32)

    def double(self: M) -> M:
        """Convert the floating parameters and buffers to float64."""
        return self.to(dtypes.float64)

    def half(self: M) -> M:
        """Convert the floating parameters and buffers to float16."""
        return self.to(dtypes.float16)

    def bfloat16(self: M) -> M:
        """Convert the floating parameters and buffers to bfloat16."""
        return self.to(dtypes.bfloat16)

    def cpu(self: M) -> M:
        """The module itself: there is no other device yet."""
        return self

    def cuda(self: M, device: Any = None) -> M:
        """An error: there is no other device yet."""
        check_device("Module.cuda", "cuda")
        return self

    # -- saving ------------------------------------------------------------------------------------------

    def state_dict(
        self, *, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False
    ) -> dict[str, Any]:
        """Parameters and persistent buffers by dotted name, in PyTorch's order. They share memory.

        Args:
            destination: the dict to put them into; a new one by default.
            prefix: what each name begins with.
            keep_vars: the parameters themselves, rather than their values without history.

        >>> import lampion
        >>> lampion.nn.Linear(2, 1, bias=False).state_dict().keys()
        dict_keys(['weight'])
        """
        return saving.save(self, {} if destination is None else destination, prefix, keep_vars)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> LoadResult:
        """Copy values into the parameters and buffers. Nothing is changed unless all of them fit.

        Args:
            state_dict: tensors (or NumPy arrays) by name, as `state_dict()` or `lampion.load()` returns.
            strict: whether names that are missing or not known are errors. Wrong shapes always are.
            assign: make the tensors themselves, with their types, the parameters and buffers.

        Raises:
            LampionError: with all missing, unexpected and mismatched names in one message.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict).__name__}.")
        return saving.load(self, state_dict, strict, assign)

    def get_extra_state(self) -> Any:
        """What a subclass wants kept in `state_dict` besides tensors; it defines `set_extra_state` too."""
        raise NotImplementedError(f"{type(self).__name__} has no extra state")

    def set_extra_state(self, state: Any) -> None:
        """Take back what `get_extra_state` returned."""
        raise NotImplementedError(f"{type(self).__name__} has no extra state")

    # -- printing ------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands between the parentheses of a layer without children."""
        return ""

    def _repr_html_(self) -> str:
        from lampion.viz.notebook import module_html

        return module_html(self)

    def _repr_markdown_(self) -> str:
        from lampion.viz.notebook import module_markdown

        return module_markdown(self)

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {_indented(repr(module))}" for name, module in self._modules.items()]
        return _enclosed(type(self).__name__, lines, children)


def _enclosed(name: str, lines: list[str], children: list[str]) -> str:
    """PyTorch's layout: on one line where there are no children, otherwise a line for each."""
    if len(lines) <= 1 and not children:
        return f"{name}({''.join(lines)})"
    return f"{name}(\n  " + "\n  ".join(lines + children) + "\n)"


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")


def _no_init(module: Module, doing: str) -> str:
    name = type(module).__name__
    return f"cannot {doing} before Module.__init__() call: let {name}.__init__ begin with super().__init__()"


def _convert(p: Parameter, dtype: dtypes.DType) -> None:
    """Give a parameter (and its gradient) another type, and leave it the same object."""
    gradient = p.grad
    p.grad = None
    p.data = cast(p.detach(), dtype)
    if gradient is not None:
        p.grad = cast(gradient.detach(), dtype) if isinstance(gradient, Tensor) else gradient.to(dtype)
