"""Operation counts equal those made by hand, and behave as sums of what each part does at each timestep."""

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer
from torch import nn

from testbed.data.datasets import Samples
from testbed.snn.backbones import Backbone, Head, conv_bn, resnet18, vgg16
from testbed.snn.deployable import deployable, deployed
from testbed.snn.network import Bottleneck, Network, Normalize
from testbed.snn.neurons import Neuron
from testbed.snn.opcount import BATCH, count_operations, count_parts

T = 3
SIDE = 8
GREY = 128  # half of white: no spike, so that the stem multiplies


def samples(images: np.ndarray) -> Samples:
    return Samples(images.astype(np.uint8), np.zeros(len(images), dtype=np.int64))


def random_samples(count: int, frames: tuple[int, ...] = (), side: int = 16) -> Samples:
    return samples(np.random.default_rng(0).integers(0, 256, (count, *frames, 3, side, side)))


def warm(network: Network, side: int = 16) -> Network:
    """Let the batch norms see data, so that neurons fire at every depth."""
    network.train()
    inputs = torch.from_numpy(random_samples(16, side=side).images)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.bias.fill_(0.4)
        for _ in range(5):
            network(inputs, T)
            functional.reset_net(network)
    return network.eval()


@pytest.fixture(scope="module")
def full() -> Network:
    torch.manual_seed(0)
    normalize = Normalize(torch.full((3,), 0.5), torch.full((3,), 0.25))
    return warm(Network(normalize, resnet18(4, 3, 10, Neuron(), "membrane")))


@pytest.fixture
def clockwork() -> Network:
    """One channel in; each grey pixel makes both neurons behind it fire at every timestep, the others never fire.

    stem 1→2, LIF, [stem] conv 2→3, LIF, [stage1] mean, 3→2. A bias keeps every potential off zero and one.
    """
    stem = conv_bn(1, 2, 3)
    segments = {"stem": Neuron().build(), "stage1": nn.Sequential(conv_bn(2, 3, 3), Neuron().build())}
    full = Network(Normalize(torch.zeros(1), torch.ones(1)), Backbone(stem, segments, Head(3, 2))).eval()
    with torch.no_grad():
        stem[0].weight.zero_()
        stem[0].weight[:, 0, 1, 1] = 2.0
        segments["stage1"][0][0].weight.fill_(0.6)  # a spike of both channels makes every neuron around it fire
        for norm in (stem[1], segments["stage1"][0][1]):
            norm.bias.fill_(0.1)
    return full


def dots(*pixels: tuple[int, int]) -> Samples:
    image = np.zeros((1, 1, SIDE, SIDE))
    for row, column in pixels:
        image[0, 0, row, column] = GREY
    return samples(image)


def test_counts_of_a_clockwork_equal_those_made_by_hand(clockwork):
    network = deployable(clockwork.cut("stem", None))
    inputs = dots((3, 3), (0, 0))
    counts = count_operations(network, deployable(clockwork), inputs, T)
    t = np.arange(1, T + 1)
    pixels = SIDE * SIDE
    neurons = 2 * pixels
    # 3x3 taps on each pixel of two channels, padding included, once for the still image.
    assert counts.edge.macs == [2 * 9 * pixels] * T
    assert counts.edge.synops == [0] * T
    # Six additions a neuron and timestep (in the first one the leak subtracts zero from zero, which is free), and
    # the mean is subtracted from every pixel once.
    assert counts.edge.acs == (6 * neurons * t - neurons + pixels).tolist()
    # Each tap reads its weight, each output its bias; each state is read and written at each timestep.
    assert counts.edge.memory_bytes == (4 * (2 * 9 * pixels + neurons) + 2 * 4 * neurons * t).tolist()
    # Two channels spike at an inner pixel, with nine taps, and at a corner, with four; each for three outputs.
    synops = 2 * (9 + 4) * 3 * t
    neurons, means = 3 * pixels, 3 * (pixels - 1)
    assert counts.cloud.synops == synops.tolist()
    assert counts.cloud.macs == (3 * 2 * t).tolist()
    assert counts.cloud.acs == (synops + 6 * neurons * t - neurons + means * t).tolist()
    memory = 4 * (synops + 3 * 2 * t) + 4 * (neurons + 2) * t + 2 * 4 * neurons * t
    assert counts.cloud.memory_bytes == memory.tolist()


def test_energies_are_the_counts_times_the_constants_of_the_card(full):
    counts = count_operations(deployable(full.cut("stage2", None)), deployable(full), random_samples(4), T)
    assert (counts.pj_per_mac, counts.pj_per_ac) == (4.6, 0.9)
    for part in (counts.edge, counts.cloud, counts.full):
        compute = 4.6 * np.array(part.macs) + 0.9 * np.array(part.acs)
        np.testing.assert_allclose(part.energy_compute_pj, compute, atol=1e-3)
        memory = counts.pj_per_memory_byte * np.array(part.memory_bytes)
        np.testing.assert_allclose(part.energy_memory_pj, memory, atol=1e-3)


def test_convolutions_of_the_int8_form_have_the_price_of_8_bits_and_nothing_else_has(full):
    pool = random_samples(20)
    network = deployed(full, "int8", pool, T)
    found = count_parts(network, pool, T, limit=4)[0]
    assert found == count_parts(network, pool, T, limit=4)[0]
    assert found.int8_macs == [0] * T
    macs, acs, synops, in_int8 = map(np.array, (found.macs, found.acs, found.synops, found.int8_synops))
    np.testing.assert_array_equal(in_int8, synops)  # the stem multiplies, and the classifier gets means
    np.testing.assert_allclose(found.energy_compute_pj, 4.6 * macs + 0.9 * (acs - synops) + 0.03 * synops, atol=1e-3)
    in_float = count_parts(network, pool, T, limit=4, int8=())[0]
    assert (in_float.macs, in_float.acs, in_float.synops) == (found.macs, found.acs, found.synops)
    weights = np.array(in_float.memory_bytes) - found.memory_bytes
    np.testing.assert_array_equal(weights, 3 * synops)  # a byte for each weight that is used, and not four


