"""What networks say of samples is computed a piece at a time, kept, and gone on with."""

import copy
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
import yaml
from spikingjelly.activation_based import functional

from testbed.data.datasets import Samples, load
from testbed.errors import ModelError
from testbed.link.codec import CodecBook
from testbed.runtime.artefact import load_card
from testbed.snn import artefact, keptanswers
from testbed.snn.calibrate import Settings, calibrate
from testbed.snn.evaluate import evaluate
from testbed.snn.keptanswers import CODECS, KeptAnswers
from testbed.snn.recipe import load_recipe
from tests.testbed.snn import networks as networks_of_ones_own

RECIPE = {
    "name": "tiny",
    "dataset": {"name": "digits", "image_size": 8, "channels": 1, "max_per_class": 20},
    "backbone": {"import": "networks.py:three_layers"},
    "timesteps": 2,
    "variants": {
        "coded": {"split": "first", "bottleneck": {"channels": 2, "stride": 2}},
        "plain": {"split": "second"},
    },
    "training": {"batch_size": 32, "precision": "fp32", "phases": [{"train": "backbone", "epochs": 1, "lr": 0.01}]},
}
"""Of few layers, since an export takes as long as a network has neurons; test_evaluate.py has a ResNet."""
EXIT = Settings(network="split", drop=50, policy="max_softmax", accumulate="mean", per_timestep=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("answers")
    shutil.copy(networks_of_ones_own.__file__, folder / "networks.py")
    recipe = folder / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(RECIPE))
    artefact.train(recipe, folder / "models", None, lambda now: None)
    dataset = load(load_recipe(recipe).dataset)
    networks = artefact.deployed_networks(recipe, folder / "models", dataset)
    return recipe, folder / "models", dataset.test, networks


@pytest.fixture
def pieces(monkeypatch):
    """The samples of every piece that is computed; pieces of 16."""
    computed = []
    real = keptanswers.computed

    def counted(network, samples, *rest):
        computed.append(len(samples))
        return real(network, samples, *rest)

    monkeypatch.setattr(keptanswers, "PIECE", 16)
    monkeypatch.setattr(keptanswers, "computed", counted)
    return computed


def test_answers_in_pieces_are_those_of_all_at_once(trained, pieces, tmp_path):
    _, models, test, networks = trained
    card = load_card(models / "tiny" / "coded")
    logits, sizes = KeptAnswers(tmp_path, "w").of("coded", networks["coded"], test, 2, card)
    network = networks["coded"]
    with torch.inference_mode():
        codes = network.edge(network.currents(torch.from_numpy(test.images), 2))
        whole = network.cloud(codes).numpy()
        functional.reset_net(network)
    np.testing.assert_allclose(logits, whole, rtol=1e-6, atol=1e-6)
    book = CodecBook(card.code_shape, card.code_rates)
    for codec in CODECS:
        encode = book.encoder(codec)
        rows = [[len(encode(code, t)[1]) for code in row] for t, row in enumerate(codes.to(torch.uint8).numpy())]
        assert sizes[codec].tolist() == rows
    assert sum(pieces) == len(test)
    assert len(pieces) > 1


def test_a_cut_without_weights_of_its_own_answers_as_the_uncut_network_and_its_cloud_is_not_run(
    trained, tmp_path, monkeypatch
):
    _, models, test, networks = trained
    card, plain = load_card(models / "tiny" / "plain"), networks["plain"]
    logits, sizes = KeptAnswers(tmp_path / "both", "w").of("plain", plain, test, 2, card)
    monkeypatch.setattr(plain, "cloud", lambda code: pytest.fail("the cloud was run"))
    uncut = KeptAnswers(tmp_path, "w").of("full", networks["full"], test, 2)[0]
    found, sent = KeptAnswers(tmp_path, "w").of("plain", plain, test, 2, card, uncut)
    assert found is uncut
    np.testing.assert_allclose(found, logits, rtol=1e-6, atol=1e-6)
    assert {name: size.tolist() for name, size in sent.items()} == {name: size.tolist() for name, size in sizes.items()}


