"""Runs exported step graphs with PyTorch: the very ONNX files that ONNX Runtime runs, and the same spikes.

All buffers are made once: a step is a copy in, the program, and a copy out. On a GPU the program is one CUDA graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from testbed.errors import ModelError
from testbed.runtime.graph import Left, State, one_line
from testbed.runtime.onnxfile import Model, Value, read_model
from testbed.runtime.torch.program import Program

_WARM_UP = 3
"""Runs before a capture: libraries make their work space in the first ones, which a CUDA graph cannot."""

_ALIGNED = 256
"""Bytes that each state begins at a multiple of, as CUDA's own allocations do."""


class _Buffer(NamedTuple):
    """Where the states lie, all in one piece of memory: one copy moves them."""

    all: Tensor
    each: list[Tensor]


class TorchGraph:
    """A `Graph` in PyTorch. A dimension that the file leaves open is 1.

    Sums are exact where weights lie on their grid (docs/decisions/0001), so any order gives the same bits. Not so
    with a transformed convolution (Winograd, FFT), which cuDNN may choose: on a GPU convolutions are products of
    matrices, without TF32.

    Args:
        path: the ONNX file.
        threads: on a CPU, of the whole process.
        device: cpu or cuda.

    Raises:
        ModelError: there is no such device, or the graph cannot be read, run or captured.
    """

    def __init__(self, path: Path, threads: int = 1, device: str = "cpu") -> None:
        self.path, self.threads, self.spinning, self.device = path, threads, False, device
        self.on_call: Callable[[], None] | None = None
        if device == "cuda" and not torch.cuda.is_available():
            raise ModelError(
                f"{path}: runtime.device cuda, but PyTorch {torch.__version__} here sees no GPU; install a build with "
                "CUDA (on a Jetson NVIDIA's own wheel), or set `device: cpu`"
            )
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision("highest")  # no TF32
        model = read_model(path)
        self.input_shape: list[int | None] = []
        try:
            with torch.inference_mode():
                self._load(model)
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from error
        except RuntimeError as error:
            doing = "captured as a CUDA graph" if device == "cuda" else "run"
            raise ModelError(f"{path}: cannot be {doing} by PyTorch: {one_line(error)}") from error

    def _load(self, model: Model) -> None:
        inputs, outputs = model.inputs, model.outputs
        if not inputs or len(inputs) != len(outputs):
            raise ModelError(
                f"not a step graph: {len(inputs)} inputs and {len(outputs)} outputs, "
                "but each state that goes in must come out"
            )
        self.input_shape, self.states = inputs[0].shape, len(inputs) - 1
        self._program = Program(model, self.device)
        self._x, self._y = self._zeros(inputs[0]), self._zeros(outputs[0])
        self._before, self._after = self._buffer(inputs[1:]), self._buffer(inputs[1:])
        self._zero_state = torch.zeros_like(self._before.all)
        # Memory that the GPU reaches by itself; on a CPU the buffers are there already.
        self._x_here, self._y_here = (
            buffer if self.device == "cpu" else torch.zeros(buffer.shape, dtype=buffer.dtype, pin_memory=True)
            for buffer in (self._x, self._y)
        )
        self._x_array = self._x_here.numpy()
        self._compute()
        self._replay = self._compute if self.device == "cpu" else self._captured()

    @property
    def told(self) -> dict[str, str]:
        """What computes it."""
        library = f"torch {torch.__version__}"
        if self.device == "cpu":
            return {"library": library, "device": "CPU"}
        return {"library": library, "cuda": str(torch.version.cuda), "device": torch.cuda.get_device_name()}

    def initial_state(self) -> State:
        """Zeros for every state. No step writes into them."""
        return self._zero_state

    def blank(self) -> NDArray[Any]:
        """An x of zeros."""
        return np.zeros_like(self._x_array)

    def step(self, x: NDArray[Any] | Left, state: State) -> tuple[NDArray[Any], State]:
        """One timestep: y and the next state. The state given is left as it is.

        Raises:
            ModelError: x or the state do not fit the graph, or the graph failed.
        """
        with torch.inference_mode():
            self._call(x, state)
            if self._y_here is not self._y:
                self._y_here.copy_(self._y, non_blocking=True)
            after = self._after.all.clone()
            self._finish()
        return self._y_here.numpy().copy(), after

    def run(self, x: NDArray[Any]) -> NDArray[Any]:
        """The output of a graph without state.

        Raises:
            ModelError: the graph has state, x does not fit it, or it failed.
        """
        self._stateless()
        return self.step(x, self._zero_state)[0]

    def left_there(self, x: NDArray[Any]) -> Left:
        """The output of a graph without state, left on the device for another graph to take as its x.

        Raises:
            ModelError: as `run`.
        """
        self._stateless()
        with torch.inference_mode():
            self._call(x, self._zero_state)
            y = self._y.clone()
            self._finish()
        return y

    def _stateless(self) -> None:
        if self.states:
            raise ModelError(f"{self.path}: 0 states were given, the graph has {self.states}")

    def _call(self, x: NDArray[Any] | Tensor, state: Tensor) -> None:
        if tuple(x.shape) != tuple(self._x.shape):
            raise ModelError(
                f"{self.path}: a timestep failed: x is {list(x.shape)}, the graph takes {list(self._x.shape)}"
            )
        if not isinstance(state, Tensor) or state.shape != self._before.all.shape:
            raise ModelError(f"{self.path}: a timestep failed: the state is none of this graph")
        try:
            if isinstance(x, Tensor):
                self._x.copy_(x)
            else:
                self._x_array[...] = x
                if self._x_here is not self._x:
                    self._x.copy_(self._x_here, non_blocking=True)
            self._before.all.copy_(state)
            self._replay()
        except RuntimeError as error:
            raise ModelError(f"{self.path}: a timestep failed: {one_line(error)}") from error

    def _finish(self) -> None:
        """Wait for the device, which also says now what went wrong there."""
        if self.device == "cuda":
            try:
                torch.cuda.current_stream().synchronize()
            except RuntimeError as error:
                raise ModelError(f"{self.path}: a timestep failed: {one_line(error)}") from error
        if self.on_call is not None:
            self.on_call()

    def _compute(self) -> None:
        """The program, from the buffers to the buffers."""
        with torch.backends.cudnn.flags(enabled=False, allow_tf32=False):
            y, *after = self._program.run([self._x, *self._before.each])
        for buffer, value in zip([self._y, *self._after.each], [y, *after], strict=True):
            if buffer.shape != value.shape or buffer.dtype != value.dtype:
                raise ModelError(f"an output is {_said(value)}, where {_said(buffer)} is promised")
            buffer.copy_(value)

    def _captured(self) -> Callable[[], None]:
        """The program as one CUDA graph."""
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP):
                self._compute()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Of this thread alone: what another one does with the GPU meanwhile is no part of the graph.
        with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
            self._compute()
        return graph.replay

    def _zeros(self, value: Value) -> Tensor:
        shape = [size or 1 for size in value.shape]
        return torch.from_numpy(np.zeros(shape, value.dtype)).to(self.device)

    def _buffer(self, values: Sequence[Value]) -> _Buffer:
        for value in values:
            if None in value.shape[1:]:
                raise ModelError(f"state {value.name} has shape {value.shape}; only its batch may be left open")
        blanks = [torch.from_numpy(np.zeros([size or 1 for size in value.shape], value.dtype)) for value in values]
        sizes = [-(-blank.numel() * blank.element_size() // _ALIGNED) * _ALIGNED for blank in blanks]
        whole = torch.zeros(sum(sizes), dtype=torch.uint8, device=self.device)
        parts = zip(torch.split(whole, sizes), blanks, strict=True)
        each = [
            part[: prod(blank.shape) * blank.element_size()].view(blank.dtype).reshape(blank.shape)
            for part, blank in parts
        ]
        return _Buffer(whole, each)


def _said(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
