"""Kills in a running campaign: of any of its processes, at any moment of any attempt, drawn from a seed."""

from __future__ import annotations

import contextlib
import csv
import random
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil
from pandas.testing import assert_frame_equal

from testbed.record.layout import AttemptFolder, CellFolder
from testbed.worker.loop import PASS_STRIDE
from tests.integration.conftest import Lab, Outcome, Running

COMMANDS = {
    "edge": "-m testbed.worker --node bench-edge ",
    "cloud": "-m testbed.worker --node bench-cloud ",
    "sampler": "-m devices.power.sampler ",
    "shaper": "-m testbed.link.shaping ",
}
"""What the command line of each victim says; the orchestrator is the process that was typed."""

PHASES = ("warmup", "check_path", "idle_before", "measure", "idle_after", "end")
MOMENTS = {
    "orchestrator": ("starting", *PHASES, "measured"),
    "edge": ("starting", *PHASES),
    "cloud": ("starting", *PHASES),
    "sampler": PHASES,
    "shaper": PHASES,
}
"""When each may be killed. Workers are `starting` before any phase, and an attempt is `measured` after all of them."""

COLLECTING = "collecting"
"""The orchestrator's moment after everything was measured, when tables are made of it."""

LOOK_S, LOOK_ROUND_S = 0.02, 0.1
CHANCE_S = 150.0
MOST_RUNS = 40
BY_TIME = (
    *("latency_", "energy_mj", "energy_net_", "energy_saving_", "cloud_energy_", "edp_", "wire_", "reduction_wire_"),
    *("throughput_qps", "mlperf_value", "utilisation", "queue_", "wasted_edge_", "wasted_cloud_"),
    *("valid", "reasons", "created"),
)
"""How the columns of a summary begin that depend on how long things took: energies do, all but that of op counts; so
does what TCP puts around a payload; and a verdict rests on both."""
SAME = {
    "requests": [
        *("request_id", "node", "sample_index", "repeat", "label", "prediction", "outcome", "answered_by"),
        *("exit_timestep", "payload_up_bytes", "payload_down_bytes"),
    ],
    "timesteps": ["request_id", "timestep", "confidence", "code_spikes", "code_bits", "payload_bytes"],
}
"""The columns of a cell's tables that two runs of it have alike."""


@dataclass(frozen=True)
class Kill:
    """One kill: of whom, when, after how many attempts that are left alone, and while measuring at which request."""

    victim: str
    moment: str
    spared: int
    request: int

    def __str__(self) -> str:
        return f"{self.victim} at {self.moment}" + (f" {self.request}" if self.moment == "measure" else "")


def kills(count: int, requests: int, spared: int, seed: int) -> list[Kill]:
    """Draw kills: every process in its turn, and the last one while tables are made.

    Between two of them at most `spared` attempts are left alone.
    """
    rng = random.Random(seed)
    victims: list[str] = []
    while len(victims) < count:
        victims += rng.sample(sorted(MOMENTS), len(MOMENTS))
    drawn = [
        Kill(victim, rng.choice(MOMENTS[victim]), rng.randint(0, spared), rng.randrange(1, requests))
        for victim in victims[: count - 1]
    ]
    return [*drawn, Kill("orchestrator", COLLECTING, 0, 0)]