def test_what_was_stopped_goes_on_with_the_piece_that_is_missing(trained, pieces, tmp_path):
    *_, test, networks = trained
    expected = KeptAnswers(tmp_path / "whole", "w").of("full", networks["full"], test, 2)[0]
    pieces.clear()

    def stop(network: str, done: int, total: int) -> None:
        if done == 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        KeptAnswers(tmp_path / "stopped", "w", stop).of("full", networks["full"], test, 2)
    assert pieces == [16, 16]
    found = KeptAnswers(tmp_path / "stopped", "w").of("full", networks["full"], test, 2)[0]
    assert sum(pieces) == len(test), "nothing was computed twice"
    assert np.array_equal(found, expected)


def test_other_weights_samples_networks_and_rates_share_nothing(trained, pieces, tmp_path):
    _, models, test, networks = trained
    card = load_card(models / "tiny" / "coded")
    fewer = test.take(np.arange(16))
    other = Samples(255 - fewer.images, fewer.labels)
    rates = [[rate / 2 + 0.1 for rate in row] for row in card.code_rates]

    def run(weights="w", title="coded", samples=fewer, timesteps=2, **changes):
        told = msgspec.structs.replace(card, **changes) if changes else card
        KeptAnswers(tmp_path, weights).of(title, networks["coded"], samples, timesteps, told)

    run()
    run()
    assert len(pieces) == 1, "the same is computed once"
    for changed in ({"weights": "v"}, {"title": "coded.int8"}, {"samples": other}, {"code_rates": rates}):
        before = len(pieces)
        run(**changed)
        assert len(pieces) == before + 1, changed


def test_another_network_of_the_same_name_shares_nothing(trained, pieces, tmp_path):
    """The grids of an int8 form are chosen by training samples, which its trained weights do not tell."""
    *_, test, networks = trained
    other = copy.deepcopy(networks["full"])
    with torch.no_grad():
        next(other.parameters()).flatten()[0] += 1
    for network in (networks["full"], networks["coded"], other, networks["full"]):
        KeptAnswers(tmp_path, "w").of("same", network, test.take(np.arange(16)), 2)
    assert len(pieces) == 3


def test_a_damaged_piece_is_said_and_never_used(trained, pieces, tmp_path):
    *_, test, networks = trained
    KeptAnswers(tmp_path, "w").of("full", networks["full"], test, 2)
    first = sorted(tmp_path.rglob("*.npz"))[0]
    first.write_bytes(first.read_bytes()[:-40])
    with pytest.raises(ModelError, match=rf"{first}: cannot be read: .*; delete .* to compute it again"):
        KeptAnswers(tmp_path, "w").of("full", networks["full"], test, 2)


def test_an_evaluation_is_kept_and_its_exits_run_the_uncut_network_once(trained, pieces):
    recipe, models, test, _ = trained
    heard = []
    rows = evaluate(recipe, models, None, 50.0, report=lambda *now: heard.append(now))
    validation = len(load(load_recipe(recipe).dataset).validation)
    assert sum(pieces) == 3 * len(test) + 2 * validation, "each once, and plain is full but for its codes"
    assert {(name, total) for name, done, total in heard if done == total} == {
        *((name, len(test)) for name in ("full", "coded", "plain")),
        *((name, validation) for name in ("full", "coded")),
    }
    pieces.clear()
    assert evaluate(recipe, models, None, 50.0) == rows
    assert not pieces
    calibrate(recipe, "plain", models, None, EXIT)
    assert not pieces, "a calibration takes what an evaluation left"


def test_without_trained_weights_there_is_nothing_to_keep(trained, tmp_path: Path):
    recipe, *_ = trained
    with pytest.raises(ModelError, match=r"no trained weights of .*tiny\.yaml"):
        artefact.kept_answers(recipe, tmp_path)
