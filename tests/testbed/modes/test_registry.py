"""What the workstation asks of a mode before anything heavy is loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

from testbed.errors import ExperimentError
from testbed.modes import facts_of, mode_names


def test_a_mode_is_found_by_the_name_that_an_experiment_gives_it() -> None:
    assert [facts_of(name).name for name in mode_names()] == list(mode_names())
    assert {"edge_only", "cloud_only", "co_inference"} <= set(mode_names())


def test_a_mode_that_does_not_exist_is_named_beside_those_that_do() -> None:
    with pytest.raises(ExperimentError, match=r"no mode is named 'fog_only'; there is edge_only, cloud_only, co_"):
        facts_of("fog_only")


@pytest.mark.parametrize("name", ["edge_only", "cloud_only", "co_inference"])
def test_what_a_mode_says_of_itself_is_consistent(name: str) -> None:
    facts = facts_of(name)
    assert ("cloud" in facts.roles) == (facts.sends != "nothing") == (facts.cloud_part is not None)
    assert facts.needs_codec == (facts.sends == "code")
    assert facts.network == ("split" if facts.sends == "code" else "full")


def test_modes_are_described_without_loading_arrays_graphs_or_sockets() -> None:
    heavy = ("numpy", "onnxruntime", "zmq", "torch")
    script = f"import sys, testbed.modes; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
