"""Files to start from are read as they are written, and replace no file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from devices.profile import load_profile
from testbed.campaign.outlook import look_ahead
from testbed.errors import ExperimentError
from testbed.snn.recipe import load_recipe
from testbed.starts import FOLDERS, write_start


def test_a_new_experiment_can_be_planned_as_it_is(tmp_path: Path) -> None:
    written = write_start("experiment", tmp_path / "deep" / "My First.yaml")
    assert written == tmp_path / "deep" / "My First.yaml"
    for overrides in ((), ("profile=small",)):
        outlook = look_ahead(written, tmp_path / "results", overrides=overrides)
        assert len(outlook.cells) == 4
        assert outlook.folder.path.name == "my-first" + ("-small" if overrides else "")


def test_a_new_recipe_is_read_as_it_is(tmp_path: Path) -> None:
    recipe = load_recipe(write_start("recipe", tmp_path / "mine.yaml"))
    assert recipe.name == "mine"
    assert recipe.compression(recipe.variants["coded"]) == 2048


def test_a_new_device_is_one_that_ships_under_another_name(tmp_path: Path) -> None:
    assert load_profile(write_start("device", tmp_path / "orin-01.yaml")).name == "orin-01"
    gpu = load_profile(write_start("device", tmp_path / "gpu-01.yaml", "nvidia-gpu"))
    assert (gpu.name, gpu.kind) == ("gpu-01", "nvidia_gpu")
    with pytest.raises(ExperimentError, match=r"no profile 'none' ships; there is emulated-agx-orin, .*, host, "):
        write_start("device", tmp_path / "x.yaml", "none")


@pytest.mark.parametrize("kind", FOLDERS)
def test_no_file_is_replaced(kind, tmp_path: Path) -> None:
    there = tmp_path / "there.yaml"
    there.write_text("mine")
    with pytest.raises(ExperimentError, match=re.escape(f"{there}: there is such a file already")):
        write_start(kind, there)
    assert there.read_text() == "mine"


@pytest.mark.parametrize("kind", FOLDERS)
def test_without_a_path_it_lies_where_such_files_do(kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert write_start(kind) == Path(f"my-{kind}.yaml")
    (tmp_path / FOLDERS[kind]).mkdir(parents=True)
    assert write_start(kind) == Path(FOLDERS[kind], f"my-{kind}.yaml")


def test_what_is_to_be_changed_is_marked_in_each(tmp_path: Path) -> None:
    for kind in FOLDERS:
        assert "<-" in write_start(kind, tmp_path / f"{kind}.yaml").read_text()
