"""An environment for workers that cannot be made."""

from __future__ import annotations

import asyncio
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from testbed.deploy.deployer import Step
from testbed.deploy.environment import interpreter
from testbed.errors import DeployError

FACTS = {
    "python": "/usr/bin/python3",
    "version": "3.10.12",
    "machine": "aarch64",
    "libc": ("glibc", "2.35"),
    "managed": False,
    "noexec": False,
    "packages": {},
    "environments": [],
    "free_bytes": 1,
}


class Steward:
    """A node on which no environment can be made, for the reason given."""

    node = "board"

    def __init__(self, why: str) -> None:
        self.why = why

    async def ask(self, do: str, **what: object) -> list[str]:
        if do == "files":
            return []
        raise DeployError(f"{self.node}: {self.why}")


def test_a_python_without_venv_names_the_package_to_install() -> None:
    with pytest.raises(
        DeployError, match=r"board: No module named 'venv'; .* comes without venv.*apt install python3-venv"
    ):
        asyncio.run(interpreter(Steward("No module named 'venv'"), FACTS, []))


def test_another_reason_says_what_to_do_by_hand() -> None:
    with pytest.raises(DeployError, match=r"No space left; no environment for the workers .* By hand"):
        asyncio.run(interpreter(Steward("No space left"), FACTS, []))


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Wheels as they would be downloaded: each a small file that unpacks to a million bytes."""
    made = [tmp_path / "numpy-2.0-py3-none-any.whl", tmp_path / "pip-25.0-py3-none-any.whl"]
    for wheel in made:
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("content.py", b" " * 1_000_000)
    monkeypatch.setattr("testbed.deploy.environment.download", lambda wanted, python, folder, stop: made)
    return made


def test_room_is_needed_for_what_the_wheels_unpack_to(found: list[Path]) -> None:
    sent = sum(wheel.stat().st_size for wheel in found)
    facts = {**FACTS, "free_bytes": sent + 1_000_000, "root": "/node"}
    with pytest.raises(DeployError, match=r"board: 2\.0 MB will be taken up, but /node has room for 1\.0 MB"):
        asyncio.run(interpreter(Steward("it was not asked for"), facts, [Requirement("numpy>=1.26")]))


def test_the_nodes_own_pip_settings_do_not_count_and_nothing_is_compiled(found: list[Path]) -> None:
    asked: dict[str, Any] = {}

    class Willing(Steward):
        async def ask(self, do: str, **what: Any) -> Any:
            asked[do] = what
            return [] if do == "files" else "/node/python"

    facts = {**FACTS, "free_bytes": 10_000_000, "root": "/node"}
    told: list[str] = []
    step: Step = lambda what, done, total: told.append(what)  # noqa: E731
    assert asyncio.run(interpreter(Willing(""), facts, [Requirement("numpy>=1.26")], step)) == "/node/python"
    assert told == ["downloading packages for Python 3.10 on aarch64", "installing packages"]
    install = asked["environment"]["commands"][0]
    assert install[0].endswith("/pip")
    assert {"install", "--isolated", "--no-compile", "--no-index"} <= set(install)
