"""What a replay predicts of latency, energy and wire bytes, on cells whose every millisecond is known."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from analysis.replay import checks, curve
from analysis.replay.decide import at, record_of
from analysis.replay.predict import Ends, Predictor, Times, slope_of, waiting_share, wire_up_bytes
from testbed.record.schedules import ChosenSchedule
from tests.analysis.timed import MS, Timing, timed

RULE = {"policy": "max_softmax", "accumulate": "mean", "threshold": 0.8}
TIMING = Timing()
BOTH = ("max_softmax", "mean")


def whole(make_cell, **changes):
    return timed(make_cell("full", latency_ms=60, **changes), TIMING)


def test_a_request_that_stops_earlier_leaves_out_the_later_timesteps_alone(make_cell) -> None:
    found = curve(whole(make_cell), *BOTH, [0.0, 1.1])
    for row, timesteps in ((0, 1), (1, 4)):
        assert found["predicted_latency_mean_ms"][row] == pytest.approx(TIMING.latency_ms(timesteps))
        assert found["predicted_latency_p95_ms"][row] == pytest.approx(TIMING.latency_ms(timesteps))


def test_the_energy_that_is_predicted_is_that_of_the_time_that_is_left(make_cell) -> None:
    cell = whole(make_cell)
    found = curve(cell, *BOTH, [0.0, 0.8, 1.1])
    pause_mj = TIMING.pause_ms * TIMING.work_mw / 1e3 / 40  # a window ends with its last request, not with its pause
    expected = [TIMING.energy_mj(exit_) - pause_mj for exit_ in found["mean_exit_timestep"]]
    # Samples of 10 ms see the share of waiting only roughly; what is drawn is known to them to 1%.
    assert found["predicted_energy_mj"].tolist() == pytest.approx(expected, rel=0.01)
    seconds = [(TIMING.latency_ms(1) + TIMING.pause_ms * 39 / 40) / 1e3]
    net = found["predicted_energy_mj"][0] - found["predicted_energy_net_mj"][0]
    assert net == pytest.approx(5000 * seconds[0])


def test_a_cell_replayed_at_all_timesteps_has_what_was_measured(make_cell) -> None:
    from analysis.energy import energy

    cell = whole(make_cell, jitter_mw=20)
    found, drew = curve(cell, *BOTH, [1.1]), energy(cell, cell.manifest.role("edge")[0])
    assert found["predicted_energy_mj"][0] == pytest.approx(drew.gross.mean)
    assert found["predicted_energy_net_mj"][0] == pytest.approx(drew.net.mean)
    assert found["predicted_wire_up_bytes"][0] == pytest.approx(cell.requests["wire_up_bytes"].mean())


def test_an_early_end_is_one_more_message(make_cell) -> None:
    cell = whole(make_cell)
    found = curve(cell, *BOTH, [0.0])
    assert found["payload_up_bytes"][0] == 32
    assert found["predicted_wire_up_bytes"][0] == 32 + 2 * 80  # 80 bytes around each message


def test_intervals_are_over_repeats_and_a_single_one_has_none(make_cell) -> None:
    found = curve(whole(make_cell, repeats=1), *BOTH, [0.8])
    assert np.isnan(found["predicted_latency_p50_ms_lo"][0])
    found = curve(timed(make_cell("more", latency_ms=60), TIMING), *BOTH, [0.8])
    assert found["predicted_energy_mj_lo"][0] <= found["predicted_energy_mj"][0] <= found["predicted_energy_mj_hi"][0]


def test_a_cell_without_times_of_timesteps_says_so_and_predicts_none(make_cell) -> None:
    found = curve(make_cell("edge", "edge_only"), *BOTH, [0.8])
    assert found["accuracy"].notna().all()
    assert found["predicted_latency_p50_ms"].isna().all()
    assert "no times of single timesteps" in found.attrs["not_predicted"]


def test_a_window_leaves_exits_exact_and_latency_predicted_and_says_that_bytes_and_energy_are_not(make_cell) -> None:
    cell = make_cell("windowed", latency_ms=60)
    config = msgspec.structs.replace(cell.manifest.config, window=4)
    windowed = replace(cell, manifest=msgspec.structs.replace(cell.manifest, config=config))
    mine, its = (curve(timed(one, TIMING), *BOTH, [0.0, 0.8, 1.1]) for one in (windowed, cell))
    for exact in ("accuracy", "mean_exit_timestep", "predicted_latency_mean_ms"):
        assert mine[exact].tolist() == its[exact].tolist()
    for unknown in ("payload_up_bytes", "predicted_wire_up_bytes", "predicted_energy_mj"):
        assert its[unknown].notna().all()
        assert mine[unknown].isna().all()
    assert "its edge sends ahead of its answers, so bytes and energy" in mine.attrs["not_predicted"]


def test_a_chunk_goes_and_comes_as_a_whole_whichever_of_its_timesteps_exits(make_cell) -> None:
    cell = make_cell("chunks", latency_ms=60)
    config = msgspec.structs.replace(cell.manifest.config, chunks=[1, 3])
    chunked = timed(replace(cell, manifest=msgspec.structs.replace(cell.manifest, config=config)), TIMING)
    steps = chunked.timesteps
    for column in ("t_send_ns", "t_reply_ns"):  # the three last ones are sent together, as the last one was
        later = steps["timestep"] > 0
        steps.loc[later, column] = steps[later].groupby(["repeat", "request_id"])[column].transform("last")
    recorded = record_of(chunked)
    exits = np.arange(len(recorded.answered)) % 4 + 1
    sent = np.where(exits == 1, 32, 128)
    assert (at(recorded.payload_up_bytes, exits) == sent).all()
    assert (at(recorded.payload_down_bytes, exits) == np.where(exits == 1, 8 + 36, 160)).all()
    # Two messages, whether the second is END or the chunk; each has 160 bytes around its payload.
    assert wire_up_bytes(recorded, exits) == pytest.approx(sent + 2 * 160)
    times = Times(recorded)
    assert (times.latency_ms[1] == times.latency_ms[3]).all()
    assert (times.wait_ms[1] == times.wait_ms[3]).all()
    assert times.wait_ms[3] == pytest.approx(np.full(len(exits), 2 * TIMING.wait_ms))


def test_chunks_that_were_chosen_are_those_of_the_cell(make_cell) -> None:
    cell = make_cell("auto")

    def chosen(window: int, chunks: list[int]):
        manifest = cell.manifest
        schedule = ChosenSchedule(
            window=window, chunks=chunks, latency_ms=1.0, stop_and_wait_ms=2.0, edge_ms=0.5, wasted_timesteps=0.0
        )
        board = manifest.nodes["board"]
        told = {number: msgspec.structs.replace(one, schedule=schedule) for number, one in board.repeats.items()}
        nodes = manifest.nodes | {"board": msgspec.structs.replace(board, repeats=told)}
        return record_of(replace(cell, manifest=msgspec.structs.replace(manifest, nodes=nodes)))

    assert (chosen(1, [1, 3]).chunks, chosen(1, [1, 3]).ahead) == ([1, 3], False)
    assert chosen(4, [1, 3]).ahead


def test_samples_that_cannot_tell_waiting_from_working_give_both_the_mean(make_cell) -> None:
    cell = timed(make_cell("slow sensor", latency_ms=60, averaging_ms=75), TIMING)
    cell.power["mw"] += np.random.default_rng(1).normal(0, 900, len(cell.power))
    predictor = Predictor(record_of(cell))
    assert not any(powers.resolved for powers in predictor.powers.values())
    assert curve(cell, *BOTH, [0.8]).attrs["mean_power"]


def test_the_share_of_waiting_is_that_of_the_averaging_time() -> None:
    begin, end = np.array([10.0, 30.0]) * MS, np.array([20.0, 40.0]) * MS
    found = waiting_share(np.array([0, 15, 20, 25, 60]) * MS, 0.010, begin, end)
    assert found.tolist() == pytest.approx([0, 1, 0.5, 0, 0])


def test_the_slope_of_a_line_is_found_and_of_one_share_there_is_none() -> None:
    share = np.linspace(0, 1, 50)
    assert slope_of(share, 6000 - 400 * share) == (pytest.approx(-400), pytest.approx(0, abs=1e-6))
    assert slope_of(np.full(50, 0.5), 6000 - 400 * share)[1] == np.inf


def test_a_slow_link_is_still_busy_with_the_end_of_the_request_before(make_cell) -> None:
    slow = {"up": {"mbit_s": {"mean": 0.05, "min": 0.05, "max": 0.05}}}
    cell = timed(make_cell("slow", latency_ms=60, requested=slow), TIMING)
    ends = Ends(Times(record_of(cell)))
    # 80 bytes take 12.8 ms at 50 kbit/s; the pause and the first timestep's work cover 7.3 ms of it.
    assert ends.held_ms[1:40].tolist() == pytest.approx([12.8 - 0.3 - 7.0] * 39)
    assert ends.held_ms[0] == 0
    early = curve(cell, *BOTH, [0.0])["predicted_latency_mean_ms"][0]
    assert early == pytest.approx(TIMING.latency_ms(1) + 5.5 * 39 / 40)


def test_what_the_edge_answered_alone_stays_as_it_was(make_cell) -> None:
    slow = {"up": {"mbit_s": {"mean": 0.05, "min": 0.05, "max": 0.05}}}
    cell = timed(make_cell("a tenth", latency_ms=60, fell_back=range(0, 40, 10), requested=slow), TIMING)
    cell.timesteps.loc[cell.timesteps["payload_bytes"].isna(), ["t_send_ns", "t_reply_ns"]] = np.nan
    recorded = record_of(cell)
    predicted = Predictor(recorded).predict(np.where(recorded.alone, 4, 1))
    assert predicted.latency_ms[recorded.alone] == pytest.approx(TIMING.latency_ms(4))
    assert predicted.latency_ms[~recorded.alone].max() < TIMING.latency_ms(2)
    assert np.isfinite(list(predicted.gross_mj.values())).all()


def test_the_error_of_a_prediction_is_that_against_the_cell_that_exited(make_cell) -> None:
    cells = [whole(make_cell), timed(make_cell("exit", latency_ms=60, rule=RULE, position=1), TIMING)]
    (found,) = checks(cells)
    assert (found.replayed, found.measured, found.requests, found.same) == ("full", "exit", 120, 120)
    errors = {error.name: error for error in found.errors}
    assert errors["first_timestep_ms"].percent.mean == pytest.approx(0, abs=1e-9)
    assert errors["predicted_latency_mean_ms"].percent.mean == pytest.approx(0, abs=1e-9)
    assert errors["predicted_energy_mj"].percent.mean == pytest.approx(0, abs=1.5)
    assert errors["predicted_latency_mean_ms"].per_repeat_pct.keys() == {0, 1, 2}


def test_a_node_that_is_slower_while_the_cell_with_exit_runs_shows_in_the_control(make_cell) -> None:
    slower = Timing(once_ms=6.3, work_ms=8.4, wait_ms=14.7, end_ms=1.05)
    (found,) = checks([whole(make_cell), timed(make_cell("exit", latency_ms=99, rule=RULE, position=1), slower)])
    control, latency = found.errors[:2]
    assert control.percent.mean == pytest.approx(100 * (1 / 2.1 - 1))
    assert latency.percent.mean == pytest.approx(control.percent.mean)


def test_a_cell_that_differs_in_more_than_its_exit_checks_nothing(make_cell) -> None:
    assert checks([make_cell("full"), make_cell("edge", "edge_only", rule=RULE)]) == []
    assert checks([make_cell("full again"), make_cell("exit", rule=RULE, state="failed")]) == []


def test_a_request_that_the_cell_with_exit_answered_otherwise_is_counted(make_cell) -> None:
    (found,) = checks([make_cell("full"), make_cell("exit", rule=RULE, wrong=3)])
    assert (found.requests, found.same) == (120, 120 - 9)
