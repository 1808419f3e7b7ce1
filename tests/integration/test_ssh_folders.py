"""A node over real sshd whose folder for the testbed cannot be used: one line that names it and says what to do."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from devices.profile import Profile, Runtime, SshReach
from testbed.deploy.deployer import Claim
from testbed.deploy.ssh import SshDeployer
from testbed.errors import DeployError
from tests.fakes.disk import small_disk
from tests.integration.test_ssh_logins import login, nodes

__all__ = ["login", "nodes"]  # fixtures

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def reach(folder: object) -> str:
    """Open a node whose profile names a folder; returns what went wrong."""
    profile = Profile(
        name="board",
        kind="host",
        reach=SshReach("edge"),
        runtime=Runtime(provider="cpu"),
        python=sys.executable,
        folder=None if folder is None else str(folder),
    )

    async def go() -> None:
        deployer = SshDeployer(profile, Claim("somebody@here", "folders", f"folders-{os.getpid()}"))
        try:
            await deployer.open()
        finally:
            await deployer.close()

    with pytest.raises(DeployError) as seen:
        asyncio.run(asyncio.wait_for(go(), 60))
    assert "\n" not in str(seen.value)
    assert "pip install" not in str(seen.value)
    return str(seen.value)


WHERE = "is where the testbed keeps its files there: let the user that logs in write there, or name another `folder:`"


def test_a_folder_that_cannot_be_made_is_named(login, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nowhere")):
        said = reach(folder)
        assert said.startswith("board: ")
        assert f"; {folder} {WHERE}" in said


def test_a_home_that_is_read_only_is_named_with_what_to_do(login, tmp_path: Path) -> None:
    home = tmp_path / "home"
    login.through(f'HOME={home} exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"')
    try:
        with small_disk(home) as disk:
            disk.remount("ro")
            said = reach(None)
    finally:
        login.keys(login.key)
    assert said.startswith(f"board: Read-only file system: {home}/.cache; {home}/.cache/neucodex {WHERE}"), said


def test_a_user_without_a_home_is_asked_for_a_folder(login) -> None:
    assert "home folder of ~nobody-such/x; name another `folder:`" in reach("~nobody-such/x")


@pytest.mark.parametrize("kib", [16, 700])
def test_a_folder_without_room_is_named(kib: int, login, tmp_path: Path) -> None:
    """Too small for its folders, or for the testbed."""
    with small_disk(tmp_path / "node", kib=kib) as disk:
        disk.fill(leave_pages=1 if kib == 16 else 20)
        said = reach(disk.folder)
    assert "make room there, or name another `folder:`" in said
    assert str(disk.folder) in said


def test_a_part_of_it_that_is_read_only_is_not_answered_with_pip(login, tmp_path: Path) -> None:
    """As when `sudo` once made it: what cannot be written is an environment, which is the last thing that is made."""
    with small_disk(tmp_path / "node" / "environments") as disk:
        disk.remount("ro")
        said = reach(tmp_path / "node")
    assert said.startswith(f"board: Read-only file system: {tmp_path}/node/environments/"), said
    assert f"; {tmp_path}/node {WHERE}" in said


def test_packages_are_not_sent_to_where_none_can_be_loaded(login, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("testbed.deploy.environment.download", lambda *_: [Path("numpy-2.0-py3-none-any.whl")])
    monkeypatch.setattr("testbed.deploy.wheels.lacking", lambda needed, found, python: needed[:1])
    with small_disk(tmp_path / "node", kib=4096) as disk:
        disk.remount("noexec")
        said = reach(disk.folder)
    assert said == (
        f"board: {disk.folder} is on a file system that is mounted noexec, so no package in it can be loaded; name "
        "another `folder:` in the profile"
    )
