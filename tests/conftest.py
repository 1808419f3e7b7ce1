"""What holds for every test: which share a process of `make test`, in which order, who goes first, and what is kept."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# How long an example takes says how busy the machine is; how long a test may take, pytest-timeout says.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

SHARED = "PYTEST_XDIST_WORKER" in os.environ
if SHARED:
    # Before torch is imported, and for every process that a test starts: the test processes share the cores.
    os.environ["OMP_NUM_THREADS"] = "1"

# Before anything reads it, and for every process that a test starts: what this machine keeps is the tests' own.
# Pip's downloads and the arm64 machine stay the user's, since they take long to get, and decide nothing.
_users_cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
os.environ.setdefault("PIP_CACHE_DIR", str(_users_cache / "pip"))
os.environ.setdefault("TESTBED_ARM64", str(_users_cache / "neucodex" / "arm64"))
CACHE = Path(__file__).parents[1] / ".cache"
os.environ["XDG_CACHE_HOME"] = str(CACHE)
if not SHARED:  # this process begins the session: no test takes what an earlier session computed
    shutil.rmtree(CACHE / "neucodex" / "outputs", ignore_errors=True)

BESIDE = ("ssh_folders", "clean_ssh", "full_disk", "resume", "fallback")
"""Campaigns that go with those over SSH, so that the two processes end together."""

OVER_SSH = tuple(f"tests/integration/test_{name}.py" for name in ("ssh", "check_ssh", "ssh_logins", *BESIDE))
COMPUTING = ("tests/integration/test_train.py", "tests/integration/test_events.py")
YIELDING = 3  # half the share of a campaign; far more and a busy machine would starve it


def scope_of(nodeid: str) -> str:
    """Tests of one scope run one after the other, in one process.

    Campaigns stay together, where they cannot disturb each other; those over SSH with the samplers of power, which
    wait as much; and so does a module.
    """
    module = nodeid.split("::", 1)[0]
    if module in OVER_SSH or module.startswith("tests/devices/test_power_"):
        return "campaigns over SSH"
    if not module.startswith("tests/integration/") or module in COMPUTING:
        return module
    return "campaigns"


def _turn(nodeid: str) -> int:
    """Campaigns begin first, since they mostly wait; then what takes longest, so that the processes end together."""
    scope = scope_of(nodeid)
    first = ("campaigns", "campaigns over SSH", *COMPUTING)
    return first.index(scope) if scope in first else len(first) + (not scope.startswith("tests/testbed/snn/"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if SHARED:
        items.sort(key=lambda item: _turn(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from xdist.scheduler import LoadScopeScheduling

    class Schedule(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope_of(nodeid)

    config.option.loadscopereorder = False
    return Schedule(config, log)


@pytest.fixture(autouse=True, scope="module")
def yields(request: pytest.FixtureRequest) -> None:
    """What computes leaves the cores to campaigns that run beside it, since their times count."""
    if SHARED and not scope_of(request.node.nodeid).startswith("campaigns"):
        os.nice(YIELDING - os.nice(0))
