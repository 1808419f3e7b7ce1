"""Runs exported step graphs with ONNX Runtime: state goes in, state comes out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from devices.base.providers import PROVIDERS
from testbed.errors import ModelError

State: TypeAlias = list[ort.OrtValue]

_DTYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int64)": np.int64,
}
_LOG_ERRORS = 3


class OnnxGraph:
    """One graph `(x, *state) → (y, *state')`: input i and output i belong together.

    A graph holds no state of its own, so any number of sessions may take turns on it. It is used from
    one thread at a time. Idle threads of its pool sleep: to spin would burn power for a little less latency. A provider
    that is not there is an error; nothing falls back to the CPU.

    Attributes:
        path: the ONNX file.
        input_shape: of x, batch included; None where the graph leaves a dimension open.
        states: how many state tensors go in and come out.
        providers: ONNX Runtime's execution providers that this graph may run on, the one asked for first.
    """

    def __init__(self, path: Path, threads: int = 1, provider: str = "cpu") -> None:
        self.path = path
        if provider not in PROVIDERS:
            raise ModelError(f"{path}: no runtime provider named {provider!r}; there is {', '.join(PROVIDERS)}")
        wanted = PROVIDERS[provider]
        if missing := [name for name in wanted if name not in ort.get_available_providers()]:
            raise ModelError(f"{path}: {_no_provider(provider, missing)}")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = _LOG_ERRORS
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            # ONNX Runtime's exceptions share no base of their own below Exception.
            self._session = ort.InferenceSession(str(path), options, providers=list(wanted))
        except Exception as error:
            raise ModelError(f"{path}: cannot be loaded: {_one_line(error)}") from error
        # A provider that is installed and does not start (no GPU, no library) is left out of the session in silence.
        self.providers: list[str] = self._session.get_providers()
        if missing := [name for name in wanted if name not in self.providers]:
            raise ModelError(f"{path}: {_no_provider(provider, missing)}")
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if not inputs or len(inputs) != len(outputs):
            raise ModelError(
                f"{path}: not a step graph: {len(inputs)} inputs and {len(outputs)} outputs, "
                "but each state that goes in must come out"
            )
        self._input_names: list[str] = [value.name for value in inputs]
        self._output_names: list[str] = [value.name for value in outputs]
        self._dtype = self._dtype_of(inputs[0])
        self._zeros = [np.zeros(self._state_shape(value), self._dtype_of(value)) for value in inputs[1:]]
        self.input_shape: list[int | None] = [size if isinstance(size, int) else None for size in inputs[0].shape]
        self.states = len(self._zeros)

    def initial_state(self) -> State:
        """Zeros for every state, for a batch of one."""
        return [ort.OrtValue.ortvalue_from_numpy(zeros) for zeros in self._zeros]

    def step(self, x: NDArray[Any], state: Sequence[ort.OrtValue]) -> tuple[NDArray[Any], State]:
        """One timestep: y and the next state. The state given is left as it is.

        Raises:
            ModelError: x or the state do not fit the graph, or the graph failed.
        """
        if len(state) != self.states:
            raise ModelError(f"{self.path}: {len(state)} states were given, the graph has {self.states}")
        feeds = {self._input_names[0]: self._value(x)}
        feeds.update(zip(self._input_names[1:], state, strict=True))
        try:
            outputs = self._session.run_with_ort_values(self._output_names, feeds)
        except Exception as error:
            raise ModelError(f"{self.path}: a timestep failed: {_one_line(error)}") from error
        return outputs[0].numpy(), list(outputs[1:])

    def run(self, x: NDArray[Any]) -> NDArray[Any]:
        """The output of a graph without state.

        Raises:
            ModelError: the graph has state, x does not fit it, or it failed.
        """
        return self.step(x, ())[0]

    def _value(self, x: NDArray[Any]) -> ort.OrtValue:
        return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(x, dtype=self._dtype))

    def _dtype_of(self, value: Any) -> type[np.generic]:
        if value.type not in _DTYPES:
            raise ModelError(f"{self.path}: {value.name} is a {value.type}, which is not supported")
        return _DTYPES[value.type]

    def _state_shape(self, value: Any) -> list[int]:
        batch, *rest = value.shape or [1]
        if not all(isinstance(size, int) for size in rest):
            raise ModelError(
                f"{self.path}: state {value.name} has shape {value.shape}; only its batch may be left open"
            )
        return [batch if isinstance(batch, int) else 1, *rest] if value.shape else []


def _no_provider(provider: str, missing: list[str]) -> str:
    listed = ", ".join(ort.get_available_providers())
    return (
        f"runtime.provider {provider} needs {' and '.join(missing)}, which ONNX Runtime {ort.__version__} here does "
        f"not give (it lists {listed}); install a build that has it (onnxruntime-gpu, on a Jetson NVIDIA's own wheel) "
        "with its CUDA libraries, or set `runtime: {provider: cpu}`"
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
