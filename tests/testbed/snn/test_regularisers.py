"""What is added to the loss does what it is for."""

import pytest
import torch
from spikingjelly.activation_based import functional

from testbed.snn.losses import bits_per_element, rate_distance
from tests.testbed.snn.made import (
    BACKBONE,
    CODEC,
    Trained,
    assert_same_weights,
    log,
    recipe_file,
    stripes,
    trained,
    trained_in,
)

LONG_CODEC = {**CODEC, "epochs": 4}


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A code of long training that nothing holds back."""
    return trained_in(tmp_path_factory.mktemp("free"), BACKBONE, LONG_CODEC)


def test_the_spike_rate_regulariser_makes_sparser_codes(free, tmp_path):
    held = trained_in(tmp_path, BACKBONE, {**LONG_CODEC, "spike_rate": {"weight": 20.0, "target": 0.05}})
    rates = [float(log(each.folder)[-1]["code_rate"]) for each in (free, held)]
    assert rates[1] < 0.7 * rates[0]


def test_the_entropy_regulariser_makes_codes_of_fewer_bits(free, tmp_path):
    held = trained_in(tmp_path, BACKBONE, {**LONG_CODEC, "entropy": {"weight": 20.0, "target": 0.2}})
    images = torch.from_numpy(stripes().train.images)
    bits = []
    with torch.no_grad():
        for network in (free.networks["coded"], held.networks["coded"]):
            bits.append(bits_per_element(network.edge(network.currents(images, 2))).item())
            functional.reset_net(network)
    assert bits[1] < 0.7 * bits[0]


def test_matched_networks_fire_as_the_uncut_one_does(free, tmp_path):
    held = trained_in(tmp_path, BACKBONE, {**LONG_CODEC, "match": {"weight": 50.0, "segments": ["stage2"]}})
    images = torch.from_numpy(stripes().validation.images)
    distances = []
    for full, coded in ((each.networks["full"], each.networks["coded"]) for each in (free, held)):
        spikes: dict[str, dict[str, torch.Tensor]] = {"full": {}, "coded": {}}
        with torch.no_grad():
            full.backbone.after("", full.currents(images, 2), left=spikes["full"])
            coded.behind(coded.edge(coded.currents(images, 2)), spikes["coded"])
        distances.append(rate_distance([spikes["coded"]["stage2"]], [spikes["full"]["stage2"]]).item())
        for network in (full, coded):
            functional.reset_net(network)
    assert distances[1] < 0.8 * distances[0]


def test_distillation_changes_what_is_learned(tmp_path):
    plain, distilled = (
        trained(recipe_file(tmp_path, phases=[BACKBONE, {**CODEC, **extra}]), stripes(), tmp_path / name)["coded"]
        for name, extra in (("a", {}), ("b", {"distill": {"weight": 1.0, "temperature": 2.0}}))
    )
    with pytest.raises(AssertionError):
        assert_same_weights(plain, distilled)
