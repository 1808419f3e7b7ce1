"""What is found out about a network of one's own by running it once, before anything is trained.

Every neuron's spikes are random here. So what is seen follows from how the network is built, not from its weights: an
untrained network, whose deep neurons are silent, would look binary everywhere.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from spikingjelly.activation_based import base, functional, layer, neuron
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from devices.base.sourcefile import kind_and_text
from testbed.data.size import Size, sides
from testbed.errors import ExperimentError
from testbed.importing import Imported
from testbed.snn.neurons import FusedLIFNode
from testbed.snn.own_spec import OFFERED, OwnSpec, Shape

NEURONS = (neuron.IFNode, neuron.LIFNode, neuron.ParametricLIFNode, FusedLIFNode)
NORMS = (nn.GroupNorm, nn.LayerNorm, nn.RMSNorm, _InstanceNorm, nn.LocalResponseNorm)
WEIGHTED = (_ConvNd, nn.Linear)

GRID_BITS = 12
"""An input of a layer with weights is exact where it is a multiple of 2^-12: sums of products stay exact in float32."""

ANY_CLASSES = 10
"""Classes of the network that is run before the data set is read; they decide no shape at a split."""


@dataclass
class Survey:
    """What a network is.

    Attributes:
        splits: shape (C, H, W) of the spikes behind each segment that a network may be cut after.
        refused: why there is no split behind the others.
        folds: names of each layer with weights and of the batch norm that follows it.
        outputs: how many logits there are.
    """

    splits: dict[str, Shape] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    folds: list[tuple[str, str]] = field(default_factory=list)
    outputs: int = 0


def segments_of(spec: OwnSpec, classes: int, channels: int, image_size: Size) -> nn.ModuleDict:
    """The user's network, untouched: its segments by name.

    Raises:
        TestbedError: the function fails, or returns something else.
    """
    told = spec.told(**dict(zip(OFFERED, (classes, channels, image_size), strict=True)))
    made = spec.function.call(**told)
    if not isinstance(made, dict) or len(made) < 2 or not all(isinstance(one, nn.Module) for one in made.values()):
        raise ExperimentError(
            f"{spec.function}: expected a dict of two or more segments, each a name and a module, the last one giving "
            f"the logits; it returned {_shown(made)}"
        )
    try:
        return nn.ModuleDict(made)
    except (KeyError, TypeError) as error:
        raise ExperimentError(f"{spec.function}: a segment cannot be named so: {error.args[0]}") from error


def _shown(made: object) -> str:
    if isinstance(made, dict):
        return "{" + ", ".join(f"{name!r}: {type(one).__name__}" for name, one in made.items()) + "}"
    return f"a {type(made).__name__}"


def surveyed(spec: OwnSpec, channels: int, image_size: Size) -> Survey:
    """The survey of a recipe's network; the same one for the same file and arguments.

    Raises:
        TestbedError: it cannot be built, run, or deployed.
    """
    return _surveyed(spec.function, json.dumps(spec.arguments), channels, image_size)


@functools.cache
def _surveyed(function: Imported, arguments: str, channels: int, image_size: Size) -> Survey:
    spec = OwnSpec.model_validate({"import": function, **json.loads(arguments)})
    with torch.random.fork_rng(devices=[]):
        segments = segments_of(spec, ANY_CLASSES, channels, image_size)
        return survey(segments, str(function), channels, image_size)


def survey(segments: nn.ModuleDict, where: str, channels: int, image_size: Size) -> Survey:
    """Run a network's segments once, for one timestep, and see what it is made of.

    Raises:
        ExperimentError: it cannot be run or deployed; the text names the layer.
    """
    for name, module in segments.named_modules():
        if reason := _cannot_be_deployed(module):
            raise ExperimentError(f"{where}: {name} ({type(module).__name__}): {reason}")
    run = _Run(segments, where)
    found, training = Survey(), segments.training
    functional.set_step_mode(segments.eval(), "s")
    x = torch.randint(-64, 64, (2, channels, *sides(image_size)), generator=run.generator) / 32.0
    with run.watched(), torch.no_grad():
        for name, segment in segments.items():
            x = run.through(segment, x)
            reason = _no_split(x, run.last)
            if reason is None:
                found.splits[name] = (x.shape[1], x.shape[2], x.shape[3])
            else:
                found.refused[name] = f"there is no split behind {name!r}: {reason}"
    functional.reset_net(segments.train(training))
    head = list(segments)[-1]
    found.splits.pop(head, None)
    found.refused[head] = f"there is no split behind {head!r}: it is the last segment, whose output are the logits"
    if x.dim() != 2:
        raise ExperimentError(f"{where}: {run.last}: the last segment gives {list(x.shape)}, not [N, classes]")
    found.folds, found.outputs = run.folds(), x.shape[1]
    return found


def _no_split(x: Tensor, last: str) -> str | None:
    """Why what leaves a segment cannot be sent as bits; None where it can."""
    other = x[(x != 0) & (x != 1)]
    if len(other):
        return f"what leaves {last} is not binary (it has {other[0].item():g} among its values)"
    return None if x.dim() == 4 else f"what leaves {last} is {list(x.shape[1:])}, not channels, height and width"


def _cannot_be_deployed(module: nn.Module) -> str | None:
    if isinstance(module, NORMS):
        return "its sums depend on the order of summation, so spikes would differ between processors; use batch norm"
    if not isinstance(module, base.MemoryModule) or isinstance(module, layer.Dropout):
        return None
    if type(module) not in NEURONS:
        return "it has a state that cannot be exported; IFNode, LIFNode and ParametricLIFNode can"
    if module.v_reset not in (None, 0.0):
        return f"v_reset is {module.v_reset:g}; expected 0, or None for a soft reset"
    if isinstance(module, neuron.ParametricLIFNode) and not module.w.sigmoid().item() < 1:
        return "its time constant is 1, so it remembers nothing; expected one above 1"
    return None


def _layers(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """What a network is made of, down to single layers and neurons."""
    children = [] if isinstance(module, neuron.BaseNode) else list(module.named_children())
    if not children:
        yield name, module
    for child_name, child in children:
        yield from _layers(child, f"{name}.{child_name}" if name else child_name)


class _Run(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Watches a network while it runs."""

    def __init__(self, segments: nn.ModuleDict, where: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.generator = torch.Generator().manual_seed(0)
        self.last = "the input"
        self._segments, self._where = segments, where
        self._outputs: list[tuple[str, Tensor]] = []  # of layers with weights
        self._uses: dict[int, int] = {}
        self._norms: list[tuple[str, Tensor]] = []
        self._inexact: list[str] = []
        self._calls: dict[str, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count how often each output of a layer with weights is used."""
        for used in {id(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}:
            if used in self._uses:
                self._uses[used] += 1
        return func(*args, **(kwargs or {}))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Hooks in every layer."""
        hooks = []
        for name, module in _layers(self._segments):
            title = f"{name} ({type(module).__name__})"
            hooks.append(module.register_forward_pre_hook(functools.partial(self._before, name, title)))
            hooks.append(module.register_forward_hook(functools.partial(self._after, name)))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def through(self, segment: nn.Module, x: Tensor) -> Tensor:
        """What leaves a segment.

        Raises:
            ExperimentError: it fails.
        """
        try:
            with self:
                y = segment(x)
        except ExperimentError:
            raise
        except Exception as error:
            raise ExperimentError(f"{self._where}: {self.last}: cannot be run: {kind_and_text(error)}") from error
        if not isinstance(y, Tensor):
            raise ExperimentError(f"{self._where}: {self.last}: a segment gives a {type(y).__name__}, not a tensor")
        return y

    def _before(self, name: str, title: str, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.last = title
        self._calls[name] = self._calls.get(name, 0) + 1
        if isinstance(module, WEIGHTED):
            scaled = inputs[0] * 2.0**GRID_BITS
            if not torch.equal(scaled, scaled.round()):
                self._inexact.append(title)
        elif isinstance(module, _BatchNorm):
            self._norms.append((name, inputs[0]))

    def _after(self, name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
        if isinstance(module, neuron.BaseNode):
            if self._inexact:  # behind the last neuron a rounding changes no spike
                raise ExperimentError(
                    f"{self._where}: {self._inexact[0]}: its inputs are no multiples of 2^-{GRID_BITS}, so its "
                    f"sums, and the spikes of {name}, could differ between processors; put a neuron in front of it"
                )
            return (torch.rand(output.shape, generator=self.generator) < 0.5).to(output.dtype)
        if isinstance(module, WEIGHTED):
            self._outputs.append((name, output))
            self._uses[id(output)] = 0
        return None

    def folds(self) -> list[tuple[str, str]]:
        """Each layer with weights and its batch norm.

        Raises:
            ExperimentError: a batch norm is not behind one layer with weights alone.
        """
        pairs = []
        for norm, x in self._norms:
            fed = next((name for name, output in self._outputs if output is x), None)
            if fed is None or self._uses[id(x)] != 1 or self._calls[norm] != 1 or self._calls[fed] != 1:
                raise ExperimentError(
                    f"{self._where}: {norm}: a batch norm can be folded only where it follows one convolution or "
                    "linear layer, directly, and nothing else uses that layer's output"
                )
            pairs.append((fed, norm))
        return pairs
