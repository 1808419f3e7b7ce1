"""What holds for every test: which ones run alone, and one thread for each of several test processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported, and for every process that a test starts: two test processes share the cores.
    os.environ["OMP_NUM_THREADS"] = "1"

INTEGRATION = Path(__file__).parent / "integration"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole campaigns are `real`, all of them: `make test` runs them after the others, one at a time."""
    for item in items:
        if item.path.is_relative_to(INTEGRATION):
            item.add_marker(pytest.mark.real)
