from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.activity import Activity, ActivityWriter
from devices.base.errors import DeviceError
from devices.base.power import Rail
from devices.power.emulated import EmulatedPower, EmulatedSource
from devices.power.source import Surroundings

MS = 1_000_000
POWER = EmulatedPower(
    rail="R", rate_hz=100, idle_mw=1000, cpu_busy_mw=9000, gpu_busy_mw=15000, radio_mw=3000, reference="test"
)
MW = {Activity.IDLE: 1000.0, Activity.CPU: 9000.0, Activity.GPU: 15000.0}


class Bench:
    """A board, its sensor and the clock that both see."""

    def __init__(self, path: Path) -> None:
        self.now_ns = 10**9
        self.writer = ActivityWriter(path, lambda: self.now_ns)
        self.source = EmulatedSource(POWER, Surroundings(path), lambda: self.now_ns)
        self.capability = self.source.probe()

    def run(self, activity: Activity, duration_ns: int) -> None:
        self.writer.set(activity)
        self.now_ns += duration_ns

    def close(self) -> None:
        self.source.close()
        self.writer.close()


@pytest.mark.parametrize("activity", Activity)
def test_a_steady_activity_reads_as_its_power(tmp_path: Path, activity: Activity) -> None:
    bench = Bench(tmp_path / "activity")
    bench.run(activity, 10 * MS)
    [sample] = bench.source.read()
    assert (sample.t_ns, sample.rail, sample.mw) == (10**9 + 5 * MS, "R", MW[activity])
    bench.close()


def test_a_ramp_is_read_where_it_is_and_its_energy_is_exact(tmp_path: Path) -> None:
    # Power rises linearly: within each millisecond the share of computing grows by 1/1000.
    bench = Bench(tmp_path / "activity")
    start_ns = bench.now_ns
    samples = []
    for ms in range(1000):
        bench.run(Activity.CPU, ms * 1000)
        bench.run(Activity.IDLE, MS - ms * 1000)
        if ms % 10 == 9:
            samples += bench.source.read()
    bench.close()

    def ramp_mw(t_ns: float) -> float:
        return 1000 + 8000 * (t_ns - start_ns - MS / 2) / 1e9

    t_ns = np.array([sample.t_ns for sample in samples], dtype=float)
    mw = np.array([sample.mw for sample in samples])
    np.testing.assert_allclose(mw, ramp_mw(t_ns), atol=1e-6)
    energy_mj = float(np.sum((mw[1:] + mw[:-1]) / 2 * np.diff(t_ns))) / 1e9
    truth_mj = (ramp_mw(t_ns[0]) + ramp_mw(t_ns[-1])) / 2 * (t_ns[-1] - t_ns[0]) / 1e9
    assert energy_mj == pytest.approx(truth_mj, rel=1e-9)


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(Activity),
            st.sampled_from([0, 249, 1288]),
            st.none() | st.integers(0, 60 * MS),
            st.integers(0, 10**6),
            st.integers(1, 50 * MS),
            st.booleans(),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_no_energy_is_lost_however_irregular_the_reads(
    steps: list[tuple[Activity, int, int | None, int, int, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    bench = Bench(tmp_path_factory.getbasetemp() / "activity-of-steps")
    read_mj = truth_mj = 0.0
    previous_ns = bench.now_ns
    for activity, radio_mw, for_ns, taken_nj, duration_ns, read in [*steps, (Activity.IDLE, 0, None, 0, 1, True)]:
        bench.writer.draw(1000 * radio_mw, for_ns, taken_nj)
        bench.run(activity, duration_ns)
        on_ns = duration_ns if for_ns is None else min(for_ns, duration_ns)
        truth_mj += (MW[activity] * duration_ns + radio_mw * on_ns) / 1e9 + taken_nj / 1e6
        if read:
            [sample] = bench.source.read()
            assert sample.t_ns == (previous_ns + bench.now_ns) // 2
            read_mj += sample.mw * (bench.now_ns - previous_ns) / 1e9
            previous_ns = bench.now_ns
    bench.close()
    assert read_mj == pytest.approx(truth_mj, rel=1e-9, abs=1e-4)  # each change of the radio is kept in whole nJ


def test_a_reading_that_is_held_up_in_the_middle_is_of_one_moment(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "activity")
    bench.run(Activity.CPU, 10 * MS)

    def held_up() -> int:
        bench.source._clock = lambda: bench.now_ns  # noqa: SLF001
        bench.run(Activity.IDLE, 90 * MS)  # after the record was read, and before the clock
        return bench.now_ns

    bench.source._clock = held_up  # noqa: SLF001
    samples = bench.source.read()
    bench.run(Activity.IDLE, 10 * MS)
    samples += bench.source.read()
    bench.close()
    assert [sample.mw for sample in samples] == [pytest.approx(0.1 * MW[Activity.CPU] + 0.9 * MW[Activity.IDLE]), 1000]


def test_no_time_gives_no_sample(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "activity")
    assert bench.source.read() == []
    bench.close()


def test_the_capability_carries_scope_and_reference(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "activity")
    assert bench.capability.rails == [Rail(name="R", scope="emulated")]
    assert bench.capability.detail["reference"] == "test"
    bench.close()


def test_without_a_worker_the_probe_says_why(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="no activity record"):
        EmulatedSource(POWER, Surroundings(tmp_path / "absent")).probe()


def test_a_read_before_the_probe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="before it was probed"):
        EmulatedSource(POWER, Surroundings(tmp_path / "absent")).read()
