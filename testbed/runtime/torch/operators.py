"""ONNX's operators in PyTorch: those that exported step graphs have.

What each one is to compute is on https://onnx.ai/onnx/operators/. An operator is made once, when its graph is loaded:
shapes, axes and indices have to be constants, and become Python's own numbers.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from testbed.errors import ModelError
from testbed.runtime.onnxfile import Node
from testbed.runtime.torch import layers, shapes
from testbed.runtime.torch.given import Given, Operator

_PLAIN: Mapping[str, Operator] = {
    "Abs": torch.abs,
    "Add": torch.add,
    "And": torch.logical_and,
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "MatMul": torch.matmul,
    "Mul": torch.mul,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Or": torch.logical_or,
    "Relu": torch.relu,
    "Round": torch.round,
    "Sub": torch.sub,
    "Where": torch.where,
    "Identity": lambda x: x,
}
"""Operators without attributes, which torch has as they are."""

_MAKERS = {**shapes.MAKERS, **layers.MAKERS}


def operator(node: Node, constants: Mapping[str, Tensor]) -> Operator:
    """The operator of a node.

    Raises:
        ModelError: it is none of those here, or has something that is not supported.
    """
    if node.kind in _PLAIN:
        return _PLAIN[node.kind]
    if node.kind not in _MAKERS:
        raise ModelError(f"operator {node.kind} is not among those that PyTorch runs here")
    return _MAKERS[node.kind](Given(node, constants))
