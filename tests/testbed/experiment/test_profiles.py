"""A profile changes some keys of an experiment; --set has the last word, and the name says that it was taken."""

from pathlib import Path

import pytest

from testbed.errors import ExperimentError
from testbed.experiment import load_experiment

TEXT = """\
name: whole
title: Everything
models:
  m: {recipe: r.yaml, variant: plain}
nodes: {edge: e.yaml, cloud: c.yaml}
scenario: {requests: 400, warmup: 20}
cells:
  - {mode: cloud_only, model: m, link: [wifi, lte, wired]}
profiles:
  small:
    repeats: 2
    scenario: {requests: 10}
    cells: [{mode: cloud_only, model: m}]
    models:
      m: {recipe: small/r.yaml}
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str = TEXT) -> Path:
        path = tmp_path / "whole.yaml"
        path.write_text(text)
        return path

    return write


def test_without_its_profile_an_experiment_is_as_it_is_written(write):
    experiment = load_experiment(write())
    assert (experiment.name, experiment.title, experiment.repeats, len(experiment.cells)) == (
        "whole",
        "Everything",
        5,
        3,
    )


def test_a_profile_is_merged_block_by_block_and_replaces_lists(write, tmp_path):
    experiment = load_experiment(write(), ("profile=small",))
    assert (experiment.repeats, experiment.scenario.requests, experiment.scenario.warmup) == (2, 10, 20)
    assert len(experiment.cells) == 1
    assert (experiment.models["m"].recipe, experiment.models["m"].variant) == (tmp_path / "small" / "r.yaml", "plain")


def test_an_experiment_in_a_profile_is_named_after_it(write):
    experiment = load_experiment(write(), ("profile=small",))
    assert (experiment.name, experiment.title) == ("whole-small", "Everything [small]")
    with pytest.raises(ExperimentError, match=r"the name x{60}-small is longer than 64"):
        load_experiment(write(TEXT.replace("name: whole", "name: " + "x" * 60)), ("profile=small",))


def test_set_has_the_last_word(write):
    experiment = load_experiment(write(), ("scenario.requests=7", "profile=small"))
    assert (experiment.scenario.requests, experiment.repeats) == (7, 2)


@pytest.mark.parametrize(
    ("old", "new", "overrides", "message"),
    [
        ("", "", ("profile=smal",), "--set profile=smal: profile: no profile is named 'smal'; profiles has small"),
        ("repeats: 2", "repeats: 0", ("profile=small",), "{}:11: profiles.small.repeats: Input should be greater"),
        ("requests: 10", "requests: 0", ("profile=small", "repeats=3"), "{}:12: profiles.small.scenario.requests: "),
        ("requests: 10", "request: 10", ("profile=small",), "{}:12: profiles.small.scenario.request: unknown key"),
        ("{mode: cloud_only, model: m}]", "{mode: x, model: m}]", ("profile=small",), "{}:13: profiles.small.cells.0."),
        ("repeats: 2", "repeatz: 2", (), "{}:11: profiles.small.repeatz: unknown key"),
        ("repeats: 2", "name: other", (), "{}:11: profiles.small.name: unknown key, or one that a profile"),
        ("", "", ("profile=small", "repeats=0"), "--set repeats=0: repeats: Input should be greater"),
    ],
)
def test_what_is_wrong_is_said_where_it_stands(write, old, new, overrides, message):
    path = write(TEXT.replace(old, new) if old else TEXT)
    with pytest.raises(ExperimentError) as caught:
        load_experiment(path, overrides)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(message.format(path))
