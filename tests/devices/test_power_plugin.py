"""A power source from another package: installed beside the testbed, named in a profile, sampled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from devices.base.errors import DeviceError
from devices.power.client import PowerSampler
from devices.power.sources import sources
from devices.power.spec import UnknownPower
from devices.profile import Profile, Runtime, load_profile
from devices.yamlfile import YamlError
from tests.devices.base.installed import install

# As in docs/extending.md.
METER = """\
import math
import time
from devices.base.power import Capability, Rail
from devices.power.source import Sample
from devices.power.spec import PowerSpec

class WavePower(PowerSpec, frozen=True, kw_only=True, tag="wave"):
    mean_mw: float

class WaveMeter:
    Spec = WavePower

    def __init__(self, spec, surroundings):
        self._spec = spec

    def probe(self):
        rails = [Rail(name="WAVE", scope="board", gain=0.01)]
        return Capability(source="wave", rails=rails, rate_hz_max=None, averaging_ms=0.0, detail={})

    def read(self):
        now_ns = time.monotonic_ns()
        return [Sample(now_ns, "WAVE", self._spec.mean_mw * (1 + 0.5 * math.sin(now_ns / 1e8)))]

    def close(self):
        pass
"""
PROFILE = """\
name: bench
kind: host
reach: local
runtime: {provider: cpu}
power:
  - source: wave
    rate_hz: 200
    mean_mw: 4000
"""
# In a process of its own, since a process looks for plug-ins once.
RUN = """
import sys, time
from pathlib import Path
import msgspec
from devices.base.errors import TestbedError
from devices.base.errors import DeviceError
from devices.power.client import PowerSampler
from devices.profile import Profile, load_profile
folder = Path(sys.argv[1])
try:
    profile = load_profile(folder / "bench.yaml")
    assert msgspec.json.decode(msgspec.json.encode(profile), type=Profile) == profile
    out = folder / "power.jsonl"
    with PowerSampler.start(profile, "bench", out, folder / "activity") as sampler:
        while out.read_bytes().count(b"\\n") < 20:
            time.sleep(0.005)
        sampler.stop()
except TestbedError as error:
    print(error)
"""


def run(folder: Path, site: Path, profile: str = PROFILE) -> str:
    (folder / "bench.yaml").write_text(profile)
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(folder)],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def wave_meter(site: Path, module: str = METER, name: str = "wave") -> None:
    points = {"testbed.power_sources": f"{name} = wave_meter:WaveMeter"}
    install(site, "lab-wave-meter", points, {"wave_meter.py": module}, version="2.1")


def test_a_profile_names_a_source_of_another_package_and_it_is_sampled(tmp_path: Path) -> None:
    wave_meter(tmp_path / "site")
    assert run(tmp_path, tmp_path / "site") == ""
    rows = [json.loads(line) for line in (tmp_path / "power.jsonl").read_text().splitlines()]
    assert {(row["node"], row["source"], row["rail"], row["scope"]) for row in rows} == {
        ("bench", "wave", "WAVE", "board")
    }
    mw = [row["mw"] for row in rows]
    assert 2000 <= min(mw) < max(mw) <= 6000


def test_what_the_package_wants_to_know_is_checked_with_file_and_line(tmp_path: Path) -> None:
    wave_meter(tmp_path / "site")
    told = run(tmp_path, tmp_path / "site", PROFILE.replace("4000", "much"))
    assert told == f"{tmp_path}/bench.yaml:8: power[0].mean_mw: Expected `float`, got `str`"


@pytest.mark.parametrize(
    ("module", "name", "message"),
    [
        ("import no_such_bus", "wave", "(lab-wave-meter 2.1, wave_meter:WaveMeter) cannot be loaded: ModuleNotFound"),
        (METER.replace("    Spec = WavePower\n", ""), "wave", "is no power source: its class needs `Spec`"),
        (METER, "waves", "a PowerSpec with tag='waves'"),
        (METER, "ina", "'ina' of testbed.power_sources may not be named so"),
        (METER.replace('source="wave"', 'source="w"'), "wave", "'wave' calls itself 'w'"),
    ],
)
def test_a_plug_in_that_is_none_is_one_line(tmp_path: Path, module: str, name: str, message: str) -> None:
    wave_meter(tmp_path / "site", module, name)
    told = run(tmp_path, tmp_path / "site")
    assert message in told
    assert "\n" not in told


def test_a_source_that_nothing_gives_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    (tmp_path / "bench.yaml").write_text(PROFILE)
    with pytest.raises(YamlError, match=r"bench\.yaml:6: power\[0\]\.source: Invalid value 'wave': there is emul"):
        load_profile(tmp_path / "bench.yaml")


def test_a_profile_in_the_record_is_read_where_its_plug_in_is_not() -> None:
    sent = {"name": "bench", "kind": "host", "reach": "local", "runtime": {"provider": "cpu"}}
    power = [{"source": "wave", "rate_hz": 200, "mean_mw": 4000}, {"source": "ina", "rate_hz": 100}]
    profile = msgspec.json.decode(json.dumps(sent | {"power": power}), type=Profile)
    assert profile.power[0] == UnknownPower(source="wave", rate_hz=200)
    assert [(spec.source, spec.rate_hz) for spec in profile.power] == [("wave", 200), ("ina", 100)]


def test_a_node_without_the_plug_in_says_so(tmp_path: Path) -> None:
    profile = Profile(
        name="orin",
        kind="host",
        reach="local",
        runtime=Runtime(provider="cpu"),
        power=[UnknownPower(source="wave", rate_hz=200)],
    )
    with pytest.raises(DeviceError, match=r"orin: .*no power source 'wave' on this node.*install its package"):
        PowerSampler.start(profile, "orin", tmp_path / "power.jsonl", tmp_path / "activity")


def test_the_testbeds_own_sources_bear_their_specs_names() -> None:
    assert all(source.Spec.__struct_config__.tag == name for name, source in sources().items())
