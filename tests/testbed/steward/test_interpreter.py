"""What a node's Python says of itself."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import pytest

from testbed.steward.interpreter import interpreter


def test_packages_are_found_by_module_and_a_version_that_is_not_told_is_empty() -> None:
    found = interpreter({"pytest": "pytest", "no-such": "no_such_module", "nothing": "json"})["packages"]
    assert found == {"pytest": pytest.__version__, "no_such_module": None, "json": ""}


def test_a_distributions_python_is_not_for_pip_but_an_environment_of_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(sys, "prefix", "/usr")
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    assert interpreter({})["managed"] is False
    (tmp_path / "EXTERNALLY-MANAGED").write_text("[externally-managed]\n")
    assert interpreter({})["managed"] is True
    monkeypatch.setattr(sys, "prefix", "/home/somebody/venv")
    assert interpreter({})["managed"] is False
