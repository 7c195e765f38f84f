"""The table of docs/compile.md, "What is noticed": what a compiled function depends on, and how it changes.

Each row is a program (the body of `step`, or what it returns), a statement that changes one thing after the
first call, and what becomes of the calls after it. tests/test_footgun_table.py runs all rows, and keeps the
page true.
"""

from __future__ import annotations

from typing import NamedTuple

#: What happens at the next call.
INPUT = "is an input: nothing is recorded again"
AGAIN = "is noticed: recorded again"
EAGER = "runs eagerly from the start, with a warning that names the line"
ASIDE = "runs eagerly in that one call"


class Row(NamedTuple):
    """what: for the page; program; change: after the first call; outcome; call, then: arguments of the calls
    before and after."""

    what: str
    program: str
    change: str
    outcome: str = AGAIN
    call: str = "x"
    then: str = "x"


#: What programs and changes know by name; made anew for each run.
WORLD = """
import abc, contextvars, functools, logging, math, os, random, threading, time, types, warnings, weakref
import numpy as np
import lampion as lp
from lampion import nn
from lampion.nn import functional as F

FACTOR, FLAG, ZERO = 2.0, True, 0.0
numbers, names, table = [2.0, 5.0], {"a"}, {"k": 2.0, "l": 7.0}
os.environ["FOOTGUN"] = "y"
array = np.full(4, 2.0, np.float32)
settings = types.ModuleType("settings")
settings.scale = 2.0
variable = contextvars.ContextVar("variable", default=2.0)
lock, logger = threading.Lock(), logging.getLogger("footguns")
logger.addHandler(logging.NullHandler())
steps = iter(range(100))


class Base:
    pass


class Holder(Base):
    shared = 2.0

    def __init__(self):
        self.k, self.seen, self.items = 2.0, 0, [1.0]

    @property
    def twice(self):
        return 2 * self.k

    def scale(self, x):
        return x * self.k


class Magic:
    def __init__(self):
        self.table = {"k": 2.0}

    def __getattr__(self, name):
        return self.__dict__["table"][name]


class Slotted:
    __slots__ = ("k",)


class Square(lp.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        return 2 * ctx.saved_tensors[0] * g


class Shape(abc.ABC):
    pass


class Other(Base):
    k = shared = 9.0

    def scale(self, x):
        return x - 9


def cell():
    k = 2.0

    def read(x):
        return x * k

    def write(value):
        nonlocal k
        k = value

    def count(x):
        nonlocal k
        k += 1
        return x * k

    return read, write, count


def helper(x, k=2.0, *, shift=1.0):
    return x * k + shift


def defaulted(x, ks=[2.0]):
    return x * sum(ks)


@functools.lru_cache
def cached(k):
    return k * 2


def counting():
    n = 0.0
    while True:
        yield n
        n += 1


read, write, count = cell()
obj, magic, slotted, part, stream = Holder(), Magic(), Slotted(), functools.partial(helper, k=3.0), counting()
slotted.k, other = 2.0, Other()
ref, known = weakref.ref(obj), id(obj)

lp.manual_seed(0)
x = lp.arange(8.0).reshape(2, 4) / 8 - 0.3
y = x + 1
w = nn.Parameter(lp.ones(4))
net = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5), nn.ReLU())
norm = nn.BatchNorm1d(4).eval()
model = nn.Linear(4, 2)
opt = lp.optim.Adam(model.parameters(), lr=0.1)
scheduler = lp.optim.lr_scheduler.StepLR(opt, 1, 0.5)


def train(x):
    opt.zero_grad()
    loss = (model(x) ** 2).mean()
    loss.backward()
    opt.step()
    return loss
"""

