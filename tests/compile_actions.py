"""More of what a random program can do: sorting, statistics, products, integers, views, writes by index.

What jumps where a number passes another (sorting, rounding, signs) is only done to numbers that no reading
rounds: see `compile_programs.py`.
"""

from __future__ import annotations

import lampion as lp
from lampion import linalg


class Actions:
    """The steps; `pick`, `keep` and `is_exact` are those of `compile_programs.Program`."""

    def order(self, kind, a, b, c):
        """What depends on which number is larger."""
        x = self.pick(a, exact=True)
        if not x.ndim or not x.numel() or x.dtype is lp.bool:
            return
        dim, descending = b % x.ndim, bool(c % 2)
        choice = c % 8
        if choice < 2:
            values, indices = lp.sort(x, dim, descending, stable=True)
        elif choice == 2:
            values, indices = lp.topk(x, 1 + b % x.shape[dim], dim)
        elif choice == 3:
            values, indices = lp.cummax(x, dim)
        elif choice == 4:
            values, indices = lp.kthvalue(x, 1 + b % x.shape[dim], dim)
        elif choice == 5:
            values, indices = lp.aminmax(x, dim=dim)
        elif choice == 6:
            values, indices = x.amin(dim), x.argmin(dim)
        else:
            values, indices = lp.median(x, dim)
        if choice in (2, 4, 7):  # equal numbers may come in any order
            self.keep(values, x)
        else:
            self.keep(values, x)
            self.keep(indices, x)

    def steps_along(self, kind, a, b, c):
        x = self.pick(a, "f" if c % 2 else "fi")
        if not x.ndim or not x.numel():
            return
        dim, choice = b % x.ndim, c % 7
        if choice < 3 or x.dtype.kind != "f":
            self.keep(lp.cumsum(lp.minimum(lp.maximum(x, -9), 9), dim))
        elif choice == 3:
            self.keep(lp.cumprod(x.cos() * 0.25 + 0.75, dim))
        elif choice == 4:
            self.keep(lp.logcumsumexp(x.tanh(), dim))
        elif choice == 5:
            self.keep(lp.diff(x, dim=dim))
        else:
            self.keep(lp.trapezoid(x, dim=dim))

    def statistics(self, kind, a, b, c):
        x = self.pick(a, "f")
        if not x.numel():
            return
        dim = b % x.ndim if x.ndim and c % 5 else None
        choice = c % 9
        if choice == 0:
            self.keep(x.var(dim, correction=0))
        elif choice == 1:
            self.keep(lp.sqrt(x.var(dim, correction=0, keepdim=True) + 1))
        elif choice == 2:
            self.keep(linalg.vector_norm(lp.sqrt(x * x + 0.5), 2 + b % 2, dim, bool(a % 2)))
        elif choice == 3:
            self.keep(lp.logsumexp(x, 0 if dim is None else dim) if x.ndim else x)
        elif choice == 4:
            self.keep((x.cos() * 0.25 + 0.75).prod() if dim is None else (x.cos() * 0.25 + 0.75).prod(dim))
        elif choice == 5:
            self.keep(lp.nansum(x, dim))
        elif choice == 6:
            exact = self.pick(a, exact=True)
            self.keep(lp.count_nonzero(exact, dim % exact.ndim if dim is not None and exact.ndim else None))
        elif choice == 7:
            condition = self.pick(b, exact=True) > 0
            self.keep(condition.any() if a % 2 else condition.all())
        else:
            variance, mean = lp.var_mean(x, dim, correction=0)
            self.keep(variance)
            self.keep(mean)

    def whole(self, kind, a, b, c):
        """Integers and booleans, and floats as they are."""
        x, y = self.pick(a, "ib"), self.pick(b, "ib")
        y = y if stretches(y, x.shape) else fitted(y, x.shape)
        choice = c % 9
        if choice < 3:
            self.keep((lp.bitwise_and, lp.bitwise_or, lp.bitwise_xor)[choice](x, y))
        elif choice == 3:
            self.keep(lp.bitwise_not(x))
        elif choice == 4:
            x, y = x.long(), lp.minimum(y.long().abs(), 99) + 1
            self.keep((lp.remainder, lp.floor_divide, lp.fmod)[a % 3](x, y))
        elif choice == 5:
            self.keep((lp.logical_and, lp.logical_or, lp.logical_xor)[a % 3](x, y))
        elif choice == 6:
            x = self.pick(a, "f", exact=True)
            self.keep((lp.floor, lp.ceil, lp.round, lp.trunc, lp.sign, lp.frac)[b % 6](x), x)
        elif choice == 7:
            self.keep(lp.minimum(lp.maximum(x.long(), -9), 9) << (y.long() & 3))
        else:
            x = self.pick(a, exact=True)
            self.keep((lp.isnan, lp.isfinite, lp.signbit)[b % 3](x))

    def three(self, kind, a, b, c):
        """Functions of two or three numbers that are smooth."""
        x = self.pick(a, "f")
        y = fitted(self.pick(b, "f"), x.shape).to(x.dtype)
        choice = c % 10
        if choice == 0:
            self.keep(lp.lerp(x, y, 0.25))
        elif choice == 1:
            self.keep(lp.lerp(x, y, y.sigmoid()))
        elif choice == 2:
            self.keep(lp.addcmul(x, y, y, value=0.5))
        elif choice == 3:
            self.keep(lp.addcdiv(x, y, y * y + 1, value=-0.5))
        elif choice == 4:
            self.keep(lp.atan2(x, y * y + 1))
        elif choice == 5:
            self.keep(lp.hypot(x, y * y + 1))
        elif choice == 6:
            self.keep(lp.logaddexp(x, y))
        elif choice == 7:
            self.keep(lp.clamp(x, -0.75, 0.8) if b % 2 else lp.clamp(x, min=-0.6))
        elif choice == 8:
            self.keep((lp.erf, lp.atan, lp.asinh, lp.square, lp.log1p)[b % 5](x * x))
        else:
            self.keep(lp.masked_fill(x, fitted(self.pick(c, "ib"), x.shape) > 0, 0.5))

    def look(self, kind, a, b, c):
        """Views, which later steps may write to."""
        x = self.pick(a)
        if not x.ndim:
            return
        axis, choice = b % x.ndim, c % 14
        size = x.shape[axis]
        if choice == 0:
            self.keep_all(x.split(1 + b % 2, axis), x)
        elif choice == 1:
            self.keep_all(lp.chunk(x, 2, axis), x)
        elif choice == 2 and size:
            self.keep(x.narrow(axis, b % size, 1 + (size - b % size) // 2), x)
        elif choice == 3 and size:
            self.keep(x.select(axis, -1 - b % size), x)
        elif choice == 4 and x.ndim > 1:
            self.keep(x.diagonal(b % 2, axis, (axis + 1) % x.ndim), x)
        elif choice == 5 and size > 1:
            self.keep(x.unfold(axis, 2, 1 + b % 2), x)
        elif choice == 6:
            self.keep(x.movedim(axis, 0), x)
        elif choice == 7:
            self.keep(x.swapaxes(axis, 0), x)
        elif choice == 8:
            self.keep(x.flatten(), x)
        elif choice == 9:
            self.keep(x.squeeze() if b % 2 else x.squeeze(axis), x)
        elif choice == 10 and size and size < 5:
            self.keep_all(x.unbind(axis), x)
        elif choice == 11:
            self.keep(x.roll(1 + b % 3, axis), x)
        elif choice == 12:
            self.keep(x.repeat(*(1 + (b + i) % 2 for i in range(x.ndim))), x)
        elif choice == 13 and x.ndim > 1:
            self.keep((x.tril if b % 2 else x.triu)(c % 3 - 1), x)

    def keep_all(self, parts, source):
        for part in parts[:3]:
            self.keep(part, source)

    def products(self, kind, a, b, c):
        x, y = self.pick(a, "f").float(), self.pick(b, "f").float()
        if not x.ndim or not y.ndim or not x.numel() or not y.numel():
            return
        choice = c % 5
        if choice == 0:
            self.keep(lp.outer(x.reshape(-1)[:5], y.reshape(-1)[:4]))
        elif choice == 1 and x.ndim == 2:
            self.keep(lp.einsum("ij,kj->ik", x, x))
        elif choice == 2 and x.ndim == 2:
            self.keep(lp.addmm(x @ x.T, x, x.T, beta=0.5, alpha=2))
        elif choice == 3:
            n = min(x.numel(), y.numel())
            self.keep(lp.dot(x.reshape(-1)[:n], y.reshape(-1)[:n]))
        elif choice == 4:
            self.keep(lp.tensordot(x, x, ([0], [0])) if x.ndim < 3 else lp.kron(x[0], x[0]))

    def places(self, kind, a, b, c):
        """Elements by index or mask: read, and put into a copy."""
        x = self.pick(a)
        if not x.ndim or not x.numel():
            return
        dim, choice = b % x.ndim, c % 9
        index = wrapped(self.pick(b, "ib"), x.shape[dim])
        if choice == 0:
            self.keep(lp.take_along_dim(x, wrapped(fitted(self.pick(b, "ib"), x.shape), x.shape[dim]), dim))
        elif choice == 1:
            self.keep(x[(slice(None),) * dim + (index.reshape(-1)[:3],)], x)
        elif choice == 2 and x.ndim > 1:
            rows = wrapped(self.pick(c, "ib"), x.shape[0]).reshape(-1)[:1]
            self.keep(x[rows, wrapped(index, x.shape[1]).reshape(-1)[:3]], x)
        elif choice == 3:
            order = lp.argsort(self.ranked(x.shape[dim]), 0, stable=True)
            self.keep(lp.index_copy(x, dim, order, x.flip(dim)), x)
        elif choice == 4 and x.dtype is not lp.bool:
            flat = index.reshape(-1)[: x.shape[dim]]
            self.keep(lp.index_add(x, dim, flat, x.narrow(dim, 0, flat.numel())))
        elif choice == 5:
            self.keep(lp.index_fill(x, dim, index.reshape(-1)[:2], 1), x)
        elif choice == 6:
            order = lp.argsort(fitted(self.ranked(x.shape[-1]), x.shape), -1, stable=True)
            self.keep(lp.scatter(x, -1, order, x * 2 if x.dtype is not lp.bool else x), x)
        elif choice == 7:
            self.keep(x.take(wrapped(self.pick(b, "ib"), x.numel())), x)
        else:
            other = fitted(self.pick(c), x.shape).to(x.dtype)
            self.keep(lp.where(fitted(self.pick(b, "ib"), x.shape) > 0, x, other))

    def ranked(self, size):
        """Some integers that a program made, or that it might have."""
        for x in self.made:
            if x.dtype.kind == "i" and x.ndim == 1 and x.shape[0] == size:
                return x
        return lp.arange(size)

    def write_at(self, kind, a, b, c):
        """In place, by index or mask, or with a function."""
        candidates = [x for x in self.made if x.numel() and x.ndim and not x.requires_grad]
        if not self.writes or not candidates:
            return
        x = candidates[a % len(candidates)]
        real = x.dtype.kind == "f"
        with lp.no_grad():
            value = fitted(self.pick(b, "fib" if real else "ib"), x.shape).detach().to(x.dtype)
            mask = fitted(self.pick(c, "ib"), x.shape).detach() > 0
            index = wrapped(self.pick(b, "ib"), x.shape[0]).reshape(-1)[:3]
            if real:
                self.exact = [y for y in self.made if y.dtype.kind != "f"]
            choice = c % 12
            if choice == 0:
                x[mask] = 1
            elif choice == 1:
                x.masked_fill_(mask, 0)
            elif choice == 2:
                x[index] = 1 if b % 2 else value[:1]
            elif choice == 3 and x.dtype is not lp.bool:
                x.index_add_(0, index, value[:1].repeat(index.numel(), *(1,) * (x.ndim - 1)))
            elif choice == 4:
                x.index_fill_(0, index, 0)
            elif choice == 5 and real:
                x.clamp_(-0.5, 0.75)
            elif choice == 6 and x.ndim > 1:
                x.tril_() if b % 2 else x.T.copy_(value.T)
            elif choice == 7 and real:
                x.lerp_(value, 0.5)
            elif choice == 8:
                x[..., :: 1 + b % 2] = value[..., :: 1 + b % 2]
            elif choice == 9 and real:
                x.neg_().tanh_()
            elif choice == 10:
                x.fill_(1)
            elif choice == 11:
                x.select(-1, 0).copy_(value.select(-1, -1))


def stretches(y, shape):
    have = tuple(y.shape)
    return len(have) <= len(shape) and all(n in (1, m) for n, m in zip(have[::-1], shape[::-1], strict=False))


def fitted(y, shape):
    """Something made of y that stretches to the shape: y itself where it does."""
    if not stretches(y, shape):
        y = y.long().sum() if y.dtype.kind != "f" else y.sum().tanh()
        y = lp.minimum(lp.maximum(y, -9), 9)
    stretched = lp.broadcast_to(y, tuple(shape))
    return stretched if y.dtype is lp.bool else stretched * 1


def small_index(x, size):
    """Integers from 0 to size - 1, made of x."""
    x = lp.minimum(lp.maximum(x.long(), 0), size - 1)
    return x if x.ndim else x.reshape(1)


def wrapped(x, size):
    """The same, from -size on."""
    x = lp.minimum(lp.maximum(x.long(), -size), size - 1)
    return x if x.ndim else x.reshape(1)


def broadcasts(x, y):
    return all(n == m or 1 in (n, m) for n, m in zip(x.shape[::-1], y.shape[::-1], strict=False))