class Broken:
    """A campaign that is typed again whenever it has ended, until every kill is carried out and it is complete.

    Attributes:
        hits: each kill with the cell that it struck.
        ends: how each run ended.
    """

    def __init__(self, lab: Lab, *typed: str | Path) -> None:
        self.hits: list[tuple[Kill, str]] = []
        self.ends: list[Outcome] = []
        self._lab, self._typed = lab, typed
        self._running: Running = lab.start(*typed)
        self._run = ""
        self._attempt: AttemptFolder | None = None
        self._looked_s = 0.0

    def carry_out(self, planned: list[Kill]) -> None:
        """Kill as planned, then run to the end."""
        for kill in planned:
            self._carry_out(kill)
        while not self._ended_whole():
            self._running = self._lab.start(*self._typed)

    def _carry_out(self, kill: Kill) -> None:
        spared, over = {self._run}, time.monotonic() + CHANCE_S
        while time.monotonic() < over:
            if self._running.process.poll() is not None:
                assert not self._ended_whole(), f"complete before the kill of {kill}"
                self._running = self._lab.start(*self._typed)
            self._look()
            if self._run not in spared and len(spared) <= kill.spared and self._is("warmup", 0):
                spared.add(self._run)
            ripe = kill.moment == COLLECTING or (self._run not in spared and len(spared) > kill.spared)
            if ripe and self._is(kill.moment, kill.request) and self._strike(kill.victim):
                self.hits.append((kill, self._run))
                return
            time.sleep(LOOK_S)
        raise AssertionError(f"no chance came to kill: {kill}\n{self._running.text}")

    def _ended_whole(self) -> bool:
        """Wait for a run's end; whether the campaign is complete then."""
        outcome = self._running.outcome(240)
        assert outcome.code in (0, 1, -signal.SIGKILL), outcome.text
        assert "Traceback" not in outcome.text, outcome.text
        self.ends.append(outcome)
        assert len(self.ends) < MOST_RUNS, outcome.text
        return outcome.code >= 0 and all(cell.complete for cell in self._lab.cells())

    def _look(self) -> None:
        """Find out which attempt goes on; its folder is made by its workers, some time after they were started."""
        if time.monotonic() - self._looked_s < LOOK_ROUND_S:
            return
        self._looked_s = time.monotonic()
        for process in self._processes():
            words = _words(process)
            if "--run" in words and (run := words[words.index("--run") + 1]) != self._run:
                cell, repeat, *_ = run.split("-")
                self._run = run
                self._attempt = CellFolder(self._lab.campaign / cell).next_attempt(int(repeat))

    def _is(self, moment: str, request: int) -> bool:
        if moment == COLLECTING:
            return any(self._lab.campaign.glob("*/status.json"))
        if self._attempt is None:
            return False
        if moment == "starting":
            return True
        if moment == "measured":
            return self._attempt.record.exists()
        if moment == "measure":
            rows = self._attempt.rows("bench-edge", "requests")
            return rows.exists() and rows.read_bytes().count(b"\n") >= request
        events = self._attempt.rows("bench-edge", "events")
        return events.exists() and f'"phase":"{moment}"' in events.read_text()

    def _strike(self, victim: str) -> bool:
        """Kill it; False where there is no such process, or not any more."""
        if victim == "orchestrator":
            self._running.signal(signal.SIGKILL)
            return self._running.outcome().code == -signal.SIGKILL
        for process in self._processes():
            if COMMANDS[victim] in " ".join([*_words(process), ""]):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
                    return True
        return False

    def _processes(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self._running.process.pid).children(recursive=True)
        return []


def _words(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def check_alike(whole: Lab, broken: Lab) -> int:
    """Make sure that two campaigns say the same in everything that is not a time; returns how many cells that holds of.

    Cells with a fallback are left out: which of their answers are the edge's own is a matter of time.
    """
    expected, found = (
        {cell.manifest.cell: cell for cell in lab.cells() if cell.manifest.config.fallback is None}
        for lab in (whole, broken)
    )
    assert list(expected) == list(found)
    rows, others = _summary(whole), _summary(broken)
    for name, cell in expected.items():
        assert rows[name] == others[name]
        for table, columns in SAME.items():
            wanted, had = (_first_pass(getattr(each, table))[columns] for each in (cell, found[name]))
            assert_frame_equal(wanted, had, obj=f"{table} of {cell.manifest.label}")
    return len(expected)


def _summary(lab: Lab) -> dict[str, Mapping[str, str]]:
    """The columns of a campaign's summary that no time is in, by cell."""
    with (lab.campaign / "summary.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    return {row["cell"]: {name: row[name] for name in row if not name.startswith(BY_TIME)} for row in rows}


def _first_pass(table: pd.DataFrame) -> pd.DataFrame:
    """A table without what a fast cell asked for again until its power sensor had seen enough."""
    kept = table[table["request_id"] < PASS_STRIDE]
    return kept.sort_values([name for name in ("request_id", "timestep") if name in kept], ignore_index=True)


def check_whole(lab: Lab, repeats: int, requests: int) -> None:
    """Make sure that a campaign is complete, with each request of each repeat once, and that nothing of it runs on."""
    lab.wait_until_nodes_are_gone()
    for cell in lab.cells():
        assert cell.complete, cell.status
        assert cell.status.repeats_done == list(range(repeats))
        for repeat, rows in cell.requests.groupby("repeat"):
            passes, left = divmod(len(rows), requests)
            first = requests * int(repeat)
            wanted = [first + each + done * PASS_STRIDE for done in range(passes) for each in range(requests)]
            assert (left, sorted(rows["request_id"])) == (0, wanted), cell.manifest.label
        assert not cell.timesteps.duplicated(["request_id", "timestep"]).any()
        assert set(cell.timesteps["request_id"]) == set(cell.requests["request_id"])
        for table in (cell.power, cell.network):
            assert not table.duplicated().any()


def attempts(lab: Lab) -> tuple[int, int]:
    """How many attempts were begun, and how many of them measured their whole repeat."""
    begun = [AttemptFolder(path) for path in lab.campaign.glob("*/raw/repeat-*/attempt-*")]
    return len(begun), sum(attempt.record.exists() for attempt in begun)
