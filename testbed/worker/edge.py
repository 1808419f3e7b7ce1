"""The edge's work in one repeat: what it loads, and its requests from the first to the last."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from devices.links.conditions import Link
from testbed.errors import LinkError, WorkerError
from testbed.link import messages
from testbed.link.deadline import Deadline
from testbed.link.interfaces import interface_to
from testbed.link.messages import Load
from testbed.link.uplink import Uplink
from testbed.modes import mode_named
from testbed.modes.ahead import Ahead
from testbed.modes.kit import Kit
from testbed.record.late import LATE, LateRow
from testbed.record.noderecord import Cooling, Finished, LoadedFallback, Measured, PathMeasured
from testbed.record.resent import STREAMS
from testbed.runtime.artefact import ModelCard, verify
from testbed.worker.answering import Answered, Answering
from testbed.worker.begun import Begun, lost_row, recorded
from testbed.worker.capture import Capture
from testbed.worker.cooling import cool_down
from testbed.worker.fallback import Fallback
from testbed.worker.linkpart import LinkPart
from testbed.worker.loop import MAX_REQUEST_ID, RequestLoop
from testbed.worker.network import NetworkRecorder
from testbed.worker.path import PathCheck
from testbed.worker.samples import fitting_bundle, inputs_of
from testbed.worker.standby import load_standby
from testbed.worker.station import Station

HANDSHAKE_TRIPS = 8
CONNECT_MS = 5000
"""What connecting may take at the least, before the link's own delay: it happens once, however short requests are."""


