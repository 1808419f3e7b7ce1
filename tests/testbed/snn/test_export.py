"""Step graphs compute what SpikingJelly computes: spikes exactly, logits to 1e-5, at every split."""

import copy
import inspect
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional

from testbed.data.datasets import Samples
from testbed.runtime.onnx import OnnxGraph
from testbed.snn.architecture import feature_shape
from testbed.snn.backbones import direct_code, resnet18
from testbed.snn.chunks import check, chunk_graph, read_graph
from testbed.snn.deployable import WEIGHT_GRID_BITS, deployable
from testbed.snn.export import accuracy_of_a_cut, export_graph
from testbed.snn.network import Bottleneck, Network, Normalize
from testbed.snn.neurons import Neuron
from testbed.snn.stepgraph import Stem, Whole, cloud_part, edge_part, full_part, step_graph

ROOT = Path(__file__).parents[3]
T = 4
SPLITS = ("stem", "stage1", "stage2", "stage3", "stage4")


def images(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 16, 16), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module")
def full() -> Network:
    """A small network whose batch norms have seen data and whose neurons fire at every depth."""
    torch.manual_seed(0)
    backbone = resnet18(4, 3, 10, Neuron(), "membrane")
    network = Network(Normalize(torch.full((3,), 0.5), torch.full((3,), 0.25)), backbone)
    warm(network)
    return network


def warm(network: Network) -> None:
    network.train()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.bias.fill_(0.4)
        for seed in range(20):
            network(images(16, seed), T)
            functional.reset_net(network)
    network.eval()


def graphs_of(parts: dict[str, tuple[torch.nn.Module, tuple[torch.Tensor, ...]]], folder: Path) -> dict[str, OnnxGraph]:
    for name, (module, inputs) in parts.items():
        export_graph(module, inputs, folder / f"{name}.onnx")
    return {name: OnnxGraph(folder / f"{name}.onnx") for name in parts}


def pixel_bottleneck() -> Bottleneck:
    """From 16x16 pixels to a code of 2x4x4 in three layers, for the features of stage 2."""
    return Bottleneck(8, 2, 2, Neuron(), layers=3, hidden=6, pixels=(3, 4))


CODED = {"stage1": 4, "stage2.1": 8}
"""Channels where the exported networks have a bottleneck."""


@pytest.mark.parametrize("split", ["stem", "stage2", "stage4", *CODED, "pixels"])  # an export takes seconds
def test_spikes_and_logits_of_a_split_equal_spikingjelly(full, split, tmp_path):
    network = full.cut(split, Bottleneck(CODED[split], 2, 4, Neuron()) if split in CODED else None)
    if split == "pixels":
        network = full.cut("stage2", pixel_bottleneck())
    if split not in full.backbone.segments or split in CODED:
        warm(network)
    reference = deployable(network)
    with torch.no_grad():
        current = reference.current(images(1, 0))
        edge, cloud = step_graph(reference, edge_part), step_graph(reference, cloud_part)
        code = edge(current, *edge.initial_state(current))[0]
    graphs = graphs_of(
        {
            "edge": (edge, (current, *edge.initial_state(current))),
            "cloud": (cloud, (code, *cloud.initial_state(code))),
        },
        tmp_path,
    )
    for part, timesteps in product(("edge", "cloud"), (2, T)):
        step, still = read_graph(tmp_path / f"{part}.onnx"), part == "edge"
        check(step, chunk_graph(step, timesteps, still=still), timesteps, still=still, what=part)
    for seed in range(5):
        with torch.no_grad():
            current = reference.current(images(1, 100 + seed))
            codes = reference.edge(direct_code(current, T))
            logits = reference.cloud(codes)
            functional.reset_net(reference)
        assert 0.005 < codes.mean() < 0.995, "the code carries nothing"
        edge_state, cloud_state = graphs["edge"].initial_state(), graphs["cloud"].initial_state()
        for t in range(T):
            y, edge_state = graphs["edge"].step(current.numpy(), edge_state)
            np.testing.assert_array_equal(y, codes[t].numpy().astype(np.uint8), err_msg=f"spikes at t={t}")
            y, cloud_state = graphs["cloud"].step(y, cloud_state)
            np.testing.assert_allclose(y, logits[t].numpy(), atol=1e-5, err_msg=f"logits at t={t}")


