"""Intervals of energies: by hand, and against simulated sensors whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from analysis.energy import Draw, Energy, combine, draw
from analysis.stats import over_repeats
from analysis.uncertainty import Budget, budget, quantisation, rectangular
from devices.base.power import Rail
from testbed.errors import RecordError
from testbed.record.metering import Sensor
from testbed.record.power import Phase, Source, Window
from testbed.record.trapezoid import Trace
from tests.analysis.sensors import Chip, Load

SECOND = 1_000_000_000
REPEATS = 3
RUNS = 200


def test_without_systematic_parts_the_interval_is_students_over_repeats() -> None:
    values = [9.0, 10.0, 11.0]
    assert budget(values, [{}] * 3).half == pytest.approx(over_repeats(values).half)
    assert budget(values, [{}] * 3).half == pytest.approx(4.302653 / 3**0.5)


def test_a_single_repeat_has_parts_but_no_interval() -> None:
    found = budget([10.0], [{"gain": 0.1}])
    assert (found.half, found.part("gain"), found.standard) == (None, None, {"gain": 0.1})


def test_systematic_parts_are_averaged_and_not_divided_by_the_root_of_the_repeats() -> None:
    found = budget([10.0] * 100, [{"gain": 0.3, "offset": 0.4}] * 100)
    assert found.half == pytest.approx(1.959964 * 0.5)
    assert found.part("gain") == pytest.approx(1.959964 * 0.3)


def test_the_coverage_factor_is_students_at_the_degrees_of_freedom_of_all_parts() -> None:
    """JCGM 100:2008, G.4.1: ν = (n − 1) (u / u_A)⁴; here u² = 1 + 1 and ν = 2 · 4."""
    found = budget([9.0, 10.0, 11.0], [{"gain": 3**-0.5}] * 3)
    assert found.standard["repeats"] == pytest.approx(3**-0.5)
    assert found.factor == pytest.approx(2.306004)
    assert found.half == pytest.approx(2.306004 * (2 / 3) ** 0.5)


def test_contributions_add_up_as_squares() -> None:
    found = budget([9.0, 10.0, 11.0], [{"gain": 0.2, "edges": 0.1}] * 3)
    parts = [found.part(name) for name in ("gain", "edges", "repeats")]
    assert sum(part**2 for part in parts) == pytest.approx(found.half**2)


def vdd_in(**limits: float) -> Rail:
    return Rail(name="VDD_IN", scope="module", **limits)


def steady_meter(mw: float, *, rails: int = 1, averaging_ms: float | None = 0.0, **limits: float) -> Source:
    """Constant power at 100 Hz for 30 s."""
    t_ns = np.arange(0, 3001) * 10_000_000
    trace = Trace(t_ns, np.full(len(t_ns), mw))
    names = [f"rail {number}" for number in range(rails)]
    known = {name: Rail(name=name, scope="module", **limits) for name in names}
    return Source("board", "ina", "module", Sensor("ina", known, averaging_ms), 10.0, dict.fromkeys(names, trace))


def drawn(meter: Source, start_ns: int, end_ns: int, idle: Sequence[Phase] = ()) -> Draw:
    return draw(meter, Window(start_ns, end_ns, 1, idle=tuple(idle)))


IDLE = [Phase("idle_before", 0, 5 * SECOND), Phase("idle_after", 25 * SECOND, 30 * SECOND)]


def test_the_parts_of_constant_power_are_those_reckoned_by_hand() -> None:
    meter = steady_meter(5000.0, gain=0.01, offset_mw=30.0, lsb_mw=400.0)
    found = drawn(meter, 5 * SECOND, 25 * SECOND, IDLE)
    assert found.gross_mj == pytest.approx(100_000)
    assert found.gross_parts == pytest.approx(
        {"gain": 1000 / 3**0.5, "offset": 600 / 3**0.5, "lsb": 20 * 400 / 12**0.5, "edges": 0.0}
    )
    assert found.net_mj == pytest.approx(0, abs=1e-6)
    # The offset is in the baseline as well. Rounding is counted for the window and for both baselines.
    both = 20 * 400 / 12**0.5 * (1 + 0.5) ** 0.5
    assert found.net_parts == pytest.approx({"gain": 0.0, "lsb": both, "edges": 0.0, "drift": 0.0}, abs=1e-6)


def test_negative_power_is_as_uncertain_as_positive() -> None:
    up, down = (drawn(steady_meter(mw, gain=0.01), 5 * SECOND, 25 * SECOND) for mw in (500.0, -500.0))
    assert down.gross_mj == -up.gross_mj
    assert down.gross_parts == pytest.approx(up.gross_parts)


def test_gains_of_rails_add_up_linearly_and_their_roundings_as_squares() -> None:
    one = drawn(steady_meter(5000.0, gain=0.01, lsb_mw=400.0), 5 * SECOND, 25 * SECOND).gross_parts
    two = drawn(steady_meter(5000.0, gain=0.01, lsb_mw=400.0, rails=2), 5 * SECOND, 25 * SECOND).gross_parts
    assert two["gain"] == pytest.approx(2 * one["gain"])
    assert two["lsb"] == pytest.approx(2**0.5 * one["lsb"])


def test_baselines_that_differ_make_the_net_energy_uncertain_by_half_the_difference() -> None:
    meter = steady_meter(5000.0)
    trace = meter.rails["rail 0"]
    trace.mw[trace.t_ns >= 25 * SECOND] += 100
    found = drawn(meter, 5 * SECOND, 25 * SECOND - 50_000_000, IDLE)
    assert found.net_parts["drift"] == pytest.approx(50 * 19.95 / 3**0.5)
    assert "drift" not in found.gross_parts


def test_what_the_sensor_still_averages_from_before_a_baseline_is_left_out() -> None:
    meter = steady_meter(5000.0, averaging_ms=400.0)
    trace = meter.rails["rail 0"]
    trace.mw[(trace.t_ns > 4.7e9) & (trace.t_ns < 25.3e9)] = 9000
    assert drawn(meter, 5 * SECOND, 25 * SECOND, IDLE).idle_mw == pytest.approx(5000)


def test_an_idle_phase_that_the_sensor_cannot_see_is_an_error() -> None:
    meter = steady_meter(5000.0, averaging_ms=1000.0)
    with pytest.raises(RecordError, match=r"fewer than two samples in idle_before, .* last 1000 ms .* lengthen it"):
        drawn(meter, 2 * SECOND, 25 * SECOND, [Phase("idle_before", 0, 2 * SECOND), IDLE[1]])


@pytest.mark.parametrize(("averaging_ms", "just_long_enough_s"), [(0.0, 0.19), (422.0, 19 * 0.422), (None, 19.0)])
def test_a_window_of_fewer_than_20_independent_readings_has_no_energy(averaging_ms, just_long_enough_s) -> None:
    meter = steady_meter(5000.0, averaging_ms=averaging_ms)
    end = 5 * SECOND + round(just_long_enough_s * SECOND) + 1000
    assert drawn(meter, 5 * SECOND, end).gross_mj > 0
    with pytest.raises(RecordError, match=r"board: ina rail 0: 19\.\d independent readings .* limit 20.* more req"):
        drawn(meter, 5 * SECOND, end - round(0.05 * just_long_enough_s * SECOND))


@dataclass(frozen=True)
class Run:
    """A simulated measurement and its truth per request."""

    energy: Energy
    gross_mj: float
    net_mj: float

    def covers(self, budget: Budget, truth: float) -> bool:
        assert budget.half is not None
        return abs(budget.mean - truth) <= budget.half


def simulate(seed: int, gain_share: float | None) -> Run:
    """A chip of random errors within its limits meters three repeats of a random load.

    The board rests, serves requests one after the other, each computing for a while and waiting for a while, and rests
    again; it warms up meanwhile and its power is noisy. `gain_share` is the gain's error over its limit, if not drawn.
    """
    rng = np.random.default_rng(seed)
    limits = vdd_in(gain=0.0125, offset_mw=float(rng.choice([10, 80])), lsb_mw=float(rng.choice([1, 41, 400])))
    averaging_s, rate_hz = float(rng.choice([0.0066, 0.422])), float(rng.choice([10, 100]))
    error = rng.uniform(-1, 1, 2)
    error[0] = error[0] if gain_share is None else gain_share
    idle_mw, busy_mw, warming_mw = rng.uniform(3000, 8000), rng.uniform(300, 4000), rng.uniform(0, 150)
    compute_s, wait_s = rng.uniform(0.01, 0.3, 2)
    noise_mw, spread = rng.uniform(20, 200), rng.uniform(0, 0.02)
    draws, gross, net = [], [], []
    t_s = np.arange(0, 32, 0.004)
    meter = None
    for _ in range(REPEATS):
        start_s = 6 + rng.uniform(0, 0.1)
        count = int(rng.uniform(12, 18) / (compute_s + wait_s))
        end_s = start_s + count * (compute_s + wait_s)
        measuring = (t_s >= start_s) & (t_s < end_s)
        base = idle_mw + warming_mw * (1 - np.exp(-t_s / 10)) + rng.normal(0, noise_mw, len(t_s))
        computing = measuring & ((t_s - start_s) % (compute_s + wait_s) < compute_s)
        load = Load(t_s, base + computing * busy_mw * (1 + spread * rng.normal()))
        gross.append(load.energy_mj(start_s, end_s) / count)
        net.append(gross[-1] - Load(t_s, base).energy_mj(start_s, end_s) / count)
        chip = Chip(
            averaging_s,
            rate_hz,
            gain=float(error[0]) * limits.gain,
            offset_mw=float(error[1]) * limits.offset_mw,
            lsb_mw=limits.lsb_mw,
            jitter_s=0.1 / rate_hz,
            block_at_s=rng.uniform(0, averaging_s),
        )
        trace = chip.read(load, 1.0, 31.0, rng)
        meter = Source(
            "board", "ina", "module", Sensor("ina", {"VDD_IN": limits}, 1e3 * averaging_s), 10.0, {"VDD_IN": trace}
        )
        idle = [
            Phase("idle_before", 2 * SECOND, round(start_s * SECOND)),
            Phase("idle_after", round(end_s * SECOND), round((end_s + 4) * SECOND)),
        ]
        draws.append(drawn(meter, round(start_s * SECOND), round(end_s * SECOND), idle).per(count))
    return Run(combine(meter, dict(enumerate(draws))), float(np.mean(gross)), float(np.mean(net)))


@pytest.mark.parametrize("at_limit", [False, True], ids=["any gain within its limits", "gain at one of its limits"])
def test_the_true_energy_lies_in_the_interval_in_93_of_100_simulated_runs(at_limit: bool) -> None:
    runs = [simulate(seed, (1.0, -1.0)[seed % 2] if at_limit else None) for seed in range(RUNS)]
    gross = np.mean([run.covers(run.energy.gross, run.gross_mj) for run in runs])
    net = np.mean([run.covers(run.energy.net, run.net_mj) for run in runs])
    # An interval as wide as the energy itself would cover everything.
    width = np.median([run.energy.gross.half / run.gross_mj for run in runs])
    said = f"coverage gross {gross:.1%}, net {net:.1%} of {RUNS} runs; median half-width {width:.1%} of the energy"
    print(said)
    assert gross >= 0.93, said
    assert net >= 0.93, said
    assert width < 0.05, said


@pytest.mark.parametrize("part", ["gain", "offset", "lsb", "edges"])
def test_each_part_is_as_wide_as_its_error_may_be(part: str) -> None:
    """One error alone, drawn from all that its limits allow: the interval covers it and is not much wider."""
    t_s = steady_meter(0).rails["rail 0"].t_ns / 1e9
    rng = np.random.default_rng(5)
    errors, halves = [], []
    for _ in range(200):
        level, share = rng.uniform(4000, 6000), rng.uniform(-1, 1)
        limits, averaging_ms, mw = vdd_in(), 0.0, np.full(len(t_s), level)
        if part == "gain":
            limits, mw = vdd_in(gain=0.05), mw * (1 + 0.05 * share)
        elif part == "offset":
            limits, mw = vdd_in(offset_mw=250), mw + 250 * share
        elif part == "lsb":
            limits, mw = vdd_in(lsb_mw=900), np.rint(mw / 900) * 900
        else:  # the sensor shows everything up to half its averaging time early or late
            averaging_ms, mw = 400.0, np.where((t_s >= 5 + 0.2 * share) & (t_s < 25 + 0.2 * share), level, 0.0)
        trace = Trace(np.rint(t_s * 1e9).astype(np.int64), mw)
        meter = Source(
            "board", "ina", "module", Sensor("ina", {"VDD_IN": limits}, averaging_ms), 10.0, {"VDD_IN": trace}
        )
        found = combine(meter, dict.fromkeys(range(3), drawn(meter, 5 * SECOND, 25 * SECOND))).gross
        assert found.standard[part] == pytest.approx(found.half / found.factor)
        errors.append(abs(found.mean - 20 * level))
        halves.append(found.half)
    assert np.mean(np.array(errors) <= np.array(halves)) >= 0.93
    assert max(errors) > 0.4 * np.median(halves)


def test_limits_are_rectangular_and_rounding_is_half_a_step_either_way() -> None:
    assert rectangular(-3.0) == pytest.approx(3**0.5)
    assert quantisation(2 * 3.0) == pytest.approx(rectangular(3.0))


def test_a_draw_is_shared_out_among_requests() -> None:
    found = Draw(100.0, {"gain": 10.0}, 50.0, {"gain": 5.0}, 7.0).per(10)
    assert (found.gross_mj, found.gross_parts, found.net_mj, found.net_parts, found.idle_mw) == (
        10.0, {"gain": 1.0}, 5.0, {"gain": 0.5}, 7.0,
    )  # fmt: skip