VALUES = [
    Row("an attribute", "x * obj.k", "obj.k = 3.0"),
    Row("an attribute, to an equal number of another type", "lp.arange(4) * obj.k", "obj.k = 2"),
    Row("an attribute of the class", "x * obj.shared", "Holder.shared = 5.0"),
    Row("an attribute that was not there", "x * getattr(obj, 'more', 1.0)", "obj.more = 5.0"),
    Row("a slot", "x * slotted.k", "slotted.k = 3.0"),
    Row("the state behind a property", "x * obj.twice", "obj.k = 3.0"),
    Row("the state behind `__getattr__`", "x * magic.k", "magic.table['k'] = 3.0"),
    Row("all attributes at once", "x * len(vars(obj))", "obj.more = 5.0"),
    Row("a global", "x * FACTOR", "FACTOR = 3.0"),
    Row("a flag", "x * 2 if FLAG else x", "FLAG = False"),
    Row("the sign of a zero", "x / 1 * (1 + math.copysign(1.0, ZERO))", "ZERO = -0.0"),
    Row("a closure variable", "read(x)", "write(3.0)"),
    Row("a module's attribute", "x * settings.scale", "settings.scale = 3.0"),
    Row("an item of a list", "x * numbers[0]", "numbers[0] = 3.0"),
    Row("the length of a list", "x * sum(numbers)", "numbers.append(3.0)"),
    Row("the order of a list", "x * numbers[0]", "numbers.reverse()"),
    Row("an item of a dict", "x * table['k']", "table['k'] = 3.0"),
    Row("the order of a dict", "x * list(table.values())[0]", "table['k'] = table.pop('k')"),
    Row("an item of a set", "x * ('b' in names)", "names.add('b')"),
    Row("the order of a set", "x * len([n for n in names])", "names.add('b')"),
    Row("a mutable default argument", "defaulted(x)", "defaulted.__defaults__[0].append(3.0)"),
    Row("an environment variable", "x * len(os.environ['FOOTGUN'])", "os.environ['FOOTGUN'] = 'yes'"),
    Row("the default dtype", "x + lp.tensor(2.5) + lp.zeros(4)", "lp.set_default_dtype(lp.float64)"),
    Row("whether gradients are recorded", "(x * w).requires_grad", "lp.set_grad_enabled(False)"),
    Row("a context variable", "x * variable.get()", "variable.set(3.0)", EAGER),
    Row("what a weak reference leads to", "x * ref().k", "obj.k = 3.0", EAGER),
    Row("an `id`", "x * 2 if id(obj) == known else x", "obj = Holder()", EAGER),
    Row("a NumPy array from outside", "x * lp.from_numpy(array)", "array[:] = 3.0", EAGER),
    Row("a NumPy array, as numbers", "x * float(array[0])", "array[:] = 3.0", EAGER),
]  # fmt: skip

CODE = [
    Row("a function, replaced", "helper(x)", "helper = defaulted"),
    Row("a function's code", "helper(x)", "helper.__code__ = (lambda x, k=1, *, shift=1: x - k).__code__"),
    Row("a function's defaults", "helper(x)", "helper.__defaults__ = (5.0,)"),
    Row("a keyword's default", "helper(x)", "helper.__kwdefaults__['shift'] = 5.0"),
    Row("a partial", "part(x)", "part.keywords['k'] = 5.0"),
    Row("a method, of the class", "obj.scale(x)", "Holder.scale = Other.scale"),
    Row("a method, of the object", "obj.scale(x)", "obj.scale = lambda x: x - 1"),
    Row("what a `Function` of your own computes", "Square.apply(x)",
        "Square.forward = staticmethod(lambda ctx, x: x * 3)"),
    Row("its gradient", "w.grad = None; Square.apply(x * w).sum().backward(); return w.grad",
        "Square.backward = staticmethod(lambda ctx, g: g)"),
    Row("a method that a class gets: for what is missing", "x * getattr(obj, 'more', 1.0)",
        "Holder.__getattr__ = lambda self, name: 7.0"),
    Row("a method that a class gets: for `==`", "x * 2 if obj != other else x",
        "Base.__eq__ = lambda self, other: True"),
    Row("an object's class", "x * 2 if isinstance(obj, Holder) else x", "obj.__class__ = Other"),
    Row("what counts as an abstract class", "x * 2 if isinstance(obj, Shape) else x",
        "Shape.register(Holder)"),
    Row("an object, by another", "obj.scale(x)", "obj = Other()"),
    Row("a builtin", "x * len(numbers)", "len = lambda v: 7"),
    Row("the class that an object is made of", "made = Holder(); return x * made.k", "Holder = Other"),
]  # fmt: skip

