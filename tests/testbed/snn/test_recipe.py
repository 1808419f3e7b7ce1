"""A recipe says what it trains; what it cannot mean is refused in one line."""

import math
from pathlib import Path

import pytest
import yaml

from testbed.errors import ExperimentError, TestbedError
from testbed.snn.network_spec import BottleneckSpec, reachable
from testbed.snn.recipe import Recipe, family_digest, load_recipe, recipe_digest

RECIPE = {
    "name": "small",
    "dataset": {"name": "digits", "image_size": 32, "channels": 1},
    "backbone": {"name": "resnet18", "width": 16},
    "variants": {"plain": {"split": "stage2"}},
    "training": {"phases": [{"train": "backbone", "epochs": 2, "lr": 0.01}]},
}


def load(folder: Path, **changes: object) -> Recipe:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump({**RECIPE, **changes}))
    return load_recipe(path)


def coded(**bottleneck: object) -> dict[str, object]:
    return {"coded": {"split": "stage2", "bottleneck": bottleneck}}


@pytest.mark.parametrize(
    ("compression", "code"), [(32, (32, 16, 16)), (512, (8, 8, 8)), (2048, (2, 8, 8)), (65536, (1, 2, 2))]
)
def test_a_compression_becomes_a_code(tmp_path, compression, code):
    recipe = load(tmp_path, variants=coded(compression=compression))
    variant = recipe.variants["coded"]
    assert recipe.code_shape(variant) == code
    assert recipe.compression(variant) == compression


def test_of_two_codes_the_one_that_shrinks_channels_and_area_alike_is_taken():
    ways = {way[1:] for way in reachable((64, 16, 16)) if way[0] == 512}
    assert ways == {(4, 1), (16, 2), (64, 4)}
    assert BottleneckSpec(compression=512).resolve((64, 16, 16)) == (16, 2)


def test_an_unreachable_compression_lists_its_neighbours(tmp_path):
    with pytest.raises(ExperimentError, match=r"no code of 32x16x16 features has a compression of 1000.*963.*1024"):
        load(tmp_path, variants=coded(compression=1000))


def test_every_reachable_code_is_as_small_as_it_says():
    for feature in ((16, 32, 32), (128, 4, 4), (128, 1, 1)):
        for compression, channels, stride in reachable(feature):
            bits = channels * (feature[1] // stride) * (feature[2] // stride)
            assert compression == 32 * math.prod(feature) / bits


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variants": coded(channels=4)}, "either `channels` and `stride`, or `compression`"),
        ({"variants": coded(channels=4, stride=4, compression=64)}, "either `channels` and `stride`, or"),
        ({"variants": {"plain": {"split": "stage5"}}}, "resnet18 has no split 'stage5'; there is stem, stage1"),
        ({"backbone": {"name": "vgg16", "shortcut": "spike"}}, "vgg16 has no shortcuts"),
        (
            {"variants": {"coded": {"split": "stage4", "bottleneck": {"channels": 1, "stride": 8}}}},
            "does not divide 4x4",
        ),
        ({"backbone": {"name": "vgg16"}, "dataset": {"name": "digits", "image_size": 16}}, "16 pixels are too few"),
        ({"dataset": {"name": "digits_dvs", "frames": 5}}, "dataset.frames is 5, but timesteps is 4"),
        ({"variants": coded(channels=4, stride=4, hidden=8)}, "give `layers` of 2 or more"),
        ({"variants": coded(channels=4, stride=4, layers=2)}, "a stride of 4 takes 3 layers or more, not 2"),
        ({"variants": {"plain": {"split": "stage2.1"}}}, "a shortcut carries a membrane current past stage2.1"),
        ({"variants": {"plain": {"split": "stage2.2"}}}, "no split 'stage2.2'; there is stem, stage1.1, stage1"),
        ({"variants": {"a": {"split": "stem", "control": True}}}, "trained in an `all` phase, and there is none"),
        (
            {"variants": {"a": {"split": "stem", "control": True, "bottleneck": {"compression": 512}}}},
            "a control is the network without its bottleneck",
        ),
        ({"variants": coded(channels=4, stride=4, encoder="pixels")}, "a layer for each halving and one more"),
        (
            {"variants": coded(channels=4, stride=4, encoder="pixels", layers=3)},
            "a stride of 8 takes 4 layers or more, not 3",
        ),
        (
            {
                "dataset": {"name": "digits", "image_size": 33, "channels": 1},
                "variants": coded(channels=4, stride=1, encoder="pixels", layers=5),
            },
            "halving 33x33 pixels never gives the 17x17 of the code",
        ),
        ({"variants": {}}, "a spiking network needs at least one variant"),
        ({"backbone": {"neuron": "relu"}}, "a relu network has no spikes to send"),
        ({"backbone": {"neuron": "relu"}, "variants": {}}, "a relu network has no time: timesteps is 4, not 1"),
    ],
)
def test_what_cannot_be_meant_is_one_line(tmp_path, changes, message):
    with pytest.raises(ExperimentError, match=message) as caught:
        load(tmp_path, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("phase", "message"),
    [
        ({"timesteps": [1]}, "timesteps lists 1 epochs, epochs says 2"),
        ({"crops": [8, 8, 8]}, "crops lists 3 epochs"),
        ({"distill": {"weight": 1.0}}, "a backbone that distils needs a teacher"),
        ({"frozen": ["stage4"]}, "frozen is for phases that train all, not backbone"),
        ({"train": "all", "frozen": ["stage9"]}, "no segment 'stage9'; there is stem, stage1"),
        ({"train": "all", "frozen": ["stage2.1"]}, "no segment 'stage2.1'; there is stem, stage1, stage2"),
        ({"train": "all", "match": {"weight": 1.0, "segments": ["stage2.1"]}}, "no segment 'stage2.1'"),
        ({"spike_rate": {"weight": 1.0}}, "for variants with a bottleneck"),
        ({"entropy": {"weight": 1.0}}, "entropy is for variants with a bottleneck"),
        ({"match": {"weight": 1.0}}, "match is for variants with a bottleneck"),
    ],
)
def test_a_phase_that_makes_no_sense_is_refused(tmp_path, phase, message):
    training = {"phases": [{"train": "backbone", "epochs": 2, "lr": 0.01, **phase}]}
    with pytest.raises(ExperimentError, match=message):
        load(tmp_path, training=training)


