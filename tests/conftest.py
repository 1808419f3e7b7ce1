"""What holds for every test: which ones share a process of `make test`, and who goes first there."""

from __future__ import annotations

import os
from typing import Any

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported, and for every process that a test starts: the test processes share the cores.
    os.environ["OMP_NUM_THREADS"] = "1"

OVER_SSH = ("tests/integration/test_ssh.py", "tests/integration/test_check_ssh.py")
COMPUTING = ("tests/integration/test_train.py", "tests/integration/test_events.py")
YIELDING = 10


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Campaigns stay in one process each, here and over SSH, where they cannot disturb each other; so does a module.

    They begin first, and mostly wait: the cores are free for what computes.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Schedule(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    return Schedule(config, log)


def scope_of(nodeid: str) -> str:
    """Tests of one scope run one after the other, in one process."""
    module = nodeid.split("::", 1)[0]
    if not _is_timed(module):
        return module
    return "campaigns over SSH" if module in OVER_SSH else "campaigns"


@pytest.fixture(autouse=True, scope="module")
def yields(request: pytest.FixtureRequest) -> None:
    """What computes leaves the cores to campaigns that run beside it, since their times count."""
    if "PYTEST_XDIST_WORKER" in os.environ and not _is_timed(request.node.nodeid):
        os.nice(YIELDING - os.nice(0))


def _is_timed(module: str) -> bool:
    return module.startswith("tests/integration/") and module not in COMPUTING
