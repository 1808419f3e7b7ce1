"""The LIF neuron of every spiking layer, and a faster way to train it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

import torch
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor, nn

from testbed.errors import ModelError
from testbed.snn.architecture import Surrogate

SURROGATES: dict[Surrogate, Callable[..., Any]] = {
    "atan": surrogate.ATan,
    "sigmoid": surrogate.Sigmoid,
    "piecewise_quadratic": surrogate.PiecewiseQuadratic,
}


SLOPES = {surrogate.ATan: 0, surrogate.Sigmoid: 1, surrogate.PiecewiseQuadratic: 2}
"""What `testbed.snn.triton_lif` calls the surrogates' slopes."""


@dataclass(frozen=True)
class Neuron:
    """What stands behind every layer: a leaky integrate-and-fire neuron, or ReLU where `kind` says so.

    v ← v − v/tau + x, hard reset to 0 at v ≥ 1; `surrogate` with its `alpha` is the gradient of the step.

    The input is not decayed (`decay_input=False`): with SpikingJelly's default each layer would see half
    its input at tau = 2, and deep narrow networks then fire too little to train well.
    """

    tau: float = 2.0
    surrogate: Surrogate = "atan"
    alpha: float = 2.0
    kind: Literal["lif", "relu"] = "lif"

    def build(self) -> nn.Module:
        """A new SpikingJelly LIF node in multi-step mode, or a ReLU."""
        if self.kind == "relu":
            return nn.ReLU()
        return FusedLIFNode(
            tau=self.tau,
            decay_input=False,
            v_threshold=1.0,
            v_reset=0.0,
            surrogate_function=SURROGATES[self.surrogate](alpha=self.alpha),
            detach_reset=True,
            step_mode="m",
        )


class FusedLIFNode(neuron.LIFNode):  # type: ignore[misc]
    """SpikingJelly's LIF node, which in training may run all timesteps in one compiled kernel.

    SpikingJelly's eager loop reads and writes memory a dozen times for each timestep, which is more than half of the
    time of a training step on a CPU. `fused` is set for the time of a training phase; everything else, export
    included, runs SpikingJelly's own node. Both give the same spikes and gradients (tests/testbed/snn/test_neurons.py).
    """

    fused = False

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        """Input current [T, ...] to spikes [T, ...]."""
        if not (x_seq.is_cuda or (self.fused and self.training)):
            return cast(Tensor, super().multi_step_forward(x_seq))
        return cast(Tensor, _Fused.apply(x_seq, 1.0 - 1.0 / self.tau, self.surrogate_function))  # type: ignore[no-untyped-call]


def fuse(network: nn.Module, fused: bool) -> None:
    """Turn the compiled kernel of every LIF node below a module on or off."""
    for module in network.modules():
        if isinstance(module, FusedLIFNode):
            module.fused = fused


Slope: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Gradient behind the step times the surrogate's derivative at v − 1: (gradient, v − 1) to gradient."""


class _Fused(torch.autograd.Function):
    """LIF over time from a zero potential. The kernels see [T, M] in the order of memory, whatever the layout."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, decay: float, surrogate_function: Any) -> Tensor:
        order = _memory_order(x)
        rows = x.permute(order).contiguous()
        forward, backward = _on_gpu() if x.is_cuda else _compiled()
        spikes, potentials = forward(rows.flatten(1), decay)
        ctx.save_for_backward(potentials)
        ctx.order, ctx.decay, ctx.surrogate_function, ctx.back = order, decay, surrogate_function, backward
        return spikes.view(rows.shape).permute(_inverse(order))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (potentials,) = ctx.saved_tensors
        rows = gradient.permute(ctx.order).contiguous()
        flowed = ctx.back(rows.flatten(1), potentials, ctx.decay, ctx.surrogate_function)
        return flowed.view(rows.shape).permute(_inverse(ctx.order)), None, None


Forward: TypeAlias = Callable[[Tensor, float], tuple[Tensor, Tensor]]
"""Currents [T, M] and decay to spikes and the potentials before reset, both [T, M]."""

Backward: TypeAlias = Callable[[Tensor, Tensor, float, Any], Tensor]
"""Gradient of the spikes, potentials, decay and surrogate to the gradient of the currents, [T, M]."""


@functools.cache
def _on_gpu() -> tuple[Forward, Backward]:
    """Kernels in Triton: imported where there is a GPU, since Triton has no other use here."""
    from testbed.snn import triton_lif

    def backward(gradient: Tensor, potentials: Tensor, decay: float, surrogate_function: Any) -> Tensor:
        number = SLOPES[type(surrogate_function)]
        return triton_lif.back_through_time(gradient, potentials, decay, number, surrogate_function.alpha)

    return triton_lif.charge_and_fire, backward


@functools.cache
def _compiled() -> tuple[Forward, Backward]:
    """Kernels that torch compiles for the CPU. The compiler is imported here: only training uses it."""
    from torch._dynamo.exc import TorchDynamoException

    def forward(x: Tensor, decay: float) -> tuple[Tensor, Tensor]:
        try:
            return cast(tuple[Tensor, Tensor], _kernel(_charge_and_fire)(x, decay))
        except TorchDynamoException as error:
            raise ModelError(
                "the fused neurons cannot be compiled: install a C++ compiler (CXX may name it), or set "
                f"training.fused to false ({str(error).strip().splitlines()[0]})"
            ) from error

    def backward(gradient: Tensor, potentials: Tensor, decay: float, surrogate_function: Any) -> Tensor:
        slope = functools.partial(surrogate_function.backward, alpha=surrogate_function.alpha)
        return cast(Tensor, _kernel(_back_through_time)(gradient, potentials, decay, slope))

    return forward, backward


def _charge_and_fire(x: Tensor, decay: float) -> tuple[Tensor, Tensor]:
    """Spikes and the potentials before reset, both [T, M], in the type of x; the sum runs in float32."""
    spikes, potentials = [], []
    v = torch.zeros_like(x[0], dtype=torch.float32)
    for current in x:
        v = current.float() + v * decay
        fired = (v >= 1.0).float()
        spikes.append(fired.to(x.dtype))
        potentials.append(v.to(x.dtype))
        v = v * (1.0 - fired)
    return torch.stack(spikes), torch.stack(potentials)


def _back_through_time(gradient: Tensor, potentials: Tensor, decay: float, slope: Slope) -> Tensor:
    """Gradient of the input current [T, M]; the reset is detached, as `detach_reset=True` says."""
    flowed = []
    later = torch.zeros_like(gradient[0], dtype=torch.float32)
    for t in range(len(gradient) - 1, -1, -1):
        v = potentials[t].float()
        here = slope(gradient[t].float(), v - 1.0) + later * (v < 1.0).float()
        flowed.append(here.to(gradient.dtype))
        later = here * decay
    return torch.stack(flowed[::-1])


@functools.cache
def _kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """One kernel for each T and size: with symbolic sizes the compiler gives up on some layers."""
    from torch._dynamo import config as dynamo

    dynamo.automatic_dynamic_shapes = False
    dynamo.cache_size_limit = max(256, dynamo.cache_size_limit)
    return torch.compile(function, dynamic=False)


def _memory_order(x: Tensor) -> tuple[int, ...]:
    """Dimensions from the slowest to the fastest, time first."""
    rest = sorted(range(1, x.dim()), key=x.stride, reverse=True)
    return (0, *rest)


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(range(len(order)), key=order.__getitem__))
