"""An environment for workers that cannot be made."""

from __future__ import annotations

import asyncio

import pytest

from testbed.deploy.environment import interpreter
from testbed.errors import DeployError

FACTS = {
    "python": "/usr/bin/python3",
    "version": "3.10.12",
    "machine": "aarch64",
    "libc": ("glibc", "2.35"),
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
