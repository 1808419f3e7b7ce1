"""ONNX's operators that rearrange: shapes, types, parts of tensors, constants."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from testbed.errors import ModelError
from testbed.runtime.onnxfile import DTYPES
from testbed.runtime.torch.given import Given, Maker, Operator


def _cast(given: Given) -> Operator:
    if given("to") not in DTYPES:
        raise ModelError(f"Cast to ONNX's type {given('to')} is not supported")
    # By numpy, since torch has no table of numpy's types.
    dtype = torch.from_numpy(np.empty(0, DTYPES[given("to")])).dtype
    return lambda x: x.to(dtype)


def _clip(given: Given) -> Operator:
    return lambda x, least=None, most=None: x if least is None and most is None else torch.clamp(x, least, most)


def _div(given: Given) -> Operator:
    return lambda a, b: torch.div(a, b, rounding_mode=None if a.is_floating_point() else "trunc")


def _reshape(given: Given) -> Operator:
    shape, zeros = given.known(1), given("allowzero", 0)
    return lambda x, *_: x.reshape([x.shape[i] if n == 0 and not zeros else n for i, n in enumerate(shape)])


def _squeeze(given: Given) -> Operator:
    axes = given.axes(1)

    def run(x: Tensor, *_: Tensor) -> Tensor:
        gone = {axis % x.ndim for axis in axes} if axes is not None else {i for i, n in enumerate(x.shape) if n == 1}
        return x.reshape([size for axis, size in enumerate(x.shape) if axis not in gone])

    return run


def _unsqueeze(given: Given) -> Operator:
    axes = given.axes(1) or []

    def run(x: Tensor, *_: Tensor) -> Tensor:
        for axis in sorted(axis % (x.ndim + len(axes)) for axis in axes):
            x = x.unsqueeze(axis)
        return x

    return run


def _slice(given: Given) -> Operator:
    starts, ends, axes, steps = (given.known(place) for place in (1, 2, 3, 4))
    axes = axes if axes is not None else list(range(len(starts)))
    steps = steps if steps is not None else [1] * len(starts)
    if min(steps) < 1:
        raise ModelError("Slice that goes backwards is not supported")
    cuts = {axis: slice(*cut) for axis, *cut in zip(axes, starts, ends, steps, strict=True)}
    return lambda x, *_: x[tuple(cuts.get(i, cuts.get(i - x.ndim, slice(None))) for i in range(x.ndim))]


def _gather(given: Given) -> Operator:
    axis, at = given("axis", 0), given.known(1)
    if isinstance(at, int):
        return lambda x, _: x.select(axis, at)
    return lambda x, at: x.index_select(axis, torch.where(at < 0, at + x.shape[axis], at))


def _split(given: Given) -> Operator:
    axis, sizes = given("axis", 0), given("split") or given.known(1)
    count = len(given.node.outputs)
    return lambda x, *_: torch.split(x, sizes if sizes is not None else -(-x.shape[axis] // count), axis)


def _expand(given: Given) -> Operator:
    shape = given.known(1)
    # A size of 1 leaves x as it is there, and x may have more dimensions.
    return lambda x, *_: x.broadcast_to(torch.broadcast_shapes(x.shape, shape))  # type: ignore[no-untyped-call]


def _reduce_mean(given: Given) -> Operator:
    axes, keep = given.axes(1), bool(given("keepdims", 1))
    if not axes and given("noop_with_empty_axes", 0):
        return lambda x, *_: x
    return lambda x, *_: x.mean(axes or list(range(x.ndim)), keepdim=keep)


def _flatten(given: Given) -> Operator:
    axis = given("axis", 1)
    return lambda x: x.reshape(x.shape[:axis].numel(), -1)


def _transpose(given: Given) -> Operator:
    order = given("perm")
    return lambda x: x.permute(order if order is not None else tuple(reversed(range(x.ndim))))


def _constant(given: Given) -> Operator:
    (value,) = given.node.attributes.values()
    constant = torch.from_numpy(np.asarray(value, np.float32 if isinstance(value, float) else None))
    return lambda: constant


def _constant_of_shape(given: Given) -> Operator:
    shape, value = given.known(0), np.asarray(given("value", np.zeros(1, np.float32)))
    return lambda _: torch.from_numpy(np.full(shape, value.item(), value.dtype))


MAKERS: Mapping[str, Maker] = {
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda given: lambda *parts: torch.cat(parts, given("axis")),
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Div": _div,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "ReduceMean": _reduce_mean,
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
