"""One request from its beginning to its row: whatever happens on the way, it ends in exactly one, with its reason."""

from __future__ import annotations

import time
from typing import NamedTuple

import numpy as np

from testbed.errors import LinkError
from testbed.link.client import LinkTimeout
from testbed.link.deadline import Deadline
from testbed.link.messages import CellConfig
from testbed.link.uplink import Uplink, Wire
from testbed.modes.mode import EdgeHalf
from testbed.modes.request import Request
from testbed.record.schema import Outcome, RequestRow, TimestepRow
from testbed.runtime.artefact import ModelCard
from testbed.runtime.bundle import Bundle
from testbed.worker.rows import Ending, Facts, rows_of
from testbed.worker.station import Station


class Answered(NamedTuple):
    """A request that has ended: its rows, and an error that is no matter of the link, to be raised after recording."""

    row: RequestRow
    timesteps: list[TimestepRow]
    fault: Exception | None = None


class Answering:
    """Answers requests with a mode's half, each within `timeout_ms`."""

    def __init__(
        self,
        half: EdgeHalf,
        card: ModelCard,
        bundle: Bundle,
        config: CellConfig,
        station: Station,
        uplink: Uplink | None,
    ) -> None:
        self._half, self._card, self._bundle, self._config = half, card, bundle, config
        self._station, self._uplink = station, uplink

    def answer(self, number: int, sample: int) -> Answered:
        """Answer one sample; returns its rows also where it failed."""
        x = np.ascontiguousarray(self._bundle.inputs[sample : sample + 1])
        outcome: Outcome = "ok"
        reason: str | None = None
        fault: Exception | None = None
        t_start_ns = time.monotonic_ns()
        deadline = Deadline(self._config.timeout_ms)
        tempo, rule = self._station.tempo, self._config.exit
        request = Request(number, x, self._card, rule, tempo, self._uplink, deadline)
        try:
            self._half.answer(request)
        except LinkTimeout as error:
            outcome, reason = "timeout", str(error)
        except LinkError as error:
            outcome, reason = "error", str(error)
            self._station.event("request_failed", request=number, message=reason)
        except Exception as error:
            outcome, reason, fault = "error", f"{type(error).__name__}: {error}", error
        t_end_ns = time.monotonic_ns()
        tempo.rest()
        wire: Wire | None = None
        try:
            wire = self._leave(request, outcome)
        except Exception as error:
            fault = fault or error
        ending = Ending(outcome, reason, t_start_ns, t_end_ns, wire)
        facts = Facts(self._station.node, self._station.repeat, sample, int(self._bundle.labels[sample]))
        return Answered(*rows_of(request, facts, ending, rule), fault)

    def _leave(self, request: Request, outcome: Outcome) -> Wire | None:
        """Leave the link as the next request wants it; returns what this one cost, None if that is not known."""
        if self._uplink is None:
            return Wire(0, 0)
        try:
            if request.steps and not request.complete:
                self._uplink.end(request.number)
            return self._uplink.spent()
        except LinkError as error:
            self._station.event("connection_lost", request=request.number, message=str(error))
            return None
        finally:
            if outcome == "timeout":
                self._uplink.renew()
