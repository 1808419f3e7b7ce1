"""The int8 form: step graphs of integers give the spikes of SpikingJelly on the rounded weights, bit for bit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from spikingjelly.activation_based import functional, layer
from torch import nn

from testbed.data.datasets import Samples
from testbed.runtime.onnx import OnnxGraph
from testbed.snn.backbones import Backbone, direct_code, resnet18, vgg16
from testbed.snn.chunks import check, chunk_graph, read_graph
from testbed.snn.deployable import deployable, deployed
from testbed.snn.export import export_graph, export_network
from testbed.snn.int8 import CURRENT_BITS, Int8Conv, int8_form, rounded
from testbed.snn.int8graph import graph_form, graph_module
from testbed.snn.network import Bottleneck, Network, Normalize
from testbed.snn.neurons import Neuron
from testbed.snn.stepgraph import full_part, step_graph
from tests.made.runtimes import DEVICES, check_pytorch

T = 3
LIF = Neuron()


def images(count: int, seed: int, side: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=generator)


def samples(side: int) -> Samples:
    return Samples(images(32, 1, side).numpy(), np.zeros(32, np.int64))


def made(backbone: Backbone, side: int) -> Network:
    """A network whose batch norms have seen data and whose neurons fire at every depth."""
    network = Network(Normalize(torch.full((3,), 0.5), torch.full((3,), 0.25)), backbone)
    warm(network, side)
    return network


def warm(network: Network, side: int) -> None:
    network.train()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.bias.fill_(0.4)
        for seed in range(10):
            network(images(8, seed, side), T)
            functional.reset_net(network)
    network.eval()


@pytest.fixture(scope="module")
def resnet() -> Network:
    torch.manual_seed(0)
    return made(resnet18(4, 3, 10, LIF, "membrane"), 16)


Exported = tuple[Path, Network, Network]
"""The folder of a coded ResNet's graphs, and what they were exported from: the cut and the uncut network."""


@pytest.fixture(scope="module")
def uncut(resnet: Network) -> Network:
    return deployed(resnet, "int8", samples(16), T)


def cut_at(split: str, resnet: Network, uncut: Network, folder: Path, like: Path | None = None) -> Exported:
    pixels = (3, 4) if split == "pixels" else None
    coded = resnet.cut("stage1" if pixels else split, Bottleneck(4, 2, 4, LIF, layers=3, pixels=pixels))
    warm(coded, 16)
    cut = deployed(coded, "int8", samples(16), T)
    export_network(cut, uncut, T, images(1, 0, 16), folder, like)
    return folder, cut, uncut


