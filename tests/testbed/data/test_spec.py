"""The dataset block of a recipe: what belongs to which data set, and what digests see of it."""

import pydantic
import pytest

from testbed.data.datasets import LOADERS, DatasetSpec
from testbed.data.spec import EVENTS, Name


def test_every_name_has_a_loader():
    assert sorted(LOADERS) == sorted(Name.__args__)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"name": "digits", "frames": 4}, "frames does not belong to digits"),
        ({"name": "digits", "channels": 3}, "digits has channels 1"),
        ({"name": "image_folder", "channels": 2}, "channels 1 or 3"),
        ({"name": "digits_dvs", "frames": 4, "channels": 1}, "channels 2"),
        ({"name": "image_folder_dvs"}, "needs frames"),
        ({"name": "cifar10", "split": "random"}, "only the published split"),
        ({"name": "n_caltech101", "frames": 4, "split": "published"}, "only the random split"),
        ({"name": "cifar10_dvs", "frames": 4}, "numbers differ"),
        ({"name": "cifar10_dvs", "frames": 4, "split": "published", "test": 0.2}, "its own test set"),
        ({"name": "n_caltech101", "frames": 4, "dvs": {}}, "dvs does not belong"),
        ({"name": "cifar10", "classes": 10}, "classes does not belong"),
        ({"name": "caltech101", "classes": 11}, "classes"),
        ({"name": "image_folder", "image_size": 7}, "image_size"),
        ({"name": "image_folder", "sise": 8}, "sise"),
        ({"name": "mnist"}, "name"),
        ({"name": 3}, "name"),
        ("digits", "valid dictionary"),
    ],
)
def test_what_does_not_belong_is_refused(block, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        DatasetSpec.model_validate(block)


@pytest.mark.parametrize("name", EVENTS)
def test_event_data_sets_have_two_channels_of_their_own_accord(name):
    needed = {"cifar10_dvs": {"split": "random"}, "event_folder": {"sensor": [34, 34]}}
    spec = DatasetSpec(name=name, frames=10, **needed.get(name, {}))
    assert (spec.channels, spec.split_by) == (2, "number")
    assert (spec.dvs is not None) == name.endswith(("digits_dvs", "folder_dvs"))


def test_a_recipe_from_before_the_new_keys_keeps_its_digest():
    said = DatasetSpec(name="digits", channels=1).model_dump(mode="json")
    assert set(said) == {"name", "title", "path", "image_size", "channels", "seed", "validation"}


def test_a_block_survives_being_written_and_read():
    spec = DatasetSpec(name="image_folder_dvs", frames=4, dvs={"threshold": 0.3}, title="x")
    assert DatasetSpec.model_validate(spec.model_dump(mode="json")) == spec
    assert len({spec, DatasetSpec.model_validate(spec.model_dump())}) == 1
