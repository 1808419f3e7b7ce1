"""What a phase adds to the cross entropy counts what it says."""

import numpy as np
import pytest
import torch

from testbed.link.codec.entropy import Entropy
from testbed.snn.losses import bits_per_element, rate_distance

SHAPE = (4, 16, 16)
RATES = np.array([[0.02, 0.2, 0.5, 0.9], [0.0, 0.1, 0.4, 1.0]])


def codes(samples: int) -> torch.Tensor:
    """Codes [T, N, C', H', W'] whose channels spike at `RATES`."""
    random = np.random.default_rng(0).random((len(RATES), samples, *SHAPE))
    return torch.from_numpy((random < RATES[:, None, :, None, None]).astype(np.float32))


def test_the_bits_are_those_that_the_entropy_codec_spends_under_the_same_rates():
    code = codes(20)
    spent = 0
    for step in code:
        codec = Entropy(SHAPE, step.mean((0, 2, 3)).tolist())
        spent += sum(8 * len(codec.encode(one.numpy().astype(np.uint8))) for one in step)
    # The coder spends under 2 bytes a payload more: it ends on a whole byte.
    expected = bits_per_element(code).item() * code.numel()
    assert 0 <= spent - expected < 16 * code.shape[0] * code.shape[1]


def test_bits_fall_fastest_where_spikes_are_rare():
    code = codes(20).requires_grad_()
    bits_per_element(code).backward()
    slope = code.grad[0, 0, :, 0, 0]  # log2((1-p)/p): the rarer, the dearer is one more spike
    assert slope[0] > slope[1] > 0
    assert abs(slope[2]) < 0.1 * slope[1]
    assert slope[3] < 0


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_silent_channel_and_one_that_always_spikes_cost_next_to_nothing(value):
    code = torch.full((1, 2, *SHAPE), value, requires_grad=True)
    bits = bits_per_element(code)
    bits.backward()
    assert bits.item() < 0.001
    assert torch.isfinite(code.grad).all()


def test_rates_are_means_over_time_and_every_segment_counts_alike():
    late = torch.zeros(4, 1, 1, 1, 1)
    late[3] = 1.0
    early, always = late.flip(0), torch.ones(4, 1, 2, 1, 1)
    assert rate_distance([late], [early]).item() == 0.0
    assert rate_distance([late, always], [early, 0 * always]).item() == pytest.approx(0.5)
