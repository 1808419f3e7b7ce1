"""One request from its beginning to its row: whatever happens on the way, it ends in exactly one, with its reason."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import cycle, islice
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from testbed.errors import LinkError
from testbed.link import messages
from testbed.link.client import LinkTimeout
from testbed.link.deadline import Deadline
from testbed.link.messages import CellConfig
from testbed.link.uplink import Uplink, Wire
from testbed.modes.mode import EdgeHalf
from testbed.modes.request import Request
from testbed.record.late import LateRow
from testbed.record.mode import Answerer
from testbed.record.resent import StreamRow
from testbed.record.schema import Outcome, RequestRow, TimestepRow
from testbed.runtime.artefact import ModelCard
from testbed.runtime.bundle import Bundle
from testbed.worker.fallback import REHEARSALS, Fallback
from testbed.worker.rows import Ending, Facts, late_of, rows_of, streams_of
from testbed.worker.samples import input_of
from testbed.worker.station import Station

AT_ONCE = 0
"""When a request is asked for: as soon as the one before is over, as in MLPerf's single stream."""


class Answered(NamedTuple):
    """A request that has ended: its rows, and an error that is no matter of the link, to be raised after recording.

    `late` is what came meanwhile for requests before it.
    """

    row: RequestRow
    timesteps: list[TimestepRow]
    fault: Exception | None = None
    streams: Sequence[StreamRow] = ()
    late: Sequence[LateRow] = ()


