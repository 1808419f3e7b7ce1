"""The network without spikes, which has no time: a sample passes through it once."""

from __future__ import annotations

from torch import Tensor

from testbed.snn.backbones import direct_code
from testbed.snn.network import Network


class Still(Network):
    """An uncut network with ReLU in place of neurons.

    It sees all T frames of a recording at once, as T·C channels, as the voxel grids of Zhu et al. 2019 (arXiv
    1812.08156) have bins of time for channels. So its stem has more weights than that of the spiking network.
    """

    def current(self, images: Tensor) -> Tensor:
        """What the stem gives the first ReLU [N, C', H, W], for images [N, C, H, W] or event frames [N, T, C, H, W]."""
        return super().current(images.flatten(1, 2) if images.ndim == 5 else images)

    def currents(self, inputs: Tensor, timesteps: int) -> Tensor:
        """The same for one timestep [1, N, C', H, W]."""
        return direct_code(self.current(inputs), timesteps)
