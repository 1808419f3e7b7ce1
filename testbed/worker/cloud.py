"""The cloud's work in one repeat: what it loads, and the data plane on which it answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import msgspec

from devices.tempo import RealTempo
from testbed.errors import WorkerError
from testbed.link import frames, messages
from testbed.link.interfaces import peers_at
from testbed.link.messages import Load
from testbed.link.server import DataServer
from testbed.link.shaping.talk import ShaperRow
from testbed.link.shaping.user import UserShaper
from testbed.modes import mode_named
from testbed.modes.foreseen import Foreseen
from testbed.modes.kit import Kit
from testbed.modes.mode import CloudHalf
from testbed.record.noderecord import Cooling, Finished
from testbed.record.resent import RESENT, ResentRow
from testbed.record.schema import NetworkRow
from testbed.runtime.artefact import ModelCard, verify
from testbed.worker.cooling import cool_down
from testbed.worker.linkpart import LinkPart
from testbed.worker.network import NetworkRecorder
from testbed.worker.samples import fitting_bundle, inputs_of
from testbed.worker.serving import Serving
from testbed.worker.station import Station


class CloudWork:
    """One repeat of one cell, on the cloud. `loaded` says where its data plane listens.

    `on_fault` is told, from another thread, of an error on the data plane that is neither the link's nor a peer's, and
    of a shaper that ended.
    """

    def __init__(self, load: Load, node: str, cancel: threading.Event, on_fault: Callable[[str], None]) -> None:
        self._station = Station(load, node, cancel)
        card = verify(Path(load.artefact), load.artefact_hash)
        station = self._station
        kit = Kit(Path(load.artefact), card, load.config, load.profile, station.tempo, outputs=station.outputs)
        half = mode_named(load.config.mode).cloud(kit)
        self._load, self._card = load, card
        self._foreseen: Foreseen | None = None
        if half is not None and load.profile.emulates is not None:
            half = self._foreseen = Foreseen(half, card, self._station.tempo)
        self._server: DataServer | None = None
        self._serving: Serving | None = None
        self._network: NetworkRecorder | None = None
        self.link = LinkPart(self._station, load)
        endpoint = None if half is None else self._open(load, card, half, on_fault)
        self.loaded = messages.Loaded(data_endpoint=endpoint, detail=self._station.loaded(kit, self.link.shaping))

    def idle(self, seconds: float, phase: str) -> None:
        """Wait, metered."""
        self._station.idle(seconds, phase)

    def cool_down(self, order: messages.CoolDown) -> Cooling:
        """Wait until the board is as warm as it was."""
        return cool_down(self._station, order)

    def compute_ahead(self, order: messages.ComputeAhead) -> None:
        """Have an emulated cloud remember its answers to what edges send for the order's samples."""
        if self._foreseen is None:
            return
        load, card, outputs = self._load, self._card, self._station.outputs
        bundle = fitting_bundle(load, card)
        # As an edge that is not emulated, and without an exit: it then sends all that an edge may send.
        config = msgspec.structs.replace(load.config, exit=None, window=1)
        profile = msgspec.structs.replace(load.profile, kind="host", emulates=None, power=[])
        kit = Kit(Path(load.artefact), card, config, profile, RealTempo(), outputs=outputs)
        edge = mode_named(config.mode).edge(kit)
        with self._station.recalling():
            for chunks in order.chunks or [config.chunks or [1] * card.timesteps]:
                inputs = outputs.watched(inputs_of(bundle, order.samples, self._station.cancel))
                self._foreseen.foresee(edge, inputs, chunks)
        self._station.come_first()

    def finish(self) -> Finished:
        """Close the data plane and the record.

        Raises:
            LinkError: the link was not shaped to the end.
            DeviceError: a queue could not be given back.
            WorkerError: something went wrong on the data plane that is neither the link's fault nor a peer's, or the
                network was not recorded to the end.
        """
        unshaped = self.link.end()
        if self._network is not None:
            self._network.stop()
        if self._serving is not None:
            self._serving.stop()
        if self._server is not None:
            self._server.close()
        fault = None if self._serving is None else self._serving.fault
        if self._serving is not None and self._serving.dropped:
            self._station.event("frames_dropped", frames=self._serving.dropped, because="their request had ended")
        self._server = self._serving = None
        finished = self._station.finish()
        if self._foreseen is not None:
            ahead, before = self._foreseen.samples, self._station.outputs.samples
            finished = msgspec.structs.replace(finished, computed_ahead=ahead, computed_before=before)
        if fault is not None:
            raise WorkerError(f"{fault}; its traceback is in the worker's log")
        if unshaped is not None:
            raise unshaped
        if self._network is not None:
            self._network.check()
        return finished

    def _open(self, load: Load, card: ModelCard, half: CloudHalf, on_fault: Callable[[str], None]) -> str:
        """Listen, answer, and shape the link; returns where edges connect to."""
        codes = max(load.config.sizes) * (frames.ENTRY_BYTES + 4 * prod(card.code_shape or [0]))
        max_payload = max(codes, prod(card.sample_shape), frames.MAX_PROBE_BYTES)

        def on_event(name: str, detail: dict[str, Any]) -> None:
            self._station.event(name, **detail)

        address, port = load.profile.address, load.profile.data_port
        shaped = load.link is not None and load.shaping == "user"
        self._server = DataServer(
            "127.0.0.1" if shaped else address,
            0 if shaped else port,
            load.data_keys,
            load.allowed_clients,
            max_message_bytes=max_payload + frames.HEADER_BYTES,
            on_event=on_event,
        )
        self._serving = Serving(self._server, half, self._station.tempo, on_event, on_fault, max_payload)
        self._serving.start()
        if load.link is not None and shaped:
            self.link.shaper = UserShaper(
                load.link,
                self._server.endpoint,
                address,
                port,
                self._record_path,
                lambda error: on_fault(str(error)),
            )
        elif load.shaping == "tc":
            self.link.shape(load, load.peers, self._server.port)
        # Where the edges come to; behind a process that shapes the server's only peer is this machine.
        endpoint = (None if self.link.shaper is None else self.link.shaper.endpoint) or self._server.endpoint
        edges_at = int(endpoint.rpartition(":")[2])
        self._network = NetworkRecorder(self._station.log("network"), self._station.node, lambda: peers_at(edges_at))
        return endpoint

    def _record_path(self, row: ShaperRow) -> None:
        """Keep the shaper's counters, seen from the cloud: what goes up is received; and what it sent again."""
        if row.resent:
            self._station.log(RESENT).append(
                *(
                    ResentRow(connection=one.connection, side=one.side, at=one.at, wire_bytes=one.wire_bytes)
                    for one in row.resent
                )
            )
        self._station.log("network").append(
            NetworkRow(
                node=self._station.node,
                t_ns=row.t_ns,
                interface="data",
                tx_bytes=row.down_bytes,
                rx_bytes=row.up_bytes,
                rtt_ms=row.rtt_ms,
                retransmits=row.retransmits,
            )
        )
