"""Training reaches what it is given, and goes on where it was interrupted."""

import contextlib
import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from spikingjelly.activation_based import functional
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from testbed.errors import DataError, ExperimentError, ModelError
from testbed.snn.budget import Budget, OutOfTimeError
from testbed.snn.build import build
from testbed.snn.checkpoint import load_checkpoint, load_weights, save_checkpoint
from testbed.snn.epochs import Keeper
from testbed.snn.network import Network
from testbed.snn.phase import Phase
from testbed.snn.processes import Hardware, together
from testbed.snn.recipe import load_recipe
from testbed.snn.trained import CHECKPOINT
from testbed.snn.training import precision_on, train
from tests.testbed.snn.made import (
    BACKBONE,
    CODEC,
    FEW,
    PHASES,
    Epochs,
    PowerCutError,
    Trained,
    assert_same_weights,
    log,
    recipe_file,
    stripes,
    trained,
    trained_in,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """All phases."""
    return trained_in(tmp_path_factory.mktemp("whole"), *PHASES)


@pytest.fixture(scope="module")
def two_phases(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """All but the last."""
    return trained_in(tmp_path_factory.mktemp("two"), *PHASES[:2])


def test_training_learns_stripes_and_logs_every_epoch(whole):
    epochs = whole.epochs
    assert epochs == [
        *(("full", "backbone", epoch) for epoch in (1, 2, 3, 4)),
        *(("coded", "codec", epoch) for epoch in (1, 2)),
        ("coded", "all", 1),
    ]
    rows = log(whole.folder)
    assert [(row["network"], row["phase"], int(row["epoch"])) for row in rows] == epochs
    assert float(rows[3]["validation_accuracy"]) > 0.9
    assert float(rows[-1]["validation_accuracy"]) > 0.9
    assert {row["code_rate"] == "" for row in rows[:4]} == {True}
    assert all(0 < float(row["code_rate"]) < 1 for row in rows[4:])


def test_tensorboard_shows_loss_and_accuracy_of_every_phase(whole):
    folders = sorted((whole.folder / "tensorboard").iterdir())
    assert [folder.name for folder in folders] == ["0-full-backbone", "1-coded-codec", "2-coded-all"]
    board = EventAccumulator(str(folders[0]))
    board.Reload()
    validated = [str(round(event.value, 5)) for event in board.Scalars("validation_accuracy")]
    assert validated == [row["validation_accuracy"] for row in log(whole.folder)[:4]]
    assert len(board.Scalars("loss")) == 8  # two looks in each epoch of twenty steps


def test_event_frames_are_trained_on_as_images_are(tmp_path):
    recipe = recipe_file(
        tmp_path,
        phases=PHASES[:1],
        dataset={"name": "digits_dvs", "image_size": 8, "frames": 2},
    )
    trained(recipe, stripes(frames=2), tmp_path / "training")
    assert float(log(tmp_path / "training")[-1]["validation_accuracy"]) > 0.9


def test_early_epochs_may_run_fewer_timesteps_on_smaller_crops(tmp_path):
    cheap = {**BACKBONE, "epochs": 3, "timesteps": ["2x1", 2], "crops": ["2x8", 12]}
    data = stripes(side=12)
    recipe = recipe_file(
        tmp_path, phases=[cheap], dataset={"name": "digits", "image_size": 12, "channels": 1}, variants=["plain"]
    )
    seen: list[tuple[int, int]] = []
    forward = Network.currents

    def note(self: Network, inputs: torch.Tensor, timesteps: int) -> torch.Tensor:
        if self.training:
            seen.append((timesteps, inputs.shape[-1]))
        return forward(self, inputs, timesteps)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Network, "currents", note)
        trained(recipe, data, tmp_path / "training")
    assert sorted(set(seen)) == [(1, 8), (2, 12)]
    assert [row["timesteps"] for row in log(tmp_path / "training")] == ["1", "1", "2"]


def test_an_interrupted_training_goes_on_and_ends_with_the_same_weights(whole, tmp_path):
    recipe = recipe_file(tmp_path)
    for stop in (2, 3):  # once within a phase, once between phases
        with pytest.raises(PowerCutError):
            trained(recipe, stripes(), tmp_path / "b", Epochs(until=stop))
    epochs = Epochs()
    resumed = trained(recipe, stripes(), tmp_path / "b", epochs)
    assert ("full", "backbone", 1) not in epochs
    for name in whole.networks:
        assert_same_weights(whole.networks[name], resumed[name])
    same = [[{**row, "seconds": ""} for row in log(folder)] for folder in (whole.folder, tmp_path / "b")]
    assert same[0] == same[1]


def test_an_interrupt_that_comes_where_no_exception_gets_through_is_heeded_all_the_same(tmp_path):
    seen: list[int] = []

    def report(progress: Any) -> None:
        seen.append(progress.epoch)
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        trained(recipe_file(tmp_path), stripes(), tmp_path / "training", report)
    assert set(seen) == {1}


def test_a_finished_training_is_not_done_again_unless_asked(tmp_path):
    recipe = recipe_file(tmp_path, phases=[BACKBONE])
    first = trained(recipe, stripes(FEW), tmp_path / "training")
    epochs = Epochs()
    again = trained(recipe, stripes(FEW), tmp_path / "training", epochs)
    assert epochs == []
    assert_same_weights(first["full"], again["full"])
    trained(recipe, stripes(FEW), tmp_path / "training", epochs, anew=True)
    assert len(epochs) == 2
    assert len(log(tmp_path / "training.1")) == 2  # what it replaces is kept


def test_a_training_anew_that_was_interrupted_goes_on(tmp_path):
    recipe = recipe_file(tmp_path, phases=[BACKBONE])
    trained(recipe, stripes(FEW), tmp_path / "training")
    for until, expected in ((1, [1, 2]), (None, [2])):
        epochs = Epochs(until)
        with contextlib.suppress(PowerCutError):
            trained(recipe, stripes(FEW), tmp_path / "training", epochs, anew=True)
        assert [epoch for _, _, epoch in epochs] == expected
    assert not (tmp_path / "training.2").exists()


def test_a_training_anew_leaves_one_of_another_recipe_aside(tmp_path):
    with pytest.raises(PowerCutError):
        trained(recipe_file(tmp_path, phases=[BACKBONE]), stripes(FEW), tmp_path / "training", Epochs(1))
    epochs = Epochs()
    other = recipe_file(tmp_path, phases=[{**BACKBONE, "lr": 0.02}])
    trained(other, stripes(FEW), tmp_path / "training", epochs, anew=True)
    assert len(epochs) == 2
    assert (tmp_path / "training.1").exists()


def test_the_frozen_backbone_of_the_codec_phase_does_not_move(two_phases):
    networks = two_phases.networks
    assert_same_weights(networks["full"].backbone, networks["coded"].backbone, rtol=0, atol=0)


def test_the_last_phase_moves_the_variant_and_leaves_the_backbone(two_phases, whole):
    frozen, moved = two_phases.networks, whole.networks
    assert_same_weights(frozen["full"], moved["full"])
    with pytest.raises(AssertionError):
        assert_same_weights(moved["full"].backbone, moved["coded"].backbone)


def test_a_control_is_trained_on_a_copy_of_its_own_as_the_variants_are_but_without_a_code(tmp_path):
    path = recipe_file(tmp_path)
    document = yaml.safe_load(path.read_text())
    document["variants"]["control"] = {"split": "stage1", "control": True}
    path.write_text(yaml.safe_dump(document))
    recipe, epochs = load_recipe(path), Epochs()
    networks = trained(path, stripes(FEW), tmp_path / "training", epochs)
    assert epochs[-1:] == [("control", "all", 1)]
    assert ("control", "codec", 1) not in epochs
    with pytest.raises(AssertionError):
        assert_same_weights(networks["full"].backbone, networks["control"].backbone)
    save_checkpoint(networks, recipe, tmp_path / "weights.safetensors")
    loaded = build(recipe, stripes(FEW))
    load_checkpoint(loaded, recipe, tmp_path / "weights.safetensors")
    for name, source in (("control", "control"), ("plain", "full")):
        assert_same_weights(networks[source].backbone, loaded[name].backbone, rtol=1e-3, atol=1e-3)


def test_a_split_between_two_blocks_is_trained(tmp_path):
    path = recipe_file(tmp_path, variants=["coded"])
    path.write_text(path.read_text().replace("split: stage1", "split: stage2.1"))
    trained(path, stripes(), tmp_path / "training")
    assert float(log(tmp_path / "training")[-1]["validation_accuracy"]) > 0.9


def test_a_code_of_pixels_is_trained_and_leaves_the_layers_that_it_replaces(tmp_path):
    path = recipe_file(tmp_path, variants=["coded"])
    document = yaml.safe_load(path.read_text())
    document["variants"]["coded"]["bottleneck"] |= {"encoder": "pixels", "layers": 3, "hidden": 6}
    path.write_text(yaml.safe_dump(document))
    recipe = load_recipe(path)
    network = build(recipe, stripes())["coded"]
    Phase(recipe, recipe.training.phases[-1], network, None, 0)
    # Processes that train together would wait for gradients that never come.
    assert not any(parameter.requires_grad for layer in network.skipped() for parameter in layer.parameters())
    assert all(parameter.requires_grad for parameter in network.backbone.segments["stage2"].parameters())
    networks = trained(path, stripes(), tmp_path / "training")
    assert float(log(tmp_path / "training")[-1]["validation_accuracy"]) > 0.9
    full, coded = (networks[name].backbone for name in ("full", "coded"))
    for unmoved in ("stem", "segments.stage1"):
        for key, value in full.get_submodule(unmoved).state_dict().items():
            assert torch.equal(coded.get_submodule(unmoved).state_dict()[key], value), key
    assert not torch.equal(coded.segments["stage2"].conv1[0].weight, full.segments["stage2"].conv1[0].weight)


def test_a_frozen_segment_is_left_as_it_was(tmp_path):
    phase = {"train": "all", "epochs": 1, "lr": 0.01, "frozen": ["stage2"]}
    networks = trained(recipe_file(tmp_path, phases=[BACKBONE, phase]), stripes(FEW), tmp_path / "training")
    full, coded = (networks[name].backbone.segments for name in ("full", "coded"))
    for key, value in full["stage2"].state_dict().items():
        assert torch.equal(coded["stage2"].state_dict()[key], value), key
    moved = coded["stage3"].state_dict()
    assert not all(torch.equal(moved[key], value) for key, value in full["stage3"].state_dict().items())


def test_a_deep_bottleneck_has_a_path_beside_the_single_layer(tmp_path):
    path = recipe_file(tmp_path, phases=[BACKBONE, CODEC])
    text = path.read_text().replace(
        "channels: 2\n      stride: 2", "channels: 2\n      hidden: 6\n      layers: 3\n      stride: 2"
    )
    assert text != path.read_text()
    path.write_text(text)
    network = trained(path, stripes(FEW), tmp_path / "training")["coded"]
    assert network.bottleneck is not None
    spikes = torch.ones(1, 2, 4, 8, 8)
    both = network.bottleneck.encoder[0]
    current = both(spikes)
    functional.reset_net(both)
    assert torch.equal(current, both.direct(spikes) + both.deep(spikes))
    assert not torch.equal(current, both.direct(spikes))
    functional.reset_net(both)
    code = network.bottleneck.encoder(spikes)
    assert code.shape == (1, 2, 2, 4, 4)
    assert set(code.unique().tolist()) <= {0.0, 1.0}
    assert network.bottleneck.decoder(code).shape == spikes.shape
    assert sum("deep" in key and key.endswith("0.weight") for key in network.bottleneck.state_dict()) == 6


def test_a_network_without_spikes_is_trained_and_teaches_another(tmp_path):
    teacher = tmp_path / "teacher.yaml"
    document = yaml.safe_load(recipe_file(tmp_path, phases=[BACKBONE], optimizer={"name": "sgd"}).read_text())
    teacher.write_text(
        yaml.safe_dump(
            {**document, "name": "teacher", "variants": {}, "timesteps": 1}
            | {"backbone": {"width": 4, "neuron": "relu"}}
        )
    )
    answers = trained(teacher, stripes(FEW), tmp_path / "a")["full"]
    pupil = recipe_file(tmp_path, phases=[{**BACKBONE, "distill": {"weight": 1.0}}], teacher="teacher.yaml")
    recipe = load_recipe(pupil)
    with together(Hardware("cpu", 1)) as group:
        taught, alone = (
            train(recipe, stripes(FEW), tmp_path / name, lambda now: None, group, teacher=network)["full"]
            for name, network in (("b", answers), ("c", None))
        )
    with pytest.raises(AssertionError):
        assert_same_weights(taught, alone)


def test_all_processes_keep_an_epoch_or_none_does(tmp_path):
    """Each waits for the others when it keeps one, so the first one's clock decides, not their own."""
    asked: list[tuple[bool, bool]] = []

    def first_process(mine: tuple[bool, bool]) -> tuple[bool, bool]:
        asked.append(mine)
        return False, False

    trainer = SimpleNamespace(strategy=SimpleNamespace(broadcast=first_process), current_epoch=0, max_epochs=2)
    # It would ask the trainer for more if it kept.
    Keeper(tmp_path, "phase", Budget()).on_train_epoch_end(trainer, SimpleNamespace(cost_of=lambda *_: 1.0))
    assert asked == [(True, False)]


def test_an_epoch_that_takes_longer_than_the_last_one_needs_as_much_more_time(tmp_path, monkeypatch):
    monkeypatch.setattr(Keeper, "epoch_s", property(lambda _: 60.0, lambda *_: None), raising=False)
    ends: list[bool] = []

    def first_process(mine: tuple[bool, bool]) -> tuple[bool, bool]:
        ends.append(mine[1])
        return False, False

    trainer = SimpleNamespace(strategy=SimpleNamespace(broadcast=first_process), current_epoch=0, max_epochs=2)
    keeper = Keeper(tmp_path, "phase", Budget(1.5, lambda: 0.0))
    for cost in (1.0, 2.0):
        keeper.on_train_epoch_end(trainer, SimpleNamespace(cost_of=lambda *_, cost=cost: cost))
    assert ends == [False, True]


class Minutes:
    """A clock on which an epoch takes a minute, for a budget."""

    def __init__(self) -> None:
        self.epochs = Epochs()

    def __call__(self) -> float:
        return 60.0 * len(self.epochs)


def test_a_training_ends_after_the_last_epoch_that_the_budget_allows_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(Keeper, "epoch_s", property(lambda _: 60.0, lambda *_: None), raising=False)
    monkeypatch.setattr("testbed.snn.epochs.KEEPING_SHARE", 1e-9)  # no epoch but the first is worth a checkpoint
    recipe, said = recipe_file(tmp_path, phases=[{**BACKBONE, "epochs": 4}, CODEC]), []
    for minutes in (2.5, 2, 1):
        clock = Minutes()
        budget = Budget(minutes, clock)
        with together(Hardware("cpu", 1)) as group, pytest.raises(OutOfTimeError) as caught:
            train(load_recipe(recipe), stripes(FEW), tmp_path / "a", clock.epochs, group, budget=budget)
        said.append((clock.epochs, str(caught.value)))
    goes_on = "; the same command goes on from there"
    assert said == [
        ([("full", "backbone", 1), ("full", "backbone", 2)], f"time is up: full, backbone has 2 of 4 epochs{goes_on}"),
        ([("full", "backbone", 3), ("full", "backbone", 4)], f"time is up: coded, codec has 0 of 2 epochs{goes_on}"),
        ([("coded", "codec", 1)], f"time is up: coded, codec has 1 of 2 epochs{goes_on}"),
    ]
    resumed, whole = (trained(recipe, stripes(FEW), tmp_path / name) for name in ("a", "b"))
    for name, network in whole.items():
        assert_same_weights(network, resumed[name])


def test_an_epoch_of_more_timesteps_or_larger_crops_takes_longer(tmp_path):
    phase = {**BACKBONE, "epochs": 4, "timesteps": ["2x1", "2x2"], "crops": ["3x8", 16]}
    path = recipe_file(
        tmp_path, phases=[phase], dataset={"name": "digits", "image_size": 16, "channels": 1}, variants=["plain"]
    )
    recipe = load_recipe(path)
    module = Phase(recipe, recipe.training.phases[0], build(recipe, stripes(side=16))["full"], None, 0)
    assert [module.cost_of(epoch, epoch - 1) for epoch in (1, 2, 3)] == [1, 2, 4]


def test_networks_that_are_done_can_be_read_while_others_are_trained(tmp_path):
    recipe = load_recipe(recipe_file(tmp_path, phases=[BACKBONE, CODEC]))
    with pytest.raises(PowerCutError):
        trained(tmp_path / "stripes.yaml", stripes(FEW), tmp_path / "training", Epochs(until=3))
    networks = build(recipe, stripes(FEW))
    load_checkpoint(networks, recipe, tmp_path / "training" / CHECKPOINT)
    assert list(networks) == ["full", "plain"]
    full = build(recipe, stripes(FEW))["full"]
    load_weights(full, tmp_path / "training" / "full.safetensors")
    for network in networks.values():
        assert_same_weights(full.backbone, network.backbone, rtol=1e-3, atol=1e-3)


def test_weights_that_were_changed_on_the_disk_are_refused(whole, tmp_path):
    recipe, path = load_recipe(recipe_file(tmp_path)), tmp_path / CHECKPOINT
    save_checkpoint(whole.networks, recipe, path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match=f"{CHECKPOINT}: damaged: the weights of full are not those"):
        load_checkpoint(build(recipe, stripes()), recipe, path)


def test_a_loss_that_is_no_number_ends_the_training_by_name(tmp_path):
    recipe = recipe_file(tmp_path, phases=[{**BACKBONE, "lr": 100}], weight_decay=10)  # weights times -999 a step
    with pytest.raises(ModelError, match=r"training of full diverged in phase backbone, epoch 1: lower its lr"):
        trained(recipe, stripes(), tmp_path / "training")


@pytest.mark.parametrize(
    ("changes", "count", "error", "message"),
    [
        ({"precision": "fp16"}, 320, ExperimentError, "fp16 needs a GPU; set training.precision to bf16 or fp32"),
        ({"batch_size": 64}, 32, DataError, "32 training samples are fewer than a batch of 64"),
    ],
)
def test_what_cannot_be_trained_here_is_one_line(tmp_path, changes, count, error, message):
    with pytest.raises(error, match=message) as caught:
        trained(recipe_file(tmp_path, **changes), stripes(count), tmp_path / "training")
    assert "\n" not in str(caught.value)


def test_frames_and_timesteps_have_to_agree(tmp_path):
    with pytest.raises(DataError, match="3 frames, but the recipe has 2 timesteps"):
        trained(recipe_file(tmp_path), stripes(frames=3), tmp_path / "training")


def test_a_folder_of_another_recipe_is_left_alone(tmp_path):
    trained(recipe_file(tmp_path, phases=[BACKBONE]), stripes(FEW), tmp_path / "training")
    with pytest.raises(ModelError, match="another version of this recipe; move it away, or train with --retrain"):
        trained(recipe_file(tmp_path, phases=[{**BACKBONE, "lr": 0.02}]), stripes(FEW), tmp_path / "training")


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path):
    path = recipe_file(tmp_path, phases=[BACKBONE])
    networks = trained(path, stripes(FEW), tmp_path / "training")
    loaded = load_recipe(path)
    save_checkpoint(networks, loaded, tmp_path / "weights.safetensors")
    load_checkpoint(networks, loaded, tmp_path / "weights.safetensors")
    other = loaded.model_copy(update={"timesteps": 3})
    with pytest.raises(ModelError, match="another version of this recipe"):
        load_checkpoint(networks, other, tmp_path / "weights.safetensors")
    (tmp_path / "weights.safetensors").write_bytes(b"garbage")
    with pytest.raises(ModelError, match="not the weights"):
        load_checkpoint(networks, loaded, tmp_path / "weights.safetensors")


def test_a_cpu_without_avx_512_trains_in_float32_unless_told(monkeypatch):
    for capability, expected in (("AVX2", "fp32"), ("DEFAULT", "fp32"), ("AVX512", "bf16")):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda capability=capability: capability)
        assert precision_on("cpu", None) == expected
        assert precision_on("cuda", None) == "bf16"
        assert precision_on("cpu", "bf16") == "bf16"
