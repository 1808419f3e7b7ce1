from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

import devices
from devices.power.emulated import EmulatedPower
from devices.power.rails import find_board
from devices.power.sources import OWN
from devices.profile import Profile, SshReach, load_profile
from devices.timemodel import Slowdown
from devices.yamlfile import YamlError
from tests.made.published import EMULATED

TEXT = """\
name: edge-1
kind: emulated
reach: {ssh: lab-pc}
runtime:
  provider: cpu
  threads: 2
address: 10.0.0.5
data_port: 5555
emulates:
  board: Toy
  processor: gpu
  time:
    model: slowdown
    slowdown: 2.5
    reference: a guess
power:
  - source: emulated
    rail: VDD_IN
    rate_hz: 100
    idle_mw: 1000
    cpu_busy_mw: 9000
    gpu_busy_mw: 9500
    radio_mw: 0
    reference: made up
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "edge.yaml"


def test_a_profile_is_read(file: Path) -> None:
    file.write_text(TEXT)
    profile = load_profile(file)
    assert profile.reach == SshReach("lab-pc")
    assert (profile.python, profile.address, profile.data_port) == (None, "10.0.0.5", 5555)
    assert profile.runtime.threads == 2
    assert profile.emulates is not None
    assert profile.emulates.time == Slowdown(slowdown=2.5, reference="a guess")
    [power] = profile.power
    assert (power.rail, power.rate_hz, power.cpu_busy_mw) == ("VDD_IN", 100.0, 9000.0)


SHIPPED = sorted(path.stem for path in Path(devices.__file__).parent.glob("*.yaml"))


def test_every_kind_of_node_has_a_profile() -> None:
    boards = ("nano", "tx2", "xavier-nx", "agx-xavier", "orin-nano", "orin-nx", "agx-orin", "thor")
    emulated = ("jetson-nano", "orin-nano", "agx-orin", "raspberry-pi-5", "t4")
    others = {*(f"emulated-{board}" for board in emulated), "host", "nvidia-gpu", "rapl-host", "raspberry-pi-5-meter"}
    assert {f"jetson-{board}" for board in boards} | others <= set(SHIPPED)


@pytest.mark.parametrize("name", [name for name in SHIPPED if name not in ("host", *EMULATED)])
def test_a_profile_of_a_real_node_is_reached_over_ssh_and_metered(name: str) -> None:
    profile = load_profile(Path(devices.__file__).parent / f"{name}.yaml")
    assert isinstance(profile.reach, SshReach)
    assert profile.power
    assert all(type(spec) is OWN[spec.source].Spec for spec in profile.power)


@pytest.mark.parametrize("name", [name for name in SHIPPED if name.startswith("jetson-")])
def test_the_rails_of_a_shipped_jetson_are_known(name: str) -> None:
    assert find_board(name) is not None


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_profiles_bear_their_file_names_and_survive_json(name: str) -> None:
    profile = load_profile(Path(devices.__file__).parent / f"{name}.yaml")
    assert profile.name == name
    assert msgspec.json.decode(msgspec.json.encode(profile), type=Profile) == profile


def test_the_shipped_host_is_not_metered() -> None:
    assert load_profile(Path(devices.__file__).parent / "host.yaml").power == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "kind: emulated",
            "kind: toaster",
            ":2: kind: Invalid enum value 'toaster'; expected emulated, host, jetson or nvidia_gpu",
        ),
        (
            "address: 10",
            "adress: 10",
            ":7: adress: Object contains unknown field `adress`; expected name, kind, reach, ",
        ),
        ("  threads: 2", "  threads: 0", ":6: runtime.threads: Expected `int` >= 1"),
        (
            "  threads: 2",
            "  cores: 2",
            ":6: runtime.cores: Object contains unknown field `cores`; expected provider, ",
        ),
        (
            "provider: cpu",
            "provider: tpu",
            ":5: runtime.provider: Invalid enum value 'tpu'; expected cpu, cuda, tensorrt or torch",
        ),
        (
            "provider: cpu",
            "provider: torch",
            ":4: runtime: Expected `device: cpu` or `device: cuda` beside `provider: torch`",
        ),
        (
            "provider: cpu",
            "provider: cpu\n  device: cuda",
            ":6: runtime.device: Expected `device:` beside provider torch only, not cpu",
        ),
        ("{ssh: lab-pc}", "{ssh: -oProxyCommand=x}", ":3: reach.ssh: Expected `str` matching"),
        ("{ssh: lab-pc}", "nearby", ":3: reach: Invalid enum value 'nearby'; expected local or {ssh: ...}"),
        ("5555", "70000", ":8: data_port: Expected `int` <= 65535"),
        ("slowdown: 2.5", "slowdown: 0.5", ":14: emulates.time.slowdown: Expected `float` >= 1"),
        ("slowdown: 2.5", "slowdown: .inf", ":14: emulates.time.slowdown: Expected a finite number, got inf"),
        ("    reference: a guess\n", "", ":12: emulates.time: Object missing required field `reference`"),
        ("model: slowdown", "model: guess", ":13: emulates.time.model: Invalid value 'guess'"),
        ("processor: gpu", "processor: npu", ":11: emulates.processor: Invalid enum value 'npu'; expected cpu or gpu"),
        (
            "gpu_busy_mw: 9500",
            "gpu_busy_mw: 900",
            ":22: power[0].gpu_busy_mw: Expected at least idle_mw (1000), got 900",
        ),
        ("    gpu_busy_mw: 9500\n", "", ":17: power[0]: Expected `gpu_busy_mw:` beside `processor: gpu`"),
        ("rate_hz: 100", "rate_hz: 0", ":19: power[0].rate_hz: Expected `float` > 0"),
        ("rate_hz: 100", "rate_hz: 1001", ":19: power[0].rate_hz: Expected `float` <= 1000"),
        ("rate_hz: 100", "rate_hz: fast", ":19: power[0].rate_hz: Expected `float`, got `str`"),
        ("rate_hz: 100", "rate_hz: .nan", ":19: power[0].rate_hz: Expected"),
        ("idle_mw: 1000", "idle_mw: -1", ":20: power[0].idle_mw: Expected `float` >= 0"),
        (
            "cpu_busy_mw: 9000",
            "cpu_busy_mw: 900",
            ":21: power[0].cpu_busy_mw: Expected at least idle_mw (1000), got 900",
        ),
        ("radio_mw: 0", "radio_mw: .inf", ":23: power[0].radio_mw: Expected a finite number, got inf"),
        ("reference: made up", "reference: ''", ":24: power[0].reference: Expected `str` matching"),
        (
            "reference: made up",
            "references: x",
            ":24: power[0].references: Object contains unknown field `references`; exp",
        ),
        ("    rail: VDD_IN\n", "", ":17: power[0]: Object missing required field `rail`"),
        ("source: emulated", "source: thermometer", ":17: power[0].source: Invalid value 'thermometer'"),
        ("slowdown: 2.5", "slowdown: 1e7", ":14: emulates.time.slowdown: Expected `float` <= 1000000"),
        ("slowdown: 2.5", "slowdown: .nan", ":14: emulates.time.slowdown: Expected a finite number, got nan"),
        ("  threads: 2", "  threads: 1e1000", ":6: runtime.threads: Expected a finite number, got inf"),
        ("  threads: 2", "  threads: 5000", ":6: runtime.threads: Expected `int` <= 1024"),
        ("  threads: 2", "  threads: yes", ":6: runtime.threads: Expected `int`, got `bool`"),
        (
            "  threads: 2",
            "  threads: 1\n  ? |\n    a\n    b\n  : 1",
            ":7: runtime.a\\nb\\n: Object contains unknown field",
        ),
        ("name: edge-1", "name: " + "x" * 65, ":1: name: Expected `str` of length <= 64"),
        ("source: emulated", "source: [emulated]", ":17: power[0].source: "),
        ("name: edge-1", "name: 7", ":1: name: Expected `str`, got `int`"),
        ("kind: emulated", "kind: host", ":9: emulates: Expected `emulates:` on kind emulated only"),
    ],
)
def test_a_wrong_value_is_named_with_file_line_and_key(file: Path, old: str, new: str, message: str) -> None:
    assert TEXT.count(old) == 1
    file.write_text(TEXT.replace(old, new))
    with pytest.raises(YamlError) as caught:
        load_profile(file)
    assert str(caught.value).startswith(f"{file}{message}")


def test_a_number_inside_a_mapping_is_finite_too(file: Path) -> None:
    file.write_text(METERED.replace("SOURCE", "ina") + "    shunt_mohm:\n      A: 5\n      B: .inf\n")
    with pytest.raises(YamlError) as caught:
        load_profile(file)
    assert str(caught.value) == f"{file}:10: power[0].shunt_mohm.B: Expected a finite number, got inf"


def unbounded(kind: object, place: str) -> Iterator[str]:
    """Numbers of a msgspec type that have no least or no most."""
    number = isinstance(kind, msgspec.inspect.IntType | msgspec.inspect.FloatType)
    if number and None in ((kind.ge if kind.gt is None else kind.gt), (kind.le if kind.lt is None else kind.lt)):
        yield place
    for field in getattr(kind, "fields", ()):
        yield from unbounded(field.type, f"{place}.{field.encode_name}")
    for inner in (*getattr(kind, "types", ()), getattr(kind, "item_type", None), getattr(kind, "value_type", None)):
        yield from unbounded(inner, place) if inner is not None else ()


def test_every_number_of_a_profile_has_a_least_and_a_most() -> None:
    for struct in (Profile, *(source.Spec for source in OWN.values())):
        assert list(unbounded(msgspec.inspect.type_info(struct), struct.__name__)) == []


def test_a_number_with_an_exponent_is_that_number_whole_or_not(file: Path) -> None:
    file.write_text(TEXT.replace("rate_hz: 100", "rate_hz: 1e1").replace("threads: 2", "threads: 1e1"))
    profile = load_profile(file)
    assert (profile.power[0].rate_hz, profile.runtime.threads) == (10, 10)


def test_an_emulated_node_says_which_board_it_emulates(file: Path) -> None:
    file.write_text(re.sub(r"emulates:\n(  .*\n)+", "", TEXT))
    with pytest.raises(YamlError, match=r"edge\.yaml:2: kind: Expected `emulates:` beside `kind: emulated`"):
        load_profile(file)


def test_an_emulated_power_source_is_refused_on_a_real_node(file: Path) -> None:
    file.write_text(re.sub(r"emulates:\n(  .*\n)+", "", TEXT).replace("kind: emulated", "kind: jetson"))
    with pytest.raises(YamlError, match=r"edge\.yaml:10: power\[0\]: An emulated power source goes with kind"):
        load_profile(file)


def test_rules_between_fields_hold_for_profiles_that_come_as_json(
    make_profile: Callable[..., Profile], power: EmulatedPower
) -> None:
    sent = msgspec.json.encode(make_profile(power))
    assert msgspec.json.decode(sent, type=Profile) == make_profile(power)
    with pytest.raises(msgspec.ValidationError, match="emulates"):
        msgspec.json.decode(sent.replace(b'"kind":"emulated"', b'"kind":"host"'), type=Profile)


def test_power_that_is_not_a_number_is_refused(power: EmulatedPower) -> None:
    with pytest.raises(ValueError, match="finite"):
        msgspec.structs.replace(power, cpu_busy_mw=math.nan)


METERED = """\
name: n
kind: host
reach: local
runtime: {provider: cuda}
power:
  - source: SOURCE
    rate_hz: 50
