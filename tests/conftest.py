"""What holds for every test: which ones share a process of `make test`, and how many threads that has."""

from __future__ import annotations

import os
from typing import Any

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported, and for every process that a test starts: two test processes share the cores.
    os.environ["OMP_NUM_THREADS"] = "1"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The campaigns of tests/integration stay in one process, where they cannot disturb each other; so does a module.

    They begin first, and mostly wait: the other process has nearly a core for what computes.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Schedule(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module = nodeid.split("::", 1)[0]
            return "campaigns" if module.startswith("tests/integration/") else module

    return Schedule(config, log)
