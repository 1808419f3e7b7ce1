"""What executes step graphs on a node, by the names that profiles use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

Provider: TypeAlias = Literal["cpu", "cuda", "tensorrt", "torch"]
"""`torch` is PyTorch, the others are ONNX Runtime's."""

TorchDevice: TypeAlias = Literal["cpu", "cuda"]
"""What PyTorch computes on."""

# TensorRT leaves what it cannot do to CUDA. The CPU is in no list but its own: ONNX Runtime appends it by itself, for
# the few operators on shapes, and would else take it for everything without a word.
PROVIDERS: Mapping[str, tuple[str, ...]] = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider",),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider"),
}
"""A `Provider` of ONNX Runtime → its own names, the one asked for first."""
