"""What a mode loads from on a node: the model's artefact, in the node's runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from devices.profile import Runtime
from testbed.link.codec import CodecBook
from testbed.link.kinds import FrameError
from testbed.link.messages import CellConfig
from testbed.runtime.artefact import ModelCard
from testbed.runtime.backbone import Backbone, Stepped
from testbed.runtime.onnx import OnnxGraph


class Kit:
    """One side's tools for one cell.

    Attributes:
        card: what the model is.
        config: what the cell measures.
        loaded_backbone: the uncompressed backbone, once a mode has asked for it.
    """

    def __init__(self, artefact: Path, card: ModelCard, config: CellConfig, runtime: Runtime) -> None:
        self.card, self.config = card, config
        self.loaded_backbone: Backbone | None = None
        self._artefact, self._runtime = artefact, runtime

    def graph(self, file: str) -> OnnxGraph:
        """A step graph of the artefact.

        Raises:
            ModelError: it is missing, or the node's runtime cannot run it.
        """
        return OnnxGraph(self._artefact / file, self._runtime.threads, self._runtime.provider)

    def stepped(self, stem: str, step: str) -> Stepped:
        """A network of the artefact, to be run timestep by timestep."""
        return Stepped(self.graph(stem), self.graph(step), self.card.timesteps)

    def backbone(self) -> Backbone:
        """The uncompressed backbone, in whichever form is faster here."""
        runtime = self._runtime
        self.loaded_backbone = Backbone(self._artefact, self.card, runtime.threads, runtime.provider)
        return self.loaded_backbone

    def codecs(self) -> CodecBook:
        """The codecs for this model's codes.

        Raises:
            CodecError: the model makes none.
        """
        return CodecBook(self.card.code_shape, self.card.code_rates)

    def sample(self, payload: bytes | memoryview) -> NDArray[np.uint8]:
        """The input [1, C, H, W] or [1, T, C, H, W] in a payload.

        Raises:
            FrameError: it has another length.
        """
        shape = self.card.sample_shape
        if len(payload) != np.prod(shape):
            raise FrameError("bad_length", f"an input of {len(payload)} bytes is not of this model's shape")
        return np.frombuffer(payload, dtype=np.uint8).reshape(1, *shape)
