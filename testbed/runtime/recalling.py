"""A graph that need not compute what it put out before: its states then wait until they are needed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from testbed.runtime.graph import Graph, Left, State

MAX_OUTPUT_BYTES = 1 << 18
"""Of an output that is worth keeping. Codes and logits are; what a stem leaves to be put together is larger and not."""


@dataclass
class Memory:
    """What one graph put out, by what came in.

    Attributes:
        name: says which graph it is, and what computes it.
        known: None while nothing is looked up and nothing noted.
        new: what was computed and not known.
        taken: how many outputs were known.
        computed: how many were not.
    """

    name: str
    known: dict[bytes, NDArray[Any]] | None = None
    new: dict[bytes, NDArray[Any]] = field(default_factory=dict)
    taken: int = 0
    computed: int = 0

    def output(self, key: bytes, compute: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """What is known, or else what is computed, which is then noted."""
        found = None if self.known is None else self.known.get(key, self.new.get(key))
        if found is not None:
            self.taken += 1
            return found
        self.computed += 1
        y = compute()
        if y.nbytes <= MAX_OUTPUT_BYTES:
            self.new[key] = np.array(y)
        return y


class Later:
    """A value on a graph's device, known by what it is computed from, and computed once something asks for it."""

    def __init__(self, key: bytes, make: Callable[[], Any]) -> None:
        self.key, self._make = key, make

    @cached_property
    def value(self) -> Any:
        """The value."""
        return self._make()


class Recalling:
    """A `Graph` that is another one with a memory. While nothing is known it computes as that one does.

    `on_call` is told of each call, computed or not. What is computed to get at an earlier state is nobody's call.
    """

    def __init__(self, graph: Graph, memory: Memory) -> None:
        self.path, self.threads, self.spinning = graph.path, graph.threads, graph.spinning
        self.input_shape, self.states, self.device = graph.input_shape, graph.states, graph.device
        self.on_call: Callable[[], None] | None = None
        self._graph, self._memory = graph, memory

    @property
    def told(self) -> dict[str, str]:
        """What computes it."""
        return self._graph.told

    def initial_state(self) -> State:
        """Zeros for every state."""
        return Later(b"", self._graph.initial_state) if self._recalls else self._graph.initial_state()

    def blank(self) -> NDArray[Any]:
        """An x of zeros."""
        return self._graph.blank()

    def step(self, x: NDArray[Any] | Left, state: State) -> tuple[NDArray[Any], State]:
        """One timestep: y and the next state."""
        if self._recalls and isinstance(state, Later):
            key = self._key("step", x, state.key)
            call = Later(key, lambda: self._graph.step(_value(x), state.value))
            y, after = self._memory.output(key, lambda: call.value[0]), Later(key, lambda: call.value[1])
        else:
            y, after = self._graph.step(_value(x), _value(state))
        self._called()
        return y, after

    def run(self, x: NDArray[Any]) -> NDArray[Any]:
        """The output of a graph without state."""
        if self._recalls:
            y = self._memory.output(self._key("run", x), lambda: self._graph.run(x))
        else:
            y = self._graph.run(x)
        self._called()
        return y

    def left_there(self, x: NDArray[Any]) -> Left:
        """The output of a graph without state, left on the device for another graph to take as its x."""
        if self._recalls:
            left: Left = Later(self._key("left", x), lambda: self._graph.left_there(x))
        else:
            left = self._graph.left_there(x)
        self._called()
        return left

    @property
    def _recalls(self) -> bool:
        return self._memory.known is not None

    def _called(self) -> None:
        if self.on_call is not None:
            self.on_call()

    def _key(self, call: str, x: NDArray[Any] | Later, before: bytes = b"") -> bytes:
        """Of a call, by all that its output depends on; `before` is what made its states."""
        came_in = x.key if isinstance(x, Later) else np.ascontiguousarray(x).tobytes()
        form = "left" if isinstance(x, Later) else f"{x.dtype.str} {x.shape}"
        head = f"{self._memory.name} {call} {before.hex()} {form}\n"
        return hashlib.sha256(head.encode() + came_in).digest()


def _value(x: Any) -> Any:
    return x.value if isinstance(x, Later) else x