MODULES = [
    Row("train and eval", "net(x)", "net.eval()"),
    Row("a layer, replaced", "net(x)", "net[0] = nn.Linear(4, 3)"),
    Row("a layer, added", "net(x)", "net.append(nn.Tanh())"),
    Row("a rate of dropout", "net(x)", "net[1].p = 0.25"),
    Row("a parameter, replaced", "net(x)", "net[0].weight = nn.Parameter(lp.ones(3, 4))"),
    Row("a parameter's values", "net(x)", "net[0].weight.detach().mul_(2)", INPUT),
    Row("a parameter's `.data`, replaced", "net(x)", "net[0].weight.data = lp.ones(3, 4)", INPUT),
    Row("a state that is loaded", "net(x)",
        "net.load_state_dict({k: v + 1 for k, v in net.state_dict().items()})", INPUT),
    Row("a parameter's `requires_grad`", "net(x)", "net[0].weight.requires_grad_(False)"),
    Row("a parameter's dtype", "net(x.to(net[0].weight.dtype))", "net.double()"),
    Row("a buffer's values", "norm(x)", "norm.running_mean.add_(1)", INPUT),
    Row("a buffer, replaced", "norm(x)", "norm.running_mean = lp.ones(4)"),
    Row("a method of a module", "net(x)", "nn.ReLU.forward = nn.Tanh.forward"),
    Row("a hook on a module", "net(x)", "net.register_forward_hook(lambda m, i, o: o * 2)"),
    Row("tied weights that come apart", "x @ net[0].weight.T + model.weight.sum()",
        "model.weight = net[0].weight"),
    Row("the seed", "net(x)", "lp.manual_seed(5)", INPUT),
]  # fmt: skip

ARGUMENTS = [
    Row("the shape of an argument", "x * 2", "", call="x", then="x[:1]"),
    Row("the dtype of an argument", "x * 2", "", call="x", then="x.double()"),
    Row("how an argument lies in memory", "x.reshape(8) * 2", "", call="x", then="x.T"),
    Row("an argument's `requires_grad`", "(x * 2).requires_grad",
        "", call="x", then="x.clone().requires_grad_()"),
    Row("an argument's values", "x * 2", "x.add_(1)", INPUT),
    Row("another tensor of the same kind", "x * 2", "", INPUT, then="y"),
    Row("an int, a string, a flag, None", "x * args[0] if args[0] else x", "", call="x, 2", then="x, 3"),
    Row("a float, the first time (then it is an input)", "x * args[0]", "", call="x, 2.0", then="x, 3.0"),
    Row("the number of arguments", "x * len(args)", "", call="x, 2", then="x, 2, 3"),
    Row("the keys of a dict, their order", "sum(args[0].values())", "", call="x, dict(a=x, b=y)",
        then="x, dict(b=y, a=x)"),
    Row("the length of a list", "sum(args[0])", "", call="x, [x, y]", then="x, [x, y, x]"),
    Row("an object's attribute", "x * args[0].k", "obj.k = 3.0", call="x, obj", then="x, obj"),
    Row("another object", "x * args[0].k", "", call="x, obj", then="x, other"),
    Row("two arguments that become one", "x.add_(args[0]); return args[0] * 1", "", call="x, y", then="x, x"),
    Row("two arguments that come to overlap", "x.add_(args[0]); return args[0] * 1", "", ASIDE,
        call="lp.zeros(4), lp.ones(4)", then="(lambda base: (base[1:], base[:-1]))(lp.arange(5.0))[0], y[0]"),
    Row("an argument that is a tensor from outside", "(x * w).detach()", "", call="x[0]", then="w"),
]  # fmt: skip

