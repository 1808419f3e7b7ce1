"""The cloud's work in one repeat: what it loads, and the data plane on which it answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

from testbed.errors import WorkerError
from testbed.link import frames, messages
from testbed.link.messages import Load
from testbed.link.server import DataServer
from testbed.modes import mode_named
from testbed.modes.kit import Kit
from testbed.modes.mode import CloudHalf
from testbed.record.documents import Finished
from testbed.runtime.artefact import ModelCard, verify
from testbed.worker.serving import Serving
from testbed.worker.station import Station


class CloudWork:
    """One repeat of one cell, on the cloud. `loaded` says where its data plane listens.

    `on_fault` is told of an error on the data plane that is neither the link's nor a peer's, from another thread.
    """

    def __init__(self, load: Load, node: str, cancel: threading.Event, on_fault: Callable[[str], None]) -> None:
        self._station = Station(load, node, cancel)
        card = verify(Path(load.artefact), load.artefact_hash)
        kit = Kit(Path(load.artefact), card, load.config, load.profile.runtime)
        half = mode_named(load.config.mode).cloud(kit)
        self._server: DataServer | None = None
        self._serving: Serving | None = None
        if half is not None:
            self._open(load, card, half, on_fault)
        self.loaded = messages.Loaded(
            data_endpoint=None if self._server is None else self._server.endpoint, detail=self._station.loaded(kit)
        )

    def idle(self, seconds: float, phase: str) -> None:
        """Wait, metered."""
        self._station.idle(seconds, phase)

    def finish(self) -> Finished:
        """Close the data plane and the record.

        Raises:
            WorkerError: something went wrong on the data plane that is neither the link's fault nor a peer's.
        """
        if self._serving is not None:
            self._serving.stop()
        if self._server is not None:
            self._server.close()
        fault = None if self._serving is None else self._serving.fault
        self._server = self._serving = None
        finished = self._station.finish()
        if fault is not None:
            raise WorkerError(f"{fault}; its traceback is in the worker's log")
        return finished

    def _open(self, load: Load, card: ModelCard, half: CloudHalf, on_fault: Callable[[str], None]) -> None:
        max_payload = max(4 * prod(card.code_shape or [0]), prod(card.sample_shape))

        def on_event(name: str, detail: dict[str, Any]) -> None:
            self._station.event(name, **detail)

        self._server = DataServer(
            load.profile.address,
            load.profile.data_port,
            load.data_keys,
            load.allowed_clients,
            max_message_bytes=max_payload + frames.HEADER_BYTES,
            on_event=on_event,
        )
        self._serving = Serving(self._server, half, self._station.tempo, on_event, on_fault, max_payload)
        self._serving.start()
