"""Hooks on modules, beside PyTorch's: what is called, when, with what, and what it may change."""

import copy

import numpy as np
import pytest

import lampion
from lampion import nn
from lampion.errors import GradientError, LampionError

torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")
LIBRARIES = ((lampion, nn), (torch, torch.nn))
X = [[1.0, -2.0], [0.5, 3.0]]


def same(program):
    """What the program notes and returns in both libraries, compared."""
    results = []
    for L, N in LIBRARIES:
        log = []
        log.append(numbers(program(L, N, log)))
        results.append(log)
    assert results[0] == results[1]
    return results[0]


def numbers(thing):
    """Tensors as rounded lists."""
    if hasattr(thing, "detach"):
        return np.round(thing.detach().numpy(), 6).tolist()
    if isinstance(thing, tuple | list):
        return type(thing)(numbers(item) for item in thing)
    return {k: numbers(v) for k, v in thing.items()} if isinstance(thing, dict) else thing


def net(L, N):
    model = N.Sequential(N.Linear(2, 2), N.Tanh()).double()
    model.load_state_dict(
        {"0.weight": L.tensor([[0.1, 0.2], [0.3, -0.4]]).double(), "0.bias": L.tensor([0.0, 1.0])}
    )
    return model


def test_forward_hooks_in_order():
    def program(L, N, log):
        model = net(L, N)
        x = L.tensor(X, dtype=L.float64)
        model.register_forward_pre_hook(lambda m, args: log.append(["pre", type(m).__name__, numbers(args)]))
        model.register_forward_pre_hook(lambda m, args: args[0] * 2)
        model.register_forward_pre_hook(lambda m, args: (args[0] + 1,), prepend=True)
        handle = model.register_forward_hook(lambda m, *seen: log.append(["post", numbers(seen)]))
        model.register_forward_hook(lambda m, args, out: out * 10)
        model[0].register_forward_hook(lambda m, args, out: log.append(["first", numbers(out)]), prepend=True)
        first = model(x)
        handle.remove()
        handle.remove()
        return [first, model(x)]

    log = same(program)
    assert [entry[0] for entry in log[:-1]] == ["pre", "first", "post", "pre", "first"]


def test_hooks_with_keyword_arguments():
    def program(L, N, log):
        class Scaled(N.Module):
            def forward(self, x, scale=1.0):
                return x * scale

        module = Scaled()
        module.register_forward_pre_hook(
            lambda m, args, kwargs: (args, {"scale": kwargs["scale"] + 1}), with_kwargs=True
        )
        module.register_forward_hook(
            lambda m, args, kwargs, out: log.append([numbers(args), kwargs, numbers(out)]), with_kwargs=True
        )
        return module(L.tensor(X, dtype=L.float64), scale=2.0)

    assert same(program)[0][1] == {"scale": 3.0}


def test_a_hook_that_is_always_called():
    def program(L, N, log):
        class Broken(N.Module):
            def forward(self, x):
                raise KeyError("broken")

        module = Broken()
        module.register_forward_hook(lambda m, args, out: log.append("not called"))
        module.register_forward_hook(lambda m, args, out: log.append(["called", out]), always_call=True)
        with pytest.raises(KeyError, match="broken"):
            module(1)

    assert same(program)[0] == ["called", None]


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("needs_input", [True, False])
def test_full_backward_hooks(needs_input):
    def program(L, N, log):
        model = net(L, N)

        def note(name):
            return lambda m, *gradients: log.append([name, numbers(gradients)])

        model[0].register_full_backward_hook(note("linear"))
        model[1].register_full_backward_hook(note("tanh"))
        model.register_full_backward_hook(note("all"))
        model.register_full_backward_pre_hook(lambda m, grads: log.append(["before", numbers(grads)]))
        x = L.tensor(X, dtype=L.float64, requires_grad=needs_input)
        model(x).sum().backward()
        return [x.grad, model[0].weight.grad]

    log = same(program)
    assert len(log) == 5


def test_backward_hooks_replace_gradients():
    def program(L, N, log):
        model = net(L, N)
        model[1].register_full_backward_pre_hook(lambda m, grads: (grads[0] * 2,))
        model[1].register_full_backward_hook(lambda m, grad_input, grad_output: (grad_input[0] * 5,))
        model[0].register_full_backward_hook(lambda m, grads, _: (grads[0] * 3,), prepend=True)
        x = L.tensor(X, dtype=L.float64, requires_grad=True)
        model(x).sum().backward()
        return [x.grad, model[0].weight.grad]

    same(program)


def test_backward_hooks_of_a_module_with_several_inputs_and_outputs():
    def program(L, N, log):
        class Two(N.Module):
            def forward(self, a, b, note):
                return a * b, a + b

        module = Two()
        module.register_full_backward_hook(
            lambda m, grad_input, grad_output: log.append([numbers(grad_input), numbers(grad_output)])
        )
        a, b = L.tensor(X, dtype=L.float64, requires_grad=True), L.tensor(X, dtype=L.float64)
        product, total = module(a, b, "text")
        (product * 2 + total).sum().backward()
        return a.grad

    same(program)


