"""Runs exported step graphs with ONNX Runtime: state goes in, state comes out, and stays on its device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from devices.base.providers import PROVIDERS
from testbed.errors import ModelError
from testbed.runtime.graph import one_line

State: TypeAlias = list[ort.OrtValue]

_DTYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int64)": np.int64,
}
_LOG_ERRORS = 3
_OPTIONS: dict[str, dict[str, str]] = {
    # Sums that any order gives: no TF32, and no convolution that is transformed (cuDNN's implicit GEMM is DEFAULT).
    "CUDAExecutionProvider": {"use_tf32": "0", "cudnn_conv_algo_search": "DEFAULT"}
}
"""Of ONNX Runtime's providers."""


class OnnxGraph:
    """A `Graph` in ONNX Runtime.

    `spinning` threads of its pool wait for work without sleeping, but within a call alone: to
    spin between calls would burn the power that is being measured.

    With a GPU, states never leave it: every call binds them where they are, and only x goes in and y comes out.

    Attributes:
        providers: ONNX Runtime's execution providers that this graph may run on, the one asked for first.
    """

    def __init__(self, path: Path, threads: int = 1, provider: str = "cpu", *, spinning: bool = False) -> None:
        self.path, self.threads, self.spinning = path, threads, spinning
        self.on_call: Callable[[], None] | None = None
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
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
        options.add_session_config_entry("session.force_spinning_stop", "1")  # when a call returns
        try:
            # ONNX Runtime's exceptions share no base of their own below Exception.
            self._session = ort.InferenceSession(
                str(path), options, providers=[(name, _OPTIONS.get(name, {})) for name in wanted]
            )
        except Exception as error:
            raise ModelError(f"{path}: cannot be loaded: {one_line(error)}") from error
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
        self.device = "cpu" if provider == "cpu" else "cuda"
        zeros = (np.zeros(self._state_shape(value), self._dtype_of(value)) for value in inputs[1:])
        self._zeros = [ort.OrtValue.ortvalue_from_numpy(zero, self.device, 0) for zero in zeros]
        self.input_shape: list[int | None] = [size if isinstance(size, int) else None for size in inputs[0].shape]
        self.states = len(self._zeros)

    @property
    def told(self) -> dict[str, str]:
        """What computes it."""
        library = f"onnxruntime {ort.__version__}"
        return {"library": library, "provider": self.providers[0], "device": "CPU" if self.device == "cpu" else "GPU"}

    def initial_state(self) -> State:
        """Zeros for every state, for a batch of one. No step writes into them."""
        return list(self._zeros)

    def blank(self) -> NDArray[Any]:
        """An x of zeros; a dimension that the graph leaves open is 1."""
        return np.zeros([size or 1 for size in self.input_shape], self._dtype)

    def step(self, x: NDArray[Any] | ort.OrtValue, state: Sequence[ort.OrtValue]) -> tuple[NDArray[Any], State]:
        """One timestep: y and the next state. The state given is left as it is.

        Raises:
            ModelError: x or the state do not fit the graph, or the graph failed.
        """
        y, after = self._call(x, state, "cpu")
        return y.numpy(), after

    def run(self, x: NDArray[Any]) -> NDArray[Any]:
        """The output of a graph without state.

        Raises:
            ModelError: the graph has state, x does not fit it, or it failed.
        """
        return self.step(x, ())[0]

    def left_there(self, x: NDArray[Any]) -> ort.OrtValue:
        """The output of a graph without state, left on the device for another graph to take as its x.

        Raises:
            ModelError: as `run`.
        """
        return self._call(x, (), self.device)[0]

    def _call(
        self, x: NDArray[Any] | ort.OrtValue, state: Sequence[ort.OrtValue], y_device: str
    ) -> tuple[ort.OrtValue, State]:
        if len(state) != self.states:
            raise ModelError(f"{self.path}: {len(state)} states were given, the graph has {self.states}")
        # A new one for each call: one that is used again would write the next states over these.
        binding = self._session.io_binding()
        try:
            binding.bind_ortvalue_input(self._input_names[0], self._value(x))
            for name, value in zip(self._input_names[1:], state, strict=True):
                binding.bind_ortvalue_input(name, value)
            binding.bind_output(self._output_names[0], y_device)
            for name in self._output_names[1:]:
                binding.bind_output(name, self.device)
            self._session.run_with_iobinding(binding)
            y, *after = binding.get_outputs()
        except Exception as error:
            raise ModelError(f"{self.path}: a timestep failed: {one_line(error)}") from error
        if self.on_call is not None:
            self.on_call()
        return y, after

    def _value(self, x: NDArray[Any] | ort.OrtValue) -> ort.OrtValue:
        if isinstance(x, ort.OrtValue):
            return x
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