def test_epochs_may_be_listed_one_by_one_or_as_runs(tmp_path):
    phase = {"train": "backbone", "epochs": 5, "lr": 0.01}
    short, long = (
        load(tmp_path, training={"phases": [{**phase, "timesteps": steps, "crops": crops}]})
        for steps, crops in ((["3x1", 2, "1x4"], ["5x32"]), ([1, 1, 1, 2, 4], [32] * 5))
    )
    assert short.training.phases[0].timesteps == (1, 1, 1, 2, 4)
    assert recipe_digest(short) == recipe_digest(long)
    for wrong in (["0x1", 1, 1, 1, 1, 1], ["5x"], ["ax1"], ["5x0"], "5x1"):
        with pytest.raises(ExperimentError):
            load(tmp_path, training={"phases": [{**phase, "timesteps": wrong}]})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "x" * 65}, "name: String should have at most 64 characters"),
        ({"timesteps": True}, "timesteps: expected a number"),
        ({"backbone": {"tau": math.inf}}, "backbone.tau: Input should be a finite number"),
        ({"variants": coded(compression=1e300)}, "compression: Input should be less than or equal to 2097152"),
        ({"variants": coded(channels=10**6, stride=1)}, "channels: Input should be less than or equal to 1024"),
    ],
)
def test_a_number_out_of_its_bounds_is_refused(tmp_path, changes, message):
    with pytest.raises(ExperimentError, match=message) as caught:
        load(tmp_path, **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("phase", "message"),
    [
        ({"lr": math.nan}, "lr: Input should be a finite number"),
        ({"epochs": 10_001}, "epochs: Input should be less than or equal to 10000"),
        ({"timesteps": ["99999x1"] * 10_000}, "timesteps: expected at most 10000 epochs"),
    ],
)
def test_a_phase_out_of_its_bounds_is_refused_before_it_fills_memory(tmp_path, phase, message):
    training = {"phases": [{"train": "backbone", "epochs": 2, "lr": 0.01, **phase}]}
    with pytest.raises(ExperimentError, match=message):
        load(tmp_path, training=training)


def on_base(folder: Path, **changes: object) -> Recipe:
    load(folder, checkpoint="small.safetensors", training={**RECIPE["training"], "batch_size": 32})
    path = folder / "other.yaml"
    path.write_text(yaml.safe_dump({"base": "small.yaml", "name": "other", **changes}))
    return load_recipe(path)


def test_a_recipe_on_a_base_says_what_the_base_says_but_for_what_it_says_itself(tmp_path):
    other, small = on_base(tmp_path, training={"seed": 7}), load_recipe(tmp_path / "small.yaml")
    assert (other.name, other.training.seed, other.training.batch_size) == ("other", 7, 32)
    assert (other.training.phases, other.variants) == (small.training.phases, small.variants)
    assert other.checkpoint is None, "the weights are those of another seed"
    assert recipe_digest(other) != recipe_digest(small)
    assert family_digest(other) == family_digest(small)
    assert family_digest(on_base(tmp_path, timesteps=2)) != family_digest(small)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": "../small.yaml"}, r"other.yaml: base: expected the name of a recipe in the same folder \(found '../"),
        ({"base": "gone.yaml"}, "gone.yaml"),
        ({"base": "other.yaml"}, "other.yaml has a base itself"),
        ({"name": "Other"}, "name: String should match pattern"),
        ({"training": {"sead": 1}}, "training.sead: unknown key"),
    ],
)
def test_a_base_that_cannot_be_is_one_line(tmp_path, changes, message):
    with pytest.raises(TestbedError, match=message) as caught:
        on_base(tmp_path, **changes)
    assert "\n" not in str(caught.value)


def test_a_recipe_on_a_base_has_a_name_of_its_own(tmp_path):
    load(tmp_path)
    (tmp_path / "other.yaml").write_text("base: small.yaml\ntraining: {seed: 1}\n")
    with pytest.raises(ExperimentError, match="name: is missing"):
        load_recipe(tmp_path / "other.yaml")


def test_every_recipe_that_ships_can_be_read():
    folder = Path(__file__).parents[3] / "experiments" / "train"
    paths = sorted(folder.glob("*.yaml"))
    assert [load_recipe(path).name for path in paths] == [path.stem for path in paths]


def test_the_digest_knows_what_is_trained_and_not_where_the_files_lie(tmp_path):
    recipe = load(tmp_path)
    moved = load(tmp_path, checkpoint="elsewhere.safetensors")
    other = load(tmp_path, backbone={"name": "resnet18", "width": 8})
    assert recipe_digest(moved) == recipe_digest(recipe) != recipe_digest(other)


def test_splits_of_plain_spikes_are_no_part_of_the_digest(tmp_path):
    """Weights that ship are known by it, and such a split can be added to them."""
    alone = load(tmp_path)
    more = load(tmp_path, variants={"plain": {"split": "stage1"}, "other": {"split": "stem"}})
    code = load(tmp_path, variants={**RECIPE["variants"], **coded(compression=512)})
    assert recipe_digest(alone) == recipe_digest(more) != recipe_digest(code)
