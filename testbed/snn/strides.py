"""Training past a fault of torch: strides of 1x1 convolutions are taken before them."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle


class StridesBefore:
    """Has every 1x1 convolution below a module take each stride-th element first, until it is undone.

    The numbers and gradients are the same. torch's backward pass of a 1x1 convolution with a stride corrupts memory in
    float32 and channels-last, on x86-64 with under 8 input channels (torch 2.11 on an AMD EPYC without AVX-512).
    """

    def __init__(self, network: nn.Module) -> None:
        self._changed: list[tuple[nn.Conv2d, tuple[int, ...], RemovableHandle]] = []
        for module in network.modules():
            if not isinstance(module, nn.Conv2d) or module.kernel_size != (1, 1) or module.stride == (1, 1):
                continue
            if module.padding in ((0, 0), "valid"):  # what is padded would be missing
                handle = module.register_forward_pre_hook(_every(*module.stride))
                self._changed.append((module, module.stride, handle))
                module.stride = (1, 1)

    def undo(self) -> None:
        """Leave the convolutions as they were."""
        for module, stride, handle in self._changed:
            handle.remove()
            module.stride = stride
        self._changed.clear()


def _every(down: int, right: int) -> Any:
    return lambda _, inputs: (inputs[0][..., ::down, ::right],)
