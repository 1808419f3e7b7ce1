"""An external meter is asked over TCP; silence, garbage and a meter that hangs up are errors that say so."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from devices.base.errors import DeviceError
from devices.power.client import PowerSampler
from devices.power.ina import InaPower
from devices.power.meter import ScpiMeterPower, ScpiMeterSource
from devices.power.source import Surroundings
from devices.profile import Profile, Runtime
from tests.devices.lines import integrate_mj, lines_of, more_lines, wait_for_lines
from tests.fakes.meter import FakeMeter
from tests.fakes.sysfs import FakeTree, SimRail, triangle


@pytest.fixture
def meter() -> Iterator[FakeMeter]:
    meter = FakeMeter()
    yield meter
    meter.close()


def spec(meter: FakeMeter, **changes: Any) -> ScpiMeterPower:
    base = ScpiMeterPower(
        host="127.0.0.1", port=meter.port, rate_hz=50, gain=0.01, offset_mw=20, timeout_s=5, reference="made up"
    )
    return msgspec.structs.replace(base, **changes)


def source(meter: FakeMeter, **changes: Any) -> ScpiMeterSource:
    return ScpiMeterSource(spec(meter, **changes), Surroundings(Path("none")))


def test_a_meter_is_set_up_and_says_who_it_is(meter: FakeMeter) -> None:
    one = source(meter, setup=["CONF:POW", "TRIG:CONT"], lsb_mw=1, averaging_ms=20)
    capability = one.probe()
    one.close()
    assert meter.received == ["*IDN?", "CONF:POW", "TRIG:CONT", "MEAS:POW?"]
    assert capability.detail["identity"] == "Acme,PM1,0042,1.0"
    [rail] = capability.rails
    assert (rail.name, rail.scope, rail.gain, rail.offset_mw, rail.lsb_mw) == ("METER", "wall", 0.01, 20, 1)


@pytest.mark.parametrize(("unit", "factor"), [("W", 1000), ("mW", 1)])
def test_a_reading_is_in_the_unit_of_the_profile(meter: FakeMeter, unit: str, factor: float) -> None:
    one = source(meter, unit=unit)
    one.probe()
    meter.answers = b"+4.250000E+00\n"
    [sample] = one.read()
    one.close()
    assert sample.mw == 4.25 * factor


def test_a_sample_is_stamped_between_question_and_answer(meter: FakeMeter) -> None:
    one = source(meter)
    one.probe()
    before_ns = time.monotonic_ns()
    [sample] = one.read()
    assert before_ns < sample.t_ns < time.monotonic_ns()
    one.close()
    averaging = source(meter, averaging_ms=200)
    averaging.probe()
    before_ns = time.monotonic_ns()
    [sample] = averaging.read()
    averaging.close()
    assert before_ns < sample.t_ns + 100_000_000 < time.monotonic_ns()


def test_a_meter_that_is_not_there_is_an_error(meter: FakeMeter) -> None:
    one = source(meter)
    meter.close()
    with pytest.raises(
        DeviceError, match=r"the meter at 127\.0\.0\.1:\d+ is not reached: Connection refused; is it on"
    ):
        one.probe()


def test_a_meter_that_keeps_silent_is_an_error_after_its_own_time_out(meter: FakeMeter) -> None:
    one = source(meter, timeout_s=1)
    meter.silent = True
    with pytest.raises(DeviceError, match=r"did not answer MEAS:POW\? within 1 s"):
        one.probe()
    one.close()


def test_half_an_answer_is_not_taken_for_a_reading(meter: FakeMeter) -> None:
    one = source(meter)
    one.probe()
    one.close()
    slow = source(meter, timeout_s=1)
    meter.answers = b"12"
    with pytest.raises(DeviceError, match=r"within 1 s \(so far: b'12'\)"):
        slow.probe()
    slow.close()


@pytest.mark.parametrize("answer", [b"OVERLOAD\n", b"\n", b"1.0,2.0\n", b"\xff\xfe\n"])
def test_an_answer_that_is_no_number_is_an_error(meter: FakeMeter, answer: bytes) -> None:
    one = source(meter)
    one.probe()
    meter.answers = answer
    with pytest.raises(DeviceError, match=r"to MEAS:POW\?, which is no number; correct `query:`"):
        one.read()
    one.close()


@pytest.mark.parametrize("answer", [b"9.91E37\n", b"9.9E+37\n", b"-9.9E37\n", b"inf\n", b"NaN\n"])
def test_scpis_words_for_no_reading_are_an_error(meter: FakeMeter, answer: bytes) -> None:
    one = source(meter)
    one.probe()
    meter.answers = answer
    with pytest.raises(DeviceError, match="has no reading"):
        one.read()
    one.close()


def test_an_answer_without_end_is_an_error(meter: FakeMeter) -> None:
    one = source(meter)
    one.probe()
    meter.answers = b"1" * 10_000
    with pytest.raises(DeviceError, match="over 4096 bytes and no end"):
        one.read()
    one.close()


def test_a_meter_that_hangs_up_is_an_error(meter: FakeMeter) -> None:
    one = source(meter)
    one.probe()
    meter.hangs_up = True
    with pytest.raises(DeviceError, match=r"hung up when asked MEAS:POW\?"):
        one.read()
    one.close()


def profile(*power: ScpiMeterPower | InaPower, root: Path = Path("/")) -> Profile:
    return Profile(
        name="pi",
        kind="host",
        reach="local",
        runtime=Runtime(provider="cpu"),
        root=str(root),
        power=list(power),
    )


def test_the_sampler_integrates_a_meter_to_the_energy(meter: FakeMeter, tmp_path: Path) -> None:
    out = tmp_path / "power.jsonl"
    with PowerSampler.start(profile(spec(meter)), "pi", out, tmp_path / "none") as sampler:
        wait_for_lines(out, 2)
        start_ns = time.monotonic_ns()
        wait_for_lines(out, 70)
        end_ns = time.monotonic_ns()
        more_lines(out, 3)
        sampler.stop()
    rows = lines_of(out)
    mean_mw = np.mean([meter.power(t_ns) for t_ns in np.linspace(start_ns, end_ns, 20_001)])
    truth_mj = mean_mw * (end_ns - start_ns) / 1e9
    assert integrate_mj(rows, start_ns, end_ns) == pytest.approx(truth_mj, rel=0.03)
    assert {(row["source"], row["rail"], row["scope"]) for row in rows} == {("scpi", "METER", "wall")}


def test_a_meter_that_stalls_ends_the_sampling_with_its_reason(meter: FakeMeter, tmp_path: Path) -> None:
    out = tmp_path / "power.jsonl"
    with PowerSampler.start(profile(spec(meter, timeout_s=1)), "pi", out, tmp_path / "none") as sampler:
        wait_for_lines(out, 3)
        meter.silent = True
        deadline = time.monotonic() + 20
        while sampler.alive:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(DeviceError, match=r"pi: power sampling failed: the meter at .* did not answer"):
            sampler.stop()


def test_a_slow_meter_does_not_hold_up_a_fast_sensor(meter: FakeMeter, tmp_path: Path) -> None:
    tree = FakeTree(tmp_path / "root")
    tree.board("NVIDIA Jetson Orin Nano Developer Kit")
    tree.hwmon("1-0040", 1, [SimRail("VDD_IN", 5000, 5000, triangle(2000, 8000, 0.8))])
    out = tmp_path / "power.jsonl"
    both = profile(InaPower(rate_hz=100), spec(meter, rate_hz=50), root=tree.root)
    with PowerSampler.start(both, "orin", out, tmp_path / "none") as sampler:
        wait_for_lines(out, 1)
        meter.ready.clear()
        # One reading of the meter may be on its way; in one loop with it, nothing else would come.
        more_lines(out, 50)
        meter.ready.set()
        answered = sum(line["source"] == "scpi" for line in lines_of(out))
        while sum(line["source"] == "scpi" for line in lines_of(out)) <= answered + 1:
            more_lines(out, 1)
        report = sampler.stop()
    tree.close()
    ina, scpi = report.sources
    # 50 deadlines of the sensor have passed in one answer of the meter, and half as many of its own.
    assert scpi.missed >= 20
    assert ina.samples >= 49
    assert report.samples == ina.samples + scpi.samples == len(lines_of(out))
    assert report.missed == ina.missed + scpi.missed


def test_two_sources_of_one_name_and_rail_are_refused(meter: FakeMeter, tmp_path: Path) -> None:
    # The fake serves one client at a time, so that two of them are needed to come that far.
    other = FakeMeter()
    try:
        both = profile(spec(meter), spec(other))
        with pytest.raises(DeviceError, match="two power sources give scpi METER; name the rail otherwise"):
            PowerSampler.start(both, "pi", tmp_path / "power.jsonl", tmp_path / "none").close()
    finally:
        other.close()
