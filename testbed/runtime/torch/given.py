"""A node of an ONNX graph with what is known of it when it becomes an operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, cast

from torch import Tensor

from testbed.errors import ModelError
from testbed.runtime.onnxfile import Node

Operator: TypeAlias = Callable[..., Any]
"""From a node's inputs (None: left out) to its output, or to a tuple of its outputs."""


class Given:
    """A node with what is known when it is made: attributes, and inputs that are constants."""

    def __init__(self, node: Node, constants: Mapping[str, Tensor]) -> None:
        self.node, self._constants = node, constants

    def __call__(self, attribute: str, default: Any = None) -> Any:
        """An attribute."""
        return self.node.attributes.get(attribute, default)

    def has(self, place: int) -> bool:
        """Whether an input is given."""
        return len(self.node.inputs) > place and self.node.inputs[place] != ""

    def known(self, place: int) -> Any:
        """An input that has to be a constant, as a number or a list of numbers; None: it is left out.

        Raises:
            ModelError: it is computed.
        """
        if not self.has(place):
            return None
        name = self.node.inputs[place]
        if name not in self._constants:
            raise ModelError(f"{self.node.kind} with a {name} that is computed is not supported")
        return self._constants[name].tolist()

    def axes(self, place: int) -> list[int] | None:
        """The axes, which older opsets have as an attribute."""
        return cast("list[int] | None", self("axes") if "axes" in self.node.attributes else self.known(place))

    def refuse(self, attribute: str, *allowed: Any) -> None:
        """Have an attribute mean what is computed here.

        Raises:
            ModelError: it is another.
        """
        if (said := self(attribute, allowed[0])) not in allowed:
            raise ModelError(f"{self.node.kind} with {attribute} {said} is not supported")


Maker: TypeAlias = Callable[[Given], Operator]
"""Makes the operator of a node."""
