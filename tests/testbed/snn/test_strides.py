"""No 1x1 convolution is trained with a stride: torch's backward pass of it corrupts memory on some processors."""

import pytest
import torch
from torch import nn

from testbed.snn.strides import StridesBefore
from tests.testbed.snn.made import recipe_file, stripes, trained


@pytest.mark.parametrize(("inputs", "side", "stride"), [(4, 8, 2), (8, 9, 2), (3, 7, 3), (4, 8, 1), (4, 8, (1, 2))])
def test_numbers_and_gradients_are_those_of_the_stride(inputs, side, stride):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(inputs, 5, 1, stride, bias=False))
    x = torch.randn(2, inputs, side, side)  # channels first, where torch's own backward pass is sound
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    weight = network[0].weight.detach().clone().requires_grad_()
    strides = StridesBefore(network)
    assert network[0].stride == (1, 1)
    found, expected = network(one), nn.functional.conv2d(other, weight, stride=stride)
    assert torch.allclose(found, expected, atol=1e-6)
    gradient = torch.randn_like(expected)
    found.backward(gradient)
    expected.backward(gradient)
    assert torch.allclose(one.grad, other.grad, atol=1e-6)
    assert torch.allclose(network[0].weight.grad, weight.grad, atol=1e-5)
    strides.undo()
    assert network[0].stride == (stride if isinstance(stride, tuple) else (stride, stride))
    assert torch.allclose(network(x), expected, atol=1e-6)


def test_other_convolutions_are_left_as_they_are():
    network = nn.Sequential(nn.Conv2d(4, 4, 3, 2), nn.Conv2d(4, 4, 1, 2, padding=1))
    StridesBefore(network)
    assert [module.stride for module in network] == [(2, 2), (2, 2)]


def test_a_training_takes_strides_before_and_leaves_the_network_as_it_was(tmp_path, monkeypatch):
    strides = []
    conv2d = nn.functional.conv2d

    def watched(x, weight, bias=None, stride=1, *rest, **named):
        if weight.shape[-2:] == (1, 1) and torch.is_grad_enabled() and not torch.is_inference_mode_enabled():
            strides.append(tuple(stride))
        return conv2d(x, weight, bias, stride, *rest, **named)

    monkeypatch.setattr(nn.functional, "conv2d", watched)
    monkeypatch.setattr(nn.modules.conv.F, "conv2d", watched)
    networks = trained(recipe_file(tmp_path), stripes(), tmp_path / "training")
    assert set(strides) == {(1, 1)}
    pointwise = [
        module
        for network in networks.values()
        for module in network.modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1)
    ]
    assert pointwise
    assert {module.stride for module in pointwise} == {(2, 2)}
