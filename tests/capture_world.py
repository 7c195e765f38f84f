"""What the tests of capture read and change: loaded afresh for each of them (see `capture_harness.World`)."""

from __future__ import annotations

import abc
import array
import bisect
import collections
import contextlib
import contextvars
import copy
import dataclasses
import datetime
import enum
import functools
import gc
import heapq
import importlib
import io
import itertools
import json
import logging
import math
import operator
import os
import pickle
import queue
import random
import re
import secrets
import struct
import subprocess
import sys
import tempfile
import threading
import time
import types
import uuid
import warnings
import weakref

import capture_core as core
import numpy as np
from capture_core import Tensor
from capture_harness import Linear, Module, Parameter

IMPORTED = (abc, array, bisect, copy, datetime, gc, heapq, importlib, json, logging, math, operator, os)
IMPORTED += (pickle, re, secrets, struct, subprocess, sys, tempfile, time, uuid, warnings, Parameter)


class Plain:
    """An object of the user's, with every special method that an operator or a builtin may call."""

    total = 0

    def __init__(self):
        self.k = 1
        self.other = None

    def method(self, x):
        return x * self.k

    def bump(self):
        self.k += 1

    @classmethod
    def count(cls):
        cls.total += 1


class Reading(Plain):
    """Each special method reads `self.k`."""

    def _read(self, *_):
        return self.k

    def _text(self, *_):
        return str(self.k)

    def _same(self, *_):
        return self.k == 1

    __repr__ = __str__ = __format__ = _text
    __hash__ = __call__ = __index__ = __len__ = __int__ = __enter__ = __getitem__ = __abs__ = __neg__ = _read
    __add__ = __radd__ = __mul__ = __missing__ = __round__ = __floor__ = _read
    __bool__ = __eq__ = __ne__ = __lt__ = __contains__ = _same

    def __float__(self):
        return float(self.k)

    def __iter__(self):
        return iter([self.k])

    def __exit__(self, *error):
        return None


class Writing(Plain):
    """Each special method counts its calls."""

    def _count(self, *_):
        self.k += 1
        return 1

    __call__ = __index__ = __len__ = __enter__ = __exit__ = __getitem__ = __abs__ = __neg__ = __add__ = _count
    __hash__ = __round__ = __setitem__ = __delitem__ = _count

    def __bool__(self):
        return bool(self._count())

    def __eq__(self, other):
        return bool(self._count())

    def __iter__(self):
        self._count()
        return iter([1])

    def __iadd__(self, other):
        self._count()
        return self

    def __str__(self):
        return str(self._count())

    __repr__ = __str__

    @property
    def prop(self):
        return self._count()

    @prop.setter
    def prop(self, value):
        self._count()

    @functools.cached_property
    def cached(self):
        return 3


class Noisy:
    def __del__(self):
        LOG.append("gone")


class Net(Module):
    rate = 0.5
    shared = {"a": 1}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.linear = Linear()
        self.scale = 2.0
        self.config = {"a": {"b": [1, 2]}, "t": (1, (2, 3)), "l": ([1],)}
        self.layers = [Linear(), Linear()]
        for rank, layer in enumerate(self.layers):
            layer.rank = rank
        self.names = {"x", "y"}
        self.queue = collections.deque([1, 2])
        self.mode = "train"
        self.act = core.relu
        self.bound = self.helper
        self.look = self.shared.get
        self.part = functools.partial(helper, k=2)
        self.array = np.zeros(3)
        self.lock = threading.Lock()
        self.view = self.shared.values()
        self.proxy = types.MappingProxyType(self.shared)

    def helper(self, x):
        return x

    @property
    def twice(self):
        return self.scale * 2

    @classmethod
    def klass(cls, x):
        return x * cls.rate

    @staticmethod
    def static(x):
        return x

    def forward(self, x):
        return self.linear(x) * self.scale


class Meta(type):
    @property
    def level(cls):
        return cls.depth

    def __getattr__(cls, name):
        return cls.depth

    def __getitem__(cls, key):
        return cls.depth

    def __iter__(cls):
        return iter([cls.depth])

    def __len__(cls):
        return cls.depth


class WithMeta(metaclass=Meta):
    depth = 1


class Slotted:
    __slots__ = ("a", "b")

    def __init__(self, a, b):
        self.a, self.b = a, b


