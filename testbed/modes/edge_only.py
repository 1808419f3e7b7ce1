"""Edge-only: the uncompressed backbone runs on the edge alone. Without an exit it is the baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from testbed.modes.mode import CloudHalf, EdgeHalf
from testbed.record.mode import ModeFacts

if TYPE_CHECKING:
    from testbed.modes.kit import Kit
    from testbed.modes.request import Request


class Whole:
    """All timesteps at once, in the backbone's faster form: nothing may stop in between."""

    def __init__(self, kit: Kit) -> None:
        self._backbone = kit.backbone()

    def answer(self, request: Request) -> None:
        """Run the backbone."""
        with request.computing():
            logits = self._backbone.run(request.x)
        request.give(*logits)


class Stepwise:
    """Timestep by timestep, or chunk by chunk, until the output is confident."""

    def __init__(self, kit: Kit) -> None:
        self._backbone = kit.stepped("full_stem.onnx", "full_step.onnx")

    def answer(self, request: Request) -> None:
        """Run timesteps until one exits."""
        outputs = self._backbone.outputs(request.x, request.chunks)
        for _ in request.chunks:
            with request.computing():
                logits = next(outputs)
            request.give(*logits)
            if request.confident:
                return


class EdgeOnly:
    """The mode without a link."""

    facts = ModeFacts(
        name="edge_only",
        title="edge-only",
        roles=("edge",),
        sends="nothing",
        exits=True,
        edge_part="full",
        cloud_part=None,
    )

    def edge(self, kit: Kit) -> EdgeHalf:
        """With an exit the edge goes step by step."""
        return Whole(kit) if kit.config.exit is None else Stepwise(kit)

    def cloud(self, kit: Kit) -> CloudHalf | None:
        """The cloud takes no part."""
        return None