@pytest.fixture(scope="module")
def whole(resnet: Network, uncut: Network, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return cut_at("stage1", resnet, uncut, tmp_path_factory.mktemp("int8"))


@pytest.fixture(scope="module", params=["stage1", "stage1.1", "pixels"])
def exported(
    request: pytest.FixtureRequest,
    resnet: Network,
    uncut: Network,
    whole: Exported,
    tmp_path_factory: pytest.TempPathFactory,
) -> Exported:
    """Each split; the graphs of the backbone, which they share, are exported once."""
    if request.param == "stage1":
        return whole
    return cut_at(request.param, resnet, uncut, tmp_path_factory.mktemp("int8"), like=whole[0])


def test_codes_and_logits_of_the_halves_equal_spikingjelly(exported):
    folder, reference, _ = exported
    stem, edge, cloud = (OnnxGraph(folder / f"{name}.onnx") for name in ("stem", "edge", "cloud"))
    for seed in range(3):
        image = images(1, 100 + seed, 16)
        with torch.no_grad():
            codes = reference.edge(direct_code(reference.current(image), T))
            logits = reference.cloud(codes)
            functional.reset_net(reference)
        assert 0.005 < codes.mean() < 0.995, "the code carries nothing"
        current, state, far = stem.run(image.numpy()), edge.initial_state(), cloud.initial_state()
        for t in range(T):
            code, state = edge.step(current, state)
            np.testing.assert_array_equal(code, codes[t].numpy().astype(np.uint8), err_msg=f"spikes at t={t}")
            y, far = cloud.step(code, far)
            np.testing.assert_allclose(y, logits[t].numpy(), atol=1e-5, err_msg=f"logits at t={t}")


def test_the_backbone_gives_the_same_logits_step_by_step_and_all_at_once(whole):
    folder, _, reference = whole
    stem, step, whole = (OnnxGraph(folder / f"full{name}.onnx") for name in ("_stem", "_step", ""))
    for seed in range(3):
        image = images(1, 200 + seed, 16)
        with torch.no_grad():
            expected = reference(image, T)[:, 0].numpy()
            functional.reset_net(reference)
        assert expected.std() > 0
        state = step.initial_state()
        for t in range(T):
            y, state = step.step(stem.run(image.numpy()), state)
            np.testing.assert_allclose(y[0], expected[t], atol=1e-5)
        np.testing.assert_allclose(whole.run(image.numpy()).reshape(T, -1), expected, atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_pytorch_gives_the_bits_of_onnx_runtime(exported, device, tmp_path):
    check_pytorch(exported[0], [images(1, 300 + seed, 16).numpy() for seed in range(3)], T, device, tmp_path)


def test_a_vgg_and_classical_shortcuts_have_the_form_too(tmp_path):
    for name, backbone, side in (("vgg", vgg16(4, 3, 10, LIF), 32), ("spike", resnet18(4, 3, 10, LIF, "spike"), 16)):
        torch.manual_seed(1)
        reference = deployed(made(backbone, side), "int8", samples(side), T)
        image = images(1, 7, side)
        with torch.no_grad():
            expected = reference(image, T)[:, 0].numpy()
            functional.reset_net(reference)
            graphs = graph_form(reference)
            current = graphs.current(image)
            step = step_graph(graphs, full_part)
            export_graph(step, (current, *step.initial_state(current)), tmp_path / f"{name}.onnx")
        graph = OnnxGraph(tmp_path / f"{name}.onnx")
        state = graph.initial_state()
        for t in range(T):
            y, state = graph.step(current.numpy(), state)
            np.testing.assert_allclose(y[0], expected[t], atol=1e-5, err_msg=name)


def test_every_convolution_of_spikes_runs_on_integers_with_no_transposition_between(whole, tmp_path):
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(whole[0] / "full_step.onnx", options, providers=["CPUExecutionProvider"])
    found = Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    convolutions = 16 + 3  # of the blocks, and the shortcuts that change the width
    assert found["QLinearConv"] == convolutions
    assert found["Conv"] == 0
    assert found["Transpose"] == 1, "before the head"


def test_a_runtime_without_integer_kernels_gives_the_same_bits(exported):
    """Nothing is fused here: convolutions get dequantised floats."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = onnxruntime.InferenceSession(exported[0] / "edge.onnx", options, providers=["CPUExecutionProvider"])
    edge, x = OnnxGraph(exported[0] / "edge.onnx"), OnnxGraph(exported[0] / "stem.onnx").run(images(1, 5, 16).numpy())
    names = [value.name for value in plain.get_inputs()]
    state = edge.initial_state()
    own = [value.numpy() for value in state]
    for _ in range(T):
        y, state = edge.step(x, state)
        code, *own = plain.run(None, dict(zip(names, [x, *own], strict=True)))
        np.testing.assert_array_equal(y, code)
        assert all(np.array_equal(a.numpy(), b) for a, b in zip(state, own, strict=True))
    assert code.any()


def test_integers_round_and_saturate_as_the_reference_does(tmp_path):
    """Currents beyond 8 bits, and half way between two steps, which a network seldom has."""
    generator = torch.Generator().manual_seed(3)
    conv = layer.Conv2d(32, 8, 3, padding=1)
    with torch.no_grad():
        conv.weight.copy_(torch.randint(-127, 128, conv.weight.shape, generator=generator) / 64)
        conv.bias.copy_(torch.randint(-200, 200, (8,), generator=generator) / 64)
    module = Int8Conv(conv)
    module.current_bits.fill_(5)
    spikes = (torch.rand(1, 32, 9, 9, generator=generator) < 0.5).float()
    with torch.no_grad():
        exact, expected = conv(spikes), module(spikes)
    assert (exact * 64 % 2 == 1).any(), "no tie"
    assert exact.max() > 127 / 32
    assert exact.min() < -4
    export_graph(graph_module(module), (spikes.movedim(1, -1).to(torch.uint8),), tmp_path / "conv.onnx")
    y = OnnxGraph(tmp_path / "conv.onnx").run(spikes.movedim(1, -1).numpy())
    np.testing.assert_array_equal(np.moveaxis(y, -1, 1), expected.numpy())


def test_currents_are_rounded_to_the_nearest_step_ties_to_even_and_end_at_8_bits():
    currents = torch.tensor([0.24, 0.26, 0.25, 0.75, -0.25, -0.75, 63.4, 80.0, -64.0, -90.0])
    assert rounded(currents, 1).tolist() == [0.0, 0.5, 0.0, 1.0, 0.0, -1.0, 63.5, 63.5, -64.0, -64.0]


def test_weights_are_integers_of_8_bits_times_a_power_of_two_for_each_channel(exported):
    for network in exported[1:]:
        for module in (module for module in network.modules() if isinstance(module, Int8Conv)):
            scaled = module.conv.weight * 2.0 ** module.weight_bits.reshape(-1, 1, 1, 1)
            assert torch.equal(scaled, scaled.round())
            assert scaled.abs().flatten(1).amax(1).min() >= 63
            assert scaled.abs().max() <= 127
            biases = module.conv.bias * 2.0**module.weight_bits
            assert torch.equal(biases, biases.round())


def test_a_channel_has_the_grid_that_rounds_the_least_away():
    conv = nn.Conv2d(1000, 2, 1)
    with torch.no_grad():
        conv.weight[0] = 0.305
        conv.weight[0, 0] = 1.01  # on the grid of 2^-6 it fits; 2^-7 cuts it off, and holds the other 999 better
        conv.weight[1] = 1.01
    module = Int8Conv(conv)
    assert module.weight_bits.tolist() == [7, 6]
    assert module.conv.weight[0, 0].item() == 127 / 128


def test_currents_have_the_finest_grid_that_does_not_cut_them_off(resnet):
    grids = {}
    for gain in (1, 8):
        network = deployable(resnet)
        conv = network.backbone.segments["stage3"].conv1
        with torch.no_grad():
            conv.weight *= gain
            conv.bias *= gain
        form = int8_form(network, samples(16), T)
        grids[gain] = int(form.backbone.segments["stage3"].conv1.current_bits)
    assert grids[1] - grids[8] in (2, 3, 4)
    assert grids[1] in CURRENT_BITS


def test_what_is_no_convolution_of_spikes_stays_on_the_fine_grid(resnet, exported):
    fine, form = deployable(resnet), exported[2]
    assert torch.equal(form.backbone.stem.weight, fine.backbone.stem.weight)
    assert torch.equal(form.backbone.head.classifier.weight, fine.backbone.head.classifier.weight)
    assert not any(
        isinstance(module, nn.Conv2d) and module.in_channels == 3 for module in form.backbone.segments.modules()
    )


def test_the_network_that_it_is_made_from_stays_as_it_is(resnet):
    fine = deployable(resnet)
    before = {name: value.clone() for name, value in fine.state_dict().items()}
    int8_form(fine, samples(16), T)
    assert all(torch.equal(value, before[name]) for name, value in fine.state_dict().items())
    assert graph_form(fine) is fine


def test_chunks_of_timesteps_give_what_single_ones_give(exported):
    for part, still in (("edge", True), ("cloud", False)):
        step = read_graph(exported[0] / f"{part}.onnx")
        check(step, chunk_graph(step, 2, still=still), 2, still=still, what=part)
