"""Parts of a network as step graphs `(x, *state) → (y, *state')`: their neurons' state lies outside."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import cast

import torch
from spikingjelly.activation_based import base, functional
from torch import Tensor, nn

from testbed.snn.network import Network


class StepGraph(nn.Module):
    """A part of a network with its neurons' state on the outside, for export and for comparison.

    `forward(x, *state)` returns `(y, *state')`; state tensors are membrane potentials [N, C, H, W].
    """

    def __init__(self, part: nn.Module, forward: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        functional.reset_net(part)
        functional.set_step_mode(part, "s")
        self.part = part
        self._step = base.to_functional_forward(part, forward)

    def forward(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """One timestep."""
        outputs, states = self._step((x,), state)
        return (outputs[0], *cast(tuple[Tensor, ...], states))

    def initial_state(self, x: Tensor) -> tuple[Tensor, ...]:
        """Zero potentials of the right shapes, found by running one timestep on `x`."""
        functional.reset_net(self.part)
        with torch.no_grad():
            _, states = self._step((x,), tuple(base.extract_memories(self.part)))
        functional.reset_net(self.part)
        return tuple(torch.zeros_like(cast(Tensor, state)) for state in states)


class _Part(nn.Module):
    """Some modules of a network under one roof, so that only their neurons count as state."""

    def __init__(self, modules: Sequence[nn.Module], run: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(modules)
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)


def edge_part(network: Network) -> nn.Module:
    """Layers up to the split and the encoder; the code leaves as uint8 zeros and ones."""
    kept = [] if network.skipped() else network.backbone.halves(cast(str, network.split))[0]
    encoder = [] if network.bottleneck is None else [network.bottleneck.encoder]
    return _Part([*kept, *encoder], lambda x: network.edge(x).to(torch.uint8))


def cloud_part(network: Network) -> nn.Module:
    """The decoder and the layers after the split; the code comes as uint8."""
    _, kept = network.backbone.halves(cast(str, network.split))
    decoder = [] if network.bottleneck is None else [network.bottleneck.decoder]
    return _Part([*decoder, *kept], lambda code: network.cloud(code.to(torch.float32)))


def full_part(network: Network) -> nn.Module:
    """Every layer after the stem."""
    backbone = network.backbone
    return _Part([*backbone.segments.values(), backbone.head], backbone.forward)


class Stem(nn.Module):
    """What comes before the first neuron: an image or one frame of events [1, C, H, W] to its input current."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Its input current."""
        return self.network.current(images)


class Whole(nn.Module):
    """All T timesteps in one call, layer by layer: each layer's weights are read once for all timesteps.

    From a still image [1, C, H, W] or event frames [1, T, C, H, W] to logits [T, 1, K].
    """

    def __init__(self, network: Network, timesteps: int) -> None:
        super().__init__()
        self.network, self.timesteps = network, timesteps

    def forward(self, inputs: Tensor) -> Tensor:
        """Every timestep, from neurons at rest."""
        functional.reset_net(self.network)
        return cast(Tensor, self.network(inputs, self.timesteps))


def step_graph(network: Network, part: Callable[[Network], nn.Module]) -> StepGraph:
    """A part of a deployable network as a step graph; the network given is left as it is."""
    module = part(_single_step(network))
    return StepGraph(module, cast(_Part, module).forward)


def _single_step(network: Network) -> Network:
    duplicate = copy.deepcopy(network)
    functional.reset_net(duplicate)
    functional.set_step_mode(duplicate, "s")
    return duplicate
