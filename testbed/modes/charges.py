"""What an emulated node owes for what its host computes: a time for each call of a step graph and for each code."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from devices.activity import Activity
from devices.tempo import Tempo
from devices.timemodel import Roofline, TimeModel
from testbed.errors import ModelError
from testbed.link.codec import CodecBook
from testbed.runtime.artefact import ModelCard
from testbed.runtime.graph import Graph
from testbed.runtime.trial import median_ms, step_ms


class Charges:
    """The charges of one node. A graph is charged by its file, whatever its input, so a run can be repeated."""

    def __init__(self, model: TimeModel, tempo: Tempo, card: ModelCard) -> None:
        self._model, self._tempo, self._card = model, tempo, card

    def charge_graph(self, graph: Graph) -> float:
        """Charge each call of a graph from now on; returns what it takes, in ms.

        Raises:
            ModelError: the artefact does not say what the graph asks of a processor.
        """
        name = graph.path.name
        if isinstance(self._model, Roofline):
            if name not in self._card.graphs:
                raise ModelError(
                    f"{graph.path}: an emulated node cannot tell how long it takes: model.yaml has no `graphs:` entry "
                    "for it; export the model again"
                )
            call_ns = self._model.call_ns(self._card.graphs[name])
        else:
            call_ns = self._model.ns(1e6 * step_ms(graph))
        graph.on_call = partial(self._tempo.owe, call_ns)
        return call_ns / 1e6

    def charge_codes(self, book: CodecBook, codec: str) -> None:
        """Charge each code that is written or read from now on; `codec` is the cell's."""
        if isinstance(self._model, Roofline):
            code_ns = self._model.code_ns
            book.on_use = lambda use: self._tempo.owe(
                code_ns(use.elements, use.payload_bytes, use.elements if use.serial else 0), Activity.CPU
            )
            return
        encode, code = book.encoder(codec), typical_code(self._card)
        wire_id, payload = encode(code, 0)
        encode_ns = self._model.ns(1e6 * median_ms(lambda: encode(code, 0)))
        decode_ns = self._model.ns(1e6 * median_ms(lambda: book.decode(wire_id, payload, 0)))
        book.on_use = lambda use: self._tempo.owe(encode_ns if use.encodes else decode_ns, Activity.CPU)


def typical_code(card: ModelCard) -> NDArray[np.uint8]:
    """A code [C', H', W'] with the spike rates of the first timestep, where the model carries them."""
    shape = card.code_shape or []
    rates = np.full(shape[:1], 0.5) if card.code_rates is None else np.array(card.code_rates[0])
    spikes = np.random.default_rng(0).random(shape) < rates[:, None, None]
    return spikes.astype(np.uint8)