def test_second_derivatives_pass_through_hooked_modules():
    def program(L, N, log):
        model = net(L, N)
        model[1].register_full_backward_hook(lambda m, grad_input, grad_output: (grad_input[0] * 2,))
        x = L.tensor(X, dtype=L.float64, requires_grad=True)
        (slope,) = L.autograd.grad(model(x).sum(), x, create_graph=True)
        return L.autograd.grad((slope**2).sum(), x)[0]

    same(program)


def test_state_dict_hooks():
    def program(L, N, log):
        model = net(L, N)
        model[0].register_state_dict_pre_hook(lambda m, prefix, keep_vars: log.append(["before", prefix]))
        model[0].register_state_dict_post_hook(
            lambda m, state, prefix, meta: log.append(["after", prefix, sorted(state)])
        )
        state = model.state_dict()
        model[0].register_load_state_dict_pre_hook(
            lambda m, state, prefix, meta, strict, missing, unexpected, errors: state.update(
                {prefix + "bias": state.pop(prefix + "old")}
            )
        )
        seen = []
        model.register_load_state_dict_post_hook(
            lambda m, keys: (seen.append([list(keys.missing_keys), list(keys.unexpected_keys)]),
                             keys.missing_keys.clear(), None)[-1]
        )  # fmt: skip
        state["0.old"] = state.pop("0.bias") + 5
        del state["0.weight"]
        result = model.load_state_dict(state)
        return [model[0].bias, seen, list(result.missing_keys)]

    log = same(program)
    assert log[-1][1] == [[["0.weight"], []]]


def test_extra_state():
    def program(L, N, log):
        class Counting(N.Module):
            count = 0

            def get_extra_state(self):
                return {"count": self.count}

            def set_extra_state(self, state):
                self.count = state["count"]

        a, b = N.Sequential(Counting()), N.Sequential(Counting())
        a[0].count = 7
        state = a.state_dict()
        b.load_state_dict(state)
        return [list(state), b[0].count]

    same(program)


def test_assigning_a_state_dict():
    for L, N in LIBRARIES:
        model = N.Linear(2, 1)
        state = {"weight": L.ones(1, 2, dtype=L.float64), "bias": L.zeros(1, dtype=L.float64)}
        model.load_state_dict(state, assign=True)
        assert model.weight.dtype is L.float64 and isinstance(model.weight, N.Parameter)
        assert model.weight.requires_grad
        state["weight"][0, 0] = 7.0
        assert model.weight[0, 0].item() == 7.0


def test_hooks_are_copied_with_the_module_and_refused_where_wrong():
    calls = []
    model = nn.Linear(2, 2)
    handle = model.register_forward_hook(lambda m, args, out: calls.append(m))
    twin = copy.deepcopy(model)
    handle.remove()
    model(lampion.ones(1, 2))
    assert calls == []
    twin(lampion.ones(1, 2))
    assert calls == [twin]
    model.register_full_backward_hook(lambda m, grad_input, grad_output: grad_input * 2)
    with pytest.raises(GradientError, match="another number of gradients"):
        model(lampion.ones(1, 2, requires_grad=True)).sum().backward()
    model = nn.Linear(2, 2)
    model.register_load_state_dict_post_hook(lambda m, keys: keys)
    with pytest.raises(LampionError, match="change the lists"):
        model.load_state_dict(model.state_dict())


def test_hooks_in_a_compiled_function():
    model = nn.Linear(2, 2)
    model.register_forward_hook(lambda m, args, out: out * 2)
    fast = lampion.compile(lambda x: model(x))
    x = lampion.tensor(X)
    with lampion.no_grad():
        outputs = [fast(x), fast(x)]
    lampion.testing.assert_close(outputs[1], model(x), rtol=1e-6)


def test_conversions_names_and_submodules():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    assert model.half()[0].weight.dtype is lampion.float16
    assert model.bfloat16()[1].running_mean.dtype is lampion.bfloat16
    assert model.type(lampion.float64)[1].num_batches_tracked.dtype is lampion.int64
    assert model.get_buffer("1.running_var") is model[1].running_var
    with pytest.raises(AttributeError, match="is not a buffer"):
        model.get_buffer("1.weight")
    model.set_submodule("0", nn.Identity())
    assert isinstance(model[0], nn.Identity)

    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.kept = nn.Buffer(lampion.ones(1))
            self.dropped = nn.Buffer(lampion.ones(2), persistent=False)

    holder = Holder()
    assert list(holder.state_dict()) == ["kept"] and len(list(holder.buffers())) == 2