class Dynamic:
    def __init__(self):
        self.table = {"k": 1}

    def __getattr__(self, name):
        return self.table[name]


class Filling:
    def __getattr__(self, name):
        self.__dict__[name] = 1
        return 1


class Watched:
    def __init__(self):
        self.k = 1

    def __getattribute__(self, name):
        return object.__getattribute__(self, name)


class Descriptor:
    def __get__(self, owner, cls):
        return SCALE

    def __set__(self, owner, value):
        LOG.append(value)


class Described:
    value = Descriptor()


@dataclasses.dataclass
class Config:
    width: int = 3
    deep: dict = dataclasses.field(default_factory=lambda: {"k": [SCALE]})


class AttrDict(dict):
    def __getattr__(self, name):
        return self[name]


class Doubling(dict):
    def __getitem__(self, key):
        return super().__getitem__(key) * 2


class Memo(dict):
    def __missing__(self, key):
        self[key] = key
        return key


class Color(enum.Enum):
    RED = 1

    @property
    def scaled(self):
        return SCALE


class Point(collections.namedtuple("Point", "a b")):
    __slots__ = ()

    @property
    def scaled(self):
        return SCALE


class Scaled(Tensor):
    """A user's own kind of Tensor: its own attributes are not the core's affair."""

    factor = 2.0

    def __init__(self):
        super().__init__(2)
        self.note = "a"
        self.extra = {"a": 1}

    def scaled(self):
        return self * self.factor


def helper(x, k=1, *, scale=1.0, options={"z": [1]}):  # noqa: B006
    return x * k * scale * options["z"][0]


def other(x, k=1, *, scale=1.0):
    return x


def counting(x=None, seen=[]):  # noqa: B006
    seen.append(1)
    return seen


def decorated(fn):
    @functools.wraps(fn)
    def wrapper(*args):
        return fn(*args)

    return wrapper


@functools.lru_cache
def remembered(k):
    return k


@functools.singledispatch
def dispatched(x):
    return 1


@contextlib.contextmanager
def managed(factor):
    yield factor * SCALE


def numbers():
    yield SCALE


def make_closure(k):
    def read(x):
        return (lambda v: v * k)(x)

    def write(value):
        nonlocal k
        k = value

    def local_class(x):
        class Local:
            width = k

        return x * Local.width

    return read, write, local_class


SCALE = 2.0
FLAG = True
ZERO = 0.0
NAN = math.nan
N = 0
LIST = [1, [2, {"k": 3}]]
SCALAR = np.float32(1.5)
ARRAY = np.ones(3)
LOG = []
CELL = [0]
FUNCTIONS = {"f": helper, "g": other}
SPACE = types.SimpleNamespace(k=1)
net, plain, reading, writing, call = Net(), Plain(), Reading(), Writing(), Reading()
plain.other = Plain()
wrapped = decorated(other)
read, write, local_class = make_closure(2.0)
slotted, dynamic, filling, watched, described = Slotted(1, 2), Dynamic(), Filling(), Watched(), Described()
config, attributes, doubling, memo = Config(), AttrDict(k=1), Doubling(k=1), Memo()
point, scaled = Point(1, [1]), Scaled()
default = collections.defaultdict(list, a=[1])
ordered = collections.OrderedDict(a=1, b=2)
counter = collections.Counter("ab")
chained = collections.ChainMap({"a": 1})
user_list = collections.UserList([1])
tensors = [Parameter(2), Parameter(2)]
bytes_, doubles, stream, jobs = bytearray(b"ab"), array.array("d", [1.0]), io.StringIO(), queue.Queue()
window = memoryview(bytes_)
rng, numpy_rng = random.Random(0), np.random.default_rng(0)
generator, started = (i for i in range(9)), (i for i in range(9))
next(started)
iterator, cycle = iter([1, 2, 3]), itertools.cycle([1, 2])
counts, lazy = itertools.count(), map(LOG.append, [1, 2])
reference, weak_set, weak_keys = weakref.ref(net), weakref.WeakSet(), weakref.WeakKeyDictionary({net: 1})
append, partial_append, heap = LOG.append, functools.partial(LOG.append, 3), [3, 1]
local, exits = threading.local(), contextlib.ExitStack()
context = contextvars.ContextVar("context", default=1)
local.k = 1
