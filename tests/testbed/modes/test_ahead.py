"""What an emulated edge's networks put out is the same when it was computed ahead, and owes the same time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from devices.activity import Activity, ActivityWriter
from devices.emulation import EmulatedTempo
from testbed.modes.ahead import Ahead

TIMESTEPS, SAMPLES, OWED_NS = 3, 5, 1_000_000
ONES = [1] * TIMESTEPS
INPUTS = np.random.default_rng(0).integers(0, 256, (SAMPLES, 1, 1, 8, 8), dtype=np.uint8)


class Network:
    """A network that owes more for each timestep than for the one before, and counts how often it computes."""

    def __init__(self, tempo: EmulatedTempo) -> None:
        self.calls = 0
        self._tempo = tempo

    def outputs(self, x: NDArray[np.uint8], chunks: Sequence[int]) -> Iterator[NDArray[Any]]:
        for timestep in range(len(chunks)):
            self.calls += 1
            self._tempo.owe(OWED_NS * (timestep + 1))
            yield x[0] // (timestep + 1)

    def run(self, x: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.stack([y.astype(np.float32).ravel() for y in self.outputs(x, ONES)])


@pytest.fixture
def tempo(tmp_path: Path) -> Iterator[EmulatedTempo]:
    writer = ActivityWriter(tmp_path / "activity")
    yield EmulatedTempo(writer, Activity.CPU)
    writer.close()


def played(tempo: EmulatedTempo, outputs: Iterator[NDArray[Any]]) -> tuple[list[bytes], list[int]]:
    """What comes out of each timestep, and what it owes."""
    found, owed_ns = [], []
    for _ in range(TIMESTEPS):
        with tempo.computing() as span:
            found.append(next(outputs).tobytes())
        owed_ns.append(span.ns)
    assert next(outputs, None) is None
    return found, owed_ns


def test_outputs_and_their_times_are_those_of_computing_when_asked(tempo: EmulatedTempo) -> None:
    network, ahead = Network(tempo), Ahead(tempo)
    steps = ahead.steps(network)
    live = [played(tempo, steps.outputs(x, ONES)) for x in INPUTS]
    ahead.compute(INPUTS, ONES)
    calls = network.calls
    assert [played(tempo, steps.outputs(x, ONES)) for x in INPUTS] == live
    assert live[0][1] == [OWED_NS, 2 * OWED_NS, 3 * OWED_NS]
    assert network.calls == calls == 2 * SAMPLES * TIMESTEPS
    assert (ahead.samples, ahead.bytes) == (SAMPLES, SAMPLES * TIMESTEPS * 64)


def test_a_network_that_runs_at_once_is_remembered_too(tempo: EmulatedTempo) -> None:
    network, ahead = Network(tempo), Ahead(tempo)
    run = ahead.run(network.run)
    ahead.compute(INPUTS[:1], ONES)
    calls = network.calls
    with tempo.computing() as span:
        y = run(INPUTS[0])
    assert span.ns == 6 * OWED_NS
    assert network.calls == calls
    assert y.tobytes() == np.stack([INPUTS[0, 0].ravel() // (t + 1) for t in range(3)]).astype(np.float32).tobytes()


def test_other_chunks_than_those_that_are_remembered_are_computed(tempo: EmulatedTempo) -> None:
    network, ahead = Network(tempo), Ahead(tempo)
    steps = ahead.steps(network)
    ahead.compute(INPUTS[:1], ONES)
    calls = network.calls
    with tempo.computing():
        assert len(list(steps.outputs(INPUTS[0], [1, 2]))) == 2
    assert network.calls == calls + 2


def test_nobody_can_change_what_is_kept(tempo: EmulatedTempo) -> None:
    ahead = Ahead(tempo)
    steps = ahead.steps(Network(tempo))
    ahead.compute(INPUTS, ONES)
    with tempo.computing():
        y = next(steps.outputs(INPUTS[0], ONES))
    with pytest.raises(ValueError, match="read-only"):
        y[...] = 0


def test_what_finds_no_room_is_computed_when_asked(tempo: EmulatedTempo) -> None:
    network = Network(tempo)
    ahead = Ahead(tempo, limit_bytes=2 * TIMESTEPS * 64)
    steps = ahead.steps(network)
    ahead.compute(INPUTS, ONES)
    assert (ahead.samples, ahead.bytes) == (2, 2 * TIMESTEPS * 64)
    calls = network.calls
    for x in INPUTS:
        played(tempo, steps.outputs(x, ONES))
    assert network.calls == calls + (SAMPLES - 2) * TIMESTEPS


def test_an_edge_that_computes_nothing_asks_for_no_sample(tempo: EmulatedTempo) -> None:
    ahead = Ahead(tempo)
    ahead.compute((pytest.fail("a sample was asked for") for _ in range(1)), ONES)
    assert ahead.samples == 0
