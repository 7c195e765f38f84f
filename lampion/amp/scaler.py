"""`GradScaler`: gradients of float16 without underflow."""

from __future__ import annotations

from typing import Any

from lampion.errors import LampionError
from lampion.mode import mode, no_grad
from lampion.optim.optimizer import Optimizer
from lampion.tensor import Tensor


class GradScaler:
    """Scale the loss before `backward`, and gradients back after it, so that small ones survive float16.

    The largest gradients should come close to what float16 holds: so the factor grows as long as all
    gradients are finite, and shrinks when one is not; that step is left out. (bfloat16 has the range of
    float32, and needs none of this.) Whether there is a step depends on the numbers, so a function that
    is compiled has `scale` and `backward` inside, and `step` and `update` outside.

    Args:
        device: "cpu".
        init_scale: the factor at first.
        growth_factor, growth_interval: it is multiplied by this after so many good steps in a row,
        backoff_factor: and by this after a bad one.
        enabled: False for a scaler that does nothing.

    >>> import lampion
    >>> w = lampion.ones(2, requires_grad=True)
    >>> opt, scaler = lampion.optim.SGD([w], lr=0.5), lampion.amp.GradScaler("cpu", init_scale=1024.0)
    >>> scaler.scale(w.sum()).backward()
    >>> w.grad
    tensor([1024., 1024.])
    >>> scaler.step(opt)
    >>> scaler.update()
    >>> w.detach()
    tensor([0.5000, 0.5000])

    Source: P. Micikevicius et al., "Mixed precision training" (2018), section 3.2.
    """

    def __init__(
        self,
        device: str = "cpu",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if str(device).partition(":")[0] != "cpu":
            raise ValueError(f'GradScaler: expected device="cpu", the only device yet; got {device!r}')
        if not growth_factor > 1.0 or not backoff_factor < 1.0:
            raise ValueError(
                "GradScaler: expected growth_factor > 1 and backoff_factor < 1, "
                f"got {growth_factor} and {backoff_factor}"
            )
        self._enabled = enabled
        self._scale = float(init_scale)
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval, self._good_steps = growth_interval, 0
        self._finite: dict[int, tuple[Optimizer, bool]] = {}  # those unscaled since the last update
        self._stepped: set[int] = set()

    def scale(self, outputs: Any) -> Any:
        """A tensor, or each in a list or tuple, times the factor."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale
        return type(outputs)(self.scale(part) for part in outputs)

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of the optimizer's parameters, to look at them or clip them before `step`."""
        if not self._enabled:
            return
        if mode.trace is not None:
            mode.trace.refuse("unscales gradients", "call unscale_, step and update outside of the function")
        if id(optimizer) in self._finite:
            raise LampionError("unscale_", "was called for this optimizer since the last update()")
        finite = True
        with no_grad():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None:
                        parameter.grad.mul_(1.0 / self._scale)
                        finite = finite and bool(parameter.grad.isfinite().all())
        self._finite[id(optimizer)] = optimizer, finite

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """``optimizer.step(*args, **kwargs)``, unless a gradient is infinite or NaN; unscales before."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if any(map(callable, [*args, *kwargs.values()])):
            raise LampionError("step", "a closure cannot be unscaled; call backward before")
        if id(optimizer) in self._stepped:
            raise LampionError("step", "was called for this optimizer since the last update()")
        if id(optimizer) not in self._finite:
            self.unscale_(optimizer)
        self._stepped.add(id(optimizer))
        return optimizer.step(*args, **kwargs) if self._finite[id(optimizer)][1] else None

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Choose the factor for the next step: after all optimizers have been stepped."""
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        elif not self._finite:
            raise LampionError("update", "no optimizer was stepped since the last update()")
        elif not all(finite for _, finite in self._finite.values()):
            self._scale *= self._backoff_factor
            self._good_steps = 0
        else:
            self._good_steps += 1
            if self._good_steps == self._growth_interval:
                self._scale *= self._growth_factor
                self._good_steps = 0
        self._finite.clear()
        self._stepped.clear()

    def get_scale(self) -> float:
        """The factor; 1.0 where the scaler is not enabled."""
        return self._scale if self._enabled else 1.0

    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return self._enabled

    def get_growth_factor(self) -> float:
        """What the factor is multiplied by after `growth_interval` good steps."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set it."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the factor is multiplied by after a bad step."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set it."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """After how many good steps in a row the factor grows."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set it."""
        self._growth_interval = new_interval

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs, as PyTorch has it."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor, "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval, "_growth_tracker": self._good_steps,
        }  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from such a state."""
        if not self._enabled:
            return
        if not state_dict:
            raise LampionError("load_state_dict", "the state is empty", fix="it is of a scaler that was off")
        self._scale = float(state_dict["scale"])
        self._growth_factor, self._backoff_factor = state_dict["growth_factor"], state_dict["backoff_factor"]
        self._growth_interval, self._good_steps = state_dict["growth_interval"], state_dict["_growth_tracker"]
