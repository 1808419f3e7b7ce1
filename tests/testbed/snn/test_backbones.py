"""Both backbones are cut where they say, into halves that compute the whole, and every cut is binary."""

import pytest
import torch
from spikingjelly.activation_based import functional

from testbed.snn.architecture import SPLITS, Shortcut, feature_shape
from testbed.snn.backbones import Backbone, direct_code, resnet18, vgg16
from testbed.snn.neurons import Neuron

CASES = [(name, split) for name, splits in SPLITS.items() for split in splits]


def backbone(name: str, channels: int = 3, shortcut: Shortcut = "membrane") -> Backbone:
    torch.manual_seed(0)
    built = vgg16(4, channels, 10, Neuron()) if name == "vgg16" else resnet18(4, channels, 10, Neuron(), shortcut)
    with torch.no_grad():
        for module in built.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.bias.fill_(0.5)
    return built


def currents(net: Backbone, channels: int = 3, size: tuple[int, int] = (32, 32)) -> torch.Tensor:
    images = torch.randn((4, channels, *size), generator=torch.Generator().manual_seed(0))
    return direct_code(net.stem(images.unsqueeze(0)).squeeze(0), 3)


@pytest.mark.parametrize(("name", "split"), CASES)
def test_the_cut_is_binary_and_of_the_stated_shape(name, split):
    net = backbone(name)
    features = net.until(split, currents(net))
    assert tuple(features.shape[2:]) == feature_shape(name, split, 4, 32)
    assert set(features.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize(("name", "split"), CASES)
def test_the_cut_of_images_that_are_no_squares_has_the_stated_shape(name, split):
    features = (net := backbone(name)).until(split, currents(net, size=(33, 52)))
    assert tuple(features.shape[2:]) == feature_shape(name, split, 4, (33, 52))


@pytest.mark.parametrize(("name", "split"), CASES)
def test_the_halves_compute_the_whole(name, split):
    net = backbone(name, shortcut="spike").eval()
    x = currents(net)
    whole = net(x)
    functional.reset_net(net)
    assert torch.equal(net.after(split, net.until(split, x)), whole)


@pytest.mark.parametrize("split", [split for split in SPLITS["resnet18"] if "." in split])
def test_between_two_blocks_a_membrane_stage_needs_the_current_that_the_spikes_were_fired_from(split):
    net = backbone("resnet18").eval()
    x = currents(net)
    whole = net(x)
    functional.reset_net(net)
    seen: list[torch.Tensor] = []
    net.segments[split.partition(".")[0]].sn2.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    spikes = net.until(split, x)
    assert torch.equal(net.after(split, spikes, seen[0]), whole)
    functional.reset_net(net)
    assert not torch.equal(net.after(split, spikes, spikes), whole)


@pytest.mark.parametrize(("name", "split"), [("resnet18", "stage2"), ("resnet18", "stage2.1"), ("vgg16", "stage3.2")])
def test_the_cloud_says_what_leaves_each_of_its_segments(name, split):
    net = backbone(name, shortcut="spike").eval()
    every: dict[str, torch.Tensor] = {}
    net.after("", x := currents(net), left=every)
    functional.reset_net(net)
    left: dict[str, torch.Tensor] = {}
    net.after(split, net.until(split, x), left=left)
    stages = [segment for segment in net.segments if segment > split.partition(".")[0] or "." in split]
    expected = [segment for segment in stages if segment.startswith("stage") and segment >= split.partition(".")[0]]
    assert list(left) == expected
    for segment, spikes in left.items():
        assert torch.equal(spikes, every[segment]), segment


def test_blocks_and_convolutions_are_splits_too():
    assert SPLITS["resnet18"][:4] == ("stem", "stage1.1", "stage1", "stage2.1")
    assert SPLITS["vgg16"][:6] == ("stem", "stage1.2", "stage1", "stage2.1", "stage2.2", "stage2")
    assert len(SPLITS["vgg16"]) == 13 + 5  # each convolution, then each pooling


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("name", list(SPLITS))
def test_inputs_may_have_one_two_or_three_channels(name, channels):
    net = backbone(name, channels)
    assert net(currents(net, channels)).shape == (3, 4, 10)


def test_an_unknown_split_is_an_error():
    net = backbone("resnet18")
    with pytest.raises(KeyError):
        net.until("stage9", currents(net))


def test_a_membrane_shortcut_carries_more_than_spikes():
    stage = {kind: resnet18(4, 3, 10, Neuron(), kind).segments["stage1"] for kind in ("spike", "membrane")}
    stage["spike"].load_state_dict(stage["membrane"].state_dict())
    x = (torch.rand((2, 4, 4, 8, 8), generator=torch.Generator().manual_seed(0)) < 0.5).float()
    seen = {}
    for kind, module in stage.items():
        module.conv4.register_forward_hook(lambda m, i, o, kind=kind: seen.setdefault(kind, o))
        module(x)
    assert torch.equal(seen["spike"], seen["membrane"])  # the paths differ only in what is added afterwards
    for module in stage.values():
        functional.reset_net(module)
    assert not torch.equal(stage["spike"](x), stage["membrane"](x))


def test_vgg16_has_thirteen_convolutions_and_resnet18_twenty():
    count = {name: sum(isinstance(module, torch.nn.Conv2d) for module in backbone(name).modules()) for name in SPLITS}
    assert count == {"resnet18": 20, "vgg16": 13}
