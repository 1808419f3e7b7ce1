"""How many samples a network gets right: for training and export, and without what training alone imports."""

from __future__ import annotations

import torch
from spikingjelly.activation_based import functional

from testbed.data.datasets import Samples
from testbed.snn.network import Network

BATCH, GPU_BATCH = 32, 1000
"""Samples that are answered together. On a CPU larger batches leave its caches: with 128 a full-width network takes
twice as long."""


def accuracy_per_timestep(network: Network, samples: Samples, timesteps: int, batch: int | None = None) -> list[float]:
    """Accuracy of the mean logits after each timestep 1..T."""
    network.eval()
    device = next(network.parameters()).device
    batch = batch or (BATCH if device.type == "cpu" else GPU_BATCH)
    correct = torch.zeros(timesteps, dtype=torch.int64)
    with torch.inference_mode():
        for start in range(0, len(samples), batch):
            inputs = torch.from_numpy(samples.images[start : start + batch]).to(device)
            labels = torch.from_numpy(samples.labels[start : start + batch]).to(device)
            correct += (network(inputs, timesteps).cumsum(0).argmax(-1) == labels).sum(1).cpu()
            functional.reset_net(network)
    return [int(count) / len(samples) for count in correct]
