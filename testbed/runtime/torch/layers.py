"""ONNX's operators that sum: layers with weights, pooling; and what quantises between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from testbed.errors import ModelError
from testbed.runtime.torch.given import Given, Maker, Operator

_CONVS = {3: functional.conv1d, 4: functional.conv2d, 5: functional.conv3d}
_TRANSPOSED = {3: functional.conv_transpose1d, 4: functional.conv_transpose2d, 5: functional.conv_transpose3d}


def _gemm(given: Given) -> Operator:
    alpha, beta = given("alpha", 1.0), given("beta", 1.0)
    first, second = bool(given("transA", 0)), bool(given("transB", 0))

    def run(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        y = (a.T if first else a) @ (b.T if second else b)
        y = y if alpha == 1.0 else alpha * y
        return y if c is None else y + (c if beta == 1.0 else beta * c)

    return run


def _padded(given: Given, fill: float) -> tuple[Any, Operator]:
    """Padding that torch's own layers take, and what pads an input by what they do not."""
    given.refuse("auto_pad", "NOTSET", "VALID")
    pads = given("pads", [0, 0])
    before, after = pads[: len(pads) // 2], pads[len(pads) // 2 :]
    if before == after:
        return (before if any(before) else 0), lambda x: x
    flat = [n for pair in zip(reversed(before), reversed(after), strict=True) for n in pair]
    return 0, lambda x: functional.pad(x, flat, value=fill)


def _conv(given: Given) -> Operator:
    padding, pad = _padded(given, 0.0)
    stride, dilation, groups = given("strides", 1), given("dilations", 1), given("group", 1)

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return _CONVS[weight.ndim](pad(x), weight, bias, stride, padding, dilation, groups)

    return run


def _conv_transpose(given: Given) -> Operator:
    given.refuse("auto_pad", "NOTSET")
    given.refuse("output_shape", None)
    pads = given("pads", [0, 0])
    before, after = pads[: len(pads) // 2], pads[len(pads) // 2 :]
    if before != after:
        raise ModelError(f"ConvTranspose with pads {pads} is not supported")
    stride, dilation, groups = given("strides", 1), given("dilations", 1), given("group", 1)
    padding, more = (before if any(before) else 0), given("output_padding", 0)

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        return _TRANSPOSED[weight.ndim](x, weight, bias, stride, padding, more, groups, dilation)

    return run


def _max_pool(given: Given) -> Operator:
    given.refuse("storage_order", 0)
    if len(given.node.outputs) > 1:
        raise ModelError("MaxPool that says where its maxima are is not supported")
    padding, pad = _padded(given, -torch.inf)
    kernel, stride, dilation = given("kernel_shape"), given("strides", 1), given("dilations", 1)
    ceil = bool(given("ceil_mode", 0))

    def run(x: Tensor) -> Tensor:
        # torch pools no bytes.
        return functional.max_pool2d(pad(x.float()), kernel, stride, padding, dilation, ceil).to(x.dtype)

    return run


def _average_pool(given: Given) -> Operator:
    given.refuse("ceil_mode", 0)
    given.refuse("dilations", None, [1, 1])
    given.refuse("auto_pad", "NOTSET", "VALID")
    pads, kernel, stride = given("pads", [0, 0, 0, 0]), given("kernel_shape"), given("strides", 1)
    if pads[:2] != pads[2:]:
        raise ModelError(f"AveragePool with pads {pads} is not supported")
    counted = bool(given("count_include_pad", 0))
    return lambda x: functional.avg_pool2d(x, kernel, stride, pads[:2], count_include_pad=counted)


def _along(x: Tensor, scale: Tensor, axis: int) -> list[int]:
    """The shape in which a scale for each place of an axis meets x."""
    return [] if scale.ndim == 0 else [-1 if i == axis % x.ndim else 1 for i in range(x.ndim)]


def _dequantize(given: Given) -> Operator:
    axis = given("axis", 1)

    def run(x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
        shape = _along(x, scale, axis)
        centred = x.float() if zero is None else x.float() - zero.float().reshape(shape)
        return centred * scale.reshape(shape)

    return run


def _quantize(given: Given) -> Operator:
    """Rounded to the nearest, ties to even, and kept within the type of the zero point (bytes without one)."""
    axis = given("axis", 1)

    def run(x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
        shape, dtype = _along(x, scale, axis), torch.uint8 if zero is None else zero.dtype
        steps = torch.round(x / scale.reshape(shape))
        placed = steps if zero is None else steps + zero.float().reshape(shape)
        return placed.clamp(torch.iinfo(dtype).min, torch.iinfo(dtype).max).to(dtype)

    return run


MAKERS: Mapping[str, Maker] = {
    "AveragePool": _average_pool,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "DequantizeLinear": _dequantize,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda given: lambda x: x.mean(list(range(2, x.ndim)), keepdim=True),
    "MaxPool": _max_pool,
    "QuantizeLinear": _quantize,
}
