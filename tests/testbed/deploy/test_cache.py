"""What the workstation keeps of what it sends to nodes."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from testbed.deploy import cache
from testbed.deploy.download import cache_folder
from testbed.deploy.local import LocalDeployer
from testbed.errors import DeployError
from testbed.steward.kept import CODES, UNUSED_DAYS, Gone
from tests.made import records

ROOT = Path(__file__).parents[3]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return cache_folder()


def wheels(folder: Path, key: str, days: float) -> Path:
    made = folder / "wheels" / key
    made.mkdir(parents=True)
    (made / "numpy.whl").write_bytes(bytes(1000))
    os.utime(made, (time.time() - days * 86400,) * 2)
    return made


def zips(folder: Path, number: int) -> None:
    (folder / "testbed").mkdir(parents=True)
    for age in range(number):
        path = folder / "testbed" / f"{age}.zip"
        path.write_bytes(bytes(10))
        os.utime(path, (time.time() - age,) * 2)


def test_tests_keep_the_outputs_of_emulated_nodes_in_a_cache_of_their_own() -> None:
    kept = LocalDeployer(records.profile("board")).outputs_folder()
    assert Path(kept) == ROOT / ".cache" / "neucodex" / "outputs"
    told = subprocess.check_output([sys.executable, "-c", "import os; print(os.environ['XDG_CACHE_HOME'])"], text=True)
    assert told.strip() == str(ROOT / ".cache"), "a command that a test starts has it too"


def test_old_wheels_old_zips_and_what_was_left_half_made_go_and_that_is_said(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recent, old = wheels(folder, "recent", UNUSED_DAYS - 1), wheels(folder, "old", UNUSED_DAYS + 1)
    half = wheels(folder, ".recent.17.part", 0)
    zips(folder, CODES + 1)
    with caplog.at_level(logging.INFO, "testbed"):
        cache.drop_unused()
    assert [path.exists() for path in (recent, old, half)] == [True, False, False]
    assert sorted(path.stem for path in (folder / "testbed").iterdir()) == [str(age) for age in range(CODES)]
    assert "wheels 0.0 MB (2), testbed 0.0 MB (1)" in caplog.text
    assert f"unused for {UNUSED_DAYS} days" in caplog.text


def test_nothing_goes_while_a_node_is_deployed_to(folder: Path) -> None:
    old = wheels(folder, "old", UNUSED_DAYS + 1)
    with cache.in_use(), cache.in_use():  # two nodes at once
        cache.drop_unused()
        with pytest.raises(DeployError, match=r"neucodex: in use, as a node is being deployed to"):
            cache.clear()
    assert old.exists()
    cache.drop_unused()
    assert not old.exists()


def test_clean_removes_all_of_it_and_nothing_beside_it(folder: Path) -> None:
    assert cache.clear() == {}
    wheels(folder, "recent", 0)
    zips(folder, 1)
    (folder / "outputs").mkdir()
    (folder / "outputs" / "graph-content").write_bytes(bytes(100))
    (folder / "environments").mkdir()  # of this machine as somebody's node
    assert cache.clear() == {"wheels": Gone(1, 1000), "testbed": Gone(1, 10), "outputs": Gone(1, 100)}
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "environments"]