OPTIMIZERS = [
    Row("a learning rate", "train(x)", "opt.param_groups[0]['lr'] = 0.5", INPUT),
    Row("a scheduler, stepped outside", "train(x)", "scheduler.step()", INPUT),
    Row("a scheduler, stepped inside", "loss = train(x); scheduler.step(); return loss", "", INPUT),
    Row("the betas of Adam", "train(x)", "opt.param_groups[0]['betas'] = (0.5, 0.5)", INPUT),
    Row("weight decay, switched on", "train(x)", "opt.param_groups[0]['weight_decay'] = 0.5"),
    Row("eps", "train(x)", "opt.param_groups[0]['eps'] = 0.5"),
    Row("a group that is added", "train(x)", "opt.add_param_group({'params': [w]})"),
    Row("a state that is loaded", "train(x)", "opt.load_state_dict(opt.state_dict())"),
    Row("a learning rate that is read", "x * opt.param_groups[0]['lr']", "opt.param_groups[0]['lr'] = 0.5"),
    Row("a learning rate of a scheduler, read", "x * scheduler.get_last_lr()[0]",
        "opt.step(); scheduler.step()"),
    Row("a `.grad` that is there", "w.grad = None; (x * w).sum().backward(); return w.grad",
        "w.grad = w * 1", INPUT),
    Row("gradients that add up", "(x * w).sum().backward(); return w.grad * 1", "", AGAIN),
]  # fmt: skip

EFFECTS = [
    Row("a counter in an attribute", "obj.seen += 1; return x * obj.seen", "", EAGER),
    Row("a global counter", "global FACTOR; FACTOR += 1; return x * FACTOR", "", EAGER),
    Row("a counter in a closure", "count(x)", "", EAGER),
    Row("appending to a list", "numbers.append(1.0); return x * len(numbers)", "", EAGER),
    Row("setting an item of a dict", "table['n'] = table.get('n', 0) + 1; return x * table['n']", "", EAGER),
    Row("keeping a tensor", "obj.last = x * 2; return obj.last + 1", "", EAGER),
    Row("an iterator from outside", "x * next(steps)", "", EAGER),
    Row("a generator from outside", "x * next(stream)", "", EAGER),
    Row("printing", "print(end=''); return x * 2", "", EAGER),
    Row("logging", "logger.warning('hm'); return x * 2", "", EAGER),
    Row("the clock", "x * (time.time() > 0)", "", EAGER),
    Row("Python's random numbers", "x * random.random()", "random.seed(1)", EAGER),
    Row("NumPy's random numbers", "x * float(np.random.rand())", "np.random.seed(1)", EAGER),
    Row("Lampion's random numbers", "x * lp.rand(4)", "", INPUT),
    Row("reading a file", "x * len(open(os.devnull).read())", "", EAGER),
    Row("a branch on a tensor", "x * 2 if x.sum() > 0 else x", "x.neg_()", EAGER),
    Row("the value of a tensor", "x * x.sum().item()", "x.neg_()", EAGER),
    Row("an exception that is caught",
        "try:\n        {}['k']\n    except KeyError:\n        x = x + 1\n    return x", "", EAGER),
    Row("a cache of results", "x * cached(3)", "", EAGER),
    Row("a lock", "with lock: return x * 2", "", EAGER),
    Row("a number kept in an attribute", "obj.seen = 7; return x * obj.seen", "obj.seen = 0", INPUT),
    Row("switching the mode of a module, and back",
        "net.eval(); y = net(x); net.train(); return y", "", INPUT),
]  # fmt: skip

SECTIONS = {
    "Values that were read": VALUES, "Code": CODE, "Modules": MODULES, "Arguments": ARGUMENTS,
    "Optimizers": OPTIMIZERS, "Effects": EFFECTS,
}  # fmt: skip


def page() -> str:
    """The table, as docs/compile.md has it."""
    lines, head = [], "| changes after the first call | for example | the next call |"
    for title, rows in SECTIONS.items():
        lines += [f"\n### {title}\n", head, "|---|---|---|"]
        for row in rows:
            program = row.program.replace("|", "\\|")
            example = f"`{' '.join(program.split())}`" + (f" ... `{row.change}`" if row.change else "")
            lines.append(f"| {row.what} | {example} | {row.outcome} |")
    return "\n".join(lines) + "\n"