def test_the_backbone_gives_the_same_logits_step_by_step_and_all_at_once(full, tmp_path):
    reference = deployable(full)
    image = images(1, 0)
    with torch.no_grad():
        current = Stem(reference)(image)
        step = step_graph(reference, full_part)
    graphs = graphs_of(
        {
            "stem": (Stem(reference), (image,)),
            "step": (step, (current, *step.initial_state(current))),
            "whole": (Whole(copy.deepcopy(reference), T), (image,)),
        },
        tmp_path,
    )
    for seed in range(3):
        image = images(1, 200 + seed)
        with torch.no_grad():
            expected = reference(image, T)[:, 0].numpy()
            functional.reset_net(reference)
        assert expected.std() > 0
        state = graphs["step"].initial_state()
        for t in range(T):
            y, state = graphs["step"].step(graphs["stem"].run(image.numpy()), state)
            np.testing.assert_allclose(y[0], expected[t], atol=1e-5)
        np.testing.assert_allclose(graphs["whole"].run(image.numpy()).reshape(T, -1), expected, atol=1e-5)


def test_folding_batch_norm_changes_the_logits_by_less_than_the_weight_grid_does(full):
    folded = deployable(full)
    assert not [module for module in folded.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    with torch.no_grad():
        stem = full.current(images(8, 5))
        np.testing.assert_allclose(folded.current(images(8, 5)), stem, atol=40 * 2.0**-WEIGHT_GRID_BITS)


def test_every_weight_of_the_deployed_network_is_a_multiple_of_the_grid(full):
    for parameter in deployable(full).parameters():
        scaled = parameter.detach() * 2.0**WEIGHT_GRID_BITS
        assert torch.equal(scaled, scaled.round())


def test_any_order_of_summation_gives_the_same_bits(full):
    """The claim behind the grid: permuting a convolution's input channels changes nothing."""
    network = deployable(full)
    conv = network.backbone.segments["stage2"].conv1
    spikes = (torch.rand(1, conv.in_channels, 8, 8, generator=torch.Generator().manual_seed(1)) < 0.3).float()
    order = torch.randperm(conv.in_channels, generator=torch.Generator().manual_seed(2))
    shuffled = copy.deepcopy(conv)
    with torch.no_grad():
        shuffled.weight.copy_(conv.weight[:, order])
        a = torch.nn.functional.conv2d(spikes, conv.weight, conv.bias, conv.stride, conv.padding)
        b = torch.nn.functional.conv2d(spikes[:, order], shuffled.weight, conv.bias, conv.stride, conv.padding)
    assert torch.equal(a, b)


def test_activations_are_binary_at_every_split(full):
    with torch.no_grad():
        for split in SPLITS:
            cut = full.cut(split, None)
            code = cut.edge(direct_code(cut.current(images(2, 3)), T))
            assert set(code.unique().tolist()) == {0.0, 1.0}, split
            assert tuple(code.shape[2:]) == feature_shape("resnet18", split, 4, 16)


def test_cutting_without_a_bottleneck_changes_no_logit(full):
    with torch.no_grad():
        expected = full(images(4, 7), T)
        functional.reset_net(full)
        for split in SPLITS:
            assert torch.equal(full.cut(split, None)(images(4, 7), T), expected), split


def test_the_accuracy_of_a_control_is_its_own_and_that_of_a_plain_cut_is_the_uncut_networks(full):
    plain, control = full.cut("stage1", None), full.cut("stage1", None, control=True)
    with torch.no_grad():
        answers = control(images(20, 3), T).mean(0).argmax(-1)
        functional.reset_net(control)
    answered = Samples(images(20, 3).numpy(), answers.numpy())
    assert accuracy_of_a_cut(control, [0.25] * T, answered, T)[-1] == 1.0
    assert accuracy_of_a_cut(plain, [0.25] * T, answered, T) == [0.25] * T


def test_the_halves_have_all_the_neurons_and_share_none(full):
    for split in SPLITS:
        cut = full.cut(split, None)
        neurons = [
            {id(module) for module in part(cut).modules() if hasattr(module, "v_threshold")}
            for part in (edge_part, cloud_part)
        ]
        assert not neurons[0] & neurons[1]
        assert len(neurons[0]) + len(neurons[1]) == 17


def test_between_two_blocks_each_half_has_its_own_block_and_its_part_of_the_bottleneck(full):
    cut = full.cut("stage2.1", Bottleneck(8, 2, 4, Neuron()))
    stage, bottleneck = cut.backbone.segments["stage2"], cut.bottleneck
    edge, cloud = (
        {id(module) for module in part(cut).modules() if hasattr(module, "v_threshold")}
        for part in (edge_part, cloud_part)
    )
    assert not edge & cloud
    assert len(edge) + len(cloud) == 17 + 2
    assert {id(stage.sn1), id(stage.sn2), id(bottleneck.encoder[-1])} < edge
    assert {id(stage.sn3), id(stage.sn4), id(bottleneck.decoder[-1])} < cloud


def test_an_encoder_of_pixels_takes_the_place_of_all_layers_up_to_the_split(full):
    cut = full.cut("stage2", pixel_bottleneck())
    edge, cloud = ({id(module) for module in part(cut).modules()} for part in (edge_part, cloud_part))
    assert not edge & {
        id(module) for segment in ("stem", "stage1", "stage2") for module in cut.backbone.segments[segment].modules()
    }
    assert {id(cut.backbone.segments["stage3"]), id(cut.bottleneck.decoder[-1])} < cloud
    with torch.no_grad():
        code = cut.edge(direct_code(cut.current(images(2, 3)), T))
        before = cut.cloud(code)
        for unused in cut.skipped():
            for parameter in unused.parameters():
                parameter.fill_(float("nan"))
        functional.reset_net(cut)
        assert tuple(code.shape) == (T, 2, 2, 4, 4)
        assert torch.equal(cut.cloud(cut.edge(direct_code(cut.current(images(2, 3)), T))), before)


def test_the_decoders_current_takes_the_place_of_the_shortcuts(full):
    cut = full.cut("stage2.1", Bottleneck(8, 2, 4, Neuron()))
    added: list[torch.Tensor] = []
    stage = cut.backbone.segments["stage2"]
    stage.sn4.register_forward_pre_hook(lambda _, inputs: added.append(inputs[0]))
    paths: list[torch.Tensor] = []
    stage.conv4.register_forward_hook(lambda _, inputs, output: paths.append(output))
    code = (torch.rand((T, 2, 2, 2, 2), generator=torch.Generator().manual_seed(0)) < 0.5).float()
    with torch.no_grad():
        cut.cloud(code)
        torch.testing.assert_close(added[0] - paths[0], cut.bottleneck.decoder[0](code))


def edge_of_a_cut(folder: Path) -> bytes:
    """Export an untrained edge."""
    torch.manual_seed(0)
    network = Network(Normalize(torch.zeros(3), torch.ones(3)), resnet18(4, 3, 10, Neuron(), "membrane"))
    cut = deployable(network).cut("stage1", None)
    with torch.no_grad():
        current = cut.current(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))
        edge = step_graph(cut, edge_part)
        inputs = (current, *edge.initial_state(current))
    export_graph(edge, inputs, folder / "edge.onnx")
    return (folder / "edge.onnx").read_bytes()


