"""Step graphs that get a frame of events at each timestep compute what SpikingJelly computes, and the card says so."""

from pathlib import Path

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional

from testbed.data.datasets import Dataset, Samples
from testbed.errors import ModelError
from testbed.runtime.artefact import verify
from testbed.runtime.onnx import OnnxGraph
from testbed.snn.backbones import resnet18
from testbed.snn.deployable import deployable
from testbed.snn.export import code_rates, write_artefact
from testbed.snn.network import Bottleneck, Network, Normalize
from testbed.snn.neurons import Neuron
from testbed.snn.recipe import Recipe
from tests.made.runtimes import DEVICES, check_pytorch

T = 4
SIDE = 16
RATE = 0.4  # events of each polarity a pixel and frame


def events(count: int, seed: int, timesteps: int = T) -> np.ndarray:
    """Frames of event counts, uint8 [N, T, 2, H, W], that differ from one timestep to the next."""
    counts = np.random.default_rng(seed).poisson(RATE, (count, timesteps, 2, SIDE, SIDE))
    return counts.astype(np.uint8)


def warm(network: Network) -> Network:
    """Let the batch norms see data, so that neurons fire at every depth."""
    network.train()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.bias.fill_(0.4)
        for seed in range(5):
            network(torch.from_numpy(events(8, seed, 3)), 3)
            functional.reset_net(network)
    return network.eval()


@pytest.fixture(scope="module")
def full() -> Network:
    torch.manual_seed(0)
    mean, std = RATE / 255, RATE**0.5 / 255
    normalize = Normalize(torch.full((2,), mean), torch.full((2,), std))
    return warm(Network(normalize, resnet18(4, 2, 3, Neuron(), "membrane")))


@pytest.fixture(scope="module")
def coded(full: Network) -> Network:
    return warm(full.cut("stage1", Bottleneck(4, 2, 4, Neuron())))


def toy(frames: int) -> tuple[Recipe, Dataset]:
    """A recipe of T timesteps and three classes of samples with so many frames."""
    recipe = Recipe.model_validate(
        {
            "name": "blinks",
            "dataset": {"name": "digits_dvs", "image_size": SIDE, "frames": T},
            "backbone": {"width": 4},
            "timesteps": T,
            "variants": {"coded": {"split": "stage1", "bottleneck": {"channels": 2, "stride": 4}}},
            "training": {"phases": [{"train": "backbone", "epochs": 1, "lr": 0.01}]},
        }
    )

    def samples(count: int, seed: int) -> Samples:
        return Samples(events(count, seed, frames), np.arange(count) % 3)

    return recipe, Dataset("blinks", "made", ("a", "b", "c"), samples(40, 1), samples(3, 2), samples(6, 3))


