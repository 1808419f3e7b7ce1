"""A network of one's own is trained, cut and exported like one that ships, and what cannot be is one line."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from spikingjelly.activation_based import functional, neuron

from testbed.errors import DataError, ExperimentError, ModelError
from testbed.runtime.onnx import OnnxGraph
from testbed.snn.artefact import check_variant, ensure, standing
from testbed.snn.build import build
from testbed.snn.deployable import WEIGHT_GRID_BITS, deployable
from testbed.snn.exact import check_graphs
from testbed.snn.export import export_graph, export_network
from testbed.snn.network import Network
from testbed.snn.recipe import Recipe, load_recipe, recipe_digest
from testbed.snn.stepgraph import cloud_part, edge_part, step_graph
from tests.testbed.snn import networks
from tests.testbed.snn.made import stripes, trained

T = 4
PLAIN = {"plain": {"split": "second"}}
PHASES = [{"train": "backbone", "epochs": 3, "lr": 0.02}, {"train": "codec", "epochs": 1, "lr": 0.02}]


def recipe_file(
    folder: Path, function: str = "three_layers", variants: object = PLAIN, backbone: object = None, **more: object
) -> Path:
    """A recipe for one of `networks`, with a copy of that file beside it."""
    shutil.copy(networks.__file__, folder / "networks.py")
    training = {"batch_size": 16, "crop_padding": 0, "flip": False, "precision": "fp32", "phases": PHASES}
    document = {
        "name": "own",
        "dataset": {"name": "digits", "image_size": 8, "channels": 1},
        "backbone": {"import": f"networks.py:{function}", **(backbone or {})},  # type: ignore[dict-item]
        "timesteps": T,
        "variants": variants,
        "training": training,
        **more,
    }
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in document.items() if value is not None}))
    return path


def warmed(recipe: Recipe, samples: int = 256) -> dict[str, Network]:
    """Untrained networks whose batch norms have seen data and whose neurons fire at every depth."""
    data = stripes()
    made = build(recipe, data)
    for network in made.values():
        network.train()
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                if parameter.dim() == 1 and "bias" in name:
                    parameter.fill_(0.7)
                if name.endswith(".w"):
                    parameter.add_(0.123)  # a time constant that no power of two is
            for start in range(0, samples, 32):
                network(torch.from_numpy(data.train.images[start : start + 32]), T)
                functional.reset_net(network)
        network.eval()
    return made


def exported(network: Network, part: Any, x: torch.Tensor, path: Path) -> OnnxGraph:
    """One part of a deployed network as ONNX Runtime runs it."""
    graph = step_graph(network, part)
    export_graph(graph, (x, *graph.initial_state(x)), path)
    return OnnxGraph(path)


NODES = [
    {"node": "IFNode"},
    {"node": "IFNode", "soft": True},
    {"node": "LIFNode", "decay_input": True, "tau": 1.25},
    {"node": "LIFNode", "soft": True, "tau": 3.3},
    {"node": "ParametricLIFNode", "tau": 2.7},
    {"node": "ParametricLIFNode", "soft": True, "decay_input": True, "tau": 1.3},
]


@pytest.mark.parametrize("backbone", NODES, ids=lambda given: "-".join(map(str, given.values())))
def test_spikes_of_every_neuron_equal_spikingjelly_bit_for_bit_in_the_step_graphs(tmp_path, backbone):
    recipe = load_recipe(recipe_file(tmp_path, backbone=backbone))
    made, test = warmed(recipe), stripes().test
    network, full = deployable(made["plain"]), deployable(made["full"])
    inputs = torch.from_numpy(test.images[:4])
    with torch.no_grad():
        currents = network.currents(inputs, T)
        codes = network.edge(currents)
        hidden, logits = full.backbone.head[:-1](codes), network.cloud(codes)
    assert 0.02 < codes.mean() < 0.98, "the code carries nothing"
    assert 0.02 < hidden.mean() < 0.98, "the cloud's neurons do nothing"
    edge = exported(network, edge_part, currents[0, :1], tmp_path / "edge.onnx")
    cloud = exported(network, cloud_part, codes[0, :1].to(torch.uint8), tmp_path / "cloud.onnx")
    for number in range(len(inputs)):
        before, after = edge.initial_state(), cloud.initial_state()
        for t in range(T):
            code, before = edge.step(currents[t, number : number + 1].numpy(), before)
            answer, after = cloud.step(code, after)
            assert np.array_equal(code[0], codes[t, number].numpy()), f"spikes of sample {number} at timestep {t}"
            assert np.array_equal(answer[0], logits[t, number].numpy()), f"logits of sample {number} at timestep {t}"


def test_a_graph_of_other_weights_is_found_out(tmp_path):
    recipe = load_recipe(recipe_file(tmp_path, backbone={"node": "IFNode"}))
    made, test = warmed(recipe), stripes().test
    network, full = deployable(made["plain"]), deployable(made["full"])
    export_network(network, full, T, torch.from_numpy(test.images[:1]), tmp_path / "graphs")
    with torch.no_grad():
        network.backbone.segments["second"][0].weight.mul_(1.25)
    with pytest.raises(ModelError, match=r"edge\.onnx: differs from SpikingJelly on sample \d at timestep \d: a spike"):
        check_graphs(tmp_path / "graphs", network, full, test, T)


def test_a_block_of_one_s_own_runs_over_time_as_step_by_step(tmp_path):
    recipe = load_recipe(recipe_file(tmp_path, "residual", {"plain": {"split": "block"}}))
    full = deployable(warmed(recipe)["full"])
    x = torch.from_numpy(stripes().test.images[:3])
    with torch.no_grad():
        currents = full.currents(x, T)
        whole = full.backbone(currents)
        functional.reset_net(full)
        functional.set_step_mode(full, "s")
        steps = torch.stack([full.backbone(current) for current in currents])
    assert whole.std() > 0
    assert torch.equal(whole, steps)


@pytest.mark.parametrize("function", ["three_layers", "residual"])
def test_the_backbone_computes_what_the_user_s_segments_do(tmp_path, function):
    split = {"three_layers": "second", "residual": "block"}[function]
    backbone = {"node": "ParametricLIFNode", "tau": 2.7} if function == "three_layers" else {}
    recipe = load_recipe(recipe_file(tmp_path, function, {"plain": {"split": split}}, backbone))
    torch.manual_seed(recipe.training.seed)
    segments = getattr(networks, function)(2, 1, **backbone)
    full = build(recipe, stripes())["full"].eval()
    x = full.normalize(torch.from_numpy(stripes().test.images[:8]))
    with torch.no_grad():
        steps = []
        for segment in segments.values():
            segment.eval()
        for _ in range(T):
            y = x
            for segment in segments.values():
                y = segment(y)
            steps.append(y)
        found = full(torch.from_numpy(stripes().test.images[:8]), T)
    assert torch.stack(steps).std() > 0.01
    np.testing.assert_allclose(found, torch.stack(steps), atol=1e-5)


def test_a_parametric_neuron_keeps_the_time_constant_that_it_learned(tmp_path):
    recipe = load_recipe(recipe_file(tmp_path, backbone={"node": "ParametricLIFNode", "tau": 1.6, "soft": True}))
    node = deployable(build(recipe, stripes())["full"]).backbone.segments["second"][2]
    assert (type(node), node.v_reset, node.step_mode) == (neuron.LIFNode, None, "m")
    assert node.tau == pytest.approx(1.6)


def test_folding_changes_no_logit_by_more_than_the_grid_does(tmp_path):
    recipe = load_recipe(recipe_file(tmp_path, "residual", {"plain": {"split": "block"}}))
    full = warmed(recipe)["full"]
    folded = deployable(full)
    assert not [one for one in folded.modules() if isinstance(one, torch.nn.BatchNorm2d)]
    x = torch.from_numpy(stripes().test.images[:8])
    with torch.no_grad():
        np.testing.assert_allclose(folded.current(x), full.current(x), atol=40 * 2.0**-WEIGHT_GRID_BITS)
        block, other = full.backbone.segments["block"][0], folded.backbone.segments["block"][0]
        spikes = (torch.rand(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.5).float()
        expected, found = block.bn(block.conv(spikes)), other.bn(other.conv(spikes))
        np.testing.assert_allclose(found, expected, atol=40 * 2.0**-WEIGHT_GRID_BITS)


def test_splits_and_their_shapes_are_found_by_running_it(tmp_path):
    recipe = load_recipe(recipe_file(tmp_path, backbone={"width": 5}))
    assert recipe.features == {"first": (5, 4, 4), "second": (5, 4, 4)}
    assert recipe.backbone.name == "three_layers"


def test_its_shapes_are_found_for_images_that_are_no_squares_too(tmp_path):
    dataset = {"name": "digits", "image_size": [8, 12], "channels": 1}
    recipe = load_recipe(recipe_file(tmp_path, dataset=dataset))
    assert {shape[1:] for shape in recipe.features.values()} == {(4, 6)}


@pytest.mark.parametrize(
    ("function", "split", "said"),
    [
        ("pooled_by_mean", "middle", r"own\.yaml:\d+: variants\.plain\.split: there is no split behind 'middle': what "
         r"leaves middle\.0 \(AvgPool2d\) is not binary \(it has 0\.\d+ among its values\)"),
        ("residual", "added", r"no split behind 'added': what leaves added\.end \(Identity\) is not binary \("),
        ("flat", "middle", r"what leaves middle\.2 \(IFNode\) is \[8\], not channels, height and width"),
        ("flat", "head", r"no split behind 'head': it is the last segment"),
        ("flat", "stage1", r"flat has no split 'stage1'; there is first"),
        ("adaptive_threshold", "first", r"middle\.1 \(EIFNode\): it has a state that cannot be exported; IFNode, "),
        ("reset_below_zero", "first", r"middle\.1 \(LIFNode\): v_reset is -0\.5; expected 0, or None"),
        ("layer_norm", "first", r"middle\.1 \(GroupNorm\): its sums depend on the order"),
        ("thirds", "first", r"middle\.1 \(Conv2d\): its inputs are no multiples of 2\^-12, so its sums, and the spikes "
         r"of middle\.2, could differ"),
        ("norm_first", "first", r"middle\.1: a batch norm can be folded only where it follows"),
        ("used_twice", "first", r"middle\.0\.bn: a batch norm can be folded only .* nothing else uses"),
        ("wrong_size", "first", r"middle\.0 \(Conv2d\): cannot be run: RuntimeError: .*expected input"),
        ("one_segment", "all", r"expected a dict of two or more segments.*it returned \{'all': Sequential\}"),
        ("no_dict", "all", r"expected a dict of two or more segments.*it returned a Linear"),
        ("images_out", "first", r"head \(Conv2d\): the last segment gives \[2, 4, 6, 6\], not \[N, classes\]"),
        ("fails", "a", r"own\.yaml:1: backbone: .*networks\.py:\d+: fails failed: RuntimeError: a Tensor with 2"),
    ],
)  # fmt: skip
def test_what_cannot_be_cut_or_exported_is_one_line_that_names_the_layer(tmp_path, function, split, said):
    with pytest.raises(ExperimentError, match=said) as found:
        load_recipe(recipe_file(tmp_path, function, {"plain": {"split": split}}))
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"backbone": {"widht": 3}}, r"own\.yaml:\d: backbone\.widht: .*networks\.py:three_layers does not take it; it "
         r"takes classes, channels, width, node"),
        ({"backbone": {"width": "wide"}}, r"own\.yaml:1: backbone: .*networks\.py:\d+: three_layers failed: TypeError"),
        ({"backbone": {"tau": float("nan")}}, r"own\.yaml:\d: backbone\.tau: expected a finite number$"),
        ({"backbone": {"tau": [{"of": float("inf")}]}}, r"own\.yaml:\d: backbone\.tau: expected a finite number$"),
        ({"weights": "gone.safetensors"}, r"own\.yaml:\d+: weights: .*gone\.safetensors: cannot be read: No such file"),
        ({"training": None}, r"training: is missing"),
        ({"checkpoint": "a.weights.xz"}, r"own\.yaml:\d+: checkpoint: packed weights are for resnet18 and vgg16"),
    ],
)  # fmt: skip
def test_what_a_recipe_cannot_mean_is_refused_where_it_stands(tmp_path, changes, said):
    with pytest.raises(ExperimentError, match=said):
        load_recipe(recipe_file(tmp_path, **changes))


def test_a_network_of_one_s_own_has_no_int8_form(tmp_path):
    path = recipe_file(tmp_path)
    with pytest.raises(ExperimentError, match=r"own\.yaml: weights: int8 is for resnet18 and vgg16, not for a network"):
        check_variant(path, load_recipe(path), next(iter(load_recipe(path).variants)), "int8")


def test_a_network_with_other_outputs_than_classes_is_refused(tmp_path):
    recipe = load_recipe(recipe_file(tmp_path, "flat", {"plain": {"split": "first"}}))
    with pytest.raises(DataError, match=r"networks\.py:flat: 10 logits, but the data set has 2 classes"):
        build(recipe, stripes())


def test_it_learns_and_its_first_segment_can_be_frozen(tmp_path):
    phases = [
        {"train": "backbone", "epochs": 6, "lr": 0.02},
        {"train": "all", "epochs": 1, "lr": 0.02, "frozen": ["first"]},
    ]
    coded = {"coded": {"split": "second", "bottleneck": {"channels": 2, "stride": 2}}}
    path = recipe_file(
        tmp_path, variants=coded, training={"batch_size": 16, "crop_padding": 0, "flip": False, "phases": phases}
    )
    data = stripes()
    made = trained(path, data, tmp_path / "training")
    logits = made["full"](torch.from_numpy(data.test.images), T).mean(0)
    assert (logits.argmax(-1).numpy() == data.test.labels).mean() > 0.9
    full, tuned = made["full"].backbone, made["coded"].backbone
    assert torch.equal(full.stem[0][0].weight, tuned.stem[0][0].weight)
    assert torch.equal(full.stem[1][0].running_mean, tuned.stem[1][0].running_mean)
    assert not torch.equal(full.segments["second"][0].weight, tuned.segments["second"][0].weight)


def test_editing_the_file_makes_another_recipe(tmp_path):
    path = recipe_file(tmp_path)
    before = recipe_digest(load_recipe(path))
    assert recipe_digest(load_recipe(path)) == before
    with (tmp_path / "networks.py").open("a") as file:
        file.write("\n# another thought\n")
    assert recipe_digest(load_recipe(path)) != before


def test_given_weights_are_exported_without_training_and_others_are_another_artefact(tmp_path):
    models = tmp_path / "models"
    given = save_weights(tmp_path / "mine.safetensors", seed=1)
    path = recipe_file(tmp_path, weights="mine.safetensors", training=None, timesteps=1)
    folder = ensure(path, "plain", models, None)
    assert standing(path, "plain", models) == (folder, "ready")
    kept = load_file(folder / "weights.safetensors")["full.backbone.segments.second.0.weight"]
    norm = given["second.1.running_var"][:, None, None, None]  # as untrained batch norm is: 1, and 0 for the mean
    np.testing.assert_allclose(kept, given["second.0.weight"] / (norm + 1e-5).sqrt(), atol=2.0**-WEIGHT_GRID_BITS)
    digest = recipe_digest(load_recipe(path))
    save_weights(tmp_path / "mine.safetensors", seed=2)
    assert recipe_digest(load_recipe(path)) != digest
    assert standing(path, "plain", models) == (folder, "to export")


def save_weights(path: Path, seed: int) -> dict[str, torch.Tensor]:
    """A state dict of `three_layers`, as its user would save it."""
    torch.manual_seed(seed)
    segments = torch.nn.ModuleDict(networks.three_layers(10, 1)).eval()
    x = torch.zeros(2, 1, 8, 8)
    for segment in segments.values():
        x = segment(x)
    save_file(segments.state_dict(), path)
    return dict(segments.state_dict())


def test_weights_of_another_network_name_what_is_missing(tmp_path):
    save_file({"first.0.weight": torch.zeros(6, 1, 3, 3)}, tmp_path / "mine.safetensors")
    path = recipe_file(tmp_path, weights="mine.safetensors", training=None)
    with pytest.raises(ModelError, match=r"mine\.safetensors: not the weights of this network: .*first\.0\.bias"):
        ensure(path, "plain", tmp_path / "models", None)


def test_a_bottleneck_is_not_sent_untrained(tmp_path):
    save_file({}, tmp_path / "mine.safetensors")
    coded = {"coded": {"split": "second", "bottleneck": {"channels": 2, "stride": 2}}}
    with pytest.raises(ExperimentError, match=r"variants\.coded\.bottleneck: has to be trained, in a codec phase"):
        load_recipe(recipe_file(tmp_path, variants=coded, weights="mine.safetensors", training=None))
