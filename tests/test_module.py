"""Module: what is registered, found, converted, saved, and what is said when something is wrong."""

import copy
from collections import OrderedDict

import numpy as np
import pytest

import lampion
from lampion import nn
from lampion.errors import DTypeError, LampionError


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(lampion.ones(3))
        self.register_buffer("count", lampion.zeros(1))
        self.register_buffer("cache", lampion.zeros(2), persistent=False)
        self.inner = nn.Linear(3, 3)

    def forward(self, x):
        return self.inner(x) * self.scale


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = Block()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout(0.5))
        self.last = nn.Linear(4, 2, bias=False)

    def forward(self, x):
        return self.last(self.layers(self.first(x)))


NAMES = [
    "first.scale",
    "first.inner.weight",
    "first.inner.bias",
    "layers.0.weight",
    "layers.0.bias",
    "last.weight",
]


def test_parameters_and_buffers_come_in_order_of_assignment():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert [name for name, _ in net.named_buffers()] == ["first.count", "first.cache"]
    assert [name for name, _ in net.named_children()] == ["first", "layers", "last"]
    assert [name for name, _ in net.named_modules()] == [
        "", "first", "first.inner", "layers", "layers.0", "layers.1", "layers.2", "last",
    ]  # fmt: skip
    assert [p.shape for p in net.parameters()] == [(3,), (3, 3), (3,), (4, 3), (4,), (2, 4)]
    assert [name for name, _ in net.first.named_parameters(recurse=False)] == ["scale"]
    assert next(name for name, _ in net.named_parameters(prefix="net")) == "net.first.scale"
    assert len(list(net.buffers())) == 2 and len(list(net.modules())) == 8 and len(list(net.children())) == 3
    assert net(lampion.ones(5, 3)).shape == (5, 2)


def test_state_dict_has_no_non_persistent_buffers_and_shares_memory():
    net = Net()
    state = net.state_dict()
    assert list(state) == [NAMES[0], "first.count", *NAMES[1:]]
    assert not any(tensor.requires_grad for tensor in state.values())
    state["last.weight"].fill_(7.0)
    assert (net.last.weight == 7.0).all()
    assert net.state_dict(prefix="a.", keep_vars=True)["a.last.weight"] is net.last.weight


