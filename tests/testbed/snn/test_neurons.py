"""The compiled LIF kernel gives SpikingJelly's spikes and gradients."""

import os
import subprocess
import sys

import pytest
import torch
from spikingjelly.activation_based import functional, neuron

from testbed.snn.neurons import SURROGATES, FusedLIFNode, Neuron, fuse

# torch's own compiler uses what torch deprecates
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")


def current(shape: tuple[int, ...], layout: str) -> torch.Tensor:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 1.5
    if layout == "channels last":
        x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).view(shape)
        assert not x.is_contiguous()
    return x


def run(node: torch.nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    x = x.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    weights = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
    spikes = node(x)
    (spikes * weights).sum().backward()
    functional.reset_net(node)
    assert x.grad is not None
    return spikes.detach(), x.grad


@pytest.mark.parametrize("surrogate", list(SURROGATES))
@pytest.mark.parametrize(
    ("timesteps", "tau", "layout"), [(1, 2.0, "rows"), (4, 2.0, "channels last"), (3, 1.5, "rows")]
)
def test_the_fused_node_fires_and_learns_as_spikingjellys(surrogate, timesteps, tau, layout):
    x = current((timesteps, 3, 4, 5, 5), layout)
    node = Neuron(tau, surrogate, 2.0).build().train()
    expected = run(node, x)
    fuse(node, True)
    found = run(node, x)
    assert 0.1 < expected[0].mean() < 0.9
    assert torch.equal(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1])


def test_in_evaluation_the_fused_node_is_spikingjellys_own():
    node = Neuron().build().eval()
    fuse(node, True)
    node(current((2, 3, 4, 5, 5), "rows"))
    assert isinstance(node, neuron.LIFNode)
    assert torch.is_tensor(node.v)  # SpikingJelly keeps the potential; the fused kernel keeps none


GPU_KERNELS = """
import functools, torch
from testbed.snn import triton_lif
from testbed.snn.neurons import SLOPES, SURROGATES, _back_through_time, _charge_and_fire
draw = torch.Generator().manual_seed(1)
for timesteps in (1, 4):
    for build in SURROGATES.values():
        surrogate = build(alpha=2.0)
        x = torch.randn(timesteps, 5000, generator=draw) * 1.2
        gradient = torch.randn(timesteps, 5000, generator=draw)
        spikes, potentials = triton_lif.charge_and_fire(x, 0.5)
        expected = _charge_and_fire(x, 0.5)
        assert 0.1 < spikes.mean() < 0.5
        assert torch.equal(spikes, expected[0]) and torch.equal(potentials, expected[1])
        flowed = triton_lif.back_through_time(gradient, potentials, 0.5, SLOPES[type(surrogate)], 2.0)
        slope = functools.partial(surrogate.backward, alpha=2.0)
        torch.testing.assert_close(flowed, _back_through_time(gradient, potentials, 0.5, slope))
print("equal")
"""


def test_the_kernels_for_a_gpu_fire_and_learn_as_those_for_the_cpu():
    environment = {**os.environ, "TRITON_INTERPRET": "1"}  # Triton's own interpreter; read when kernels are defined
    done = subprocess.run(
        [sys.executable, "-c", GPU_KERNELS], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "equal\n", done.stderr


def test_a_relu_stands_where_the_neuron_would():
    assert isinstance(Neuron(kind="relu").build(), torch.nn.ReLU)


def test_every_surrogate_has_a_gradient_where_the_potential_is_at_the_threshold():
    for name in SURROGATES:
        node = Neuron(2.0, name, 2.0).build()
        assert isinstance(node, FusedLIFNode)
        x = torch.ones(1, 1, 1, 1, 1, requires_grad=True)
        node(x).sum().backward()
        assert x.grad is not None
        assert x.grad.item() > 0.3