class Answering:
    """Answers requests with a mode's half; `by` is whose output they then have.

    A request ends at its deadline, which counts from its arrival, and where it has none `timeout_ms` after its begin.
    Nothing is begun after its deadline. With a fallback the cloud has until then less what the edge needs alone.
    Whatever goes wrong with the cloud, the edge then begins the request anew.

    Attributes:
        warming_up: the first requests are slow, so while this holds they have no deadline.
    """

    def __init__(
        self,
        half: EdgeHalf,
        by: Answerer,
        card: ModelCard,
        bundle: Bundle,
        config: CellConfig,
        station: Station,
        uplink: Uplink | None,
        fallback: Fallback | None = None,
    ) -> None:
        self.warming_up = False
        self._half, self._by, self._card, self._bundle, self._config = half, by, card, bundle, config
        self._station, self._uplink, self._fallback = station, uplink, fallback
        self._silent_ns = 0

    @property
    def chunks(self) -> list[int]:
        """How many timesteps are computed at a time."""
        return self._config.chunks or [1] * self._card.timesteps

    def follow(self, order: messages.Follow) -> None:
        """Answer by this schedule from now on."""
        self._config = msgspec.structs.replace(self._config, window=order.window, chunks=order.chunks)

    def rehearse(self, samples: Sequence[int]) -> None:
        """Have the edge answer a few samples alone: its first real one is not cold, and how long it takes is known."""
        if self._fallback is None:
            return
        took_ms: list[float] = []
        for sample in islice(cycle(samples), REHEARSALS):
            if self._station.cancel.is_set():
                return
            request = self._request(0, self._sample(sample), None, self._config.timeout_ms)
            tempo = self._station.tempo
            tempo.begin(counted=False)
            self._fallback.half.answer(request)
            took_ms.append((tempo.end() - tempo.begun_ns) / 1e6)
        self._fallback.rehearsed(took_ms, self._config.deadline_ms)

    def answer(self, number: int, sample: int, arrival_ns: int | None = None) -> Answered:
        """Answer one sample that arrived then (None: now); returns its rows also where it failed."""
        fallback = self._fallback
        if fallback is not None:
            fallback.look()
        was_alone = fallback is not None and fallback.alone
        x = self._sample(sample)
        outcome: Outcome = "ok"
        reason: str | None = None
        fault: Exception | None = None
        gave_up = False
        by = self._by
        begun = None if self._uplink is None else self._uplink.place
        deadline_ms = None if self.warming_up else self._config.deadline_ms
        tempo = self._station.tempo
        facts = Facts(self._station.node, self._station.repeat, sample, int(self._bundle.labels[sample]))
        t_start_ns = tempo.begin(AT_ONCE if arrival_ns is None else arrival_ns, counted=not self.warming_up)
        arrived_ns = t_start_ns if arrival_ns is None else arrival_ns
        end_ns = None if deadline_ms is None else arrived_ns + deadline_ms * 1_000_000
        request = self._request(number, x, self._uplink, self._cloud_ms(end_ns, t_start_ns))
        if end_ns is not None and t_start_ns >= end_ns:
            late = f"still queued at its deadline of {deadline_ms} ms"
            ending = Ending("timeout", late, arrival_ns, t_start_ns, t_start_ns, Wire(0, 0), by)
            return Answered(*rows_of(request, facts, ending, self._config.exit))
        try:
            by = self._ask(request, end_ns)
        except LinkTimeout as error:
            outcome, reason, gave_up = "timeout", str(error), True
        except LinkError as error:
            outcome, reason = "error", str(error)
            self._station.event("request_failed", request=number, message=reason)
        except Exception as error:
            outcome, reason, fault = "error", f"{type(error).__name__}: {error}", error
        t_end_ns = tempo.end()
        t_start_ns = tempo.begun_ns
        arrived_ns = t_start_ns if arrival_ns is None else arrival_ns
        request.close()
        if deadline_ms is not None and outcome != "error":
            over_ms = (t_end_ns - arrived_ns) / 1e6 - deadline_ms
            if gave_up:
                answered = f"with {len(request.steps)} of {request.timesteps} timesteps answered"
                reason = f"given up at its deadline of {deadline_ms} ms {answered}: {reason}"
            elif over_ms > 0:
                outcome, reason = "timeout", f"answered {over_ms:.3f} ms after its deadline of {deadline_ms} ms"
        if not gave_up or request.heard_ns is not None:
            self._silent_ns = 0
        if gave_up:
            self._silent_ns += t_end_ns - (request.heard_ns or t_start_ns)
        fell_back = fallback is not None and fallback.alone and not was_alone
        wire: Wire | None = None
        try:
            wire = self._leave(request, renew=fell_back or (gave_up and (deadline_ms is None or self._is_silent)))
        except Exception as error:
            fault = fault or error
        ending = Ending(outcome, reason, arrival_ns, t_start_ns, t_end_ns, wire, by)
        streams = streams_of(facts, number, begun, None if self._uplink is None else self._uplink.place)
        others = [] if self._uplink is None else late_of(facts, self._uplink.take_late())
        return Answered(*rows_of(request, facts, ending, self._config.exit), fault, streams, others)

    def gather(self) -> list[LateRow]:
        """What is still to come for requests that have ended: all of it is there once the cloud has answered a probe.

        Raises:
            LinkError: it did not, or the connection broke.
        """
        alone = self._fallback is not None and self._fallback.alone
        if self._uplink is None or self._config.window == 1 or alone:
            return []
        self._uplink.probe(0, 0, 0, Deadline(self._config.timeout_ms))
        facts = Facts(self._station.node, self._station.repeat, 0, 0)
        return late_of(facts, self._uplink.take_late())

    def _sample(self, sample: int) -> NDArray[np.uint8]:
        return input_of(self._bundle, sample)

    def _request(self, number: int, x: NDArray[np.uint8], uplink: Uplink | None, cloud_ms: int) -> Request:
        config, tempo = self._config, self._station.tempo
        return Request(
            number, x, self._card, config.exit, tempo, uplink, Deadline(cloud_ms), config.window, self.chunks
        )

    def _cloud_ms(self, end_ns: int | None, now_ns: int) -> int:
        """How long the cloud has for a request that has to be answered by `end_ns`."""
        if end_ns is None:
            return self._config.timeout_ms
        left_ms = max(0, -((now_ns - end_ns) // 1_000_000))
        return left_ms if self._fallback is None else self._fallback.cloud_ms(left_ms)

    def _ask(self, request: Request, end_ns: int | None) -> Answerer:
        """Have a request answered; returns by whom.

        Raises:
            LinkError: the cloud did not answer, and the edge cannot, or not before `end_ns`.
        """
        if self._fallback is None:
            self._half.answer(request)
            return self._by
        if not self._fallback.alone:
            try:
                self._half.answer(request)
            except LinkError as error:
                self._fallback.lost(request.number, str(error))
                if end_ns is not None and time.monotonic_ns() >= end_ns:
                    raise LinkTimeout(str(error)) from error
                request.restart()
            else:
                return self._by
        self._fallback.half.answer(request)
        return "edge"

    @property
    def _is_silent(self) -> bool:
        """Whether the cloud has said nothing to requests that waited for it for `timeout_ms` in all.

        A connection that is only slower than the deadline is kept: a new one would cost the next request its handshake.
        """
        return self._silent_ns >= self._config.timeout_ms * 1_000_000

    def _leave(self, request: Request, *, renew: bool) -> Wire | None:
        """Leave the link as the next request wants it; returns what this one cost, None if that is not known."""
        if self._uplink is None:
            return Wire(0, 0)
        try:
            kept = request.up_bytes and not (request.complete or request.over)
            if kept and self._uplink.end(request.number):
                request.frames_up += 1
            return self._uplink.spent()
        except LinkError as error:
            self._station.event("connection_lost", request=request.number, message=str(error))
            return None
        finally:
            if renew:
                self._uplink.renew()
                self._silent_ns = 0
