"""What a mode loads from on a node: the model's artefact, in the node's runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from devices.profile import Profile
from devices.tempo import Tempo
from testbed.link import frames
from testbed.link.codec import CodecBook, Encode
from testbed.link.frames import Frame
from testbed.link.kinds import FrameError
from testbed.link.messages import CellConfig
from testbed.modes.ahead import Ahead
from testbed.modes.charges import Charges, typical_code
from testbed.record.noderecord import BackboneForm, GraphForm
from testbed.record.schedules import Call, StageTimes
from testbed.runtime import trial
from testbed.runtime.artefact import ModelCard, chunk_file
from testbed.runtime.backbone import Backbone, Stepped, Steps
from testbed.runtime.graph import Graph
from testbed.runtime.keptoutputs import KeptOutputs
from testbed.runtime.trial import median_ms, step_ms


class Kit:
    """One side's tools for one cell.

    Attributes:
        card: what the model is.
        config: what the cell measures.
        backbone_form: which form of the uncompressed backbone runs, once a mode has asked for it.
        graphs: how each graph that was loaded is computed, by its file.
        runtime_told: by what: the library with its version, its device.
        stages: how long they take; None where no schedule is chosen by it.

    `ahead` is where an emulated edge's networks are remembered, `outputs` where what its graphs put out is kept.
    """

    def __init__(
        self,
        artefact: Path,
        card: ModelCard,
        config: CellConfig,
        profile: Profile,
        tempo: Tempo,
        ahead: Ahead | None = None,
        outputs: KeptOutputs | None = None,
    ) -> None:
        self.card, self.config = card, config
        self.backbone_form: BackboneForm | None = None
        self.graphs: dict[str, GraphForm] = {}
        self.runtime_told: dict[str, str] = {}
        self.stages: StageTimes | None = None if config.schedule is None else StageTimes()
        self._artefact, self._runtime, self._tempo, self._ahead = artefact, profile.runtime, tempo, ahead
        self._outputs = KeptOutputs(None) if outputs is None else outputs
        self._charges = None if profile.emulates is None else Charges(profile.emulates.time, tempo, card)

    def _trial(self, run: Callable[[], object]) -> float:
        """What something takes here, in ms. A model says the same each time, so an emulated node runs it once."""
        return median_ms(run) if self._charges is None else self._tempo.trial(run) / 1e6

    def graph(self, file: str) -> Graph:
        """A step graph of the artefact, on as many of the node's threads as are worth it.

        Raises:
            ModelError: it is missing, or the node's runtime cannot run it; or this node is emulated, and the artefact
                does not say what the graph asks of it.
        """
        graph, trial_ms = trial.load(self._artefact / file, self._runtime, tried=self._charges is None)
        self.runtime_told = graph.told
        graph = self._outputs.graph(graph, self.card.files.get(file))
        modelled_ms = None if self._charges is None else self._charges.charge_graph(graph)
        self.graphs[file] = GraphForm(
            threads=graph.threads, spinning=graph.spinning, trial_ms=trial_ms, modelled_ms=modelled_ms
        )
        return graph

    def step_graphs(self, step: str) -> dict[int, Graph]:
        """The step graph, and those that take as many timesteps at once as a chunk of the cell may have."""
        graphs = {size: self.graph(chunk_file(step, size)) for size in self.config.sizes}
        if self.stages is not None:
            calls = [Call(size, step_ms(graph, self._trial)) for size, graph in graphs.items()]
            self.stages = replace(self.stages, calls=calls)
        return graphs

    def stepped(self, stem: str, step: str) -> Steps:
        """A network of the artefact, to be run in chunks."""
        first, graphs = self.graph(stem), self.step_graphs(step)
        if self.stages is not None:
            stem_ms = step_ms(first, self._trial)
            if self.card.static_input:
                self.stages = replace(self.stages, first_ms=stem_ms)
            else:  # each timestep has frames of its own
                calls = [Call(call.timesteps, call.ms + call.timesteps * stem_ms) for call in self.stages.calls]
                self.stages = replace(self.stages, calls=calls)
        steps = Stepped(first, graphs)
        return steps if self._ahead is None else self._ahead.steps(steps)

    def backbone(self) -> Backbone:
        """The uncompressed backbone, in whichever form is faster here."""
        backbone = Backbone(self.graph, self.card.timesteps, self._trial, stepwise=self.card.stepwise)
        self.backbone_form = BackboneForm(form=backbone.form, trial_ms=backbone.trial_ms)
        if self._ahead is not None:
            backbone.run = self._ahead.run(backbone.run)
        return backbone

    def codecs(self) -> CodecBook:
        """The codecs for this model's codes.

        Raises:
            CodecError: the model makes none.
        """
        book = CodecBook(self.card.code_shape, self.card.code_rates)
        if self._charges is not None:
            self._charges.charge_codes(book, self.config.codec or "")
        return book

    def encoder(self) -> Encode:
        """How the cell's codec writes a code.

        Raises:
            CodecError: the model makes none, or has no spike rates where the codec needs them.
        """
        encode = self.codecs().encoder(self.config.codec or "")
        if self.stages is not None:
            code, written = typical_code(self.card), []
            code_ms = self._trial(lambda: written.append(encode(code, 0)))
            message_bytes = len(written[-1][1]) + frames.HEADER_BYTES
            self.stages = replace(self.stages, code_ms=code_ms, message_bytes=message_bytes)
        return encode

    def decoder(self) -> Callable[[Frame], NDArray[np.uint8]]:
        """Says the codes [n, C', H', W'] in a STEP or STEPS frame.

        Raises:
            CodecError: the model makes none.
        """
        book, timesteps = self.codecs(), self.card.timesteps
        if self.stages is not None:
            encode, code, written = book.encoder(self.config.codec or ""), typical_code(self.card), []
            self._tempo.trial(lambda: written.append(encode(code, 0)))
            code_ms = self._trial(lambda: book.decode(*written[0], 0))
            self.stages = replace(self.stages, code_ms=code_ms)

        def decode(frame: Frame) -> NDArray[np.uint8]:
            coded = frames.codes_in(frame)
            if frame.timestep + len(coded) > timesteps:
                said = f"{len(coded)} timesteps from {frame.timestep} on"
                raise FrameError("bad_timestep", f"{said} are more than the {timesteps} of this model")
            found = [book.decode(codec, payload, frame.timestep + at) for at, (codec, payload) in enumerate(coded)]
            return np.stack(found)

        return decode

    def sample(self, payload: bytes | memoryview) -> NDArray[np.uint8]:
        """The input [1, C, H, W] or [1, T, C, H, W] in a payload.

        Raises:
            FrameError: it has another length.
        """
        shape = self.card.sample_shape
        if len(payload) != np.prod(shape):
            raise FrameError("bad_length", f"an input of {len(payload)} bytes is not of this model's shape")
        return np.frombuffer(payload, dtype=np.uint8).reshape(1, *shape)
