"""What every runtime makes of an exported step graph: `(x, *state) → (y, *state')`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

State: TypeAlias = Any
"""All states of a step graph, on its device; only the runtime that made it looks inside."""

Left: TypeAlias = Any
"""An output that stays on its device, for another graph of the same runtime to take as its x."""


class Graph(Protocol):
    """One graph `(x, *state) → (y, *state')`: input i and output i belong together.

    A graph holds no state of its own, so any number of sessions may take turns on it. It is used from one thread at a
    time. What is asked for and is not there is an error; nothing falls back to something else.

    Attributes:
        path: the ONNX file.
        threads: how many compute a call, where the processor does.
        spinning: whether they spin within it.
        input_shape: of x, batch included; None where the graph leaves a dimension open.
        states: how many state tensors go in and come out.
        device: where its states are: cpu or cuda.
        on_call: told of each call when it is over; None: nobody is.
    """

    path: Path
    threads: int
    spinning: bool
    input_shape: list[int | None]
    states: int
    device: str
    on_call: Callable[[], None] | None

    @property
    def told(self) -> dict[str, str]:
        """What computes it, for the manifest: the library with its version, its device."""
        ...

    def initial_state(self) -> State:
        """Zeros for every state, for a batch of one. No step writes into them."""
        ...

    def blank(self) -> NDArray[Any]:
        """An x of zeros; a dimension that the graph leaves open is 1."""
        ...

    def step(self, x: NDArray[Any] | Left, state: State) -> tuple[NDArray[Any], State]:
        """One timestep: y and the next state. The state given is left as it is.

        Raises:
            ModelError: x or the state do not fit the graph, or the graph failed.
        """
        ...

    def run(self, x: NDArray[Any]) -> NDArray[Any]:
        """The output of a graph without state.

        Raises:
            ModelError: the graph has state, x does not fit it, or it failed.
        """
        ...

    def left_there(self, x: NDArray[Any]) -> Left:
        """The output of a graph without state, left on the device for another graph to take as its x.

        Raises:
            ModelError: as `run`.
        """
        ...


def one_line(error: Exception) -> str:
    """What an exception says, in one line."""
    return " ".join(str(error).split())