def test_twice_the_spikes_are_twice_the_synops_of_the_next_layer(clockwork):
    network = deployable(clockwork.cut("stem", None))
    once = count_operations(network, network, dots((3, 3)), T)
    twice = count_operations(network, network, dots((3, 3), (5, 5)), T)
    assert once.cloud.synops[0] > 0
    assert twice.cloud.synops == [2 * count for count in once.cloud.synops]
    assert twice.edge.macs == once.edge.macs


def test_a_transposed_convolution_reads_a_weight_for_each_of_its_synops(clockwork):
    torch.manual_seed(1)
    network = clockwork.cut("stem", Bottleneck(2, 1, 2, Neuron()))
    with torch.no_grad():
        network.bottleneck.encoder[0][0].weight.fill_(1.0)  # fires wherever it sees a spike
    network = deployable(network.eval())
    counts = count_operations(network, network, dots((4, 4)), 1)
    assert isinstance(network.bottleneck.decoder[0], layer.ConvTranspose2d)
    with torch.no_grad():
        code = network.edge(network.currents(torch.from_numpy(dots((4, 4)).images), 1))
        functional.reset_net(network)
        features = network.bottleneck.decoder(code)
        functional.reset_net(network)
    # Code pixel i reaches outputs 2i - 1 ... 2i + 2; of the 8x8 outputs those at -1 and 8 are cut off.
    reach = [sum(0 <= 2 * i - 1 + tap < SIDE for tap in range(4)) for i in range(SIDE // 2)]
    synops = sum(reach[row] * reach[column] * 2 for row, column in code[0, 0, 0].nonzero().tolist())
    assert synops > 0
    taps = nn.functional.conv2d(features[0], torch.ones(3, 2, 3, 3), padding=1).sum().item()
    assert counts.cloud.synops == [synops + taps]
    weights = 4 * (synops + taps + counts.cloud.macs[0])
    biases = 4 * (2 * SIDE**2 + 3 * SIDE**2 + 2)
    states = 2 * 4 * (2 + 3) * SIDE**2
    assert counts.cloud.memory_bytes == [weights + biases + states]


@pytest.mark.parametrize("split", ["stem", "stage1", "stage2", "stage3", "stage4"])
def test_the_halves_of_an_uncompressed_cut_add_up_to_the_backbone(full, split):
    counts = count_operations(deployable(full.cut(split, None)), deployable(full), random_samples(8), T)
    for name in ("macs", "acs", "synops", "memory_bytes"):
        edge, cloud, whole = (np.array(getattr(part, name)) for part in (counts.edge, counts.cloud, counts.full))
        np.testing.assert_array_equal(edge + cloud, whole, err_msg=name)


def test_max_pooling_needs_no_counting():
    torch.manual_seed(0)
    normalize = Normalize(torch.full((3,), 0.5), torch.full((3,), 0.25))
    full = warm(Network(normalize, vgg16(4, 3, 10, Neuron())), side=32)
    counts = count_operations(deployable(full.cut("stage2", None)), deployable(full), random_samples(2, side=32), T)
    assert counts.full.synops[0] > 0
    assert (np.array(counts.edge.acs) + counts.cloud.acs).tolist() == counts.full.acs


def test_a_later_exit_costs_more(full):
    counts = count_operations(
        deployable(warm(full.cut("stage1", Bottleneck(4, 2, 4, Neuron())))), deployable(full), random_samples(4), T
    )
    for part in (counts.edge, counts.cloud, counts.full):
        assert part.energy_compute_pj[0] > 0
        assert (np.diff(part.energy_compute_pj) > 0).all()
        assert (np.diff(part.energy_memory_pj) > 0).all()


def test_the_stem_is_counted_once_for_an_image_and_at_every_timestep_for_events(full):
    cut, whole = deployable(full.cut("stem", None)), deployable(full)
    stem = 16 * 16 * 4 * 9 * 3
    assert count_operations(cut, whole, random_samples(2), T).edge.macs == [stem] * T
    events = count_operations(cut, whole, random_samples(2, frames=(T,)), T)
    assert events.edge.macs == [stem, 2 * stem, 3 * stem]


def test_counts_are_means_over_the_samples_that_the_seed_draws(full):
    cut = deployable(full.cut("stage1", None))
    pool = random_samples(40)
    few = count_parts(cut, pool, T, limit=BATCH + 3)
    assert few == count_parts(cut, pool, T, limit=BATCH + 3)
    assert few[0].acs != count_parts(cut, pool, T, limit=BATCH + 3, seed=1)[0].acs
    drawn = np.random.default_rng(0).permutation(40)[: BATCH + 3]
    alone = [count_parts(cut, pool.take(np.array([index])), T)[1].synops[-1] for index in drawn]
    assert few[1].synops[-1] == pytest.approx(np.mean(alone))


def test_a_card_says_how_many_samples_were_counted(full):
    cut = deployable(full.cut("stage1", None))
    assert count_operations(cut, cut, random_samples(5), T).samples == 5


def test_counting_leaves_the_network_as_it_was(full):
    cut = deployable(full.cut("stage1", None))
    inputs = torch.from_numpy(random_samples(2).images)
    with torch.no_grad():
        before = cut(inputs, T)
        functional.reset_net(cut)
        count_operations(cut, deployable(full), random_samples(2), T)
        assert torch.equal(cut(inputs, T), before)