class EdgeWork:
    """One repeat of one cell, on the edge."""

    def __init__(self, load: Load, node: str, cancel: threading.Event) -> None:
        self._station = Station(load, node, cancel)
        card = verify(Path(load.artefact), load.artefact_hash)
        bundle = fitting_bundle(load, card)
        tempo = self._station.tempo
        self._ahead = None if load.profile.emulates is None else Ahead(tempo)
        kit = Kit(Path(load.artefact), card, load.config, load.profile, tempo, self._ahead, self._station.outputs)
        mode = mode_named(load.config.mode)
        half = mode.edge(kit)
        self._uplink: Uplink | None = None
        self.link = LinkPart(self._station, load)
        self._asked = load.link
        self._shaping = load.shaping
        self._loses = load.link is not None and load.shaping == "user" and load.link.loses
        self._network: NetworkRecorder | None = None
        self._capture: Capture | None = None
        if load.data_endpoint is not None:
            deadline = Deadline(max(load.config.timeout_ms, CONNECT_MS) + _handshake_ms(load.link))
            self._uplink = Uplink(load.data_endpoint, load.data_keys, load.data_server_public, deadline)
        fallback, standby = self._standby(load, card)
        if load.data_endpoint is not None and self._uplink is not None:
            peers = {self._uplink.peer}
            path: Literal["data", "hop"] = "hop" if load.shaping == "user" else "data"
            log = self._station.log("network")
            self._network = NetworkRecorder(log, node, lambda: peers, self._uplink.glance, path)
            self._station.send_over(self._uplink.glance)
            port = urlsplit(load.data_endpoint).port or 0
            if load.shaping == "tc":
                self.link.shape(load, [self._uplink.peer], port)
            if load.capture:
                self._capture = Capture(self._station.folder, interface_to(self._uplink.peer), port)
        self._answering = Answering(
            half, mode.facts.answers, card, bundle, load.config, self._station, self._uplink, fallback
        )
        self._loop = RequestLoop(
            self._answer,
            self._record,
            self._check,
            cancel,
            late_is_lost=load.config.deadline_ms is None,
            lossy=load.config.faults,
        )
        self._bundle = bundle
        self._begun = Begun(self._station.folder / "begun") if load.config.faults else None
        detail = msgspec.structs.replace(self._station.loaded(kit, self.link.shaping), fallback=standby)
        if detail.stages is not None and (uplink := self._uplink) is not None and (seen := uplink.glance()) is not None:
            stages = msgspec.structs.replace(detail.stages, rtt_ms=seen.rtt_ms)
            detail = msgspec.structs.replace(detail, stages=stages)
        self.loaded = messages.Loaded(data_endpoint=None, detail=detail)

    def idle(self, seconds: float, phase: str) -> None:
        """Wait, metered."""
        self._station.idle(seconds, phase)

    def cool_down(self, order: messages.CoolDown) -> Cooling:
        """Wait until the board is as warm as it was."""
        return cool_down(self._station, order)

    def follow(self, order: messages.Follow) -> None:
        """Answer by this schedule from now on."""
        self._answering.follow(order)

    def compute_ahead(self, order: messages.ComputeAhead) -> None:
        """Have an emulated edge remember what its networks put out for the order's samples."""
        if self._ahead is not None:
            inputs = inputs_of(self._bundle, order.samples, self._station.cancel)
            with self._station.recalling():
                self._ahead.compute(self._station.outputs.watched(inputs), self._answering.chunks)
        self._station.come_first()

    def warm_up(self, samples: Sequence[int]) -> None:
        """Run samples without recording them."""
        self._station.phase("warmup")
        self._answering.rehearse(samples)
        self._answering.warming_up = True
        self._loop.warm_up(samples)
        self._answering.warming_up = False

    def check_path(self, when: Literal["before", "after"]) -> PathMeasured:
        """Measure the path to the cloud against the link that was asked for.

        Raises:
            LinkError: the connection broke, or an echo did not come.
        """
        if self._uplink is None or self._asked is None:
            raise WorkerError("this cell has no link to check")
        self._station.phase("check_path")
        return PathCheck(self._uplink, self._asked, self._shaping).run(when)

    def measure(self, order: messages.Measure, report: Callable[[int], None]) -> Measured:
        """Run and record samples; says how many requests were measured."""
        self._station.phase("measure")
        done, last_arrival_ns = self._caught_up() if order.go_on else (0, None)
        measured = self._loop.measure(order, report, done, last_arrival_ns)
        try:
            self._record_late(self._answering.gather())
        except LinkError as error:  # each request has its row; what came late for the last ones is not known
            self._station.event("late_answers_lost", message=str(error))
        return measured

    def finish(self) -> Finished:
        """Close the data plane and the record.

        Raises:
            LinkError: the link was not shaped to the end.
            DeviceError: a queue could not be given back.
            WorkerError: the network or its packets were not recorded to the end.
        """
        self._station.phase("end")
        if self._network is not None:
            self._network.stop()
        uncaptured = self._end_capture()
        if self._uplink is not None:
            self._uplink.close()
            self._uplink = None
        unshaped = self.link.end()
        if self._begun is not None:
            self._begun.close()
        finished = self._station.finish()
        if self._ahead is not None:
            ahead, before = self._ahead.samples, self._station.outputs.samples
            finished = msgspec.structs.replace(finished, computed_ahead=ahead, computed_before=before)
        if self._network is not None:
            self._network.check()
        for failed in (unshaped, uncaptured):
            if failed is not None:
                raise failed
        return finished

    def _end_capture(self) -> WorkerError | None:
        """End the capture and record what it holds; returns why it does not hold everything."""
        capture, self._capture = self._capture, None
        try:
            captured = None if capture is None else capture.close()
        except WorkerError as error:  # raised once everything else is closed
            return error
        if captured is not None:
            self._station.event("captured", **captured._asdict())
        return None

    def _standby(self, load: Load, card: ModelCard) -> tuple[Fallback | None, LoadedFallback | None]:
        if load.config.fallback is None or self._uplink is None:
            return None, None
        half, said = load_standby(load, card, self._station, self._ahead)

        def on_event(name: str, detail: dict[str, Any]) -> None:
            self._station.event(name, **detail)

        return Fallback(half, self._uplink, on_event), said

    def _answer(self, request: int, sample: int, arrival_ns: int | None) -> Answered:
        if self._begun is not None:
            self._begun.note(request, sample, arrival_ns)
        return self._answering.answer(request, sample, arrival_ns)

    def _caught_up(self) -> tuple[int, int | None]:
        """How many requests an earlier worker in this place recorded, with the one that it was killed in.

        Also when the last of them arrived; None where requests arrive when they begin.
        """
        done = recorded(self._station.folder / "requests.jsonl")
        note = None if self._begun is None else self._begun.last()
        if note is None or note.request > MAX_REQUEST_ID:  # killed while warming up
            return len(done), None
        if note.request in done:
            return len(done), note.arrival_ns
        label = int(self._bundle.labels[note.sample])
        row = lost_row(note, node=self._station.node, repeat=self._station.repeat, label=label)
        self._station.log("requests").append(row)
        return len(done) + 1, note.arrival_ns

    def _record(self, answered: Answered) -> None:
        self._station.log("timesteps").append(*answered.timesteps)
        self._record_late(answered.late)
        if self._loses:
            self._station.log(STREAMS).append(*answered.streams)
        self._station.log("requests").append(answered.row)

    def _record_late(self, late: Sequence[LateRow]) -> None:
        if late:
            self._station.log(LATE).append(*late)

    def _check(self) -> None:
        """Make sure that what is recorded beside the requests still is."""
        self._station.check_sampler()
        if self._network is not None:
            self._network.check()
        if self._capture is not None:
            self._capture.check()


def _handshake_ms(link: Link | None) -> int:
    """How much longer a link may take to connect than to answer: TCP's, ZMTP's and CURVE's handshakes wait for it."""
    return 0 if link is None else round(HANDSHAKE_TRIPS * (link.up.delay_ms + link.down.delay_ms))
