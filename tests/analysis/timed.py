"""Cells whose every millisecond is known: when each timestep was sent and answered, and what the edge drew then."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from testbed.record.reader import Cell

MS = 1_000_000


@dataclass(frozen=True)
class Timing:
    """A request is `once_ms`, then `work_ms` and `wait_ms` for each timestep, then `end_ms`, then a pause."""

    once_ms: float = 3.0
    work_ms: float = 4.0
    wait_ms: float = 7.0
    end_ms: float = 0.5
    pause_ms: float = 0.3
    work_mw: float = 6000.0
    wait_mw: float = 5200.0

    def latency_ms(self, timesteps: int) -> float:
        """Of a request that stops after so many timesteps."""
        return self.once_ms + timesteps * (self.work_ms + self.wait_ms) + self.end_ms

    def energy_mj(self, timesteps: float) -> float:
        """What the edge takes for a request that stops there, or in the mean there, and for the pause after it."""
        waits_ms = timesteps * self.wait_ms
        works_ms = self.once_ms + timesteps * self.work_ms + self.end_ms + self.pause_ms
        return (waits_ms * self.wait_mw + works_ms * self.work_mw) / 1e3


def timed(cell: Cell, timing: Timing) -> Cell:
    """The cell with these times and powers in place of its own, which must be longer; all timesteps are sent."""
    requests, steps, power = cell.requests.copy(), cell.timesteps.copy(), cell.power.copy()
    took_ms = timing.latency_ms(0) + requests["exit_timestep"].to_numpy(float) * (timing.work_ms + timing.wait_ms)
    for repeat in requests["repeat"].unique():
        mine = np.flatnonzero(requests["repeat"] == repeat)
        first, limit = int(requests["t_start_ns"].iloc[mine[0]]), int(requests["t_end_ns"].iloc[mine[-1]])
        pauses_ms = np.arange(len(mine)) * timing.pause_ms
        start = first + np.rint((np.cumsum(took_ms[mine]) - took_ms[mine] + pauses_ms) * MS).astype(int)
        end = start + np.rint(took_ms[mine] * MS).astype(int)
        assert end[-1] <= limit, "the made cell is too short for these times"
        columns = [requests.columns.get_loc(name) for name in ("t_start_ns", "t_end_ns", "latency_ms")]
        for column, values in zip(columns, (start, end, took_ms[mine]), strict=True):
            requests.iloc[mine, column] = values
        asked = steps["repeat"] == repeat
        begun = steps.loc[asked, "request_id"].map(dict(zip(requests["request_id"].iloc[mine], start, strict=True)))
        before_ms = timing.once_ms + timing.work_ms + steps.loc[asked, "timestep"] * (timing.work_ms + timing.wait_ms)
        sent = begun + (before_ms * MS).round()
        steps.loc[asked, "t_send_ns"] = sent
        steps.loc[asked, "t_reply_ns"] = sent + round(timing.wait_ms * MS)
        edges = np.sort(steps.loc[asked, ["t_send_ns", "t_reply_ns"]].to_numpy(float).ravel())
        within = (power["t_ns"] > first - 30 * MS) & (power["t_ns"] < end[-1] + 30 * MS)
        waiting = np.searchsorted(edges, power.loc[within, "t_ns"], side="right") % 2 == 1
        power.loc[within, "mw"] = np.where(waiting, timing.wait_mw, timing.work_mw)
    # What was read before stands in for what would be read from the files.
    vars(cell).update(requests=requests, timesteps=steps, power=power)
    return cell