ELSEWHERE = f"""
import sys
from pathlib import Path
import torch
import testbed
from testbed.snn.backbones import resnet18
from testbed.snn.export import export_graph
from testbed.snn.deployable import deployable
from testbed.snn.network import Network, Normalize
from testbed.snn.neurons import Neuron
from testbed.snn.stepgraph import edge_part, step_graph
{inspect.getsource(edge_of_a_cut)}
edge_of_a_cut(Path(sys.argv[1]))
print(Path(testbed.__file__).parent.parent)
print(sorted({{"lightning", "matplotlib", "pandas"}} & sys.modules.keys()))
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A copy of the repository in which an edge was exported, in a process of its own, and what that said."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for package in ("testbed", "devices"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-c", ELSEWHERE, str(folder / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout.splitlines()


def test_an_export_is_the_same_wherever_the_repository_lies(elsewhere, tmp_path):
    folder, (used, _) = elsewhere
    assert used == str(folder)
    assert [path.name for path in (folder / "out").iterdir()] == ["edge.onnx"]
    here, there = edge_of_a_cut(tmp_path), (folder / "out" / "edge.onnx").read_bytes()
    assert here == there
    for path in (folder, ROOT):
        assert str(path).encode() not in here
    assert b"stack_trace" not in here


def test_an_export_imports_nothing_that_training_or_figures_alone_need(elsewhere):
    assert elsewhere[1][1] == "[]"


def test_an_export_is_the_same_without_what_makes_it_quick(tmp_path, monkeypatch):
    quick = edge_of_a_cut(tmp_path)
    for means in ("quick_rules", "one_registry"):
        monkeypatch.setattr(f"testbed.snn.export.{means}", nullcontext)
    assert edge_of_a_cut(tmp_path) == quick


EXPORTER = "torch.onnx._internal.exporter._registration"


def test_how_operators_are_written_is_read_once_for_all_graphs(tmp_path, monkeypatch):
    def again() -> NoReturn:
        raise AssertionError("it is read again")

    module = torch.nn.Linear(2, 2)
    export_graph(module, (torch.zeros(1, 2),), tmp_path / "first.onnx")
    monkeypatch.setattr(f"{EXPORTER}._torchlib_registry.get_torchlib_ops", again)
    export_graph(module, (torch.zeros(1, 2),), tmp_path / "second.onnx")
    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()
    with pytest.raises(AssertionError, match="it is read again"):
        torch.onnx.export(module, (torch.zeros(1, 2),), dynamo=True, verbose=False)  # of anybody else's