def test_tied_parameters_are_listed_once_and_saved_under_both_names():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "1.bias"]
    assert len(list(net.named_parameters(remove_duplicate=False))) == 4
    assert list(net.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    shared = nn.ReLU()
    assert len(list(nn.Sequential(shared, shared).modules())) == 2


def test_assigning_replaces_whatever_had_the_name():
    module = Block()
    module.scale = None
    assert module.scale is None and "scale" not in module.state_dict()
    module.scale = nn.Parameter(lampion.zeros(1))
    assert list(module._parameters) == ["scale"]
    module.inner = nn.Identity()
    assert isinstance(module.inner, nn.Identity)
    module.count = lampion.ones(4)
    assert module.state_dict()["count"].shape == (4,)
    module.plain = 3
    module.plain = nn.Parameter(lampion.zeros(1))  # the attribute makes room for the parameter
    assert "plain" in module._parameters and "plain" not in module.__dict__
    del module.plain, module.inner, module.cache
    assert not hasattr(module, "plain") and not hasattr(module, "inner") and not hasattr(module, "cache")
    with pytest.raises(AttributeError):
        del module.plain
    assert {"scale", "count", "forward"} <= set(dir(module))


@pytest.mark.parametrize(
    ("name", "what"), [("scale", "parameter"), ("inner", "child module"), ("count", "buffer")]
)
def test_a_registered_name_keeps_its_kind(name, what):
    with pytest.raises(TypeError, match=f"cannot assign 'str' object to {what} '{name}'"):
        setattr(Block(), name, "text")
    if name != "count":
        with pytest.raises(TypeError, match=f"cannot assign 'Tensor' object to {what}"):
            setattr(Block(), name, lampion.ones(1))


def test_a_missing_attribute_is_named():
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'frist'") as error:
        Net().frist  # noqa: B018
    assert error.value.name == "frist" and isinstance(
        error.value.obj, Net
    )  # Python's "did you mean" reads these


def test_forgetting_super_init_is_explained():
    class Forgetful(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(1, 1)

    class Later(nn.Module):
        def __init__(self):
            self.size = 3

        def forward(self, x):
            return self.layer(x)

    with pytest.raises(
        AttributeError, match=r"cannot assign a module to 'layer' before Module.__init__\(\) call"
    ):
        Forgetful()
    later = Later()
    assert later.size == 3
    with pytest.raises(AttributeError, match=r"let Later.__init__ begin with super\(\).__init__\(\)"):
        later(1)
    with pytest.raises(AttributeError, match="before Module"):
        later.state_dict()
    with pytest.raises(AttributeError, match="before Module"):
        later.weight = nn.Parameter(lampion.ones(1))


def test_missing_forward_is_explained():
    with pytest.raises(
        NotImplementedError, match=r'\[ModuleList\] is missing the required "forward" function'
    ):
        nn.ModuleList()(1)


def test_bad_registrations_are_refused():
    module = nn.Module()
    for bad in ("", "a.b"):
        with pytest.raises(LampionError, match="cannot name"):
            module.register_parameter(bad, nn.Parameter(lampion.ones(1)))
    with pytest.raises(LampionError, match="'forward' is taken already"):
        module.register_buffer("forward", lampion.ones(1))
    with pytest.raises(LampionError, match="'train' is taken already"):
        module.add_module("train", nn.ReLU())
    with pytest.raises(TypeError, match="'Tensor' object to parameter 'w'"):
        module.register_parameter("w", lampion.ones(1))
    with pytest.raises(TypeError, match="'list' object to buffer 'b'"):
        module.register_buffer("b", [1])
    with pytest.raises(TypeError, match="not a Module"):
        module.register_module("m", 3)
    module.register_parameter("none", None)
    assert module.none is None and not list(module.parameters())


def test_train_and_eval_reach_every_module():
    net = Net()
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    net.layers.train()
    assert [module.training for module in net.modules()] == [False] * 3 + [True] * 4 + [False]
    with pytest.raises(ValueError, match="boolean"):
        net.train("yes")


def test_apply_visits_children_first():
    seen = []
    net = Net()
    assert net.apply(lambda module: seen.append(type(module).__name__)) is net
    assert seen == ["Linear", "Block", "Linear", "ReLU", "Dropout", "Sequential", "Linear", "Net"]


def test_requires_grad_and_zero_grad():
    net = nn.Linear(2, 2)
    net(lampion.ones(1, 2)).sum().backward()
    gradient = net.weight.grad
    net.zero_grad(set_to_none=False)
    assert net.weight.grad is gradient and (gradient == 0).all()
    net.zero_grad()
    assert net.weight.grad is None and net.bias.grad is None
    net(lampion.ones(1, 2)).sum().backward(create_graph=True)
    net.zero_grad(set_to_none=False)
    assert net.weight.grad.grad_fn is None and (net.weight.grad == 0).all()
    assert net.requires_grad_(False) is net
    assert not net(lampion.ones(1, 2)).requires_grad


def test_to_converts_floats_and_keeps_the_parameters():
    net = nn.Sequential(nn.Linear(2, 2), Block())
    net.register_buffer("steps", lampion.zeros(1, dtype=lampion.int64))
    before = list(net.parameters())
    net[0].weight.sum().backward()
    assert net.double() is net
    assert list(map(id, net.parameters())) == list(map(id, before))
    assert {p.dtype for p in net.parameters()} == {lampion.float64} and net[1].count.dtype is lampion.float64
    assert net.steps.dtype is lampion.int64
    assert net[0].weight.grad.dtype is lampion.float64
    assert net[0](lampion.ones(1, 2, dtype=lampion.float64)).dtype is lampion.float64
    assert net.float()[0].weight.dtype is lampion.float32
    assert net.to(lampion.float64)[0].weight.dtype is lampion.float64
    assert net.to("cpu", lampion.float32)[0].weight.dtype is lampion.float32
    assert net.to(lampion.ones(1, dtype=lampion.float64)).cpu()[0].weight.dtype is lampion.float64
    assert net.to(device="cpu", dtype=lampion.float32)[0].weight.dtype is lampion.float32
    with pytest.raises(DTypeError, match="parameters are floats"):
        net.to(lampion.int64)
    with pytest.raises(LampionError, match="no device 'cuda'"):
        net.to("cuda")


def test_a_converted_parameter_still_learns():
    layer = nn.Linear(1, 1, bias=False).double()
    optimizer = lampion.optim.SGD(layer.parameters(), lr=1.0)
    before = layer.weight.item()
    layer(lampion.ones(1, 1, dtype=lampion.float64)).sum().backward()
    optimizer.step()
    assert layer.weight.item() == before - 1.0


def test_a_shared_buffer_stays_shared_when_converted():
    table = lampion.zeros(2)
    a, b = nn.Module(), nn.Module()
    a.register_buffer("table", table)
    b.register_buffer("table", table)
    nn.ModuleList([a, b]).double()
    assert a.table.dtype is lampion.float64 and b.table is a.table


# -- loading -------------------------------------------------------------------------------------------


def test_load_state_dict_copies_into_the_same_parameters():
    source, target = Net(), Net()
    kept = target.last.weight
    result = target.load_state_dict(source.state_dict())
    assert result == ([], []) and result.missing_keys == []
    assert target.last.weight is kept and kept.is_leaf and kept.requires_grad
    for (name, a), (_, b) in zip(source.named_parameters(), target.named_parameters(), strict=True):
        assert (a == b).all(), name
        assert not np.shares_memory(a.detach().numpy(), b.detach().numpy())


def test_load_state_dict_takes_arrays_and_other_floats():
    layer = nn.Linear(2, 1)
    layer.load_state_dict({"weight": np.array([[1.5, 2.5]]), "bias": lampion.ones(1, dtype=lampion.float64)})
    assert layer.weight.tolist() == [[1.5, 2.5]] and layer.weight.dtype is lampion.float32


def test_one_error_lists_all_that_does_not_fit_and_nothing_is_changed():
    net = Net()
    before = net.layers[0].bias.tolist()
    state = net.state_dict()
    del state["last.weight"], state["first.count"]
    state |= {"extra": lampion.ones(1), "other.name": lampion.ones(2)}
    state |= {
        "first.scale": lampion.ones(4),
        "first.inner.weight": lampion.ones(3, 2),
        "layers.0.weight": "text",
    }
    state["layers.0.bias"] = lampion.ones(4) * 9
    with pytest.raises(LampionError) as error:
        net.load_state_dict(state)
    assert str(error.value).splitlines() == [
        "load_state_dict: the values do not fit Net:",
        "    missing: first.count, last.weight",
        "    unexpected: extra, other.name",
        "    size mismatch: first.scale: expected (3,), got (4,)",
        "    size mismatch: first.inner.weight: expected (3, 3), got (3, 2)",
        "    size mismatch: layers.0.weight: expected a tensor of shape (4, 3), got str",
        "  try: build the model as it was when saved",
    ]
    assert net.layers[0].bias.tolist() == before


def test_not_strict_loads_what_is_there_but_not_wrong_shapes():
    layer = nn.Linear(1, 1)
    assert layer.load_state_dict({"weight": lampion.ones(1, 1), "x": lampion.ones(1)}, strict=False) == (
        ["bias"],
        ["x"],
    )
    assert layer.weight.item() == 1.0
    with pytest.raises(LampionError, match=r"size mismatch: weight: expected \(1, 1\), got \(2,\)"):
        layer.load_state_dict({"weight": lampion.ones(2)}, strict=False)
    with pytest.raises(LampionError, match="strict=False"):
        layer.load_state_dict({"weight": lampion.ones(1, 1)})
    with pytest.raises(TypeError, match="dict-like, got Linear"):
        layer.load_state_dict(layer)


# -- copies, names, printing -----------------------------------------------------------------------------


def test_a_deep_copy_shares_nothing_and_keeps_ties():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    twin = copy.deepcopy(net)
    assert twin[1].weight is twin[0].weight and twin[0].weight is not net[0].weight
    assert isinstance(twin[0].weight, nn.Parameter) and twin[0].weight.requires_grad
    twin[0].weight.detach().fill_(0.0)
    assert not (net[0].weight == 0).any()


def test_submodules_and_parameters_by_dotted_name():
    net = Net()
    assert net.get_submodule("") is net and net.get_submodule("layers.0") is net.layers[0]
    assert net.get_parameter("layers.0.bias") is net.layers[0].bias
    with pytest.raises(AttributeError, match="not a Module"):
        net.get_submodule("first.scale")
    with pytest.raises(AttributeError, match="not a Parameter"):
        net.get_parameter("first.count")


def test_repr_is_pytorchs():
    assert (
        repr(Net())
        == """\
Net(
  (first): Block(
    (inner): Linear(in_features=3, out_features=3, bias=True)
  )
  (layers): Sequential(
    (0): Linear(in_features=3, out_features=4, bias=True)
    (1): ReLU()
    (2): Dropout(p=0.5, inplace=False)
  )
  (last): Linear(in_features=4, out_features=2, bias=False)
)"""
    )


def test_parameter():
    data = lampion.tensor([1.0, 2.0])
    p = nn.Parameter(data)
    assert isinstance(p, lampion.Tensor) and p.requires_grad and p.is_leaf
    assert repr(p) == "Parameter containing:\ntensor([1., 2.], requires_grad=True)"
    data[0] = 5.0
    assert p.tolist() == [5.0, 2.0]  # PyTorch's: the memory is shared
    assert not nn.Parameter([1.0], requires_grad=False).requires_grad
    w = lampion.ones(2, requires_grad=True)
    q = nn.Parameter(w * 3)
    (q * q).sum().backward()
    assert q.grad.tolist() == [6.0, 6.0] and w.grad is None  # a leaf of its own
    data.mul_(w)  # a recorded write to the source: the values arrive here, the history does not
    assert p.is_leaf and p.grad_fn is None and p.requires_grad
    with pytest.raises(DTypeError, match="only floating and complex tensors have gradients"):
        nn.Parameter(lampion.arange(3))
    assert type(p + 1) is lampion.Tensor and type(p.detach()) is lampion.Tensor


# -- containers ------------------------------------------------------------------------------------------


def test_sequential_is_a_list():
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    assert len(net) == 3 and isinstance(net[-1], nn.Linear) and [type(m) for m in net][1] is nn.ReLU
    part = net[1:]
    assert isinstance(part, nn.Sequential) and list(part._modules) == ["1", "2"] and part[1] is net[2]
    net[1] = nn.Tanh()
    net.append(nn.Sigmoid()).insert(0, nn.Identity()).extend([nn.ReLU()])
    assert [type(m).__name__ for m in net] == ["Identity", "Linear", "Tanh", "Linear", "Sigmoid", "ReLU"]
    assert list(net._modules) == list("012345")
    del net[0], net[-1]
    assert [type(m).__name__ for m in net] == ["Linear", "Tanh", "Linear", "Sigmoid"] and "3" in net._modules
    del net[1:3]
    assert [type(m).__name__ for m in net] == ["Linear", "Sigmoid"]
    for index in (2, -3):
        with pytest.raises(IndexError, match="out of range for 2 modules"):
            net[index]
    with pytest.raises(TypeError, match="not a Module"):
        nn.Sequential(nn.ReLU(), lampion.tanh)


def test_sequential_with_names():
    net = nn.Sequential(OrderedDict(hidden=nn.Linear(2, 3), act=nn.ReLU()))
    assert list(net.state_dict()) == ["hidden.weight", "hidden.bias"] and net.act is net[1]


def test_module_list_and_dict():
    layers = nn.ModuleList([nn.Linear(1, 1) for _ in range(3)])
    layers += [nn.ReLU()]
    assert (
        repr(layers)
        == """\
ModuleList(
  (0-2): 3 x Linear(in_features=1, out_features=1, bias=True)
  (3): ReLU()
)"""
    )
    assert list(layers[1:].state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    parts = nn.ModuleDict({"a": nn.ReLU()})
    parts["b"] = nn.Linear(1, 1)
    parts.update([("c", nn.Tanh())])
    assert "a" in parts and list(parts) == list(parts.keys()) == ["a", "b", "c"] and len(parts) == 3
    assert list(parts.state_dict()) == ["b.weight", "b.bias"]
    assert isinstance(parts.pop("c"), nn.Tanh) and [type(m) for m in parts.values()] == [nn.ReLU, nn.Linear]
    del parts["a"]
    assert [name for name, _ in parts.items()] == ["b"]
    parts.clear()
    assert len(parts) == 0
