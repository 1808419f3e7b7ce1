"""Operation counts of a deployable network, part by part and timestep by timestep, with SpikingJelly's counters.

Counted: MACs of layers whose input is no spikes (the stem, and the classifier behind the mean over space), padding
included; ACs that spikes drive in layers with weights (SynOps), padding left out; and every other addition: residual
sums, means over space, six additions a neuron and timestep, the subtraction in the normalisation of pixels. Not
counted: additions of biases, multiplications outside of layers with weights (the leak, the reset), comparisons
(thresholds, max pooling), and all work that is not the network's (codec, exit rule, operating system).

MACs and ACs of layers that compute in 8-bit integers are counted among the others, and once more by themselves. A
network without spikes has MACs alone in its layers; where a ReLU gives 0, a zero is multiplied.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based import functional
from spikingjelly.activation_based.op_counter import (
    MACCounter,
    NeuromorphicMemoryAccessCounter,
    SimpleEnergyProfiler,
    SynOpCounter,
)
from spikingjelly.activation_based.op_counter.base import is_binary_tensor
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from testbed.data.datasets import Samples
from testbed.runtime.artefact import OpCost, OpCounts
from testbed.snn.int8 import Int8Conv
from testbed.snn.network import Network

SAMPLES = 64
SEED = 0
BATCH = 16

# Horowitz, "Computing's energy problem", ISSCC 2014, doi 10.1109/ISSCC.2014.6757323: 45 nm, 0.9 V, float32: a
# multiplication 3.7 pJ, an addition 0.9 pJ. A byte of memory: 3.12 pJ a bit, SpikingJelly's default.
PJ_PER_MAC = 4.6
PJ_PER_AC = 0.9
# The same, 8-bit integers: a multiplication 0.2 pJ, an addition 0.03 pJ (SpikingJelly's preset for int8).
PJ_PER_INT8_MAC = 0.23
PJ_PER_INT8_AC = 0.03
PJ_PER_MEMORY_BYTE = 24.96
SOURCE = (
    "SpikingJelly's op counters; at 45 nm (Horowitz, ISSCC 2014, doi 10.1109/ISSCC.2014.6757323) float32: 4.6 pJ per "
    "MAC and 0.9 pJ per AC, 8-bit integers: 0.23 and 0.03 pJ; memory: 24.96 pJ per byte (SpikingJelly's default, "
    "3.12 pJ per bit), one read of a weight for each operation that uses it, one read and one write of each neuron's "
    "state per timestep"
)
COUNTS = ("mac", "ac", "synop", "memory_access_bytes", "int8_mac", "int8_synop")
_INT8_USES = COUNTS[-2:]
_CONVOLUTION = torch.ops.aten.convolution.default


def count_operations(network: Network, full: Network, samples: Samples, timesteps: int) -> OpCounts:
    """Counts of a deployable network cut at its split, and of the deployable uncompressed backbone."""
    parts = count_parts(network, samples, timesteps)
    return op_counts(*parts, count_parts(full, samples, timesteps)[0], samples)


def count_parts(
    network: Network,
    samples: Samples,
    timesteps: int,
    limit: int = SAMPLES,
    seed: int = SEED,
    int8: Collection[nn.Module] | None = None,
) -> tuple[OpCost, OpCost]:
    """Mean counts per request, up to the split (of everything, where there is none) and after it.

    Args:
        network: deployable.
        samples: uint8 [N, C, H, W] of still images, whose stem is counted in the first timestep alone, or
            [N, T, C, H, W] of event frames, whose stem is counted in every timestep.
        timesteps: T.
        limit: how many samples are run.
        seed: of their draw.
        int8: layers that compute in 8-bit integers; without it those of a spiking network's int8 form.
    """
    in_int8 = {each.conv for each in network.modules() if isinstance(each, Int8Conv)} if int8 is None else int8
    order = np.random.default_rng(seed).permutation(len(samples))[:limit]
    counts = np.zeros((2, timesteps, len(COUNTS)), np.int64)
    for start in range(0, len(order), BATCH):
        inputs = torch.from_numpy(samples.images[order[start : start + BATCH]])
        counts += _count_batch(network, inputs, timesteps, in_int8)
    return _cost(counts[0], len(order)), _cost(counts[1], len(order))


def op_counts(edge: OpCost | None, cloud: OpCost | None, full: OpCost, samples: Samples) -> OpCounts:
    """Counts of the parts with the constants behind their energies; a network that is never cut has no halves."""
    return OpCounts(
        edge=edge,
        cloud=cloud,
        full=full,
        samples=min(len(samples), SAMPLES),
        pj_per_mac=PJ_PER_MAC,
        pj_per_ac=PJ_PER_AC,
        pj_per_int8_mac=PJ_PER_INT8_MAC,
        pj_per_int8_ac=PJ_PER_INT8_AC,
        pj_per_memory_byte=PJ_PER_MEMORY_BYTE,
        source=SOURCE,
    )


def _count_batch(network: Network, inputs: Tensor, timesteps: int, int8: Collection[nn.Module]) -> NDArray[np.int64]:
    """Counts [2, T, `COUNTS`] of a batch: of the part up to the split (of all, where there is none) and of the rest."""
    profiler = SimpleEnergyProfiler()
    profiler.memory_counter = memory = MemoryCounter(int8)
    profiler.bind_model(network)
    counts = np.zeros((2, timesteps, len(COUNTS)), np.int64)
    events = inputs.ndim == 5

    def counted(part: int, run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        with profiler, torch.no_grad():
            y = run(x)
        found = profiler.get_counts() | memory.int8_uses
        counts[part, timestep] += [found[name] for name in COUNTS]
        return y

    functional.reset_net(network)
    for timestep in range(timesteps):
        if events or timestep == 0:
            current = counted(0, network.current, inputs[:, timestep] if events else inputs).unsqueeze(0)
        if network.split is None:
            counted(0, network.backbone, current)
        else:
            counted(1, network.cloud, counted(0, network.edge, current))
    functional.reset_net(network)
    return counts


def _cost(counts: NDArray[np.int64], samples: int) -> OpCost:
    """Cumulative means per sample from the sums [T, `COUNTS`] of each timestep."""
    macs, acs, synops, memory, int8_macs, int8_synops = counts.cumsum(0).T / samples
    in_float = PJ_PER_MAC * (macs - int8_macs) + PJ_PER_AC * (acs - int8_synops)
    in_int8 = PJ_PER_INT8_MAC * int8_macs + PJ_PER_INT8_AC * int8_synops
    return OpCost(
        macs=macs.tolist(),
        acs=acs.tolist(),
        synops=synops.tolist(),
        int8_macs=int8_macs.tolist(),
        int8_synops=int8_synops.tolist(),
        memory_bytes=memory.tolist(),
        energy_compute_pj=(in_float + in_int8).round(3).tolist(),
        energy_memory_pj=(PJ_PER_MEMORY_BYTE * memory).round(3).tolist(),
    )


class MemoryCounter(NeuromorphicMemoryAccessCounter):  # type: ignore[misc]
    """SpikingJelly's counter of parameter reads and neuron states, with two gaps of version 2.0.0 closed.

    It leaves out transposed convolutions; and it adds up spikes while the other counters listen, who then take its
    own sums for the network's (one addition for each output pixel of each convolution).

    `int8` are layers whose weights have 8 bits and whose biases 32, whatever they are stored as here. Each use of a
    weight is an operation: `int8_uses` says how many these layers had since the last reset, as MACs and as SynOps.
    """

    def __init__(self, int8: Collection[nn.Module] = ()) -> None:
        super().__init__()
        self._int8 = int8
        self.int8_uses = dict.fromkeys(_INT8_USES, 0)
        self.rules["forward", nn.ConvTranspose2d] = self._count_transposed
        self._uses = SynOpCounter().rules[_CONVOLUTION], MACCounter().rules[_CONVOLUTION]

    def reset(self) -> None:
        """Begin anew."""
        super().reset()
        self.int8_uses = dict.fromkeys(_INT8_USES, 0)

    def count(self, *event: Any, **context: Any) -> int:
        """Count one call of a module, unheard by the other counters."""
        with _disable_current_modes():
            return int(super().count(*event, **context))

    def _count_synaptic(
        self, module: nn.Module, inputs: tuple[Tensor, ...], kwargs: dict[str, Any], output: Tensor
    ) -> int:
        total = int(super()._count_synaptic(module, inputs, kwargs, output))
        if module not in self._int8:
            return total
        uses = self._pending_metrics["weight_read_bytes"] // cast(Tensor, module.weight).element_size()
        self.int8_uses["int8_synop" if is_binary_tensor(inputs[0]) else "int8_mac"] += uses
        self._pending_metrics["weight_read_bytes"] = uses
        return sum(self._pending_metrics.values())

    def _count_transposed(
        self, module: nn.ConvTranspose2d, inputs: tuple[Tensor, ...], kwargs: dict[str, Any], output: Tensor
    ) -> int:
        """Four bytes for each use of a weight, which is a SynOp or a MAC, and for each use of a bias."""
        x = inputs[0].flatten(0, -4)
        arguments = (
            x,
            module.weight,
            None,
            module.stride,
            module.padding,
            module.dilation,
            True,
            module.output_padding,
            module.groups,
        )
        uses = sum(rule(arguments, {}, output.flatten(0, -4)) for rule in self._uses)
        biases = 0 if module.bias is None else output.numel()
        self._pending_metrics = {
            "weight_read_bytes": uses * module.weight.element_size(),
            "bias_read_bytes": biases * module.weight.element_size(),
        }
        return sum(self._pending_metrics.values())