@pytest.fixture(scope="module")
def exported(full: Network, coded: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("events") / "coded"
    recipe, dataset = toy(T)
    write_artefact(recipe, "coded", recipe.variants["coded"], {"full": full, "coded": coded}, dataset, folder, {})
    return folder


@pytest.mark.parametrize("device", DEVICES)
def test_pytorch_gives_the_bits_of_onnx_runtime(exported, device, tmp_path):
    check_pytorch(exported, [events(1, 300 + seed) for seed in range(3)], T, device, tmp_path)


def test_spikes_of_event_frames_equal_spikingjelly_at_every_timestep(coded, exported):
    reference = deployable(coded)
    stem, edge, cloud = (OnnxGraph(exported / f"{name}.onnx") for name in ("stem", "edge", "cloud"))
    for seed in range(3):
        frames = events(1, 100 + seed)
        with torch.no_grad():
            codes = reference.edge(reference.currents(torch.from_numpy(frames), T))
            logits = reference.cloud(codes)
            functional.reset_net(reference)
        assert 0.005 < codes.mean() < 0.995, "the code carries nothing"
        assert not torch.equal(codes[-1], codes[-2]), "the frames make no difference"
        edge_state, cloud_state = edge.initial_state(), cloud.initial_state()
        for t in range(T):
            y, edge_state = edge.step(stem.run(frames[:, t]), edge_state)
            np.testing.assert_array_equal(y, codes[t].numpy().astype(np.uint8), err_msg=f"spikes at t={t}")
            y, cloud_state = cloud.step(y, cloud_state)
            np.testing.assert_allclose(y, logits[t].numpy(), atol=1e-5, err_msg=f"logits at t={t}")


def test_the_backbone_gives_the_same_logits_frame_by_frame_and_all_at_once(full, exported):
    reference = deployable(full)
    stem, step, whole = (OnnxGraph(exported / f"full{name}.onnx") for name in ("_stem", "_step", ""))
    frames = events(1, 7)
    with torch.no_grad():
        expected = reference(torch.from_numpy(frames), T)[:, 0].numpy()
        functional.reset_net(reference)
    assert expected.std() > 0
    np.testing.assert_allclose(whole.run(frames).reshape(T, -1), expected, atol=1e-5)
    state = step.initial_state()
    for t in range(T):
        y, state = step.step(stem.run(frames[:, t]), state)
        np.testing.assert_allclose(y[0], expected[t], atol=1e-5)


def test_the_order_of_the_frames_matters(exported):
    whole = OnnxGraph(exported / "full.onnx")
    frames = events(1, 7)
    assert not np.allclose(whole.run(frames), whole.run(np.ascontiguousarray(frames[:, ::-1])))


def test_the_card_of_an_event_model_says_what_was_exported(coded, exported):
    card = verify(exported)
    assert (card.static_input, card.input_shape, card.sample_shape) == (False, [2, SIDE, SIDE], [T, 2, SIDE, SIDE])
    assert (card.feature_shape, card.code_shape) == ([4, SIDE, SIDE], [2, 4, 4])
    assert OnnxGraph(exported / "stem.onnx").input_shape == [1, 2, SIDE, SIDE]
    assert OnnxGraph(exported / "full.onnx").input_shape == [1, T, 2, SIDE, SIDE]
    assert card.code_rates == code_rates(deployable(coded), toy(T)[1].train, T)
    assert card.op_counts.samples == 6
    # Each frame goes through a stem of 2→4 channels with 3x3 taps.
    assert card.op_counts.edge.macs == [t * SIDE**2 * 4 * 18 for t in range(1, T + 1)]


def test_frames_that_are_not_one_for_each_timestep_are_refused(full, coded, tmp_path):
    recipe, dataset = toy(T + 1)
    networks = {"full": full, "coded": coded}
    with pytest.raises(ModelError, match="blinks has 5 frames a sample, but the recipe has 4 timesteps"):
        write_artefact(recipe, "coded", recipe.variants["coded"], networks, dataset, tmp_path / "coded", {})
    assert not list(tmp_path.iterdir())


def test_code_rates_are_the_share_of_ones_of_each_channel_and_timestep(coded):
    network = deployable(coded)
    samples = Samples(events(70, 5), np.zeros(70, dtype=np.int64))
    with torch.no_grad():
        codes = network.edge(network.currents(torch.from_numpy(samples.images), T))
        functional.reset_net(network)
    found = np.array(code_rates(network, samples, T))
    assert found.shape == (T, 2)
    np.testing.assert_allclose(found, codes.mean((1, 3, 4)), atol=1e-6)
    assert found.std(0).min() > 0


def test_code_rates_of_many_samples_are_of_a_drawn_part_of_them(coded):
    network = deployable(coded)
    images = np.concatenate([np.zeros((50, T, 2, SIDE, SIDE), np.uint8), events(50, 5)])
    samples = Samples(images, np.zeros(100, dtype=np.int64))
    drawn = np.random.default_rng(0).permutation(100)[:20]
    assert 0 < (drawn < 50).sum() < 20, "the draw leaves a half out"
    assert code_rates(network, samples, T, limit=20) == code_rates(network, samples.take(drawn), T)
