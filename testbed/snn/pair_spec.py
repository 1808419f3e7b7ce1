"""What a recipe says of step graphs that were made elsewhere: `backbone: {edge: EDGE.onnx, cloud: CLOUD.onnx, …}`."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import pydantic

from testbed.config import Strict
from testbed.data.size import Size
from testbed.snn.own_spec import GraphFile, Shape

CUT = "cut"
"""The one split of a pair of graphs."""

_Size = Annotated[int, pydantic.Field(ge=1, le=65_536)]


class PairSpec(Strict):
    """Step graphs `(x, *state) → (y, *state')` of one timestep, for a batch of one.

    `edge` gives the code, `cloud` takes it and gives the logits. `stem` makes the edge's input of uint8 pixels; without
    it the edge takes them itself. `full` is the uncompressed backbone behind `full_stem`, or behind the same stem;
    without it the baseline is edge and cloud, joined. `feature` is the shape of what the code stands for; without it
    the code itself.
    """

    edge: GraphFile
    cloud: GraphFile
    stem: GraphFile | None = None
    full: GraphFile | None = None
    full_stem: GraphFile | None = None
    feature: tuple[_Size, _Size, _Size] | None = None
    name: str = pydantic.Field("imported", min_length=1, max_length=100)
    neuron: ClassVar[Literal["lif"]] = "lif"
    width: ClassVar[None] = None

    @pydantic.model_validator(mode="after")
    def _stems_something(self) -> PairSpec:
        if self.full_stem is not None and self.full is None:
            raise ValueError("full_stem is what comes before full; give that too")
        return self

    def features(self, channels: int, image_size: Size) -> dict[str, Shape]:
        """Shape (C, H, W) of the features at the one split.

        Raises:
            TestbedError: the graphs do not fit each other.
        """
        from testbed.snn.pair import inspected

        return {CUT: self.feature or inspected(self, channels, image_size).code}

    def code_shape(self, channels: int, image_size: Size) -> Shape:
        """Shape (C', H', W') of the code.

        Raises:
            TestbedError: the graphs do not fit each other.
        """
        from testbed.snn.pair import inspected

        return inspected(self, channels, image_size).code

    def carries_current(self, split: str) -> bool:
        """Never: a split lies where bits alone leave."""
        return False

    def no_split(self, split: str, channels: int, image_size: Size) -> str:
        """Why there is no split of this name."""
        return f"a pair of graphs has no split {split!r}; there is {CUT}"
