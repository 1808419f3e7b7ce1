"""An ONNX graph as a list of PyTorch's operators: what is constant is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from testbed.errors import ModelError
from testbed.runtime.onnxfile import Model
from testbed.runtime.torch.given import Operator
from testbed.runtime.torch.operators import operator


class _Step(NamedTuple):
    run: Operator
    inputs: list[str]
    outputs: list[str]
    done_with: list[str]
    """Values that no later step needs."""


class Program:
    """From a graph's inputs to its outputs, on a device."""

    def __init__(self, model: Model, device: str) -> None:
        constants = {name: torch.from_numpy(array.copy()) for name, array in model.constants.items()}
        self._inputs = [value.name for value in model.inputs]
        self._outputs = [value.name for value in model.outputs]
        computed, steps = set(self._inputs), list[tuple[Operator, list[str], list[str]]]()
        for node in model.nodes:
            run = operator(node, constants)
            if computed.isdisjoint(node.inputs):
                given = [constants[name] if name else None for name in node.inputs]
                constants |= zip(node.outputs, _as_tuple(run(*given)), strict=False)
            else:
                computed.update(node.outputs)
                steps.append((run, node.inputs, node.outputs))
        needed = {name for _, inputs, _ in steps for name in inputs} | set(self._outputs)
        self._constants = {name: value.to(device) for name, value in constants.items() if name in needed}
        self._steps = _with_ends(steps, {*self._outputs, *self._constants})
        if missing := needed - computed - {*self._constants, ""}:
            raise ModelError(f"nothing computes {', '.join(sorted(missing))}")

    def run(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """The outputs, some of which may be inputs or constants."""
        values = {**self._constants, **dict(zip(self._inputs, inputs, strict=True))}
        for step in self._steps:
            made = step.run(*[values[name] if name else None for name in step.inputs])
            values.update(zip(step.outputs, _as_tuple(made), strict=False))
            for name in step.done_with:
                del values[name]
        return [values[name] for name in self._outputs]


def _as_tuple(made: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (made,) if isinstance(made, Tensor) else made


def _with_ends(steps: Sequence[tuple[Operator, list[str], list[str]]], kept: set[str]) -> list[_Step]:
    """Each step with the values that end with it, so that their memory is used again."""
    later, ended = set(kept), list[_Step]()
    for run, inputs, outputs in reversed(steps):
        ends = sorted({name for name in (*inputs, *outputs) if name} - later)
        ended.append(_Step(run, inputs, outputs, ends))
        later.update(ends)
    return ended[::-1]
