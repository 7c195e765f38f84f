"""JAX: the whole step as one jitted function, its state donated so that updates happen in place."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.training import Training


class JaxSession:
    def __init__(self, training: Training, weights: dict[str, np.ndarray]) -> None:
        params = {name: jnp.array(value) for name, value in weights.items()}
        make = {"train": self._train, "gradient": self._gradient, "update": self._update}[training.step]
        make(training, params)

    def _train(self, training: Training, params: Any) -> None:
        loss_of, (start, update) = training.jax_loss, optimizer(training)
        assert loss_of is not None
        self.state = (params, start(params))
        self.key = jax.random.key(0) if training.random else None

        @partial(jax.jit, donate_argnums=0)
        def jitted(state: Any, x: Any, y: Any, key: Any) -> Any:
            params, memory = state
            keys = () if key is None else jax.random.split(key)
            loss, gradients = jax.value_and_grad(lambda p: loss_of(jax, p, x, y, *keys[1:]))(params)
            if training.clip is not None:
                gradients = clipped(gradients, training.clip)
            return update(params, gradients, memory), loss, keys[0] if training.random else None

        def step(x: Any, y: Any) -> Any:
            self.state, loss, self.key = jitted(self.state, x, y, self.key)
            return loss

        self.step = step

    def _gradient(self, training: Training, params: Any) -> None:
        loss_of, self.state = training.jax_loss, None
        assert loss_of is not None
        self.step = jax.jit(lambda x, y: jax.value_and_grad(lambda x: loss_of(jax, params, x, y))(x))

    def _update(self, training: Training, params: Any) -> None:
        start, update = optimizer(training)
        self.state = (params, start(params))
        jitted = jax.jit(lambda state, g: update(state[0], g, state[1]), donate_argnums=0)
        gradients = {name: jnp.array(value) for name, value in training.gradients().items()}

        def step(x: Any, y: Any) -> Any:
            self.state = jitted(self.state, gradients)

        self.step = step

    def prepare(self, arrays: tuple[np.ndarray, np.ndarray]) -> tuple[Any, Any]:
        x, y = arrays
        labels = np.issubdtype(y.dtype, np.integer)  # JAX's integers are 32 bits wide unless told
        return jnp.array(x), jnp.array(y.astype(np.int32) if labels else y)

    def value(self, loss: Any) -> float:
        jax.block_until_ready((self.state, loss))  # the update may still be in flight when the loss is there
        if loss is None:  # an update: look at a parameter
            return float(next(iter(self.state[0].values()))[0, 1])
        return float(loss[0] if isinstance(loss, tuple) else loss)

    def facts(self) -> dict[str, Any]:
        return {"version": jax.__version__, "device": str(jax.devices()[0])}


def clipped(gradients: Any, most: float) -> Any:
    """The gradients, made smaller where their norm together is above `most`."""
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(gradients)))
    factor = jnp.minimum(1, most / (norm + 1e-6))
    return jax.tree.map(lambda g: g * factor, gradients)


def optimizer(training: Training) -> Any:
    """Its (start, update)."""
    assert training.optimizer is not None
    name, arguments = training.optimizer
    return OPTIMIZERS[name](**arguments)


def adam(*, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8):
    b1, b2 = betas

    def start(params: Any) -> Any:
        def zeros() -> Any:  # made twice: donated buffers must not be shared
            return jax.tree.map(jnp.zeros_like, params)

        return zeros(), zeros(), jnp.zeros((), jnp.float32)

    def update(params: Any, gradients: Any, memory: Any) -> Any:
        first, second, steps = memory
        steps = steps + 1
        first = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, first, gradients)
        second = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, second, gradients)
        c1, c2 = 1 - b1**steps, 1 - b2**steps
        params = jax.tree.map(
            lambda p, m, v: p - lr / c1 * m / (jnp.sqrt(v / c2) + eps), params, first, second
        )
        return params, (first, second, steps)

    return start, update


def sgd(*, lr: float, momentum: float = 0.0):
    def start(params: Any) -> Any:
        return jax.tree.map(jnp.zeros_like, params) if momentum else ()

    def update(params: Any, gradients: Any, memory: Any) -> Any:
        if momentum:
            gradients = memory = jax.tree.map(lambda m, g: momentum * m + g, memory, gradients)
        return jax.tree.map(lambda p, g: p - lr * g, params, gradients), memory

    return start, update


OPTIMIZERS = {"Adam": adam, "SGD": sgd}
build = JaxSession
