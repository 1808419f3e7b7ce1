"""An unknown key is told with the key that it may stand for."""

import pytest

from testbed.experiment.spec import Experiment
from testbed.meant import meant
from testbed.snn.recipe import Recipe


@pytest.mark.parametrize(
    ("model", "keys", "expected"),
    [
        (Experiment, ("repeat",), "repeats"),
        (Experiment, ("cells", 3, "codek"), "codec"),
        (Experiment, ("models", "any-name", "recipy"), "recipe"),
        (Experiment, ("requests",), "scenario.requests"),
        (Experiment, ("foo",), None),
        (Recipe, ("training", "phases", 0, "epoch"), "epochs"),
        (Recipe, ("variants", "coded", "bottleneck", "chanels"), "channels"),
        (Recipe, ("batch_size",), "training.batch_size"),
    ],
)
def test_a_key_is_found_by_its_spelling_in_its_block_or_by_its_name_elsewhere(model, keys, expected):
    assert meant(model, keys) == expected


def test_a_name_that_lies_in_several_places_is_no_hint():
    assert meant(Recipe, ("epochs",)) == "training.phases.epochs"
    assert meant(Recipe, ("seed",)) is None, "of the data set, or of the training"


def test_a_key_that_the_block_has_already_is_not_meant():
    assert meant(Experiment, ("cells", 0, "modle")) == "mode"
    assert meant(Experiment, ("cells", 0, "modle"), {"mode": "co_inference", "modle": "early"}) == "model"