"""
GIVEN = {
    "ina": {"rails": {"VDD_IN": "module"}, "shunt_mohm": {"VDD_IN": 5}},
    "nvml": {"gpu": "GPU-4f7c"},
    "rapl": {"gain": 0.05},
    "scpi": {"host": "10.0.0.9", "gain": 0.01, "offset_mw": 5, "reference": "data sheet"},
}


def metered(source: str, **changes: object) -> str:
    values = {name: value for name, value in (GIVEN[source] | changes).items() if value is not None}
    return METERED.replace("SOURCE", source) + "".join(
        f"    {name}: {json.dumps(value)}\n" for name, value in values.items()
    )


@pytest.mark.parametrize("source", GIVEN)
def test_every_power_source_is_read_from_yaml_and_has_an_implementation(file: Path, source: str) -> None:
    file.write_text(metered(source))
    [spec] = load_profile(file).power
    assert type(spec) is OWN[source].Spec
    for name, value in GIVEN[source].items():
        assert getattr(spec, name) == value


@pytest.mark.parametrize(
    ("source", "changes", "message"),
    [
        (
            "ina",
            {"rails": {"VDD_IN": "emulated"}},
            ":8: power[0].rails: Invalid enum value 'emulated'; expected board, module, rail or wall",
        ),
        ("ina", {"max_mw": 1e300}, ":10: power[0].max_mw: Expected `float` <= 100000000"),
        ("scpi", {"averaging_ms": 1e6}, ":12: power[0].averaging_ms: Expected `float` <= 60000"),
        ("ina", {"shunt_mohm": {"VDD_IN": 0}}, ":9: power[0].shunt_mohm: Expected `float` > 0"),
        ("ina", {"shunt_tolerance": 1}, ":10: power[0].shunt_tolerance: Expected `float` < 1"),
        ("nvml", {"gpu": -1}, ":8: power[0].gpu: Expected `int` >= 0"),
        ("rapl", {"gain": None}, ":6: power[0]: Object missing required field `gain`"),
        ("scpi", {"timeout_s": 6}, ":12: power[0].timeout_s: Expected `float` <= 5"),
        ("scpi", {"unit": "kW"}, ":12: power[0].unit: Invalid enum value 'kW'; expected "),
        ("scpi", {"offset_mw": None}, ":6: power[0]: Object missing required field `offset_mw`"),
        ("scpi", {"port": 0}, ":12: power[0].port: Expected `int` >= 1"),
    ],
)
def test_a_wrong_value_of_a_power_source_is_named(
    file: Path, source: str, changes: dict[str, object], message: str
) -> None:
    file.write_text(metered(source, **changes))
    with pytest.raises(YamlError) as caught:
        load_profile(file)
    assert str(caught.value).startswith(f"{file}{message}")
