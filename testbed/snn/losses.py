"""What a phase adds to the cross entropy: answers to learn, bits to save, firing rates to keep."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from testbed.link.codec.entropy import RATE_BITS
from testbed.snn.training_spec import DistillSpec


def distillation(logits: Tensor, wanted: Tensor, spec: DistillSpec) -> Tensor:
    """KL divergence of softened answers at every timestep [T, N, K] from the teacher's [N, K], times temperature²."""
    student = nn.functional.log_softmax(logits / spec.temperature, dim=-1)
    teacher = nn.functional.softmax(wanted / spec.temperature, dim=-1).expand_as(student)
    divergence = nn.functional.kl_div(student.flatten(0, 1), teacher.flatten(0, 1), reduction="batchmean")
    return divergence * spec.temperature**2


def bits_per_element(code: Tensor) -> Tensor:
    """Bits that the `entropy` codec expects to spend on an element of codes [T, N, C', H', W']: a number in 0..1.

    Its model is one spike rate p for each timestep and channel, here that of the batch: with it an element costs
    −p·log2 p − (1−p)·log2(1−p) on average. Times C'·H'·W' that is the bits of a timestep. Rates are kept as far from 0
    and 1 as the codec keeps them.
    """
    least = 2.0**-RATE_BITS
    rate = code.float().mean((1, 3, 4)).clamp(least, 1.0 - least)
    return -(rate * torch.log2(rate) + (1.0 - rate) * torch.log2(1.0 - rate)).mean()


def rate_distance(spikes: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Mean square between the firing rates of two networks' neurons, from the spikes [T, N, C, H, W] of each segment.

    A rate is the mean over the timesteps. Every segment counts alike.
    """
    each = [
        nn.functional.mse_loss(one.float().mean(0), other.float().mean(0))
        for one, other in zip(spikes, wanted, strict=True)
    ]
    return torch.stack(each).mean()
