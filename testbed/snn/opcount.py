"""Operation counts of a deployable network, part by part and timestep by timestep, with SpikingJelly's counters.

Counted: MACs of layers whose input is no spikes (the stem, and the classifier behind the mean over space), padding
included; ACs that spikes drive in layers with weights (SynOps), padding left out; and every other addition: residual
sums, means over space, six additions a neuron and timestep, the subtraction in the normalisation of pixels. Not
counted: additions of biases, multiplications outside of layers with weights (the leak, the reset), comparisons
(thresholds, max pooling), and all work that is not the network's (codec, exit rule, operating system).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from testbed.data.datasets import Samples
from testbed.runtime.artefact import OpCost, OpCounts
from testbed.snn.network import Network

SAMPLES = 64
SEED = 0
BATCH = 16

# Horowitz, "Computing's energy problem", ISSCC 2014, doi 10.1109/ISSCC.2014.6757323: 45 nm, 0.9 V, float32: a
# multiplication 3.7 pJ, an addition 0.9 pJ. A byte of memory: 3.12 pJ a bit, SpikingJelly's default.
PJ_PER_MAC = 4.6
PJ_PER_AC = 0.9
PJ_PER_MEMORY_BYTE = 24.96
SOURCE = (
    "SpikingJelly's op counters; float32 at 45 nm: 4.6 pJ per MAC and 0.9 pJ per AC (Horowitz, ISSCC 2014, "
    "doi 10.1109/ISSCC.2014.6757323); memory: 24.96 pJ per byte (SpikingJelly's default, 3.12 pJ per bit), one "
    "read of a weight for each operation that uses it, one read and one write of each neuron's state per timestep"
)
COUNTS = ("mac", "ac", "synop", "memory_access_bytes")
_CONVOLUTION = torch.ops.aten.convolution.default


def count_operations(network: Network, full: Network, samples: Samples, timesteps: int) -> OpCounts:
    """Counts of a deployable network cut at its split, and of the deployable uncompressed backbone."""
    parts = count_parts(network, samples, timesteps)
    return op_counts(*parts, count_parts(full, samples, timesteps)[0], samples)


def count_parts(
    network: Network, samples: Samples, timesteps: int, limit: int = SAMPLES, seed: int = SEED
) -> tuple[OpCost, OpCost]:
    """Mean counts per request, up to the split (of everything, where there is none) and after it.

    Args:
        network: deployable.
        samples: uint8 [N, C, H, W] of still images, whose stem is counted in the first timestep alone, or
            [N, T, C, H, W] of event frames, whose stem is counted in every timestep.
        timesteps: T.
        limit: how many samples are run.
        seed: of their draw.
    """
    order = np.random.default_rng(seed).permutation(len(samples))[:limit]
    counts = np.zeros((2, timesteps, len(COUNTS)), np.int64)
    for start in range(0, len(order), BATCH):
        inputs = torch.from_numpy(samples.images[order[start : start + BATCH]])
        counts += _count_batch(network, inputs, timesteps)
    return _cost(counts[0], len(order)), _cost(counts[1], len(order))


def op_counts(edge: OpCost, cloud: OpCost, full: OpCost, samples: Samples) -> OpCounts:
    """Counts of the parts with the constants behind their energies."""
    return OpCounts(
        edge=edge,
        cloud=cloud,
        full=full,
        samples=min(len(samples), SAMPLES),
        pj_per_mac=PJ_PER_MAC,
        pj_per_ac=PJ_PER_AC,
        pj_per_memory_byte=PJ_PER_MEMORY_BYTE,
        source=SOURCE,
    )


def _count_batch(network: Network, inputs: Tensor, timesteps: int) -> NDArray[np.int64]:
    """Counts [2, T, `COUNTS`] of a batch: of the part up to the split (of all, where there is none) and of the rest."""
    profiler = SimpleEnergyProfiler()
    profiler.memory_counter = MemoryCounter()
    profiler.bind_model(network)
    counts = np.zeros((2, timesteps, len(COUNTS)), np.int64)
    events = inputs.ndim == 5

    def counted(part: int, run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        with profiler, torch.no_grad():
            y = run(x)
        found = profiler.get_counts()
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
    macs, acs, synops, memory = counts.cumsum(0).T / samples
    return OpCost(
        macs=macs.tolist(),
        acs=acs.tolist(),
        synops=synops.tolist(),
        memory_bytes=memory.tolist(),
        energy_compute_pj=(PJ_PER_MAC * macs + PJ_PER_AC * acs).round(3).tolist(),
        energy_memory_pj=(PJ_PER_MEMORY_BYTE * memory).round(3).tolist(),
    )


class MemoryCounter(NeuromorphicMemoryAccessCounter):  # type: ignore[misc]
    """SpikingJelly's counter of parameter reads and neuron states, with two gaps of version 2.0.0 closed.

    It leaves out transposed convolutions; and it adds up spikes while the other counters listen, who then take its
    own sums for the network's (one addition for each output pixel of each convolution).
    """

    def __init__(self) -> None:
        super().__init__()
        self.rules["forward", nn.ConvTranspose2d] = self._count_transposed
        self._uses = SynOpCounter().rules[_CONVOLUTION], MACCounter().rules[_CONVOLUTION]

    def count(self, *event: Any, **context: Any) -> int:
        """Count one call of a module, unheard by the other counters."""
        with _disable_current_modes():
            return int(super().count(*event, **context))

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
