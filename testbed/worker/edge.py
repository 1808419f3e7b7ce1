"""The edge's work in one repeat: what it loads, and its requests from the first to the last."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from testbed.errors import WorkerError
from testbed.link import messages
from testbed.link.deadline import Deadline
from testbed.link.messages import Load
from testbed.link.uplink import Uplink
from testbed.modes import mode_named
from testbed.modes.kit import Kit
from testbed.record.documents import Finished
from testbed.record.schema import NetworkRow
from testbed.runtime.artefact import ModelCard, verify
from testbed.runtime.bundle import Bundle, load_bundle
from testbed.worker.answering import Answered, Answering
from testbed.worker.loop import RequestLoop
from testbed.worker.station import Station


class EdgeWork:
    """One repeat of one cell, on the edge."""

    def __init__(self, load: Load, node: str, cancel: threading.Event) -> None:
        self._station = Station(load, node, cancel)
        card = verify(Path(load.artefact), load.artefact_hash)
        bundle = _fitting_bundle(load, card)
        kit = Kit(Path(load.artefact), card, load.config, load.profile.runtime)
        half = mode_named(load.config.mode).edge(kit)
        self._uplink: Uplink | None = None
        if load.data_endpoint is not None:
            deadline = Deadline(load.config.timeout_ms)
            self._uplink = Uplink(load.data_endpoint, load.data_keys, load.data_server_public, deadline)
        answering = Answering(half, card, bundle, load.config, self._station, self._uplink)
        self._loop = RequestLoop(answering.answer, self._record, self._station.check_sampler, cancel)
        self.loaded = messages.Loaded(data_endpoint=None, detail=self._station.loaded(kit))

    def idle(self, seconds: float, phase: str) -> None:
        """Wait, metered."""
        self._station.idle(seconds, phase)

    def warm_up(self, samples: Sequence[int]) -> None:
        """Run samples without recording them."""
        self._station.phase("warmup")
        self._loop.warm_up(samples)

    def measure(self, order: messages.Measure, report: Callable[[int], None]) -> int:
        """Run and record samples; returns how many requests were measured."""
        self._station.phase("measure")
        return self._loop.measure(order, report)

    def finish(self) -> Finished:
        """Close the data plane and the record."""
        self._station.phase("end")
        if self._uplink is not None:
            self._uplink.close()
            self._uplink = None
        return self._station.finish()

    def _record(self, answered: Answered) -> None:
        self._station.log("timesteps").append(*answered.timesteps)
        self._station.log("requests").append(answered.row)
        if self._uplink is not None:
            counters = self._uplink.counters
            self._station.log("network").append(
                NetworkRow(
                    node=self._station.node,
                    t_ns=time.monotonic_ns(),
                    interface="data",
                    tx_bytes=counters.tx_bytes,
                    rx_bytes=counters.rx_bytes,
                    rtt_ms=counters.rtt_ms,
                    retransmits=counters.retransmits,
                )
            )


def _fitting_bundle(load: Load, card: ModelCard) -> Bundle:
    if load.bundle is None:
        raise WorkerError("an edge needs the evaluation bundle")
    bundle = load_bundle(Path(load.bundle), load.bundle_hash)
    if list(bundle.inputs.shape[1:]) != card.sample_shape:
        raise WorkerError(
            f"{load.bundle}: inputs of shape {list(bundle.inputs.shape[1:])} do not fit the model's {card.sample_shape}"
        )
    return bundle
