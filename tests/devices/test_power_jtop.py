"""The sampler asks jetson-stats in a process of its own, and says what to install, start or close where it cannot."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from devices.base.errors import DeviceError
from devices.power.client import PowerSampler
from devices.power.jtop import JtopPower
from devices.profile import Profile, Runtime
from tests.devices.lines import lines_of, wait_for_lines
from tests.devices.test_power_sampler import has_ended, integrate_mj

ROOT = Path(__file__).parents[2]
FAKES = ROOT / "tests" / "fakes"


class Node:
    """An Orin Nano whose jtop service shows a power that rises from 3 W by 0.6 W/s, and where the samples go."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.out, self._control, self._patch = folder / "power.jsonl", folder / "control", patch
        self.t0_ns = time.monotonic_ns()
        patch.setenv("FAKE_JTOP_T0_NS", str(self.t0_ns))
        patch.setenv("FAKE_JTOP_CONTROL", str(self._control))
        patch.setenv("PYTHONPATH", f"{ROOT}:{FAKES}")

    def order(self, what: str) -> None:
        self._control.write_text(what)

    def start(self, **power: Any) -> PowerSampler:
        spec = JtopPower(**({"rate_hz": 2, "board": "Jetson Orin Nano"} | power))
        runtime = Runtime(provider="cpu")
        profile = Profile(name="orin", kind="jetson", reach="local", runtime=runtime, power=[spec])
        return PowerSampler.start(profile, "orin-1", self.out, Path("no-activity"))

    def lines(self) -> list[dict[str, Any]]:
        return lines_of(self.out)

    def wait_for_samples(self, count: int) -> None:
        wait_for_lines(self.out, count)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(tmp_path, monkeypatch)


def test_energy_of_a_ramp_is_read_back_from_the_rail_that_jtop_hides_in_its_total(node: Node) -> None:
    with node.start() as sampler:
        (capability,) = sampler.capabilities
        (child,) = psutil.Process(sampler.pid).children()
        node.wait_for_samples(2 * 5)
        sampler.stop()
        assert has_ended(child.pid, timeout_s=0)
    rows = [row for row in node.lines() if row["rail"] == "VDD_IN"]
    start_ns, end_ns = rows[0]["t_ns"], rows[-1]["t_ns"]
    middle_s = ((start_ns + end_ns) / 2 - node.t0_ns) / 1e9
    truth_mj = (3000 + 600 * middle_s) * (end_ns - start_ns) / 1e9
    assert integrate_mj(rows, start_ns, end_ns) == pytest.approx(truth_mj, rel=0.03)
    assert {(row["source"], row["rail"], row["scope"]) for row in node.lines()} == {
        ("jtop", "VDD_IN", "module"),
        ("jtop", "VDD_SOC", "rail"),
    }
    assert capability.detail["jetson_stats"] == "4.3.2"
    assert capability.rate_hz_max == 2
    assert capability.averaging_ms is None


def test_without_the_package_the_error_names_the_command_that_installs_it(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with pytest.raises(DeviceError, match=r"has no jetson-stats .* install it on the node: sudo pip3 install 'jetson-"):
        node.start()


def test_without_the_service_the_error_says_how_to_start_it(node: Node) -> None:
    node.order("no service")
    with pytest.raises(DeviceError, match=r"jtop: The jtop.service is not active. .* sudo systemctl restart jtop"):
        node.start()


def test_a_service_that_another_client_has_slowed_down_is_refused(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_JTOP_SERVICE_S", "1")
    with pytest.raises(DeviceError, match=r"runs at 1 s instead of 0\.5 s: .* or set `rate_hz: 1`"):
        node.start()


@pytest.mark.parametrize("what", ["no rails", "no total", "nothing"])
def test_a_node_without_rails_has_no_power_whatever_its_release_of_jtop_leaves_out(node: Node, what: str) -> None:
    node.order(what)
    with pytest.raises(DeviceError, match="jtop's service shows no power rails"):
        node.start()


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("lost", r"jtop: Lost connection with jtop server"),
        ("end", r"jtop: the service sends no more; look at: systemctl status jtop\.service"),
        ("stale", r"jtop stalled: nothing for 5 s, at an interval of 0\.5 s"),
        ("OTHER", r"jtop no longer gives VDD_IN"),
    ],
)
def test_what_goes_wrong_later_ends_the_sampling_and_is_told(node: Node, what: str, error: str) -> None:
    with node.start() as sampler:
        (child,) = psutil.Process(sampler.pid).children()
        node.wait_for_samples(2)
        node.order(what)
        assert has_ended(sampler.pid, timeout_s=20)
        with pytest.raises(DeviceError) as caught:
            sampler.stop()
        assert re.match(r"orin-1: power sampling failed: " + error, str(caught.value))
        assert has_ended(child.pid, timeout_s=20)


def test_the_reader_ends_with_a_killed_sampler(node: Node) -> None:
    with node.start() as sampler:
        (child,) = psutil.Process(sampler.pid).children()
        node.order("stale")
        os.kill(sampler.pid, 9)
        assert has_ended(child.pid, timeout_s=20)
